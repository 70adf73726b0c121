//! Commands and the handlers that run them.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::{ConnectionId, Hub};

/// One command from a client.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks.
    pub connection: ConnectionId,
    /// The request's number, as the client counts.
    pub request_id: i64,
    /// The command's name.
    pub command: String,
    /// What the client sent along (`someOtherThing`).
    pub payload: String,
    /// For speaking to others.
    pub hub: Hub,
}

/// What a handler answers: the result's text, or why there is none.
pub type Outcome = Result<String, CommandError>;

/// Why a command failed: what the client is told, and apart from it what the log is told.
#[derive(Debug)]
pub struct CommandError {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl CommandError {
    /// A failure that the client may read about.
    pub fn new(message: impl Into<String>) -> CommandError {
        CommandError { message: message.into(), source: None }
    }

    /// What the client is told.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What only the log is told.
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync)> {
        self.source.as_deref()
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// So that `?` works in handlers: the client learns that something failed, the log learns what.
impl<E: Error + Send + Sync + 'static> From<E> for CommandError {
    fn from(error: E) -> CommandError {
        CommandError { message: "internal error".to_owned(), source: Some(Box::new(error)) }
    }
}

/// Handlers by the name of their command.
///
/// A handler is async and runs on the shard of its connection: it must not block the thread. One
/// that has to is registered with [`blocking_handler`](Router::blocking_handler). Commands of one
/// connection run one at a time, in order; those of different connections do not wait for each
/// other. A handler that panics, fails or takes too long costs its own caller a `success:false` and
/// nobody anything else. A handler runs to its end even if its connection does not.
#[derive(Clone)]
pub struct Router {
    handlers: HashMap<String, Handler>,
    fallback: Handler,
}

pub(crate) type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;
type Handler = Arc<dyn Fn(Request) -> Running + Send + Sync>;

impl Router {
    /// A router that answers every command with `Server processed command: <command>`.
    pub fn new() -> Router {
        let fallback = |request: Request| async move {
            Ok(["Server processed command: ", &request.command].concat())
        };
        Router { handlers: HashMap::new(), fallback: handler(fallback) }
    }

    /// Runs `run` for the command of exactly this name.
    #[must_use]
    pub fn handler<F, R>(mut self, command: impl Into<String>, run: F) -> Router
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        self.handlers.insert(command.into(), handler(run));
        self
    }

    /// The same for a function that blocks its thread: it runs on a thread of its own.
    #[must_use]
    pub fn blocking_handler<F>(self, command: impl Into<String>, run: F) -> Router
    where
        F: Fn(Request) -> Outcome + Send + Sync + 'static,
    {
        let run = Arc::new(run);
        self.handler(command, move |request| {
            let run = run.clone();
            async move {
                match tokio::task::spawn_blocking(move || run(request)).await {
                    Ok(outcome) => outcome,
                    Err(stopped) => match stopped.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        Err(stopped) => Err(stopped.into()),
                    },
                }
            }
        })
    }

    /// Runs `run` for every command without a handler of its own.
    #[must_use]
    pub fn fallback<F, R>(mut self, run: F) -> Router
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        self.fallback = handler(run);
        self
    }

    pub(crate) fn call(&self, request: Request) -> Running {
        self.handlers.get(&request.command).unwrap_or(&self.fallback)(request)
    }
}

impl Default for Router {
    fn default() -> Router {
        Router::new()
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Router").field("commands", &self.handlers.keys()).finish()
    }
}

fn handler<F, R>(run: F) -> Handler
where
    F: Fn(Request) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    Arc::new(move |request| Box::pin(run(request)))
}
