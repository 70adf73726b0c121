//! How long the messages are that carry an application's bytes, known before one is written.

use super::{
    ClientFrame, Encoding, Outcome, Payload, PayloadKind, Publish, Reply, Request, json_write,
    protobuf,
};

impl Encoding {
    /// The bytes of the message that a reply makes, whichever side sends it. Payloads are not copied.
    pub fn reply_bytes(self, reply: &Reply) -> usize {
        self.bytes(ClientFrame::Reply(reply.clone()))
    }

    /// The bytes of the message that a request makes, whichever side sends it.
    pub fn request_bytes(self, request: &Request) -> usize {
        self.bytes(ClientFrame::Request(request.clone()))
    }

    /// The bytes of the message that a publish makes.
    pub fn publish_bytes(self, publish: &Publish) -> usize {
        self.bytes(ClientFrame::Publish(publish.clone()))
    }

    /// What one connection is told may be told again to the next, which speaks as it likes: the bytes
    /// in the encoding that takes more.
    pub fn longest(bytes_in: impl Fn(Encoding) -> usize) -> usize {
        Encoding::ALL.iter().map(|encoding| bytes_in(*encoding)).max().unwrap_or_default()
    }

    fn bytes(self, mut frame: ClientFrame) -> usize {
        match self {
            Encoding::Protobuf => protobuf::client_frame_bytes(&frame),
            Encoding::Json => {
                let payload_bytes = payload_mut(&mut frame).map_or(0, take_json_bytes);
                let mut rest = Vec::new();
                json_write::client_frame(&frame, &mut rest);
                rest.len() + payload_bytes
            }
        }
    }
}

fn payload_mut(frame: &mut ClientFrame) -> Option<&mut Payload> {
    match frame {
        ClientFrame::Request(Request { payload, .. })
        | ClientFrame::Publish(Publish { payload, .. })
        | ClientFrame::Reply(Reply { outcome: Outcome::Done(payload), .. }) => Some(payload),
        _ => None,
    }
}

/// Empties a payload, and says how long it would have been between its quotes or without any.
fn take_json_bytes(payload: &mut Payload) -> usize {
    let bytes = std::mem::take(&mut payload.bytes).len();
    match payload.kind {
        PayloadKind::Json => bytes,
        PayloadKind::Binary => bytes.div_ceil(3) * 4,
    }
}
