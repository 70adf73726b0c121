//! Frames as Protobuf: to and from the messages of the schema.

use bytes::BufMut;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use serde_json::value::RawValue;

use super::encoding::{
    CURSOR_COUNT_MAX, NUMBER_MAX, clients_channel, parse_channel, parse_epoch, parse_principal,
    parse_session, parse_token, read_failure, unknown_word,
};
use super::protobuf_schema::{self as schema, client_frame, server_frame};
use super::{
    Ack, ClientFrame, Cursor, Delivery, Epoch, Event, Gap, GapReason, Goaway, Hello, Malformed,
    MalformedKind, Member, Offset, Outcome, Payload, PayloadKind, Presence, PresenceMode,
    Principal, Problem, Publish, Reply, Request, ServerFrame, SessionLimits, Standing, Start,
    Subscribe, Subscribed, Unsubscribed, Welcome,
};
use crate::ChannelName;

pub(super) fn decode_client(message: &[u8]) -> Result<ClientFrame, Malformed> {
    use client_frame::Frame;
    check_cursor_count(message)?;
    let read = schema::ClientFrame::decode(message).map_err(|error| syntax(&error))?;
    Ok(match read.frame.ok_or_else(unknown_type)? {
        Frame::Hello(hello) => ClientFrame::Hello(Box::new(read_hello(hello)?)),
        Frame::Request(request) => ClientFrame::Request(read_request(request)?),
        Frame::Publish(publish) => ClientFrame::Publish(read_publish(publish)?),
        Frame::Cancel(cancel) => ClientFrame::Cancel { number: number(cancel.number)? },
        Frame::Reply(reply) => ClientFrame::Reply(read_reply(reply)?),
        Frame::Subscribe(subscribe) => ClientFrame::Subscribe(read_subscribe(&subscribe)?),
        Frame::Unsubscribe(unsubscribe) => {
            ClientFrame::Unsubscribe { channel: clients_channel(&unsubscribe.channel, None)? }
        }
        Frame::Ack(ack) => ClientFrame::Ack(read_ack(&ack)?),
        Frame::Ping(()) => ClientFrame::Ping,
        Frame::Pong(()) => ClientFrame::Pong,
        Frame::Bye(()) => ClientFrame::Bye,
    })
}

pub(super) fn decode_server(message: &[u8]) -> Result<ServerFrame, Malformed> {
    use server_frame::Frame;
    let read = schema::ServerFrame::decode(message).map_err(|error| syntax(&error))?;
    Ok(match read.frame.ok_or_else(unknown_type)? {
        Frame::Welcome(welcome) => ServerFrame::Welcome(Box::new(read_welcome(welcome)?)),
        Frame::Reply(reply) => ServerFrame::Reply(read_reply(reply)?),
        Frame::Request(request) => ServerFrame::Request(read_request(request)?),
        Frame::Cancel(cancel) => ServerFrame::Cancel { number: number(cancel.number)? },
        Frame::Subscribed(subscribed) => ServerFrame::Subscribed(read_subscribed(&subscribed)?),
        Frame::Unsubscribed(unsubscribed) => {
            ServerFrame::Unsubscribed(read_unsubscribed(unsubscribed)?)
        }
        Frame::Event(event) => ServerFrame::Event(read_event(event)?),
        Frame::Gap(gap) => ServerFrame::Gap(read_gap(&gap)?),
        Frame::Presence(presence) => ServerFrame::Presence(read_presence(&presence)?),
        Frame::Ack(ack) => ServerFrame::Ack { number: number(ack.number)? },
        Frame::Ping(()) => ServerFrame::Ping,
        Frame::Pong(()) => ServerFrame::Pong,
        Frame::Goaway(goaway) => ServerFrame::Goaway(Goaway {
            window_ms: number(goaway.window_ms)?,
            reason: goaway.reason,
        }),
        Frame::Problem(problem) => ServerFrame::Problem(Problem {
            failure: read_failure(&problem.error, problem.message),
            channel: problem.channel.as_deref().map(parse_channel).transpose()?,
        }),
    })
}

pub(super) fn encode_client(frame: &ClientFrame, out: &mut Vec<u8>) {
    write(&client_message(frame), out);
}

/// What [`encode_client`] writes takes so many bytes. Payloads are not copied.
pub(super) fn client_frame_bytes(frame: &ClientFrame) -> usize {
    client_message(frame).encoded_len()
}

fn client_message(frame: &ClientFrame) -> schema::ClientFrame {
    use client_frame::Frame;
    let frame = match frame {
        ClientFrame::Hello(hello) => Frame::Hello(write_hello(hello)),
        ClientFrame::Request(request) => Frame::Request(write_request(request)),
        ClientFrame::Cancel { number } => Frame::Cancel(schema::Cancel { number: *number }),
        ClientFrame::Publish(publish) => Frame::Publish(schema::Publish {
            number: publish.number,
            channel: publish.channel.to_string(),
            payload: write_payload(&publish.payload),
        }),
        ClientFrame::Reply(reply) => Frame::Reply(write_reply(reply)),
        ClientFrame::Subscribe(subscribe) => Frame::Subscribe(write_subscribe(subscribe)),
        ClientFrame::Unsubscribe { channel } => {
            Frame::Unsubscribe(schema::Unsubscribe { channel: channel.to_string() })
        }
        ClientFrame::Ack(ack) => Frame::Ack(write_ack(ack)),
        ClientFrame::Ping => Frame::Ping(()),
        ClientFrame::Pong => Frame::Pong(()),
        ClientFrame::Bye => Frame::Bye(()),
    };
    schema::ClientFrame { frame: Some(frame) }
}

pub(super) fn encode_server(frame: &ServerFrame, out: &mut Vec<u8>) {
    use server_frame::Frame;
    let frame = match frame {
        ServerFrame::Event(event) => return write_event(event, out),
        ServerFrame::Welcome(welcome) => Frame::Welcome(write_welcome(welcome)),
        ServerFrame::Reply(reply) => Frame::Reply(write_reply(reply)),
        ServerFrame::Request(request) => Frame::Request(write_request(request)),
        ServerFrame::Cancel { number } => Frame::Cancel(schema::Cancel { number: *number }),
        ServerFrame::Subscribed(subscribed) => Frame::Subscribed(schema::Subscribed {
            channel: subscribed.channel.to_string(),
            epoch: subscribed.epoch.to_string(),
            offset: subscribed.offset.0,
            head: subscribed.head.0,
            member_count: subscribed.member_count,
        }),
        ServerFrame::Unsubscribed(unsubscribed) => {
            let failure = unsubscribed.failure.as_ref();
            Frame::Unsubscribed(schema::Unsubscribed {
                channel: unsubscribed.channel.to_string(),
                error: failure.map(|failure| failure.code.word().to_owned()),
                message: failure.map(|failure| failure.message.clone()),
            })
        }
        ServerFrame::Gap(gap) => Frame::Gap(write_gap(gap)),
        ServerFrame::Presence(presence) => Frame::Presence(schema::Presence {
            channel: presence.channel.to_string(),
            joined: presence.joined.iter().map(write_member).collect(),
            left: presence.left.iter().map(write_member).collect(),
            member_count: presence.member_count,
        }),
        ServerFrame::Ack { number } => Frame::Ack(schema::ServerAck { number: *number }),
        ServerFrame::Ping => Frame::Ping(()),
        ServerFrame::Pong => Frame::Pong(()),
        ServerFrame::Goaway(goaway) => Frame::Goaway(schema::Goaway {
            window_ms: goaway.window_ms,
            reason: goaway.reason.clone(),
        }),
        ServerFrame::Problem(problem) => Frame::Problem(schema::Problem {
            error: problem.failure.code.word().to_owned(),
            message: problem.failure.message.clone(),
            channel: problem.channel.as_ref().map(ChannelName::to_string),
        }),
    };
    write(&schema::ServerFrame { frame: Some(frame) }, out);
}

fn write(message: &impl Message, out: &mut Vec<u8>) {
    // A Vec takes any number of bytes.
    let written = message.encode(out);
    assert!(written.is_ok(), "a message is written");
}

/// Written by hand: there are as many of these as of all others together, and the derived message
/// would copy the channel's name for each.
fn write_event(event: &Event, out: &mut Vec<u8>) {
    let length_of = |bytes: usize| match bytes {
        0 => 0,
        bytes => key_len(1) + encoded_len_varint(bytes as u64) + bytes,
    };
    let length_of_number = |number: u64| match number {
        0 => 0,
        number => key_len(1) + encoded_len_varint(number),
    };
    let channel = event.channel.as_str();
    let data = &event.payload.bytes;
    let is_json = event.payload.kind == PayloadKind::Json;
    let payload_bytes = length_of(data.len()) + length_of_number(is_json.into());
    let event_bytes = length_of(channel.len())
        + length_of_number(event.offset.0)
        + length_of_number(event.at_ms)
        + key_len(4)
        + encoded_len_varint(payload_bytes as u64)
        + payload_bytes;

    out.reserve(key_len(7) + encoded_len_varint(event_bytes as u64) + event_bytes);
    write_head(7, event_bytes, out);
    write_head(1, channel.len(), out);
    out.put_slice(channel.as_bytes());
    write_number(2, event.offset.0, out);
    write_number(3, event.at_ms, out);
    write_head(4, payload_bytes, out);
    if !data.is_empty() {
        write_head(1, data.len(), out);
        out.put_slice(data);
    }
    write_number(2, is_json.into(), out);
}

fn write_head(tag: u32, bytes: usize, out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes as u64, out);
}

fn write_number(tag: u32, number: u64, out: &mut Vec<u8>) {
    if number != 0 {
        encode_key(tag, WireType::Varint, out);
        encode_varint(number, out);
    }
}

fn write_hello(hello: &Hello) -> schema::Hello {
    let cursor = |cursor: &Cursor| schema::Cursor {
        channel: cursor.channel.to_string(),
        epoch: cursor.epoch.to_string(),
        offset: cursor.offset.0,
        delivery: write_delivery(cursor.delivery),
        presence: write_presence_mode(cursor.presence),
    };
    schema::Hello {
        client: hello.client.clone(),
        session: hello.resume.as_ref().map(|(session, _)| session.to_string()),
        token: hello.resume.as_ref().map(|(_, token)| token.to_secret_text()),
        unanswered_from: hello.unanswered_from,
        accepted: hello.accepted,
        cursors: hello.cursors.iter().map(cursor).collect(),
    }
}

fn read_hello(hello: schema::Hello) -> Result<Hello, Malformed> {
    let resume = match (&hello.session, &hello.token) {
        (Some(session), Some(token)) => Some((parse_session(session)?, parse_token(token)?)),
        (None, None) => None,
        _ => return Err(Malformed::content(None, "a session goes with its token")),
    };
    let cursor = |cursor: &schema::Cursor| {
        Ok(Cursor {
            channel: parse_channel(&cursor.channel)?,
            epoch: parse_epoch(&cursor.epoch)?,
            offset: offset(cursor.offset)?,
            delivery: read_delivery(cursor.delivery)?,
            presence: read_presence_mode(cursor.presence)?,
        })
    };
    Ok(Hello {
        client: hello.client,
        resume,
        unanswered_from: number(hello.unanswered_from)?,
        accepted: number(hello.accepted)?,
        cursors: hello.cursors.iter().map(cursor).collect::<Result<_, Malformed>>()?,
    })
}

fn write_request(request: &Request) -> schema::Request {
    schema::Request {
        number: request.number,
        command: request.command.clone(),
        payload: write_payload(&request.payload),
        deadline_ms: request.deadline_ms,
    }
}

fn read_request(request: schema::Request) -> Result<Request, Malformed> {
    let number = number(request.number)?;
    Ok(Request {
        number,
        command: request.command,
        payload: read_payload(request.payload, Some(number))?,
        deadline_ms: request
            .deadline_ms
            .map(self::number)
            .transpose()
            .map_err(|malformed| Malformed { number: Some(number), ..malformed })?,
    })
}

fn read_publish(publish: schema::Publish) -> Result<Publish, Malformed> {
    let number = number(publish.number)?;
    let payload = read_payload(publish.payload, Some(number))?;
    Ok(Publish { number, channel: clients_channel(&publish.channel, Some(number))?, payload })
}

fn write_payload(payload: &Payload) -> Option<schema::Payload> {
    let json = payload.kind == PayloadKind::Json;
    Some(schema::Payload { data: payload.bytes.clone(), json })
}

fn read_payload(
    payload: Option<schema::Payload>,
    number: Option<u64>,
) -> Result<Payload, Malformed> {
    let Some(schema::Payload { data, json }) = payload else { return Ok(Payload::NULL) };
    if !json {
        return Ok(Payload::binary(data));
    }
    // What calls itself JSON goes as it stands into the frames of those who speak JSON.
    match serde_json::from_slice::<&RawValue>(&data) {
        Ok(value) => Ok(Payload::from_json_bytes(data.slice_ref(value.get().as_bytes()))),
        Err(error) => Err(Malformed::content(number, &format!("the payload is not JSON: {error}"))),
    }
}

fn write_reply(reply: &Reply) -> schema::Reply {
    let status = match &reply.outcome {
        Outcome::Done(payload) => {
            schema::Status::Done(schema::Done { payload: write_payload(payload) })
        }
        Outcome::Published { epoch, offset } => schema::Status::Published(schema::Published {
            epoch: epoch.to_string(),
            offset: offset.0,
        }),
        Outcome::Failed(failure) => schema::Status::Failed(schema::Failed {
            error: failure.code.word().to_owned(),
            message: failure.message.clone(),
        }),
        Outcome::Indeterminate => schema::Status::Indeterminate(()),
    };
    schema::Reply { number: reply.number, status: Some(status) }
}

fn read_reply(reply: schema::Reply) -> Result<Reply, Malformed> {
    let number = number(reply.number)?;
    let outcome = match reply.status {
        Some(schema::Status::Done(done)) => {
            Outcome::Done(read_payload(done.payload, Some(number))?)
        }
        Some(schema::Status::Published(place)) => {
            Outcome::Published { epoch: parse_epoch(&place.epoch)?, offset: offset(place.offset)? }
        }
        Some(schema::Status::Failed(failed)) => {
            Outcome::Failed(read_failure(&failed.error, failed.message))
        }
        Some(schema::Status::Indeterminate(())) => Outcome::Indeterminate,
        None => return Err(Malformed::content(Some(number), "missing field `status`")),
    };
    Ok(Reply { number, outcome })
}

fn write_subscribe(subscribe: &Subscribe) -> schema::Subscribe {
    let start = match subscribe.start {
        Start::Now => schema::Start::Now(()),
        Start::After { epoch, offset } => schema::Start::After(schema::After {
            after: offset.0,
            epoch: epoch.as_ref().map(Epoch::to_string),
        }),
        Start::Last(count) => schema::Start::Last(count),
    };
    schema::Subscribe {
        channel: subscribe.channel.to_string(),
        start: Some(start),
        delivery: write_delivery(subscribe.delivery),
        presence: write_presence_mode(subscribe.presence),
    }
}

fn read_subscribe(subscribe: &schema::Subscribe) -> Result<Subscribe, Malformed> {
    let start = match &subscribe.start {
        Some(schema::Start::Now(())) => Start::Now,
        Some(schema::Start::After(after)) => {
            let epoch = after.epoch.as_deref().map(parse_epoch).transpose()?;
            if epoch.is_none() && after.after != 0 {
                let detail = "an offset means nothing without its epoch";
                return Err(Malformed::content(None, detail));
            }
            Start::After { epoch, offset: offset(after.after)? }
        }
        Some(schema::Start::Last(count)) => Start::Last(*count),
        None => return Err(Malformed::content(None, "missing field `start`")),
    };
    Ok(Subscribe {
        start,
        delivery: read_delivery(subscribe.delivery)?,
        presence: read_presence_mode(subscribe.presence)?,
        channel: clients_channel(&subscribe.channel, None)?,
    })
}

fn write_ack(ack: &Ack) -> schema::ClientAck {
    let place = |(channel, offset): &(ChannelName, Offset)| schema::Place {
        channel: channel.to_string(),
        offset: offset.0,
    };
    schema::ClientAck {
        unanswered_from: ack.unanswered_from,
        cursors: ack.cursors.iter().map(place).collect(),
    }
}

fn read_ack(ack: &schema::ClientAck) -> Result<Ack, Malformed> {
    let place = |place: &schema::Place| Ok((parse_channel(&place.channel)?, offset(place.offset)?));
    Ok(Ack {
        unanswered_from: number(ack.unanswered_from)?,
        cursors: ack.cursors.iter().map(place).collect::<Result<_, Malformed>>()?,
    })
}

fn write_welcome(welcome: &Welcome) -> schema::Welcome {
    let standing = match welcome.standing {
        Standing::New => schema::Standing::New,
        Standing::Resumed => schema::Standing::Resumed,
        Standing::Expired => schema::Standing::Expired,
        Standing::Unknown => schema::Standing::Unknown,
    };
    schema::Welcome {
        standing: standing.into(),
        session: welcome.session.to_string(),
        token: welcome.token.to_secret_text(),
        generation: welcome.generation,
        accepted: welcome.accepted,
        principal: welcome.principal.as_ref().map(Principal::to_string),
        server: welcome.server.clone(),
        ping_interval_ms: welcome.ping_interval_ms,
        session_expiry_ms: welcome.session_expiry_ms,
        limits: Some(schema::Limits {
            request_count_max: welcome.limits.request_count_max,
            message_bytes_max: welcome.limits.message_bytes_max,
            subscription_count_max: welcome.limits.subscription_count_max,
            request_bytes_max: welcome.limits.request_bytes_max,
        }),
    }
}

fn read_welcome(welcome: schema::Welcome) -> Result<Welcome, Malformed> {
    let standing = match schema::Standing::try_from(welcome.standing) {
        Ok(schema::Standing::New) => Standing::New,
        Ok(schema::Standing::Resumed) => Standing::Resumed,
        Ok(schema::Standing::Expired) => Standing::Expired,
        Ok(schema::Standing::Unknown) => Standing::Unknown,
        _ => return Err(Malformed::content(None, "unknown standing")),
    };
    let Some(limits) = welcome.limits else {
        return Err(Malformed::content(None, "missing field `limits`"));
    };
    Ok(Welcome {
        standing,
        session: parse_session(&welcome.session)?,
        token: parse_token(&welcome.token)?,
        generation: number(welcome.generation)?,
        accepted: number(welcome.accepted)?,
        principal: welcome.principal.as_deref().map(parse_principal).transpose()?,
        server: welcome.server,
        ping_interval_ms: number(welcome.ping_interval_ms)?,
        session_expiry_ms: number(welcome.session_expiry_ms)?,
        limits: SessionLimits {
            request_count_max: limits.request_count_max,
            message_bytes_max: limits.message_bytes_max,
            subscription_count_max: limits.subscription_count_max,
            request_bytes_max: limits.request_bytes_max,
        },
    })
}

fn read_subscribed(subscribed: &schema::Subscribed) -> Result<Subscribed, Malformed> {
    Ok(Subscribed {
        channel: parse_channel(&subscribed.channel)?,
        epoch: parse_epoch(&subscribed.epoch)?,
        offset: offset(subscribed.offset)?,
        head: offset(subscribed.head)?,
        member_count: subscribed.member_count,
    })
}

fn read_unsubscribed(unsubscribed: schema::Unsubscribed) -> Result<Unsubscribed, Malformed> {
    let failure = match (unsubscribed.error, unsubscribed.message) {
        (Some(error), message) => Some(read_failure(&error, message.unwrap_or_default())),
        (None, None) => None,
        (None, Some(_)) => return Err(Malformed::content(None, "a message without an error")),
    };
    Ok(Unsubscribed { channel: parse_channel(&unsubscribed.channel)?, failure })
}

fn read_event(event: schema::Event) -> Result<Event, Malformed> {
    Ok(Event {
        channel: parse_channel(&event.channel)?,
        offset: offset(event.offset)?,
        at_ms: number(event.at_ms)?,
        payload: read_payload(event.payload, None)?,
    })
}

fn write_gap(gap: &Gap) -> schema::Gap {
    schema::Gap {
        channel: gap.channel.to_string(),
        from_epoch: gap.from_epoch.to_string(),
        from: gap.from.0,
        to: gap.to.map(|offset| offset.0),
        reason: gap.reason.word().to_owned(),
        epoch: gap.epoch.to_string(),
        offset: gap.offset.0,
    }
}

fn read_gap(gap: &schema::Gap) -> Result<Gap, Malformed> {
    Ok(Gap {
        channel: parse_channel(&gap.channel)?,
        from_epoch: parse_epoch(&gap.from_epoch)?,
        from: offset(gap.from)?,
        to: gap.to.map(offset).transpose()?,
        reason: GapReason::parse(&gap.reason).ok_or_else(|| unknown_word("reason", &gap.reason))?,
        epoch: parse_epoch(&gap.epoch)?,
        offset: offset(gap.offset)?,
    })
}

fn read_presence(presence: &schema::Presence) -> Result<Presence, Malformed> {
    Ok(Presence {
        channel: parse_channel(&presence.channel)?,
        joined: presence.joined.iter().map(read_member).collect::<Result<_, _>>()?,
        left: presence.left.iter().map(read_member).collect::<Result<_, _>>()?,
        member_count: presence.member_count,
    })
}

fn write_member(member: &Member) -> schema::Member {
    schema::Member {
        session: member.session.to_string(),
        principal: member.principal.as_ref().map(Principal::to_string),
    }
}

fn read_member(member: &schema::Member) -> Result<Member, Malformed> {
    let principal = member.principal.as_deref().map(parse_principal).transpose()?;
    Ok(Member { session: parse_session(&member.session)?, principal })
}

fn write_delivery(delivery: Delivery) -> i32 {
    match delivery {
        Delivery::Every => schema::Delivery::Every.into(),
        Delivery::Latest => schema::Delivery::Latest.into(),
    }
}

fn read_delivery(delivery: i32) -> Result<Delivery, Malformed> {
    match schema::Delivery::try_from(delivery) {
        Ok(schema::Delivery::Every) => Ok(Delivery::Every),
        Ok(schema::Delivery::Latest) => Ok(Delivery::Latest),
        Err(error) => Err(Malformed::content(None, &format!("delivery: {error}"))),
    }
}

fn write_presence_mode(presence: PresenceMode) -> i32 {
    match presence {
        PresenceMode::None => schema::PresenceMode::None.into(),
        PresenceMode::Join => schema::PresenceMode::Join.into(),
        PresenceMode::Watch => schema::PresenceMode::Watch.into(),
        PresenceMode::JoinAndWatch => schema::PresenceMode::JoinAndWatch.into(),
    }
}

fn read_presence_mode(presence: i32) -> Result<PresenceMode, Malformed> {
    match schema::PresenceMode::try_from(presence) {
        Ok(schema::PresenceMode::None) => Ok(PresenceMode::None),
        Ok(schema::PresenceMode::Join) => Ok(PresenceMode::Join),
        Ok(schema::PresenceMode::Watch) => Ok(PresenceMode::Watch),
        Ok(schema::PresenceMode::JoinAndWatch) => Ok(PresenceMode::JoinAndWatch),
        Err(error) => Err(Malformed::content(None, &format!("presence: {error}"))),
    }
}

fn number(number: u64) -> Result<u64, Malformed> {
    if number <= NUMBER_MAX {
        return Ok(number);
    }
    Err(Malformed::content(None, &format!("{number} is over 2^53 - 1")))
}

fn offset(offset: u64) -> Result<Offset, Malformed> {
    number(offset).map(Offset)
}

fn syntax(error: &prost::DecodeError) -> Malformed {
    Malformed::new(MalformedKind::Syntax, None, &error.to_string())
}

fn unknown_type() -> Malformed {
    Malformed::new(MalformedKind::UnknownType, None, "no frame of the schema")
}

/// Counts cursors before any is read: each may take two bytes here and a hundred in memory. Several
/// hellos in one message are merged into one by the rules of Protobuf, so all are counted together.
fn check_cursor_count(message: &[u8]) -> Result<(), Malformed> {
    let mut count = 0;
    let mut fields = Fields(message);
    while let Some((tag, content)) = fields.next()? {
        let cursors_tag = match tag {
            HELLO_TAG => HELLO_CURSORS_TAG,
            ACK_TAG => ACK_CURSORS_TAG,
            _ => continue,
        };
        let mut inner = Fields(content);
        while let Some((tag, _)) = inner.next()? {
            count += usize::from(tag == cursors_tag);
        }
    }
    if count > CURSOR_COUNT_MAX {
        let detail = format!("cursors has more than {CURSOR_COUNT_MAX} elements");
        return Err(Malformed::new(MalformedKind::TooManyCursors, None, &detail));
    }
    Ok(())
}

/// The fields of a message, unread: tags, and the content of those that have a length.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u64, &'a [u8])>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let length = match key & 7 {
            0 => {
                self.varint()?;
                0
            }
            1 => 8,
            2 => self.varint()?,
            5 => 4,
            // Groups are no part of proto3.
            kind => {
                let detail = format!("wire type {kind}");
                return Err(Malformed::new(MalformedKind::Syntax, None, &detail));
            }
        };
        let split = usize::try_from(length).ok().and_then(|length| self.0.split_at_checked(length));
        let Some((content, rest)) = split else { return Err(cut_off()) };
        self.0 = rest;
        Ok(Some((key >> 3, content)))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        prost::encoding::decode_varint(&mut self.0).map_err(|error| syntax(&error))
    }
}

fn cut_off() -> Malformed {
    Malformed::new(MalformedKind::Syntax, None, "the message is cut off")
}

// As in the schema.
const HELLO_TAG: u64 = 1;
const HELLO_CURSORS_TAG: u64 = 6;
const ACK_TAG: u64 = 8;
const ACK_CURSORS_TAG: u64 = 2;
