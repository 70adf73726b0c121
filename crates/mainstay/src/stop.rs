//! The signals that stop a command.
//!
//! They are awaited on a thread of their own: the second signal is the way out of a command that
//! hangs (a busy runtime, a terminal that is held up), so it must need no turn of what hangs.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::EXIT_INTERRUPTED;

/// Knows whether the command was asked to stop, and by which signal.
pub(crate) struct Stop {
    signal: watch::Receiver<Option<&'static str>>,
    flag: Arc<AtomicBool>,
}

impl Stop {
    /// Waits for the first signal and names it. May be dropped and called again.
    pub(crate) async fn asked(&mut self) -> &'static str {
        match self.signal.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(name)) => *name,
            // Without its thread nothing could stop the command any more, so that is a reason to
            // stop.
            _ => "no signal can be received",
        }
    }

    /// Becomes true at the first signal: for threads that look now and then instead of waiting.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }
}

/// Takes over SIGTERM and SIGINT: the first is told to [`Stop`], the second ends the process with
/// code 130, whatever it is doing.
///
/// # Errors
/// The system gives no thread or no signal handler.
pub(crate) fn listen() -> io::Result<Stop> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _context = runtime.enter();
        Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        }
    };
    let (sender, receiver) = watch::channel(None);
    let flag = Arc::new(AtomicBool::new(false));
    let stop = Stop { signal: receiver, flag: Arc::clone(&flag) };
    let wait = async move {
        let name = signals.next().await;
        flag.store(true, Ordering::Relaxed);
        sender.send_replace(Some(name));
        signals.next().await;
        // Not a word to the log, which may be what hangs.
        process::exit(EXIT_INTERRUPTED);
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(wait))?;
    Ok(stop)
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
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    /// Set in the process that [`a_second_signal_ends_a_command_that_hangs`] starts.
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
        let mut stop = super::listen().unwrap();
        // Each word on a line of its own: the test harness writes to the same one.
        writeln!(std::io::stdout(), "\nready").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        writeln!(std::io::stdout(), "\n{}", runtime.block_on(stop.asked())).unwrap();
        assert!(stop.flag().load(Ordering::Relaxed));
        // A command that hangs: its runtime is given no turn any more.
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn a_second_signal_ends_a_command_that_hangs() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "stop::tests::child", "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        for (line, signal) in [("ready", "-TERM"), ("SIGTERM", "-INT")] {
            assert!(lines.any(|said| said == line), "the command never said {line}");
            let pid = child.id().to_string();
            assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        }
        assert_eq!(child.wait().unwrap().code(), Some(130));
    }
}
