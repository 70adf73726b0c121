//! The course of a session, as the application sees it.

use std::sync::Arc;
use std::time::Duration;

use mainstay_wire::End;
use mainstay_wire::session::{Principal, SessionId, Standing};
use thiserror::Error;

use super::StateFileError;
use crate::ConnectError;
use crate::state::Stage;

/// What a session is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionState {
    /// Dialling, or waiting for the server's welcome.
    Connecting {
        /// Retries since a connection last lasted: 0 for the first attempt of all, then from 1.
        attempt: u32,
    },
    /// The server has welcomed us.
    Open(Greeting),
    /// The connection was lost; the session is not. It is dialled again.
    Lost {
        /// How the connection ended.
        end: Arc<End>,
        /// The number of the coming attempt.
        attempt: u32,
        /// The wait before it.
        retry_in: Duration,
    },
    /// An attempt to connect failed; there will be another.
    Failed {
        /// Why it failed.
        error: Arc<ConnectError>,
        /// The number of the coming attempt.
        attempt: u32,
        /// The wait before it.
        retry_in: Duration,
    },
    /// The session is over for this program. No state follows.
    Closed {
        /// Why.
        cause: SessionEnd,
    },
}

/// What the server said of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// What became of the session that was wanted back.
    pub standing: Standing,
    /// The session.
    pub session: SessionId,
    /// How many connections it has had.
    pub generation: u64,
    /// Who it belongs to.
    pub principal: Option<Principal>,
    /// The server's name and version.
    pub server: String,
}

/// Why a session is over for this program.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SessionEnd {
    /// The application ended it for good.
    #[error("the session was closed")]
    Closed,
    /// The application left it, to come back with the state file.
    #[error("the session was left")]
    Left,
    /// Another connection has taken it over: the state file, or a copy of it, is in use elsewhere.
    #[error("the session was taken over by another connection")]
    Superseded,
    /// The server closed the connection with a code that says not to come back.
    #[error("the server does not want this client back: {0}")]
    Server(Arc<End>),
    /// A connection could not be made, for a reason that does not go away by itself, or it was the
    /// first.
    #[error(transparent)]
    Refused(Arc<ConnectError>),
    /// The state file failed. What was not safe by then is not.
    #[error(transparent)]
    StateFile(StateFileError),
}

impl Stage for SessionState {
    fn is_last(&self) -> bool {
        matches!(self, SessionState::Closed { .. })
    }
}
