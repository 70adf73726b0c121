//! Requests on their way, and what becomes of them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use mainstay_session::client::{Call, Refused, RequestKey};
use mainstay_wire::session::{Epoch, ErrorCode, Failure, Offset, Outcome, Payload};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::driver::Wish;

/// A request that the session keeps until it has its outcome, over as many connections as that
/// takes. Await it for the outcome. Dropping it changes nothing but that nobody hears of it.
#[derive(Debug)]
#[must_use = "the outcome may be a failure"]
pub struct Pending<T> {
    key: RequestKey,
    outcome: oneshot::Receiver<Outcome>,
    read: fn(Outcome) -> Result<T, RequestFailure>,
    wishes: mpsc::Sender<Wish>,
}

/// Where an event was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The channel's incarnation.
    pub epoch: Epoch,
    /// The event's position.
    pub offset: Offset,
}

/// A request that an earlier run has left without an outcome.
#[derive(Debug)]
pub struct Restored {
    /// What was asked for.
    pub call: Call,
    /// Its outcome, to be awaited.
    pub pending: Pending<Outcome>,
}

/// Why a request cannot be taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// It will never run.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The session is over for this program. The request never ran; but if the state file failed
    /// just now, a later run may find it there.
    #[error("the session is over")]
    Over,
}

/// Why a request has no result.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum RequestFailure {
    /// It did not run and never will.
    #[error("it never ran: {0}")]
    NeverRan(String),
    /// The handler failed or was stopped, or nothing was done; the code tells.
    #[error("{}: {}", .0.code, .0.message)]
    Failed(Failure),
    /// It may have run, and nobody will ever know with what result.
    #[error("whether it ran is unknown and will remain so")]
    Indeterminate,
    /// The program left the session before the outcome came. The next run with the same state file
    /// learns it ([`Session::restored`](super::Session::restored)).
    #[error("the session was left before the outcome came")]
    Left,
}

impl<T> Pending<T> {
    pub(super) fn new(
        key: RequestKey,
        outcome: oneshot::Receiver<Outcome>,
        read: fn(Outcome) -> Result<T, RequestFailure>,
        wishes: mpsc::Sender<Wish>,
    ) -> Pending<T> {
        Pending { key, outcome, read, wishes }
    }

    /// Names the request for as long as its state is kept.
    pub fn key(&self) -> RequestKey {
        self.key
    }

    /// The outcome is no longer wanted: what has not run will not, what runs is stopped. The outcome
    /// comes all the same, and says which.
    pub async fn cancel(&self) {
        let _ = self.wishes.send(Wish::Cancel(self.key)).await;
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, RequestFailure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = Pin::new(&mut self.outcome).poll(context);
        outcome.map(|outcome| match outcome {
            Ok(outcome) => (self.read)(outcome),
            Err(_) => Err(RequestFailure::Left),
        })
    }
}

pub(super) fn read_done(outcome: Outcome) -> Result<Payload, RequestFailure> {
    match outcome {
        Outcome::Done(payload) => Ok(payload),
        other => Err(failure_of(other)),
    }
}

pub(super) fn read_published(outcome: Outcome) -> Result<Published, RequestFailure> {
    match outcome {
        Outcome::Published { epoch, offset } => Ok(Published { epoch, offset }),
        other => Err(failure_of(other)),
    }
}

pub(super) fn read_any(outcome: Outcome) -> Result<Outcome, RequestFailure> {
    match outcome {
        Outcome::Done(_) | Outcome::Published { .. } => Ok(outcome),
        other => Err(failure_of(other)),
    }
}

fn failure_of(outcome: Outcome) -> RequestFailure {
    match outcome {
        Outcome::Failed(Failure { code: ErrorCode::NeverRan, message }) => {
            RequestFailure::NeverRan(message)
        }
        Outcome::Failed(failure) => RequestFailure::Failed(failure),
        Outcome::Indeterminate => RequestFailure::Indeterminate,
        Outcome::Done(_) | Outcome::Published { .. } => {
            let message = "the server's outcome is not one of this kind of request".to_owned();
            RequestFailure::Failed(Failure { code: ErrorCode::Malformed, message })
        }
    }
}
