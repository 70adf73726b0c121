//! `mainstay publish`: events into a channel, each exactly once.

use std::collections::VecDeque;
use std::io;
use std::process::ExitCode;

use mainstay_client::frames::Outcome;
use mainstay_client::{Call, ChannelName, Pending, RequestFailure, SendError};
use mainstay_client::{Published, Restored};
use tokio::sync::mpsc;

use super::link::{self, Failure, Link, LinkArguments, StateArguments, read_channel};
use super::print::{self, Format};
use crate::{EXIT_FAILED, EXIT_INDETERMINATE, EXIT_USAGE, stdin};

/// Append events to a channel, each exactly once
///
/// Each event is kept until the server has stored it, over as many connections as that takes, and
/// its place is printed: the channel and the offset. A payload is a text; with --json, a JSON value.
///
/// With --state everything that was read is kept in a file before it is sent. A run that is stopped
/// leaves there what is not stored yet, and the next run with the file stores it, once.
///
/// The exit code is 0 if every event is stored, 1 if one is not, 2 if the command line is wrong, 3
/// if it is unknown of one whether it is stored and of none that it is not, and 130 after a second
/// Ctrl-C.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mainstay publish news 'It works.'                    one event
  tail -F app.log | mainstay publish log - --state log.session
                                                       one for each line, kept over restarts
  mainstay publish news --json '{\"headline\": \"x\"}'     JSON, not text")]
pub(crate) struct Arguments {
    /// The channel
    #[arg(value_name = "CHANNEL", value_parser = read_channel)]
    channel: ChannelName,

    /// The event; `-`, and nothing, mean one for each line of stdin
    #[arg(value_name = "PAYLOAD", default_value = "-", hide_default_value = true)]
    payload: String,

    #[command(flatten)]
    state: StateArguments,

    #[command(flatten)]
    link: LinkArguments,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    link::run("publish", publish(arguments))
}

async fn publish(arguments: Arguments) -> Result<ExitCode, Failure> {
    let format = arguments.link.format();
    let lines = if arguments.payload == "-" {
        stdin::read_lines()?
    } else {
        // Wrong words are told before anything is connected.
        print::read_payload(format, &arguments.payload)
            .map_err(|message| Failure { code: EXIT_USAGE, message })?;
        let (sender, lines) = mpsc::channel(1);
        let _ = sender.send(Ok(arguments.payload.clone())).await;
        lines
    };
    let Some(link) = arguments.link.open(arguments.state.state.as_deref()).await? else {
        return Ok(ExitCode::from(EXIT_FAILED));
    };
    let mut run = Run { link, lines, format, waiting: VecDeque::new(), worst: Worst::Stored };
    for Restored { call, pending } in run.link.session.restored() {
        if let Call::Publish { channel, .. } = call {
            run.waiting.push_back(Waiting { channel, pending: Place::Restored(pending) });
        }
    }
    let outcome = run.work(&arguments.channel).await;
    let waiting_count = run.waiting.len();
    let was_over = run.link.end();
    run.link.finish().await;
    if let Some(end) = was_over {
        return Err(Failure::new(end));
    }
    outcome?;
    if let (true, Some(path)) = (waiting_count > 0, &arguments.state.state) {
        let path = path.display();
        let message = format!("{waiting_count} events wait in {path} for the next run");
        return Err(Failure::new(message));
    }
    Ok(match run.worst {
        Worst::Stored if waiting_count == 0 => ExitCode::SUCCESS,
        Worst::Indeterminate if waiting_count == 0 => ExitCode::from(EXIT_INDETERMINATE),
        _ => ExitCode::from(EXIT_FAILED),
    })
}

struct Run {
    link: Link,
    lines: mpsc::Receiver<io::Result<String>>,
    format: Format,
    /// Events without an outcome, in order.
    waiting: VecDeque<Waiting>,
    worst: Worst,
}

struct Waiting {
    channel: ChannelName,
    pending: Place,
}

enum Place {
    New(Pending<Published>),
    /// Of an earlier run.
    Restored(Pending<Outcome>),
}

/// The worst that has become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worst {
    Stored,
    Indeterminate,
    NotStored,
}

impl Run {
    async fn work(&mut self, channel: &ChannelName) -> Result<(), Failure> {
        let mut is_open = true;
        while is_open || !self.waiting.is_empty() {
            let takes_lines = is_open && self.waiting.len() < WAITING_COUNT_MAX;
            tokio::select! {
                _ = self.link.stop.asked() => return Ok(()),
                outcome = first_outcome(&mut self.waiting), if !self.waiting.is_empty() => {
                    let Some(waiting) = self.waiting.pop_front() else { continue };
                    self.report(&waiting.channel, outcome)?;
                }
                line = self.lines.recv(), if takes_lines => match line {
                    Some(line) => self.publish(channel, &line?).await?,
                    None => is_open = false,
                },
            }
        }
        Ok(())
    }

    async fn publish(&mut self, channel: &ChannelName, line: &str) -> Result<(), Failure> {
        let payload = match print::read_payload(self.format, line) {
            Ok(payload) => payload,
            Err(message) => return self.reject(&message),
        };
        match self.link.session.publish(channel, payload).await {
            Ok(pending) => {
                let channel = channel.clone();
                self.waiting.push_back(Waiting { channel, pending: Place::New(pending) });
                Ok(())
            }
            Err(SendError::Over) => {
                let mut states = self.link.session.states();
                while states.recv().await.is_some() {}
                Err(Failure::new(SendError::Over))
            }
            Err(error) => self.reject(&error.to_string()),
        }
    }

    fn reject(&mut self, message: &str) -> Result<(), Failure> {
        self.worst = Worst::NotStored;
        print::not_done("publish", self.format, "failed", None, message)?;
        Ok(())
    }

    fn report(
        &mut self,
        channel: &ChannelName,
        outcome: Result<Published, RequestFailure>,
    ) -> Result<(), Failure> {
        let failure = match outcome {
            Ok(place) => return Ok(print::published(self.format, channel.as_str(), &place)?),
            Err(failure) => failure,
        };
        let (status, code, worst) = match &failure {
            RequestFailure::Indeterminate => ("indeterminate", None, Worst::Indeterminate),
            RequestFailure::Failed(failure) => {
                ("failed", Some(failure.code.word()), Worst::NotStored)
            }
            RequestFailure::NeverRan(_) => ("failed", Some("never_ran"), Worst::NotStored),
            _ => ("failed", None, Worst::NotStored),
        };
        self.worst = self.worst.max(worst);
        print::not_done("publish", self.format, status, code, &failure.to_string())?;
        Ok(())
    }
}

/// The outcome of the oldest event; it stays in its place. There is one.
async fn first_outcome(waiting: &mut VecDeque<Waiting>) -> Result<Published, RequestFailure> {
    match waiting.front_mut().map(|waiting| &mut waiting.pending) {
        Some(Place::New(pending)) => pending.await,
        Some(Place::Restored(pending)) => match pending.await? {
            Outcome::Published { epoch, offset } => Ok(Published { epoch, offset }),
            // No server of ours says so of an event.
            _ => Err(RequestFailure::Indeterminate),
        },
        None => std::future::pending().await,
    }
}

/// Events under way at once; as many as a server takes by default.
const WAITING_COUNT_MAX: usize = 256;
