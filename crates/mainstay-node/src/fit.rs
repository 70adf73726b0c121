//! What may be said at all: what every client can take.

use mainstay_wire::session::{ErrorCode, Failure, Payload};

use crate::Node;

impl Node {
    /// Whether every client can take an event with this payload, in either encoding: a client takes
    /// events that are a third and 1 KiB longer than the messages that it may send itself
    /// (PROTOCOL.md, "Requests"). What is in a log comes again to whoever comes back, and one event that
    /// is too long would end each connection anew.
    pub(crate) fn check_payload(&self, payload: &Payload) -> Result<(), Failure> {
        let (bytes, bytes_max) = (payload.bytes.len(), self.config.message_bytes_max);
        if bytes > bytes_max as usize {
            let message = format!("a payload of {bytes} bytes is over the limit of {bytes_max}");
            return Err(Failure { code: ErrorCode::TooBig, message });
        }
        Ok(())
    }
}
