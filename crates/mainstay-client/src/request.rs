//! Requests that wait for their replies.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_wire::End;
use mainstay_wire::command::CommandMessage;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::limits::TABLE_COUNT_MAX;

/// The server's answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The request's number.
    pub request_id: i64,
    /// Whether the command succeeded.
    pub success: bool,
    /// The result (`someOtherThing`).
    pub payload: String,
    /// From the request's being queued on the connection to the reply's being read from it.
    pub round_trip: Duration,
}

/// Why a request has no reply.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The command never ran, for certain: no server received the whole request.
    #[error("the request was not sent: {reason}")]
    NotSent {
        /// Why not.
        reason: NotSentReason,
    },
    /// The connection ended between the request and its reply. In this dialect nothing more can be
    /// known: the command may have run, or not.
    #[error("the connection ended before the reply; whether the command ran is unknown ({end})")]
    Indeterminate {
        /// How the connection ended.
        end: Arc<End>,
    },
    /// No reply came within the request timeout. The command may have run, or may run yet; a late
    /// reply is discarded.
    #[error("no reply within {:.1} s; whether the command ran is unknown", after.as_secs_f64())]
    TimedOut {
        /// The timeout.
        after: Duration,
    },
    /// The client is closed. The command never ran.
    #[error("the client is closed; the request was not sent")]
    Closed,
}

/// Why a request was not sent.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum NotSentReason {
    /// There is no connection at the moment.
    #[error("not connected")]
    NotConnected,
    /// The connection ended before the whole request was handed to the operating system.
    #[error("the connection ended first ({0})")]
    ConnectionLost(Arc<End>),
    /// The caller is at fault: the request is longer than the limit.
    #[error("its {bytes} bytes are over the limit of {bytes_max}")]
    TooLarge {
        /// The bytes of the request's JSON text.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A limit was reached: so many requests wait for their replies that no place became free
    /// within the request timeout.
    #[error("too many requests wait for their replies")]
    NoRoom,
}

/// A request on its way to the connection.
pub(crate) struct Outgoing {
    pub(crate) request_id: i64,
    pub(crate) json: Vec<u8>,
    pub(crate) answer: Answer,
}

/// Where a request's outcome goes.
pub(crate) type Answer = oneshot::Sender<Result<Reply, RequestError>>;

impl Outgoing {
    pub(crate) fn refuse(self, reason: NotSentReason) {
        // Nobody may be waiting any more.
        let _ = self.answer.send(Err(RequestError::NotSent { reason }));
    }
}

/// The requests that one connection has been given and not answered.
#[derive(Default)]
pub(crate) struct Table {
    pending: BTreeMap<i64, Pending>,
}

struct Pending {
    answer: Answer,
    queued_at: Instant,
    /// The connection's written bytes once the request is written whole.
    written_at_bytes: u64,
}

impl Table {
    /// `written_at_bytes` is what the connection will have written when the request is out.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        request_id: i64,
        answer: Answer,
        written_at_bytes: u64,
    ) {
        if self.pending.len() >= TABLE_COUNT_MAX {
            self.pending.retain(|_, pending| !pending.answer.is_closed());
        }
        self.pending.insert(request_id, Pending { answer, queued_at: now, written_at_bytes });
    }

    /// Delivers a reply; false if it answers no request of this connection.
    pub(crate) fn settle(&mut self, now: Instant, message: &CommandMessage<'_>) -> bool {
        let Some(pending) = self.pending.remove(&message.request_id) else { return false };
        let reply = Reply {
            request_id: message.request_id,
            success: message.success,
            payload: message.some_other_thing.clone().into_owned(),
            round_trip: now.saturating_duration_since(pending.queued_at),
        };
        // Nobody is waiting any more if the request was abandoned.
        let _ = pending.answer.send(Ok(reply));
        true
    }

    /// The connection ended after `written_bytes`: a request that was not written whole cannot have
    /// run, about the others nothing can be known.
    pub(crate) fn fail(&mut self, written_bytes: u64, end: &Arc<End>) {
        for (_, pending) in mem::take(&mut self.pending) {
            let error = if written_bytes + PONG_BYTES_MAX < pending.written_at_bytes {
                RequestError::NotSent { reason: NotSentReason::ConnectionLost(Arc::clone(end)) }
            } else {
                RequestError::Indeterminate { end: Arc::clone(end) }
            };
            let _ = pending.answer.send(Err(error));
        }
    }
}

/// A pong that waited before a request may have been replaced by a shorter one, so that the request
/// went out earlier than reckoned by at most this: head, mask and payload (RFC 6455 §5.5).
const PONG_BYTES_MAX: u64 = 2 + 4 + 125;

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_wire::EndReason;

    #[test]
    fn what_was_not_written_whole_never_ran() {
        let mut table = Table::default();
        let now = Instant::now();
        let mut outcomes = Vec::new();
        for (request_id, written_at_bytes) in [(1, 1000), (2, 1131), (3, 1132)] {
            let (answer, outcome) = oneshot::channel();
            table.insert(now, request_id, answer, written_at_bytes);
            outcomes.push(outcome);
        }
        table.fail(1000, &Arc::new(End::new(EndReason::PeerReset, "")));
        let mut outcomes = outcomes.into_iter().map(|mut outcome| outcome.try_recv().unwrap());
        for _ in 0..2 {
            assert!(matches!(outcomes.next(), Some(Err(RequestError::Indeterminate { .. }))));
        }
        assert!(matches!(outcomes.next(), Some(Err(RequestError::NotSent { .. }))));
    }

    #[test]
    fn abandoned_requests_do_not_pile_up() {
        let mut table = Table::default();
        let now = Instant::now();
        let (answer, live) = oneshot::channel();
        table.insert(now, 0, answer, 0);
        for request_id in 1..=10 * TABLE_COUNT_MAX as i64 {
            table.insert(now, request_id, oneshot::channel().0, 0);
            assert!(table.pending.len() <= TABLE_COUNT_MAX + 1);
        }
        assert!(table.settle(now, &CommandMessage::default()), "the live one is kept");
        drop(live);
    }
}
