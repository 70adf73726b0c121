//! A session's options.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use mainstay_session::client::{ClientConfig, ClientSession, Resubscribe};
use mainstay_wire::session::{Encoding, Payload};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::driver::{Driver, Keeper};
use super::handle::Shared;
use super::handlers::Handlers;
use super::line::Line;
use super::pending::read_any;
use super::queue::Attention;
use super::state_file::{Opened, StateFile};
use super::{Pending, Restored, ServerCommand, Session, SessionEnd, SessionState, StateFileError};
use crate::driver::FirstConnect;
use crate::endpoint::Endpoint;
use crate::limits::QUEUE_COUNT_MAX;
use crate::seed::random_bytes;
use crate::state::Course;
use crate::{ConnectError, ConnectOptions, Limits, Reconnect, ReconnectPolicy, Timing, Tls};

/// The options of a [`Session`]. Every default is safe to keep.
#[must_use = "nothing is connected before `connect`"]
pub struct SessionBuilder {
    url: String,
    encoding: Encoding,
    state_file: Option<PathBuf>,
    options: ConnectOptions,
    policy: ReconnectPolicy,
    client: Option<String>,
    outbox_count_max: Option<usize>,
    handlers: Handlers,
}

/// Why a session could not be opened.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The connection could not be made; also a wrong URL or option.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The state file cannot be used.
    #[error(transparent)]
    StateFile(#[from] StateFileError),
    /// The session was over before the server had welcomed us.
    #[error(transparent)]
    Ended(SessionEnd),
}

impl SessionBuilder {
    pub(super) fn new(url: &str) -> SessionBuilder {
        SessionBuilder {
            url: url.to_owned(),
            encoding: Encoding::Json,
            state_file: None,
            options: ConnectOptions::default(),
            policy: ReconnectPolicy::default(),
            client: None,
            outbox_count_max: None,
            handlers: Handlers::default(),
        }
    }

    /// How frames are written. Default: JSON, which a person can read on the wire; Protobuf is
    /// smaller, above all for payloads that are no JSON.
    pub fn encoding(mut self, encoding: Encoding) -> SessionBuilder {
        self.encoding = encoding;
        self
    }

    /// Keeps the session in this file, so that it outlives the program: what was requested or
    /// published is safe before the call returns, and a later run with the same file goes on where
    /// this one was. The file holds the session's secret and is readable by its owner alone; one
    /// session at a time can have it. Default: none.
    pub fn state_file(mut self, path: impl Into<PathBuf>) -> SessionBuilder {
        self.state_file = Some(path.into());
        self
    }

    /// One more header of the handshake request, such as `Authorization`: it decides which
    /// principal the session belongs to.
    pub fn header(mut self, name: &str, value: &str) -> SessionBuilder {
        self.options.dial.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The origin to state. Programs need none; default: none.
    pub fn origin(mut self, origin: &str) -> SessionBuilder {
        self.options.dial.origin = Some(origin.to_owned());
        self
    }

    /// Whom to trust, if the URL is `wss://`. Default: whom the system trusts.
    pub fn tls(mut self, tls: Tls) -> SessionBuilder {
        self.options.tls = tls;
        self
    }

    /// The program's name and version, for the server's log. Default: this crate's.
    pub fn client_name(mut self, name: &str) -> SessionBuilder {
        self.client = Some(name.to_owned());
        self
    }

    /// Requests without an outcome that the session holds, those that wait for a connection
    /// included; more are refused. Default 4,096.
    pub fn outbox_count_max(mut self, count_max: usize) -> SessionBuilder {
        self.outbox_count_max = Some(count_max);
        self
    }

    /// The sizes and counts that one connection may reach. Default: see
    /// [`ConnectOptions::limits`].
    pub fn limits(mut self, limits: Limits) -> SessionBuilder {
        self.options.limits = limits;
        self
    }

    /// The timeouts of one connection. Default: see [`Timing`].
    pub fn timing(mut self, timing: Timing) -> SessionBuilder {
        self.options.timing = timing;
        self
    }

    /// When to dial again. Default: see [`ReconnectPolicy`].
    pub fn reconnect(mut self, policy: ReconnectPolicy) -> SessionBuilder {
        self.policy = policy;
        self
    }

    /// Runs `handler` for the server's commands of this name: see [`Session::handle`].
    pub fn handler<F, R>(self, command: &str, handler: F) -> SessionBuilder
    where
        F: Fn(ServerCommand) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Payload, String>> + Send + 'static,
    {
        self.handlers.insert(command, handler);
        self
    }

    /// Connects and waits for the server's welcome. The first attempt must succeed; later ones are
    /// made for ever. Dropping the future gives up.
    ///
    /// # Errors
    /// See [`SessionError`].
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time enabled.
    pub async fn connect(self) -> Result<Session, SessionError> {
        let session = self.begin(FirstConnect::FailFast).await?;
        let mut states = session.states();
        while let Some(state) = states.recv().await {
            match state {
                SessionState::Open(_) => break,
                SessionState::Closed { cause: SessionEnd::Refused(error) } => {
                    return Err(Arc::unwrap_or_clone(error).into());
                }
                SessionState::Closed { cause } => return Err(SessionError::Ended(cause)),
                _ => {}
            }
        }
        Ok(session)
    }

    /// Begins without waiting for a connection: it is dialled until there is one, and what is
    /// requested meanwhile waits.
    ///
    /// # Errors
    /// The URL is wrong, or the state file cannot be used.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time enabled.
    pub async fn start(self) -> Result<Session, SessionError> {
        self.begin(FirstConnect::Retry).await
    }

    async fn begin(mut self, first_connect: FirstConnect) -> Result<Session, SessionError> {
        let endpoint = Endpoint::parse(&self.url).map_err(ConnectError::from)?;
        let seed = |bytes: std::io::Result<[u8; 32]>| bytes.map_err(ConnectError::from);
        let mut config = ClientConfig::new(seed(random_bytes())?);
        config.encoding = self.encoding;
        config.resubscribe = Resubscribe::WhenAttached;
        config.client = self.client.unwrap_or(config.client);
        config.outbox_count_max = self.outbox_count_max.unwrap_or(config.outbox_count_max);
        let kept = match self.state_file {
            None => None,
            Some(path) => {
                let Opened { file, state } = open_file(path, endpoint.server()).await?;
                Some((file, state))
            }
        };
        let saved = kept.as_ref().map(|(_, state)| state.clone());
        // The session's own state is ahead of what the application was told.
        let unsettled = saved.as_ref().map(|state| state.requests.clone()).unwrap_or_default();
        let session = ClientSession::new(config, saved);
        let (wishes, wished) = mpsc::channel(QUEUE_COUNT_MAX);
        let mut outcomes = HashMap::new();
        let mut restored = Vec::new();
        for (key, request) in unsettled {
            let (settle, outcome) = oneshot::channel();
            outcomes.insert(key, settle);
            let pending = Pending::new(key, outcome, read_any, wishes.clone());
            restored.push(Restored { call: request.call, pending });
        }
        self.options.dial.subprotocols = vec![self.encoding.subprotocol().to_owned()];
        let course = Arc::new(Course::new(SessionState::Connecting { attempt: 0 }));
        let attention = Arc::new(Attention::default());
        let target = Arc::new((endpoint, self.options));
        let driver = Driver {
            session,
            keeper: Keeper::new(kept),
            line: Line::dial(&target),
            target,
            encoding: self.encoding,
            reconnect: Reconnect::new(self.policy, seed(random_bytes())?),
            first_connect,
            wished,
            is_orphaned: false,
            self_wishes: wishes.downgrade(),
            attention: Arc::clone(&attention),
            course: Arc::clone(&course),
            handlers: self.handlers.clone(),
            outcomes,
            kept: Vec::new(),
            queues: Default::default(),
            full: Default::default(),
            is_paused: false,
            running: HashMap::new(),
            leaving: None,
            last_end: None,
            cause: None,
            scratch: Vec::new(),
        };
        tokio::spawn(driver.run());
        let handlers = self.handlers;
        let restored = Mutex::new(restored);
        Ok(Session::new(Shared { wishes, course, attention, handlers, restored }))
    }
}

/// Opening reads the file and may write it anew.
async fn open_file(path: PathBuf, server: String) -> Result<Opened, SessionError> {
    let opening = tokio::task::spawn_blocking(move || StateFile::open(&path, &server));
    let opened = opening.await.map_err(|error| ConnectError::from(std::io::Error::from(error)))?;
    Ok(opened?)
}
