//! The way to the server, whatever state it is in.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

use mainstay_wire::{End, EndReason};
use tokio::time::{Instant, sleep_until};

use crate::endpoint::Endpoint;
use crate::socket::{Next, Reading};
use crate::{ConnectError, ConnectOptions, Message, Socket};

/// One connection after the other.
pub(super) enum Line {
    Dialling(Pin<Box<dyn Future<Output = Result<Socket, ConnectError>> + Send>>),
    Open(Box<Socket>),
    Waiting {
        until: Instant,
        attempt: u32,
    },
    /// There will be no more.
    Idle,
}

/// What a line waited for.
pub(super) enum LineEvent {
    Dialled(Result<Box<Socket>, ConnectError>),
    Received(Message),
    /// The socket's outbox has room again.
    Room,
    Ended(End),
    /// It is time to dial.
    Rested {
        attempt: u32,
    },
}

impl Line {
    pub(super) fn dial(target: &Arc<(Endpoint, ConnectOptions)>) -> Line {
        let target = Arc::clone(target);
        Line::Dialling(Box::pin(async move { Socket::open(&target.0, &target.1).await }))
    }

    /// Waits for the next event. May be dropped and called again without losing anything.
    pub(super) async fn next(&mut self, reading: Reading) -> LineEvent {
        match self {
            Line::Dialling(dialled) => LineEvent::Dialled(dialled.await.map(Box::new)),
            Line::Open(socket) => match socket.next_or_room(reading).await {
                Next::Received(message) => LineEvent::Received(message),
                Next::Room => LineEvent::Room,
                Next::Ended => {
                    let ended = || End::new(EndReason::IoError, "the connection ended");
                    LineEvent::Ended(socket.end().cloned().unwrap_or_else(ended))
                }
            },
            Line::Waiting { until, attempt } => {
                sleep_until(*until).await;
                LineEvent::Rested { attempt: *attempt }
            }
            Line::Idle => pending().await,
        }
    }

    /// Whether what is sent now would only pile up.
    pub(super) fn is_congested(&self) -> bool {
        matches!(self, Line::Open(socket) if !socket.has_room())
    }
}
