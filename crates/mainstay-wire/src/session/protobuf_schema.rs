//! The messages of `spec/mainstay.v1.proto`, field for field.

use bytes::Bytes;
use prost::{Enumeration, Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(super) struct ClientFrame {
    #[prost(oneof = "client_frame::Frame", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    pub(super) frame: Option<client_frame::Frame>,
}

pub(super) mod client_frame {
    #[derive(Clone, PartialEq, super::Oneof)]
    pub(in super::super) enum Frame {
        #[prost(message, tag = "1")]
        Hello(super::Hello),
        #[prost(message, tag = "2")]
        Request(super::Request),
        #[prost(message, tag = "3")]
        Publish(super::Publish),
        #[prost(message, tag = "4")]
        Cancel(super::Cancel),
        #[prost(message, tag = "5")]
        Reply(super::Reply),
        #[prost(message, tag = "6")]
        Subscribe(super::Subscribe),
        #[prost(message, tag = "7")]
        Unsubscribe(super::Unsubscribe),
        #[prost(message, tag = "8")]
        Ack(super::ClientAck),
        #[prost(message, tag = "9")]
        Ping(()),
        #[prost(message, tag = "10")]
        Pong(()),
        #[prost(message, tag = "11")]
        Bye(()),
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ServerFrame {
    #[prost(oneof = "server_frame::Frame", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14")]
    pub(super) frame: Option<server_frame::Frame>,
}

pub(super) mod server_frame {
    #[derive(Clone, PartialEq, super::Oneof)]
    pub(in super::super) enum Frame {
        #[prost(message, tag = "1")]
        Welcome(super::Welcome),
        #[prost(message, tag = "2")]
        Reply(super::Reply),
        #[prost(message, tag = "3")]
        Request(super::Request),
        #[prost(message, tag = "4")]
        Cancel(super::Cancel),
        #[prost(message, tag = "5")]
        Subscribed(super::Subscribed),
        #[prost(message, tag = "6")]
        Unsubscribed(super::Unsubscribed),
        #[prost(message, tag = "7")]
        Event(super::Event),
        #[prost(message, tag = "8")]
        Gap(super::Gap),
        #[prost(message, tag = "9")]
        Presence(super::Presence),
        #[prost(message, tag = "10")]
        Ack(super::ServerAck),
        #[prost(message, tag = "11")]
        Ping(()),
        #[prost(message, tag = "12")]
        Pong(()),
        #[prost(message, tag = "13")]
        Goaway(super::Goaway),
        #[prost(message, tag = "14")]
        Problem(super::Problem),
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Hello {
    #[prost(string, tag = "1")]
    pub(super) client: String,
    #[prost(string, optional, tag = "2")]
    pub(super) session: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(super) token: Option<String>,
    #[prost(uint64, tag = "4")]
    pub(super) unanswered_from: u64,
    #[prost(uint64, tag = "5")]
    pub(super) accepted: u64,
    #[prost(message, repeated, tag = "6")]
    pub(super) cursors: Vec<Cursor>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Cursor {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
    #[prost(string, tag = "2")]
    pub(super) epoch: String,
    #[prost(uint64, tag = "3")]
    pub(super) offset: u64,
    #[prost(enumeration = "Delivery", tag = "4")]
    pub(super) delivery: i32,
    #[prost(enumeration = "PresenceMode", tag = "5")]
    pub(super) presence: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(super) enum Delivery {
    Every = 0,
    Latest = 1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(super) enum PresenceMode {
    None = 0,
    Join = 1,
    Watch = 2,
    JoinAndWatch = 3,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Payload {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) data: Bytes,
    #[prost(bool, tag = "2")]
    pub(super) json: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
    #[prost(string, tag = "2")]
    pub(super) command: String,
    #[prost(message, optional, tag = "3")]
    pub(super) payload: Option<Payload>,
    #[prost(uint64, optional, tag = "4")]
    pub(super) deadline_ms: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Publish {
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
    #[prost(string, tag = "2")]
    pub(super) channel: String,
    #[prost(message, optional, tag = "3")]
    pub(super) payload: Option<Payload>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Cancel {
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Reply {
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
    #[prost(oneof = "Status", tags = "2, 3, 4, 5")]
    pub(super) status: Option<Status>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Status {
    #[prost(message, tag = "2")]
    Done(Done),
    #[prost(message, tag = "3")]
    Published(Published),
    #[prost(message, tag = "4")]
    Failed(Failed),
    #[prost(message, tag = "5")]
    Indeterminate(()),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Done {
    #[prost(message, optional, tag = "1")]
    pub(super) payload: Option<Payload>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Published {
    #[prost(string, tag = "1")]
    pub(super) epoch: String,
    #[prost(uint64, tag = "2")]
    pub(super) offset: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Failed {
    #[prost(string, tag = "1")]
    pub(super) error: String,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Subscribe {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
    #[prost(oneof = "Start", tags = "2, 3, 4")]
    pub(super) start: Option<Start>,
    #[prost(enumeration = "Delivery", tag = "5")]
    pub(super) delivery: i32,
    #[prost(enumeration = "PresenceMode", tag = "6")]
    pub(super) presence: i32,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Start {
    #[prost(message, tag = "2")]
    Now(()),
    #[prost(message, tag = "3")]
    After(After),
    #[prost(uint32, tag = "4")]
    Last(u32),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct After {
    #[prost(uint64, tag = "1")]
    pub(super) after: u64,
    #[prost(string, optional, tag = "2")]
    pub(super) epoch: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Unsubscribe {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ClientAck {
    #[prost(uint64, tag = "1")]
    pub(super) unanswered_from: u64,
    #[prost(message, repeated, tag = "2")]
    pub(super) cursors: Vec<Place>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Place {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
    #[prost(uint64, tag = "2")]
    pub(super) offset: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Welcome {
    #[prost(enumeration = "Standing", tag = "1")]
    pub(super) standing: i32,
    #[prost(string, tag = "2")]
    pub(super) session: String,
    #[prost(string, tag = "3")]
    pub(super) token: String,
    #[prost(uint64, tag = "4")]
    pub(super) generation: u64,
    #[prost(uint64, tag = "5")]
    pub(super) accepted: u64,
    #[prost(string, optional, tag = "6")]
    pub(super) principal: Option<String>,
    #[prost(string, tag = "7")]
    pub(super) server: String,
    #[prost(uint64, tag = "8")]
    pub(super) ping_interval_ms: u64,
    #[prost(uint64, tag = "9")]
    pub(super) session_expiry_ms: u64,
    #[prost(message, optional, tag = "10")]
    pub(super) limits: Option<Limits>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(super) enum Standing {
    Unspecified = 0,
    New = 1,
    Resumed = 2,
    Expired = 3,
    Unknown = 4,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Limits {
    #[prost(uint32, tag = "1")]
    pub(super) request_count_max: u32,
    #[prost(uint32, tag = "2")]
    pub(super) message_bytes_max: u32,
    #[prost(uint32, tag = "3")]
    pub(super) subscription_count_max: u32,
    #[prost(uint32, optional, tag = "4")]
    pub(super) request_bytes_max: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Subscribed {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
    #[prost(string, tag = "2")]
    pub(super) epoch: String,
    #[prost(uint64, tag = "3")]
    pub(super) offset: u64,
    #[prost(uint64, tag = "4")]
    pub(super) head: u64,
    #[prost(uint32, tag = "5")]
    pub(super) member_count: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Unsubscribed {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
    #[prost(string, optional, tag = "2")]
    pub(super) error: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(super) message: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
    #[prost(uint64, tag = "2")]
    pub(super) offset: u64,
    #[prost(uint64, tag = "3")]
    pub(super) at_ms: u64,
    #[prost(message, optional, tag = "4")]
    pub(super) payload: Option<Payload>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Gap {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
    #[prost(string, tag = "2")]
    pub(super) from_epoch: String,
    #[prost(uint64, tag = "3")]
    pub(super) from: u64,
    #[prost(uint64, optional, tag = "4")]
    pub(super) to: Option<u64>,
    #[prost(string, tag = "5")]
    pub(super) reason: String,
    #[prost(string, tag = "6")]
    pub(super) epoch: String,
    #[prost(uint64, tag = "7")]
    pub(super) offset: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Presence {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) joined: Vec<Member>,
    #[prost(message, repeated, tag = "3")]
    pub(super) left: Vec<Member>,
    #[prost(uint32, tag = "4")]
    pub(super) member_count: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Member {
    #[prost(string, tag = "1")]
    pub(super) session: String,
    #[prost(string, optional, tag = "2")]
    pub(super) principal: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ServerAck {
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Goaway {
    #[prost(uint64, tag = "1")]
    pub(super) window_ms: u64,
    #[prost(string, tag = "2")]
    pub(super) reason: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Problem {
    #[prost(string, tag = "1")]
    pub(super) error: String,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(string, optional, tag = "3")]
    pub(super) channel: Option<String>,
}
