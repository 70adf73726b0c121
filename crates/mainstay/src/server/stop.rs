//! The signals that stop the server.
//!
//! They are awaited on a thread of their own: the second signal is the way out of a server that
//! hangs, so it must not need a turn on the runtime that hangs.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::process;
use std::task::{Context, Poll};
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::EXIT_INTERRUPTED;

/// Resolves at the first signal, to its name.
pub(super) struct Stop(oneshot::Receiver<&'static str>);

impl Future for Stop {
    type Output = &'static str;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<&'static str> {
        // Without its thread nothing could stop the server any more, so that is a reason to stop.
        Pin::new(&mut self.0).poll(context).map(|name| name.unwrap_or("no signal can be received"))
    }
}

/// Takes over SIGTERM and SIGINT: the first resolves [`Stop`], the second ends the process with
/// code 130, whatever it is doing.
///
/// # Errors
/// The system gives no thread or no signal handler.
pub(super) fn listen() -> io::Result<Stop> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _context = runtime.enter();
        Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        }
    };
    let (sender, receiver) = oneshot::channel();
    let wait = async move {
        // A server that ended meanwhile does not listen any more.
        let _ = sender.send(signals.next().await);
        signals.next().await;
        // Not a word to the log, which may be what hangs.
        process::exit(EXIT_INTERRUPTED);
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(wait))?;
    Ok(Stop(receiver))
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};
    use std::time::Duration;

    /// Set in the process that [`a_second_signal_ends_a_server_that_hangs`] starts.
    const CHILD: &str = "MAINSTAY_TEST_STOP_CHILD";

    #[test]
    fn child() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        // Whatever breaks, nobody waits for this process for ever.
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_secs(30));
            std::process::exit(1);
        });
        let stop = super::listen().unwrap();
        // Each word on a line of its own: the test harness writes to the same one.
        writeln!(std::io::stdout(), "\nready").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        writeln!(std::io::stdout(), "\n{}", runtime.block_on(stop)).unwrap();
        // A server that hangs: its runtime is given no turn any more.
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn a_second_signal_ends_a_server_that_hangs() {
        let mut server = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "server::stop::tests::child", "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
        for (line, signal) in [("ready", "-TERM"), ("SIGTERM", "-INT")] {
            assert!(lines.any(|said| said == line), "the server never said {line}");
            let pid = server.id().to_string();
            assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        }
        assert_eq!(server.wait().unwrap().code(), Some(130));
    }
}
