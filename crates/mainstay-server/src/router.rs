//! Commands and the handlers that run them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mainstay_wire::session::{ErrorCode, Payload, PayloadKind, Principal, SessionId};

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
    /// What the client sent along: `someOtherThing`, or a session's payload as text (a JSON string
    /// as what it means, other JSON as it is written).
    pub payload: String,
    /// What is known besides when the request came in a session.
    pub session: Option<SessionRequest>,
    /// How long the handler has, from when it is started: then it is stopped.
    pub timeout: Duration,
    /// For speaking to others.
    pub hub: Hub,
}

/// What a request of a session has besides.
#[derive(Clone, Debug)]
pub struct SessionRequest {
    /// Which session.
    pub session: SessionId,
    /// Who it belongs to.
    pub principal: Option<Principal>,
    /// The payload as it was sent.
    pub payload: Payload,
}

impl Request {
    /// A name for this request that is the same however often it is sent, and no other's: what a
    /// handler gives to services behind it, so that they do a thing once. `None` in the command
    /// dialect, which never sends again.
    pub fn idempotency_key(&self) -> Option<String> {
        self.session.as_ref().map(|session| format!("{}:{}", session.session, self.request_id))
    }
}

/// What a handler answers: the result's text, or why there is none.
pub type Outcome = Result<String, CommandError>;

/// What a handler has answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Text(String),
    Payload(Payload),
}

impl Answer {
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self {
            Answer::Text(text) => Cow::Borrowed(text),
            Answer::Payload(payload) => payload_text(payload),
        }
    }

    pub(crate) fn into_payload(self) -> Payload {
        match self {
            Answer::Text(text) => Payload::text(&text),
            Answer::Payload(payload) => payload,
        }
    }
}

/// A payload for those who know only texts: a JSON string as what it means, other JSON as it is
/// written, bytes as well as they can be read.
pub(crate) fn payload_text(payload: &Payload) -> Cow<'_, str> {
    let text = match payload.kind {
        PayloadKind::Json => serde_json::from_slice::<String>(&payload.bytes).ok(),
        PayloadKind::Binary => None,
    };
    text.map_or_else(|| String::from_utf8_lossy(&payload.bytes), Cow::Owned)
}

/// Why a command failed: what the client is told, and apart from it what the log is told.
#[derive(Debug)]
pub struct CommandError {
    code: ErrorCode,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl CommandError {
    /// A failure that the client may read about.
    pub fn new(message: impl Into<String>) -> CommandError {
        CommandError::with_code(ErrorCode::HandlerFailed, message)
    }

    /// The same with another word of PROTOCOL.md, which only sessions are told:
    /// [`ErrorCode::NeverRan`] for what certainly has done nothing.
    pub fn with_code(code: ErrorCode, message: impl Into<String>) -> CommandError {
        CommandError { code, message: message.into(), source: None }
    }

    /// What a program goes by.
    pub fn code(&self) -> ErrorCode {
        self.code
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
        let message = "internal error".to_owned();
        CommandError { code: ErrorCode::Internal, message, source: Some(Box::new(error)) }
    }
}

/// Handlers by the name of their command.
///
/// A handler is async. It begins on the thread of its connection's shard, where most are done at once;
/// one that waits goes on on the runtime that the server was started on. It must not block its thread:
/// one that has to is registered with [`blocking_handler`](Router::blocking_handler). Commands of one
/// connection run one at a time, in order; those of different connections do not wait for each
/// other. A handler that panics, fails or takes too long costs its own caller a `success:false` and
/// nobody anything else. A handler runs to its end even if its connection does not.
#[derive(Clone)]
pub struct Router {
    handlers: HashMap<String, Handler>,
    /// Absent while it is the answer that is built in.
    fallback: Option<Handler>,
}

pub(crate) type Running = Pin<Box<dyn Future<Output = Result<Answer, CommandError>> + Send>>;
pub(crate) type Handler = Arc<dyn Fn(Request) -> Running + Send + Sync>;

impl Router {
    /// A router that answers every command with `Server processed command: <command>`.
    pub fn new() -> Router {
        Router { handlers: HashMap::new(), fallback: None }
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

    /// The same for a handler that answers with more than a text.
    #[must_use]
    pub fn payload_handler<F, R>(mut self, command: impl Into<String>, run: F) -> Router
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Payload, CommandError>> + Send + 'static,
    {
        self.handlers.insert(command.into(), payload_handler(run));
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
        self.fallback = Some(handler(run));
        self
    }

    /// The same with a handler that answers with more than a text.
    #[must_use]
    pub fn payload_fallback<F, R>(mut self, run: F) -> Router
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Payload, CommandError>> + Send + 'static,
    {
        self.fallback = Some(payload_handler(run));
        self
    }

    /// The handler of a command; `None` if the [built-in answer](built_in_answer) is its reply.
    pub(crate) fn find(&self, command: &str) -> Option<&Handler> {
        self.handlers.get(command).or(self.fallback.as_ref())
    }

    pub(crate) fn call(&self, request: Request) -> Running {
        match self.find(&request.command) {
            Some(handler) => handler(request),
            None => {
                let answer = Answer::Text(built_in_answer(&request.command));
                Box::pin(std::future::ready(Ok(answer)))
            }
        }
    }
}

/// How a command is answered that nobody has registered a handler for.
pub(crate) fn built_in_answer(command: &str) -> String {
    ["Server processed command: ", command].concat()
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

fn payload_handler<F, R>(run: F) -> Handler
where
    F: Fn(Request) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Payload, CommandError>> + Send + 'static,
{
    Arc::new(move |request| {
        let running = run(request);
        Box::pin(async move { running.await.map(Answer::Payload) })
    })
}

fn handler<F, R>(run: F) -> Handler
where
    F: Fn(Request) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    Arc::new(move |request| {
        let running = run(request);
        Box::pin(async move { running.await.map(Answer::Text) })
    })
}
