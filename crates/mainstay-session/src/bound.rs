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
    let what = match &reply.outcome {
        Outcome::Done(_) => "it ran, and its result",
        Outcome::Failed(_) => "it failed, and its message",
        Outcome::Published { .. } | Outcome::Indeterminate => return reply,
    };
    let bytes = bytes_of(&reply);
    if bytes <= bytes_max {
        return reply;
    }
    let message = format!("{what} makes a message of {bytes} bytes, over the limit of {bytes_max}");
    let failure = Failure { code: ErrorCode::TooBig, message };
    Reply { outcome: Outcome::Failed(failure), ..reply }
}
