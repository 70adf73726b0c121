//! `mainstay request`: one command, and what became of it.

use std::process::ExitCode;
use std::time::Duration;

use mainstay_client::RequestFailure;
use mainstay_client::frames::Payload;

use super::link::{self, Failure, LinkArguments};
use super::print;
use crate::settings::kind::{self, Kind};
use crate::{EXIT_FAILED, EXIT_INDETERMINATE, EXIT_USAGE};

/// Run one command on the server, at most once, and print what became of it
///
/// A lost connection is made again, and the outcome is still found out: the command's handler runs
/// once or not at all. The result is printed to stdout: a JSON string bare, other JSON as it is,
/// what is no text in base64.
///
/// The exit code is 0 if the handler gave a result, 1 if it failed or never ran or no connection
/// could be made, 2 if the command line is wrong, 3 if nobody will ever know whether it ran, and 130
/// after a second Ctrl-C.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mainstay request 'Pause downloader' urgent           print the reply
  mainstay request resize --json '{\"width\": 80}'       a JSON payload, a JSON reply
  mainstay request report --deadline 5s                give up after five seconds")]
pub(crate) struct Arguments {
    /// The command
    #[arg(value_name = "COMMAND")]
    command: String,

    /// What its handler gets: a text; with --json, a JSON value [default: null]
    #[arg(value_name = "PAYLOAD")]
    payload: Option<String>,

    /// Stop the handler after this time, and do not start it later
    #[arg(long, value_name = "DURATION", value_parser = kind::Duration::read)]
    deadline: Option<Duration>,

    #[command(flatten)]
    link: LinkArguments,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    link::run("request", request(arguments))
}

async fn request(arguments: Arguments) -> Result<ExitCode, Failure> {
    let format = arguments.link.format();
    let payload = match &arguments.payload {
        None => Payload::NULL,
        Some(text) => print::read_payload(format, text)
            .map_err(|message| Failure { code: EXIT_USAGE, message })?,
    };
    let Some(mut link) = arguments.link.open(None).await? else {
        return Ok(ExitCode::from(EXIT_FAILED));
    };
    let command = &arguments.command;
    let sent = match arguments.deadline {
        Some(deadline) => link.session.request_within(deadline, command, payload).await,
        None => link.session.request(command, payload).await,
    };
    let pending = sent.map_err(Failure::new)?;
    let outcome = tokio::select! {
        outcome = pending => outcome,
        // Closing settles it: sent, it is in doubt; not sent, it never ran.
        _ = link.stop.asked() => Err(RequestFailure::Indeterminate),
    };
    let printed = match &outcome {
        Ok(payload) => print::done(format, payload),
        Err(failure) => {
            let (status, code) = match failure {
                RequestFailure::Indeterminate => ("indeterminate", None),
                RequestFailure::Failed(failure) => ("failed", Some(failure.code.word())),
                RequestFailure::NeverRan(_) => ("failed", Some("never_ran")),
                _ => ("indeterminate", None),
            };
            print::not_done("request", format, status, code, &failure.to_string())
        }
    };
    link.finish().await;
    printed?;
    Ok(match outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(RequestFailure::Indeterminate | RequestFailure::Left) => {
            ExitCode::from(EXIT_INDETERMINATE)
        }
        Err(_) => ExitCode::from(EXIT_FAILED),
    })
}
