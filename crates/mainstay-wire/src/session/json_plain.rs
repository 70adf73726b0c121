//! Frames out of JSON text that is as plain as nearly all of it is: those that come with every request
//! and every event, read without serde.
//!
//! Only what is right is read here. Whatever is unusual is `None`: another frame, an escape, a `null`, a
//! member that comes twice or that nobody knows. [`json_read`](super::json_read) then reads the message
//! from its beginning; so what is valid, what it means, and what is wrong with it is said there alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::encoding::{CURSOR_COUNT_MAX, NUMBER_MAX, parse_epoch, read_failure};
use super::{
    Ack, ClientFrame, Event, Offset, Outcome, Payload, Publish, Reply, Request, ServerFrame,
};
use crate::ChannelName;
use crate::json::Scanner;

pub(super) fn client_frame(message: &[u8]) -> Option<ClientFrame> {
    let mut members = Members::default();
    members.read(message)?;
    Some(match members.kind? {
        "request" => ClientFrame::Request(members.request()?),
        "cancel" => ClientFrame::Cancel { number: members.number? },
        "publish" => ClientFrame::Publish(members.publish()?),
        "reply" => ClientFrame::Reply(members.reply()?),
        "ack" => ClientFrame::Ack(members.ack()?),
        "ping" => ClientFrame::Ping,
        "pong" => ClientFrame::Pong,
        _ => return None,
    })
}

pub(super) fn server_frame(message: &[u8]) -> Option<ServerFrame> {
    let mut members = Members::default();
    members.read(message)?;
    Some(match members.kind? {
        "reply" => ServerFrame::Reply(members.reply()?),
        "request" => ServerFrame::Request(members.request()?),
        "cancel" => ServerFrame::Cancel { number: members.number? },
        "event" => ServerFrame::Event(members.event()?),
        "ack" => ServerFrame::Ack { number: members.number? },
        "ping" => ServerFrame::Ping,
        "pong" => ServerFrame::Pong,
        _ => return None,
    })
}

/// The members that stand in a frame, whatever its type: one that is not the frame's means nothing.
#[derive(Default)]
struct Members<'a> {
    kind: Option<&'a str>,
    number: Option<u64>,
    command: Option<&'a str>,
    channel: Option<&'a str>,
    /// JSON text.
    payload: Option<&'a str>,
    data: Option<&'a str>,
    deadline_ms: Option<u64>,
    status: Option<&'a str>,
    epoch: Option<&'a str>,
    offset: Option<u64>,
    at_ms: Option<u64>,
    error: Option<&'a str>,
    message: Option<&'a str>,
    unanswered_from: Option<u64>,
    cursors: Option<Vec<(ChannelName, Offset)>>,
}

impl<'a> Members<'a> {
    fn read(&mut self, message: &'a [u8]) -> Option<()> {
        let mut scanner = Scanner::new(std::str::from_utf8(message).ok()?);
        scanner.list(*b"{}", |scanner| self.read_one(scanner))?;
        scanner.end()
    }

    /// Names are compared with the colons behind them, which takes no loop to see.
    #[inline(always)]
    fn read_one(&mut self, scanner: &mut Scanner<'a>) -> Option<()> {
        match scanner.initial()? {
            b't' if scanner.literal(br#""type":"#) => once(&mut self.kind, scanner.string()),
            b'n' if scanner.literal(br#""number":"#) => {
                once(&mut self.number, read_number(scanner))
            }
            b'c' if scanner.literal(br#""command":"#) => once(&mut self.command, scanner.string()),
            b'c' if scanner.literal(br#""channel":"#) => once(&mut self.channel, scanner.string()),
            b'p' if scanner.literal(br#""payload":"#) => once(&mut self.payload, scanner.value()),
            b'd' if scanner.literal(br#""data":"#) => once(&mut self.data, scanner.string()),
            b'd' if scanner.literal(br#""deadline_ms":"#) => {
                once(&mut self.deadline_ms, read_number(scanner))
            }
            b's' if scanner.literal(br#""status":"#) => once(&mut self.status, scanner.string()),
            b'e' if scanner.literal(br#""epoch":"#) => once(&mut self.epoch, scanner.string()),
            b'o' if scanner.literal(br#""offset":"#) => {
                once(&mut self.offset, read_number(scanner))
            }
            b'a' if scanner.literal(br#""at_ms":"#) => once(&mut self.at_ms, read_number(scanner)),
            b'e' if scanner.literal(br#""error":"#) => once(&mut self.error, scanner.string()),
            b'm' if scanner.literal(br#""message":"#) => once(&mut self.message, scanner.string()),
            b'u' if scanner.literal(br#""unanswered_from":"#) => {
                once(&mut self.unanswered_from, read_number(scanner))
            }
            b'c' if scanner.literal(br#""cursors":"#) => {
                once(&mut self.cursors, read_places(scanner))
            }
            _ => None,
        }
    }

    fn request(&self) -> Option<Request> {
        Some(Request {
            number: self.number?,
            command: self.command?.to_owned(),
            payload: self.payload()?,
            deadline_ms: self.deadline_ms,
        })
    }

    fn publish(&self) -> Option<Publish> {
        Some(Publish { number: self.number?, channel: self.channel()?, payload: self.payload()? })
    }

    fn event(&self) -> Option<Event> {
        Some(Event {
            channel: self.channel()?,
            offset: Offset(self.offset?),
            at_ms: self.at_ms?,
            payload: self.payload()?,
        })
    }

    fn reply(&self) -> Option<Reply> {
        let outcome = match self.status? {
            "done" => Outcome::Done(self.payload()?),
            "published" => Outcome::Published {
                epoch: parse_epoch(self.epoch?).ok()?,
                offset: Offset(self.offset?),
            },
            "failed" => Outcome::Failed(read_failure(self.error?, self.message?.to_owned())),
            "indeterminate" => Outcome::Indeterminate,
            _ => return None,
        };
        Some(Reply { number: self.number?, outcome })
    }

    fn ack(self) -> Option<Ack> {
        Some(Ack { unanswered_from: self.unanswered_from?, cursors: self.cursors? })
    }

    fn channel(&self) -> Option<ChannelName> {
        ChannelName::parse_any(self.channel?).ok()
    }

    fn payload(&self) -> Option<Payload> {
        match (self.payload, self.data) {
            (Some(_), Some(_)) => None,
            (Some("null") | None, None) => Some(Payload::NULL),
            (Some(json), None) => {
                Some(Payload::from_json_bytes(Bytes::copy_from_slice(json.as_bytes())))
            }
            (None, Some(data)) => STANDARD.decode(data).ok().map(Payload::binary),
        }
    }
}

/// Puts down what was read, if it was and nothing is there.
fn once<T>(member: &mut Option<T>, read: Option<T>) -> Option<()> {
    let is_first = member.is_none();
    *member = Some(read?);
    is_first.then_some(())
}

fn read_number(scanner: &mut Scanner<'_>) -> Option<u64> {
    u64::try_from(scanner.integer()?).ok().filter(|number| *number <= NUMBER_MAX)
}

/// Channels and offsets.
fn read_places(scanner: &mut Scanner<'_>) -> Option<Vec<(ChannelName, Offset)>> {
    let mut places = Vec::new();
    scanner.list(*b"[]", |scanner| {
        let (mut channel, mut offset) = (None, None);
        scanner.list(*b"{}", |scanner| {
            let name = scanner.string()?;
            scanner.sign(b':')?;
            match name {
                "channel" => once(&mut channel, scanner.string()),
                "offset" => once(&mut offset, read_number(scanner)),
                _ => None,
            }
        })?;
        places.push((ChannelName::parse_any(channel?).ok()?, Offset(offset?)));
        (places.len() <= CURSOR_COUNT_MAX).then_some(())
    })?;
    Some(places)
}

#[cfg(test)]
mod tests;
