//! Ctrl-C: the first ends the measurement, the second the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, process, thread};

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::EXIT_INTERRUPTED;

/// Becomes true at the first SIGINT; at the second the process exits.
///
/// # Errors
/// The system gives no thread or no signal handler.
pub(super) fn watch() -> io::Result<Arc<AtomicBool>> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let mut interrupts = {
        let _context = runtime.enter();
        signal(SignalKind::interrupt())?
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    let shared = Arc::clone(&interrupted);
    let wait = async move {
        interrupts.recv().await;
        shared.store(true, Ordering::Relaxed);
        interrupts.recv().await;
        process::exit(EXIT_INTERRUPTED);
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(wait))?;
    Ok(interrupted)
}
