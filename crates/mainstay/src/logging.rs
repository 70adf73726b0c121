//! Logs: one line for each event, to stderr.
//!
//! Names, URLs and payloads in log lines come from strangers. A control character among them
//! could repaint the operator's terminal or forge a line, so none is ever written as it stands
//! ([`escape`]), and no value is longer than a line should be ([`lines`]).

pub(crate) mod escape;
mod lines;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal};
use std::panic;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::settings::kind::LogFormat;
use lines::{Lines, Style};

/// Sends the process's events to stderr from now on, panics too. `filter` is in the notation of
/// `RUST_LOG`; parts of it that cannot be read are left out.
///
/// # Errors
/// Logging was started before.
pub(crate) fn start(format: LogFormat, filter: &str) -> Result<(), TryInitError> {
    let style = match format {
        LogFormat::Json => Style::Json,
        LogFormat::Auto if colours_wanted() => Style::Coloured,
        LogFormat::Auto | LogFormat::Human => Style::Plain,
    };
    tracing_subscriber::registry()
        .with(EnvFilter::builder().parse_lossy(filter))
        .with(Lines::new(style, io::stderr))
        .try_init()?;
    // The standard hook writes the message raw, and a panic's message may quote a peer.
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn log_panic(panic: &panic::PanicHookInfo<'_>) {
    let payload = panic.payload();
    let literal = payload.downcast_ref::<&str>().copied();
    let message = literal.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let location = panic.location().map(tracing::field::display);
    let backtrace = Backtrace::capture();
    let captured = backtrace.status() == BacktraceStatus::Captured;
    tracing::error!(
        panic = message.unwrap_or("(no text)"),
        location,
        thread = std::thread::current().name(),
        backtrace = captured.then(|| tracing::field::display(&backtrace)),
        "panicked"
    );
}

/// A person is looking, and has not said no (<https://no-color.org>).
fn colours_wanted() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    io::stderr().is_terminal() && !set("NO_COLOR") && !dumb
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set in the process that [`a_panic_is_one_line_like_any_other`] starts, because logging and
    /// the panic hook belong to a whole process.
    const CHILD: &str = "MAINSTAY_TEST_LOGGING_CHILD";

    #[test]
    fn child() {
        if std::env::var_os(CHILD).is_some() {
            start(LogFormat::Json, "info").unwrap();
            let caught = panic::catch_unwind(|| panic!("peer said {}", "\u{1b}[2J\nERROR forged"));
            assert!(caught.is_err());
        }
    }

    #[test]
    fn a_panic_is_one_line_like_any_other() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "logging::tests::child", "--nocapture"])
            .env(CHILD, "1")
            .env("RUST_BACKTRACE", "1")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).expect(&text);
        assert_eq!(line["fields"]["panic"], "peer said \u{1b}[2J\nERROR forged");
        assert!(line["fields"]["location"].as_str().unwrap().contains("logging.rs:"), "{text}");
        assert!(line["fields"]["backtrace"].as_str().unwrap().lines().count() > 2, "{text}");
    }
}
