//! The signals that stop the client.
//!
//! They are awaited on a thread of their own: the second one is the way out of a client that
//! hangs, writing to a terminal that is held up for example.

use std::io;
use std::process;
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::EXIT_INTERRUPTED;

/// Knows whether the client was asked to stop.
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Waits for the first signal. May be dropped and called again.
    pub(super) async fn asked(&mut self) {
        // Without its thread nothing could stop the client any more, so that is a reason to stop.
        let _ = self.0.wait_for(|asked| *asked).await;
    }
}

/// Takes over SIGINT and SIGTERM: the first one is told, the second ends the process with code 130.
///
/// # Errors
/// The system gives no thread or no signal handler.
pub(super) fn listen() -> io::Result<Stop> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _context = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let (sender, receiver) = watch::channel(false);
    let wait = async move {
        for _ in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if sender.send_replace(true) {
                process::exit(EXIT_INTERRUPTED);
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(wait))?;
    Ok(Stop(receiver))
}
