//! The application's handlers of the server's commands.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_session::client::CommandKey;
use mainstay_wire::session::{ErrorCode, Failure, Outcome, Payload};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError};

use super::driver::Wish;

/// A command of the server.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServerCommand {
    /// Its number in the session. A handler that began runs at most once for each.
    pub number: u64,
    /// Its name.
    pub command: String,
    /// What it gets.
    pub payload: Payload,
    /// How long the outcome is wanted; then the handler is stopped.
    pub deadline: Option<Duration>,
}

type Handler = Arc<dyn Fn(ServerCommand) -> Running + Send + Sync>;
type Running = Pin<Box<dyn Future<Output = Result<Payload, String>> + Send>>;

/// Who runs which command. A clone is the same table.
#[derive(Clone, Default)]
pub(super) struct Handlers(Arc<Mutex<HashMap<String, Handler>>>);

impl Handlers {
    pub(super) fn insert<F, R>(&self, command: &str, handler: F)
    where
        F: Fn(ServerCommand) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Payload, String>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |command| Box::pin(handler(command)));
        let mut handlers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        handlers.insert(command.to_owned(), handler);
    }

    /// Starts a command's handler; its answer comes as a wish. `None` if there is no handler.
    pub(super) fn start(
        &self,
        key: CommandKey,
        command: ServerCommand,
        wishes: mpsc::Sender<Wish>,
    ) -> Option<AbortHandle> {
        let handlers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let handler = Arc::clone(handlers.get(&command.command)?);
        drop(handlers);
        let deadline = command.deadline;
        let run = tokio::spawn(async move { handler(command).await });
        let handle = run.abort_handle();
        let abort = run.abort_handle();
        tokio::spawn(async move {
            let outcome = match deadline {
                None => outcome_of(run.await),
                Some(deadline) => match tokio::time::timeout(deadline, run).await {
                    Ok(ended) => outcome_of(ended),
                    Err(_) => {
                        abort.abort();
                        failed(ErrorCode::DeadlineExceeded, "stopped at its deadline")
                    }
                },
            };
            let _ = wishes.send(Wish::Answer { key, outcome }).await;
        });
        Some(handle)
    }
}

fn outcome_of(ended: Result<Result<Payload, String>, JoinError>) -> Outcome {
    match ended {
        Ok(Ok(payload)) => Outcome::Done(payload),
        Ok(Err(message)) => failed(ErrorCode::HandlerFailed, &message),
        Err(error) if error.is_cancelled() => failed(ErrorCode::Cancelled, "stopped"),
        Err(_) => failed(ErrorCode::Internal, "the handler panicked"),
    }
}

fn failed(code: ErrorCode, message: &str) -> Outcome {
    Outcome::Failed(Failure { code, message: message.to_owned() })
}
