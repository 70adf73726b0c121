//! The session that a command works over.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mainstay_client::frames::Encoding;
use mainstay_client::{
    ChannelName, ConnectError, Session, SessionEnd, SessionError, SessionState, StateFileError,
};
use tokio::task::JoinHandle;

use super::print::{Format, Status, complain};
use crate::client::dial::DialArguments;
use crate::client::target;
use crate::stop::{self, Stop};
use crate::{EXIT_FAILED, EXIT_USAGE};

/// Flags that all commands of a session have.
#[derive(clap::Args)]
pub(super) struct LinkArguments {
    #[command(flatten)]
    dial: DialArguments,

    /// How frames are written: json or protobuf
    #[arg(long, value_name = "ENCODING", default_value = "json", value_parser = read_encoding)]
    encoding: Encoding,

    /// Read payloads as JSON values, print one JSON object a line
    #[arg(long)]
    pub(super) json: bool,
}

/// A session, and what prints its course.
pub(super) struct Link {
    pub(super) session: Session,
    pub(super) stop: Stop,
    is_kept: bool,
    printer: JoinHandle<()>,
}

/// Runs a command to its exit code.
pub(super) fn run<F: Future<Output = Result<ExitCode, Failure>>>(
    command: &'static str,
    work: F,
) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(command, EXIT_FAILED, &error.to_string()),
    };
    let outcome = runtime.block_on(work);
    // The thread that reads stdin cannot be interrupted; the process's end does it.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|failure| complain(command, failure.code, &failure.message))
}

/// Why a command ends before its work is done.
pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(message: impl ToString) -> Failure {
        Failure { code: EXIT_FAILED, message: message.to_string() }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(error)
    }
}

impl LinkArguments {
    pub(super) fn format(&self) -> Format {
        if self.json { Format::Json } else { Format::Human }
    }

    /// Opens the session; `None` if the command was stopped first. With a state file it begins
    /// without a connection: what is to be kept is kept there.
    pub(super) async fn open(&self, state: Option<&Path>) -> Result<Option<Link>, Failure> {
        let url = self.dial.url(&[]);
        let tls = self.dial.tls();
        let tls = tls.map_err(|message| Failure { code: EXIT_USAGE, message })?;
        let mut stop = stop::listen()?;
        let client = concat!("mainstay/", env!("CARGO_PKG_VERSION"));
        let mut builder = Session::builder(&url)
            .origin(&target::origin(&url))
            .tls(tls)
            .encoding(self.encoding)
            .client_name(client);
        for (name, value) in &self.dial.headers {
            builder = builder.header(name, value);
        }
        let opening = async {
            match state {
                Some(path) => builder.state_file(path).start().await,
                None => builder.connect().await,
            }
        };
        let session = tokio::select! {
            _ = stop.asked() => return Ok(None),
            opened = opening => opened.map_err(|error| failure_of(&error, &url))?,
        };
        let printer =
            tokio::spawn(print_states(session.clone(), Status { format: self.format(), url }));
        Ok(Some(Link { session, stop, is_kept: state.is_some(), printer }))
    }
}

impl Link {
    /// Ends the session in good order: leaves one that is kept, closes another.
    pub(super) async fn finish(self) {
        match self.is_kept {
            true => self.session.leave().await,
            false => self.session.close().await,
        }
        let _ = self.printer.await;
    }

    /// Why the session is over, if it is not by our own wish.
    pub(super) fn end(&self) -> Option<SessionEnd> {
        match self.session.state() {
            SessionState::Closed { cause } => Some(cause),
            _ => None,
        }
    }
}

async fn print_states(session: Session, status: Status) {
    let mut states = session.states();
    // It must not keep the session alive.
    drop(session);
    while let Some(state) = states.recv().await {
        status.print(&state);
    }
}

fn failure_of(error: &SessionError, url: &str) -> Failure {
    let code = match error {
        SessionError::Connect(ConnectError::Url(_) | ConnectError::Options(_))
        | SessionError::StateFile(
            StateFileError::OtherServer { .. } | StateFileError::Foreign { .. },
        ) => EXIT_USAGE,
        _ => EXIT_FAILED,
    };
    let message = match error {
        SessionError::StateFile(error) => error.to_string(),
        error => format!("{url}: {error}"),
    };
    Failure { code, message }
}

/// The file that a session is kept in.
#[derive(clap::Args)]
pub(super) struct StateArguments {
    /// Keep the session in this file, and go on with it the next time
    #[arg(long, value_name = "FILE")]
    pub(super) state: Option<PathBuf>,
}

pub(super) fn read_channel(text: &str) -> Result<ChannelName, String> {
    ChannelName::parse(text).map_err(|error| error.to_string())
}

fn read_encoding(text: &str) -> Result<Encoding, String> {
    match text {
        "json" => Ok(Encoding::Json),
        "protobuf" => Ok(Encoding::Protobuf),
        _ => Err("an encoding is json or protobuf".to_owned()),
    }
}
