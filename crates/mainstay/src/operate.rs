//! `mainstay send`, `sessions`, `why` and `channels`: what an operator asks a running server, over its HTTP
//! API.

mod api;
pub(crate) mod channels;
pub(crate) mod send;
pub(crate) mod sessions;
mod table;
pub(crate) mod why;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::{EXIT_FAILED, logging};

/// Prints what came out to stdout, or what went wrong to stderr.
fn finish(result: Result<String, api::Failure>) -> ExitCode {
    let text = match result {
        Ok(text) => text,
        Err(failure) => {
            let failure = logging::escape::visible(&failure.to_string());
            let _ = writeln!(io::stderr(), "error: {failure}");
            return ExitCode::from(EXIT_FAILED);
        }
    };
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads had enough, such as `head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: cannot write to stdout: {error}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// Objects as lines of JSON.
fn json_lines(objects: &[serde_json::Value]) -> String {
    objects.iter().map(|object| format!("{object}\n")).collect()
}
