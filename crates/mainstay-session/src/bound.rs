//! No reply is longer than a message may be.

use mainstay_wire::session::{ErrorCode, Failure, Outcome, Reply};

/// The reply, or a failure that says `too_big` in its place if it takes more than `bytes_max`. A reply is
/// kept and sent again until it has arrived: one that the other side does not take would end one
/// connection after the other.
pub fn bounded_reply(
    reply: Reply,
    bytes_max: usize,
    bytes_of: impl FnOnce(&Reply) -> usize,
) -> Reply {
    let (what, said_bytes) = match &reply.outcome {
        Outcome::Done(payload) => ("it ran, and its result", payload.bytes.len()),
        Outcome::Failed(failure) => ("it failed, and its message", failure.message.len()),
        Outcome::Published { .. } | Outcome::Indeterminate => return reply,
    };
    if is_surely_short(said_bytes, bytes_max) {
        return reply;
    }
    let bytes = bytes_of(&reply);
    if bytes <= bytes_max {
        return reply;
    }
    let message = format!("{what} makes a message of {bytes} bytes, over the limit of {bytes_max}");
    let failure = Failure { code: ErrorCode::TooBig, message };
    Reply { outcome: Outcome::Failed(failure), ..reply }
}

/// Whether a request or reply with so many bytes of an application's makes a message within a limit, for
/// certain: nearly all are so short that nobody need count.
pub(crate) fn is_surely_short(said_bytes: usize, bytes_max: usize) -> bool {
    said_bytes.saturating_mul(ESCAPE_BYTES).saturating_add(FRAME_BYTES) <= bytes_max
}

/// A byte of a text may become an escape of six in JSON, and nothing grows by more.
const ESCAPE_BYTES: usize = 6;
/// What stands around it, at most.
const FRAME_BYTES: usize = 256;
