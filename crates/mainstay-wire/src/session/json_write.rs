//! Frames as JSON text, written field by field in the order of PROTOCOL.md's tables.

use std::fmt::Display;
use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{
    Ack, ClientFrame, Cursor, Delivery, Event, Failure, Gap, Hello, Member, Offset, Outcome,
    Payload, PayloadKind, Presence, PresenceMode, Problem, Publish, Reply, Request, ServerFrame,
    SessionLimits, Standing, Start, Subscribe, Subscribed, Unsubscribed, Welcome,
};
use crate::ChannelName;
use crate::json::{write_integer, write_string};

pub(super) fn client_frame(frame: &ClientFrame, out: &mut Vec<u8>) {
    match frame {
        ClientFrame::Hello(hello) => write_hello(hello, out),
        ClientFrame::Request(request) => write_request(request, out),
        ClientFrame::Cancel { number } => write_numbered("cancel", *number, out),
        ClientFrame::Publish(publish) => write_publish(publish, out),
        ClientFrame::Reply(reply) => write_reply(reply, out),
        ClientFrame::Subscribe(subscribe) => write_subscribe(subscribe, out),
        ClientFrame::Unsubscribe { channel } => {
            let mut object = Object::frame("unsubscribe", out);
            object.channel(channel);
            object.close();
        }
        ClientFrame::Ack(ack) => write_ack(ack, out),
        ClientFrame::Ping => Object::frame("ping", out).close(),
        ClientFrame::Pong => Object::frame("pong", out).close(),
        ClientFrame::Bye => Object::frame("bye", out).close(),
    }
}

pub(super) fn server_frame(frame: &ServerFrame, out: &mut Vec<u8>) {
    match frame {
        ServerFrame::Welcome(welcome) => write_welcome(welcome, out),
        ServerFrame::Reply(reply) => write_reply(reply, out),
        ServerFrame::Request(request) => write_request(request, out),
        ServerFrame::Cancel { number } => write_numbered("cancel", *number, out),
        ServerFrame::Subscribed(subscribed) => write_subscribed(subscribed, out),
        ServerFrame::Unsubscribed(unsubscribed) => write_unsubscribed(unsubscribed, out),
        ServerFrame::Event(event) => write_event(event, out),
        ServerFrame::Gap(gap) => write_gap(gap, out),
        ServerFrame::Presence(presence) => write_presence(presence, out),
        ServerFrame::Ack { number } => write_numbered("ack", *number, out),
        ServerFrame::Ping => Object::frame("ping", out).close(),
        ServerFrame::Pong => Object::frame("pong", out).close(),
        ServerFrame::Goaway(goaway) => {
            let mut object = Object::frame("goaway", out);
            object.number("window_ms", goaway.window_ms);
            object.text("reason", &goaway.reason);
            object.close();
        }
        ServerFrame::Problem(problem) => write_problem(problem, out),
    }
}

fn write_hello(hello: &Hello, out: &mut Vec<u8>) {
    let mut object = Object::frame("hello", out);
    object.text("client", &hello.client);
    if let Some((session, token)) = &hello.resume {
        object.plain("session", session);
        object.plain("token", token.to_secret_text());
    }
    object.number("unanswered_from", hello.unanswered_from);
    object.number("accepted", hello.accepted);
    object.list("cursors", &hello.cursors, write_cursor);
    object.close();
}

fn write_cursor(cursor: &Cursor, object: &mut Object<'_>) {
    object.channel(&cursor.channel);
    object.plain("epoch", cursor.epoch);
    object.offset("offset", cursor.offset);
    object.manner(cursor.delivery, cursor.presence);
}

fn write_request(request: &Request, out: &mut Vec<u8>) {
    let mut object = Object::frame("request", out);
    object.number("number", request.number);
    object.text("command", &request.command);
    object.payload(&request.payload);
    object.optional_number("deadline_ms", request.deadline_ms);
    object.close();
}

fn write_publish(publish: &Publish, out: &mut Vec<u8>) {
    let mut object = Object::frame("publish", out);
    object.number("number", publish.number);
    object.channel(&publish.channel);
    object.payload(&publish.payload);
    object.close();
}

fn write_numbered(kind: &'static str, number: u64, out: &mut Vec<u8>) {
    let mut object = Object::frame(kind, out);
    object.number("number", number);
    object.close();
}

fn write_reply(reply: &Reply, out: &mut Vec<u8>) {
    let mut object = Object::frame("reply", out);
    object.number("number", reply.number);
    match &reply.outcome {
        Outcome::Done(payload) => {
            object.word("status", "done");
            object.payload(payload);
        }
        Outcome::Published { epoch, offset } => {
            object.word("status", "published");
            object.plain("epoch", epoch);
            object.offset("offset", *offset);
        }
        Outcome::Failed(failure) => {
            object.word("status", "failed");
            object.failure(failure);
        }
        Outcome::Indeterminate => object.word("status", "indeterminate"),
    }
    object.close();
}

fn write_subscribe(subscribe: &Subscribe, out: &mut Vec<u8>) {
    let mut object = Object::frame("subscribe", out);
    object.channel(&subscribe.channel);
    match subscribe.start {
        Start::Now => object.word("start", "now"),
        Start::After { epoch, offset } => object.object("start", |start| {
            start.offset("after", offset);
            if let Some(epoch) = epoch {
                start.plain("epoch", epoch);
            }
        }),
        Start::Last(count) => object.object("start", |start| start.number("last", count)),
    }
    object.manner(subscribe.delivery, subscribe.presence);
    object.close();
}

fn write_ack(ack: &Ack, out: &mut Vec<u8>) {
    let mut object = Object::frame("ack", out);
    object.number("unanswered_from", ack.unanswered_from);
    object.list("cursors", &ack.cursors, |(channel, offset), object| {
        object.channel(channel);
        object.offset("offset", *offset);
    });
    object.close();
}

fn write_welcome(welcome: &Welcome, out: &mut Vec<u8>) {
    let mut object = Object::frame("welcome", out);
    object.word("standing", standing_word(welcome.standing));
    object.plain("session", welcome.session);
    object.plain("token", welcome.token.to_secret_text());
    object.number("generation", welcome.generation);
    object.number("accepted", welcome.accepted);
    if let Some(principal) = &welcome.principal {
        object.plain("principal", principal);
    }
    object.text("server", &welcome.server);
    object.number("ping_interval_ms", welcome.ping_interval_ms);
    object.number("session_expiry_ms", welcome.session_expiry_ms);
    let SessionLimits {
        request_count_max,
        message_bytes_max,
        subscription_count_max,
        request_bytes_max,
    } = welcome.limits;
    object.object("limits", |limits| {
        limits.number("request_count_max", request_count_max);
        limits.number("message_bytes_max", message_bytes_max);
        limits.number("subscription_count_max", subscription_count_max);
        limits.optional_number("request_bytes_max", request_bytes_max.map(u64::from));
    });
    object.close();
}

fn write_subscribed(subscribed: &Subscribed, out: &mut Vec<u8>) {
    let mut object = Object::frame("subscribed", out);
    object.channel(&subscribed.channel);
    object.plain("epoch", subscribed.epoch);
    object.offset("offset", subscribed.offset);
    object.offset("head", subscribed.head);
    object.number("member_count", subscribed.member_count);
    object.close();
}

fn write_unsubscribed(unsubscribed: &Unsubscribed, out: &mut Vec<u8>) {
    let mut object = Object::frame("unsubscribed", out);
    object.channel(&unsubscribed.channel);
    if let Some(failure) = &unsubscribed.failure {
        object.failure(failure);
    }
    object.close();
}

fn write_event(event: &Event, out: &mut Vec<u8>) {
    let mut object = Object::frame("event", out);
    object.channel(&event.channel);
    object.offset("offset", event.offset);
    object.number("at_ms", event.at_ms);
    object.payload(&event.payload);
    object.close();
}

fn write_gap(gap: &Gap, out: &mut Vec<u8>) {
    let mut object = Object::frame("gap", out);
    object.channel(&gap.channel);
    object.plain("from_epoch", gap.from_epoch);
    object.offset("from", gap.from);
    object.optional_number("to", gap.to.map(|offset| offset.0));
    object.word("reason", gap.reason.word());
    object.plain("epoch", gap.epoch);
    object.offset("offset", gap.offset);
    object.close();
}

fn write_presence(presence: &Presence, out: &mut Vec<u8>) {
    let mut object = Object::frame("presence", out);
    object.channel(&presence.channel);
    object.list("joined", &presence.joined, write_member);
    object.list("left", &presence.left, write_member);
    object.number("member_count", presence.member_count);
    object.close();
}

fn write_member(member: &Member, object: &mut Object<'_>) {
    object.plain("session", member.session);
    if let Some(principal) = &member.principal {
        object.plain("principal", principal);
    }
}

fn write_problem(problem: &Problem, out: &mut Vec<u8>) {
    let mut object = Object::frame("problem", out);
    object.failure(&problem.failure);
    if let Some(channel) = &problem.channel {
        object.channel(channel);
    }
    object.close();
}

pub(super) fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::New => "new",
        Standing::Resumed => "resumed",
        Standing::Expired => "expired",
        Standing::Unknown => "unknown",
    }
}

pub(super) fn delivery_word(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Every => "every",
        Delivery::Latest => "latest",
    }
}

pub(super) fn presence_word(presence: PresenceMode) -> &'static str {
    match presence {
        PresenceMode::None => "none",
        PresenceMode::Join => "join",
        PresenceMode::Watch => "watch",
        PresenceMode::JoinAndWatch => "join_and_watch",
    }
}

/// One JSON object that is being written.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl Object<'_> {
    fn frame<'a>(kind: &'static str, out: &'a mut Vec<u8>) -> Object<'a> {
        let mut object = Object::open(out);
        object.word("type", kind);
        object
    }

    fn open(out: &mut Vec<u8>) -> Object<'_> {
        out.push(b'{');
        Object { out, is_empty: true }
    }

    fn close(self) {
        self.out.push(b'}');
    }

    fn name(&mut self, name: &'static str) {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A text that needs no escapes.
    fn word(&mut self, name: &'static str, word: &str) {
        self.name(name);
        self.out.push(b'"');
        self.out.extend_from_slice(word.as_bytes());
        self.out.push(b'"');
    }

    /// The same, of a value whose text it is.
    fn plain(&mut self, name: &'static str, value: impl Display) {
        self.name(name);
        // A Vec takes any number of bytes.
        let written = write!(self.out, "\"{value}\"");
        assert!(written.is_ok(), "a name is written");
    }

    fn text(&mut self, name: &'static str, text: &str) {
        self.name(name);
        write_string(text, self.out);
    }

    fn number(&mut self, name: &'static str, number: impl Into<u64>) {
        self.name(name);
        write_integer::<u64>(number.into(), self.out);
    }

    fn optional_number(&mut self, name: &'static str, number: Option<u64>) {
        if let Some(number) = number {
            self.number(name, number);
        }
    }

    fn offset(&mut self, name: &'static str, offset: Offset) {
        self.number(name, offset.0);
    }

    /// The grammar of names holds nothing that JSON escapes.
    fn channel(&mut self, channel: &ChannelName) {
        self.word("channel", channel.as_str());
    }

    fn failure(&mut self, failure: &Failure) {
        self.word("error", failure.code.word());
        self.text("message", &failure.message);
    }

    /// What differs from the default.
    fn manner(&mut self, delivery: Delivery, presence: PresenceMode) {
        if delivery != Delivery::default() {
            self.word("delivery", delivery_word(delivery));
        }
        if presence != PresenceMode::default() {
            self.word("presence", presence_word(presence));
        }
    }

    fn payload(&mut self, payload: &Payload) {
        match payload.kind {
            PayloadKind::Json => {
                self.name("payload");
                self.out.extend_from_slice(&payload.bytes);
            }
            PayloadKind::Binary => {
                self.name("data");
                self.out.push(b'"');
                let start = self.out.len();
                let length = payload.bytes.len().div_ceil(3) * 4;
                self.out.resize(start + length, 0);
                let written = STANDARD.encode_slice(&payload.bytes, &mut self.out[start..]);
                assert_eq!(written, Ok(length), "the room is what base64 needs");
                self.out.push(b'"');
            }
        }
    }

    fn object(&mut self, name: &'static str, write: impl FnOnce(&mut Object<'_>)) {
        self.name(name);
        let mut object = Object::open(self.out);
        write(&mut object);
        object.close();
    }

    fn list<T>(&mut self, name: &'static str, items: &[T], write: impl Fn(&T, &mut Object<'_>)) {
        self.name(name);
        self.out.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            let mut object = Object::open(self.out);
            write(item, &mut object);
            object.close();
        }
        self.out.push(b']');
    }
}
