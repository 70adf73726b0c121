//! What may be said at all: what every peer can take.

use mainstay_wire::session::{ErrorCode, Failure, NESTING_MAX, Outcome, Payload};

use crate::Node;

impl Node {
    /// Whether every client can take an event with this payload, in either encoding: a client takes
    /// events that are a third and 1 KiB longer than the messages that it may send itself
    /// (PROTOCOL.md, "Requests"). What is in a log comes again to whoever comes back, and one event that
    /// is too long would end each connection anew.
    pub(crate) fn check_size(&self, payload: &Payload) -> Result<(), Failure> {
        let (bytes, bytes_max) = (payload.bytes.len(), self.config.message_bytes_max);
        if bytes > bytes_max as usize {
            let message = format!("a payload of {bytes} bytes is over the limit of {bytes_max}");
            return Err(Failure { code: ErrorCode::TooBig, message });
        }
        Ok(())
    }
}

/// Whether a payload is one that parsers bear. Many recurse, and whoever publishes must not be able to
/// break those who listen.
pub(crate) fn check_depth(payload: &Payload) -> Result<(), Failure> {
    if !payload.is_too_deep() {
        return Ok(());
    }
    let message = format!("a JSON payload nests at most {NESTING_MAX} levels deep");
    Err(Failure { code: ErrorCode::Malformed, message })
}

/// The outcome, or a failure in its place that says why nobody can be told of it.
pub(crate) fn fit_outcome(outcome: Outcome) -> Outcome {
    match &outcome {
        Outcome::Done(payload) => match check_depth(payload) {
            Ok(()) => outcome,
            Err(Failure { code, message }) => {
                Outcome::Failed(Failure { code, message: format!("it ran; its result: {message}") })
            }
        },
        _ => outcome,
    }
}
