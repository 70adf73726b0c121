//! Frames out of JSON text: one walk over the message, no tree of values, payloads copied as they
//! stand.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, MapDeserializer};
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::encoding::{
    CURSOR_COUNT_MAX, NUMBER_MAX, clients_channel, parse_channel, parse_epoch, parse_principal,
    parse_session, parse_token, read_failure, unknown_word,
};
use super::json_write::{delivery_word, presence_word, standing_word};
use super::{
    Ack, ClientFrame, Cursor, Delivery, Event, Gap, GapReason, Goaway, Hello, Malformed,
    MalformedKind, Member, Offset, Outcome, Payload, Presence, PresenceMode, Problem, Publish,
    Reply, Request, ServerFrame, SessionLimits, Standing, Start, Subscribe, Subscribed,
    Unsubscribed, Welcome,
};

pub(super) fn client_frame(message: &[u8]) -> Result<ClientFrame, Malformed> {
    read::<ClientFrame>(message)
}

pub(super) fn server_frame(message: &[u8]) -> Result<ServerFrame, Malformed> {
    read::<ServerFrame>(message)
}

fn read<F: Direction>(message: &[u8]) -> Result<F, Malformed> {
    let mut deserializer = serde_json::Deserializer::from_slice(message);
    let read = deserializer.deserialize_map(FrameVisitor::<F>(PhantomData));
    match read.and_then(|read| deserializer.end().map(|()| read)) {
        Ok(frame) => frame,
        Err(error) => {
            let kind = if error.is_data() { MalformedKind::Content } else { MalformedKind::Syntax };
            Err(Malformed::new(kind, find_number(message), &error.to_string()))
        }
    }
}

/// The number of a frame that is wrong elsewhere.
fn find_number(message: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Numbered<'a> {
        #[serde(borrow)]
        number: Option<&'a RawValue>,
    }
    let found: Object<Numbered<'_>> = serde_json::from_slice(message).ok()?;
    let number: Number = serde_json::from_str(found.0.number?.get()).ok()?;
    Some(number.0)
}

/// A set of frames that one side may send.
trait Direction: Sized {
    /// Reads the fields of a frame of this type. The outer error is the format's.
    fn read_fields<'de, D: Deserializer<'de>>(
        kind: &str,
        fields: D,
    ) -> Result<Result<Self, Malformed>, D::Error>;
}

impl Direction for ClientFrame {
    fn read_fields<'de, D: Deserializer<'de>>(
        kind: &str,
        fields: D,
    ) -> Result<Result<ClientFrame, Malformed>, D::Error> {
        Ok(match kind {
            "hello" => HelloFields::deserialize(fields)?.frame(),
            "request" => RequestFields::deserialize(fields)?.request().map(ClientFrame::Request),
            "cancel" => Ok(ClientFrame::Cancel { number: NumberFields::number(fields)? }),
            "publish" => PublishFields::deserialize(fields)?.frame(),
            "reply" => ReplyFields::deserialize(fields)?.reply().map(ClientFrame::Reply),
            "subscribe" => SubscribeFields::deserialize(fields)?.frame(),
            "unsubscribe" => {
                let channel = ChannelFields::deserialize(fields)?.channel;
                clients_channel(&channel, None).map(|channel| ClientFrame::Unsubscribe { channel })
            }
            "ack" => AckFields::deserialize(fields)?.frame(),
            "ping" => NoFields::deserialize(fields).map(|_| Ok(ClientFrame::Ping))?,
            "pong" => NoFields::deserialize(fields).map(|_| Ok(ClientFrame::Pong))?,
            "bye" => NoFields::deserialize(fields).map(|_| Ok(ClientFrame::Bye))?,
            kind => unknown_type(kind, fields)?,
        })
    }
}

impl Direction for ServerFrame {
    fn read_fields<'de, D: Deserializer<'de>>(
        kind: &str,
        fields: D,
    ) -> Result<Result<ServerFrame, Malformed>, D::Error> {
        Ok(match kind {
            "welcome" => WelcomeFields::deserialize(fields)?.frame(),
            "reply" => ReplyFields::deserialize(fields)?.reply().map(ServerFrame::Reply),
            "request" => RequestFields::deserialize(fields)?.request().map(ServerFrame::Request),
            "cancel" => Ok(ServerFrame::Cancel { number: NumberFields::number(fields)? }),
            "subscribed" => SubscribedFields::deserialize(fields)?.frame(),
            "unsubscribed" => UnsubscribedFields::deserialize(fields)?.frame(),
            "event" => EventFields::deserialize(fields)?.frame(),
            "gap" => GapFields::deserialize(fields)?.frame(),
            "presence" => PresenceFields::deserialize(fields)?.frame(),
            "ack" => Ok(ServerFrame::Ack { number: NumberFields::number(fields)? }),
            "ping" => NoFields::deserialize(fields).map(|_| Ok(ServerFrame::Ping))?,
            "pong" => NoFields::deserialize(fields).map(|_| Ok(ServerFrame::Pong))?,
            "goaway" => GoawayFields::deserialize(fields)?.frame(),
            "problem" => ProblemFields::deserialize(fields)?.frame(),
            kind => unknown_type(kind, fields)?,
        })
    }
}

fn unknown_type<'de, F, D: Deserializer<'de>>(
    kind: &str,
    fields: D,
) -> Result<Result<F, Malformed>, D::Error> {
    IgnoredAny::deserialize(fields)?;
    Ok(Err(Malformed::new(MalformedKind::UnknownType, None, kind)))
}

struct FrameVisitor<F>(PhantomData<F>);

impl<'de, F: Direction> Visitor<'de> for FrameVisitor<F> {
    type Value = Result<F, Malformed>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a frame: a JSON object with a type")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut next: Option<Text<'de>> = map.next_key()?;
        if next.as_ref().is_some_and(|name| &**name == "type") {
            let kind: Text<'de> = map.next_value()?;
            return F::read_fields(&kind, MapAccessDeserializer::new(map));
        }
        // The type comes later, so the fields in front of it have to wait for it.
        let mut kind: Option<Text<'de>> = None;
        let mut fields: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
        while let Some(name) = next {
            match &*name {
                "type" if kind.is_some() => return Err(A::Error::duplicate_field("type")),
                "type" => kind = Some(map.next_value()?),
                _ => fields.push((name.0, map.next_value()?)),
            }
            next = map.next_key()?;
        }
        let Some(kind) = kind else { return Err(A::Error::missing_field("type")) };
        let fields: MapDeserializer<'de, _, serde_json::Error> =
            MapDeserializer::new(fields.into_iter());
        F::read_fields(&kind, fields).map_err(A::Error::custom)
    }
}

/// The fields of one type of frame; unknown ones are ignored, and none may come twice, `type`
/// included.
macro_rules! fields {
    ($($name:ident $(<$lifetime:lifetime>)? {
        $($(#[$attribute:meta])* $field:ident: $type:ty,)*
    })+) => {$(
        #[derive(Deserialize)]
        struct $name $(<$lifetime>)? {
            #[serde(default, rename = "type")]
            _type: Once,
            $($(#[$attribute])* $field: $type,)*
        }
    )+};
}

fields! {
    HelloFields<'a> {
        #[serde(borrow)] client: Text<'a>,
        #[serde(borrow)] session: Option<Text<'a>>,
        #[serde(borrow)] token: Option<Text<'a>>,
        unanswered_from: Number,
        accepted: Number,
        #[serde(borrow)] cursors: Capped<Object<CursorFields<'a>>>,
    }
    RequestFields<'a> {
        number: Number,
        #[serde(borrow)] command: Text<'a>,
        #[serde(borrow)] payload: Option<&'a RawValue>,
        #[serde(borrow)] data: Option<Text<'a>>,
        deadline_ms: Option<Number>,
    }
    PublishFields<'a> {
        number: Number,
        #[serde(borrow)] channel: Text<'a>,
        #[serde(borrow)] payload: Option<&'a RawValue>,
        #[serde(borrow)] data: Option<Text<'a>>,
    }
    NumberFields { number: Number, }
    NoFields {}
    ReplyFields<'a> {
        number: Number,
        #[serde(borrow)] status: Text<'a>,
        #[serde(borrow)] payload: Option<&'a RawValue>,
        #[serde(borrow)] data: Option<Text<'a>>,
        #[serde(borrow)] epoch: Option<Text<'a>>,
        offset: Option<Number>,
        #[serde(borrow)] error: Option<Text<'a>>,
        #[serde(borrow)] message: Option<Text<'a>>,
    }
    SubscribeFields<'a> {
        #[serde(borrow)] channel: Text<'a>,
        start: StartField,
        #[serde(borrow)] delivery: Option<Text<'a>>,
        #[serde(borrow)] presence: Option<Text<'a>>,
    }
    ChannelFields<'a> { #[serde(borrow)] channel: Text<'a>, }
    AckFields<'a> {
        unanswered_from: Number,
        #[serde(borrow)] cursors: Capped<Object<PlaceFields<'a>>>,
    }
    WelcomeFields<'a> {
        #[serde(borrow)] standing: Text<'a>,
        #[serde(borrow)] session: Text<'a>,
        #[serde(borrow)] token: Text<'a>,
        generation: Number,
        accepted: Number,
        #[serde(borrow)] principal: Option<Text<'a>>,
        #[serde(borrow)] server: Text<'a>,
        ping_interval_ms: Number,
        session_expiry_ms: Number,
        limits: Object<LimitsFields>,
    }
    SubscribedFields<'a> {
        #[serde(borrow)] channel: Text<'a>,
        #[serde(borrow)] epoch: Text<'a>,
        offset: Number,
        head: Number,
        member_count: Number,
    }
    UnsubscribedFields<'a> {
        #[serde(borrow)] channel: Text<'a>,
        #[serde(borrow)] error: Option<Text<'a>>,
        #[serde(borrow)] message: Option<Text<'a>>,
    }
    EventFields<'a> {
        #[serde(borrow)] channel: Text<'a>,
        offset: Number,
        at_ms: Number,
        #[serde(borrow)] payload: Option<&'a RawValue>,
        #[serde(borrow)] data: Option<Text<'a>>,
    }
    GapFields<'a> {
        #[serde(borrow)] channel: Text<'a>,
        #[serde(borrow)] from_epoch: Text<'a>,
        from: Number,
        to: Option<Number>,
        #[serde(borrow)] reason: Text<'a>,
        #[serde(borrow)] epoch: Text<'a>,
        offset: Number,
    }
    PresenceFields<'a> {
        #[serde(borrow)] channel: Text<'a>,
        #[serde(borrow)] joined: Vec<Object<MemberFields<'a>>>,
        #[serde(borrow)] left: Vec<Object<MemberFields<'a>>>,
        member_count: Number,
    }
    GoawayFields<'a> {
        window_ms: Number,
        #[serde(borrow)] reason: Text<'a>,
    }
    ProblemFields<'a> {
        #[serde(borrow)] error: Text<'a>,
        #[serde(borrow)] message: Text<'a>,
        #[serde(borrow)] channel: Option<Text<'a>>,
    }
}

#[derive(Deserialize)]
struct CursorFields<'a> {
    #[serde(borrow)]
    channel: Text<'a>,
    #[serde(borrow)]
    epoch: Text<'a>,
    offset: Number,
    #[serde(borrow)]
    delivery: Option<Text<'a>>,
    #[serde(borrow)]
    presence: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct PlaceFields<'a> {
    #[serde(borrow)]
    channel: Text<'a>,
    offset: Number,
}

#[derive(Deserialize)]
struct MemberFields<'a> {
    #[serde(borrow)]
    session: Text<'a>,
    #[serde(borrow)]
    principal: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct LimitsFields {
    request_count_max: Number,
    message_bytes_max: Number,
    subscription_count_max: Number,
    request_bytes_max: Option<Number>,
}

impl HelloFields<'_> {
    fn frame(self) -> Result<ClientFrame, Malformed> {
        let resume = match (&self.session, &self.token) {
            (Some(session), Some(token)) => Some((parse_session(session)?, parse_token(token)?)),
            (None, None) => None,
            _ => return Err(Malformed::content(None, "a session goes with its token")),
        };
        let cursors = self.cursors.within("cursors")?;
        let cursors = cursors.into_iter().map(|cursor| cursor.0.cursor());
        Ok(ClientFrame::Hello(Box::new(Hello {
            client: self.client.into_string(),
            resume,
            unanswered_from: self.unanswered_from.0,
            accepted: self.accepted.0,
            cursors: cursors.collect::<Result<_, _>>()?,
        })))
    }
}

impl CursorFields<'_> {
    fn cursor(self) -> Result<Cursor, Malformed> {
        Ok(Cursor {
            channel: parse_channel(&self.channel)?,
            epoch: parse_epoch(&self.epoch)?,
            offset: Offset(self.offset.0),
            delivery: parse_delivery(self.delivery.as_deref())?,
            presence: parse_presence(self.presence.as_deref())?,
        })
    }
}

impl RequestFields<'_> {
    fn request(self) -> Result<Request, Malformed> {
        let number = self.number.0;
        Ok(Request {
            number,
            command: self.command.into_string(),
            payload: read_payload(self.payload, self.data, Some(number))?,
            deadline_ms: self.deadline_ms.map(|number| number.0),
        })
    }
}

impl PublishFields<'_> {
    fn frame(self) -> Result<ClientFrame, Malformed> {
        let number = self.number.0;
        let payload = read_payload(self.payload, self.data, Some(number))?;
        let channel = clients_channel(&self.channel, Some(number))?;
        Ok(ClientFrame::Publish(Publish { number, channel, payload }))
    }
}

impl NumberFields {
    fn number<'de, D: Deserializer<'de>>(fields: D) -> Result<u64, D::Error> {
        NumberFields::deserialize(fields).map(|fields| fields.number.0)
    }
}

impl ReplyFields<'_> {
    fn reply(self) -> Result<Reply, Malformed> {
        let number = self.number.0;
        let missing = |field: &str| {
            Malformed::content(Some(number), &format!("missing field `{field}` of the outcome"))
        };
        let outcome = match &*self.status {
            "done" => Outcome::Done(read_payload(self.payload, self.data, Some(number))?),
            "published" => Outcome::Published {
                epoch: parse_epoch(self.epoch.as_deref().ok_or_else(|| missing("epoch"))?)?,
                offset: Offset(self.offset.ok_or_else(|| missing("offset"))?.0),
            },
            "failed" => {
                let error = self.error.ok_or_else(|| missing("error"))?;
                let message = self.message.ok_or_else(|| missing("message"))?;
                Outcome::Failed(read_failure(&error, message.into_string()))
            }
            "indeterminate" => Outcome::Indeterminate,
            status => {
                return Err(Malformed::content(
                    Some(number),
                    &format!("unknown status {status:?}"),
                ));
            }
        };
        Ok(Reply { number, outcome })
    }
}

impl SubscribeFields<'_> {
    fn frame(self) -> Result<ClientFrame, Malformed> {
        Ok(ClientFrame::Subscribe(Subscribe {
            start: self.start.0,
            delivery: parse_delivery(self.delivery.as_deref())?,
            presence: parse_presence(self.presence.as_deref())?,
            channel: clients_channel(&self.channel, None)?,
        }))
    }
}

impl AckFields<'_> {
    fn frame(self) -> Result<ClientFrame, Malformed> {
        let cursors = self.cursors.within("cursors")?.into_iter();
        let cursors = cursors
            .map(|Object(place)| Ok((parse_channel(&place.channel)?, Offset(place.offset.0))));
        Ok(ClientFrame::Ack(Ack {
            unanswered_from: self.unanswered_from.0,
            cursors: cursors.collect::<Result<_, Malformed>>()?,
        }))
    }
}

impl WelcomeFields<'_> {
    fn frame(self) -> Result<ServerFrame, Malformed> {
        let standing = &*self.standing;
        let found = STANDINGS.iter().find(|known| standing_word(**known) == standing);
        let limits = self.limits.0;
        Ok(ServerFrame::Welcome(Box::new(Welcome {
            standing: *found.ok_or_else(|| unknown_word("standing", standing))?,
            session: parse_session(&self.session)?,
            token: parse_token(&self.token)?,
            generation: self.generation.0,
            accepted: self.accepted.0,
            principal: self.principal.as_deref().map(parse_principal).transpose()?,
            server: self.server.into_string(),
            ping_interval_ms: self.ping_interval_ms.0,
            session_expiry_ms: self.session_expiry_ms.0,
            limits: SessionLimits {
                request_count_max: limits.request_count_max.count(),
                message_bytes_max: limits.message_bytes_max.count(),
                subscription_count_max: limits.subscription_count_max.count(),
                request_bytes_max: limits.request_bytes_max.map(Number::count),
            },
        })))
    }
}

impl SubscribedFields<'_> {
    fn frame(self) -> Result<ServerFrame, Malformed> {
        Ok(ServerFrame::Subscribed(Subscribed {
            channel: parse_channel(&self.channel)?,
            epoch: parse_epoch(&self.epoch)?,
            offset: Offset(self.offset.0),
            head: Offset(self.head.0),
            member_count: self.member_count.count(),
        }))
    }
}

impl UnsubscribedFields<'_> {
    fn frame(self) -> Result<ServerFrame, Malformed> {
        let failure = match (self.error, self.message) {
            (Some(error), message) => {
                Some(read_failure(&error, message.unwrap_or_default().into_string()))
            }
            (None, None) => None,
            (None, Some(_)) => return Err(Malformed::content(None, "a message without an error")),
        };
        let channel = parse_channel(&self.channel)?;
        Ok(ServerFrame::Unsubscribed(Unsubscribed { channel, failure }))
    }
}

impl EventFields<'_> {
    fn frame(self) -> Result<ServerFrame, Malformed> {
        Ok(ServerFrame::Event(Event {
            channel: parse_channel(&self.channel)?,
            offset: Offset(self.offset.0),
            at_ms: self.at_ms.0,
            payload: read_payload(self.payload, self.data, None)?,
        }))
    }
}

impl GapFields<'_> {
    fn frame(self) -> Result<ServerFrame, Malformed> {
        let reason = &*self.reason;
        Ok(ServerFrame::Gap(Gap {
            channel: parse_channel(&self.channel)?,
            from_epoch: parse_epoch(&self.from_epoch)?,
            from: Offset(self.from.0),
            to: self.to.map(|number| Offset(number.0)),
            reason: GapReason::parse(reason).ok_or_else(|| unknown_word("reason", reason))?,
            epoch: parse_epoch(&self.epoch)?,
            offset: Offset(self.offset.0),
        }))
    }
}

impl PresenceFields<'_> {
    fn frame(self) -> Result<ServerFrame, Malformed> {
        Ok(ServerFrame::Presence(Presence {
            channel: parse_channel(&self.channel)?,
            joined: read_members(&self.joined)?,
            left: read_members(&self.left)?,
            member_count: self.member_count.count(),
        }))
    }
}

impl GoawayFields<'_> {
    fn frame(self) -> Result<ServerFrame, Malformed> {
        let reason = self.reason.into_string();
        Ok(ServerFrame::Goaway(Goaway { window_ms: self.window_ms.0, reason }))
    }
}

impl ProblemFields<'_> {
    fn frame(self) -> Result<ServerFrame, Malformed> {
        Ok(ServerFrame::Problem(Problem {
            failure: read_failure(&self.error, self.message.into_string()),
            channel: self.channel.as_deref().map(parse_channel).transpose()?,
        }))
    }
}

fn read_members(members: &[Object<MemberFields<'_>>]) -> Result<Vec<Member>, Malformed> {
    let member = |Object(fields): &Object<MemberFields<'_>>| {
        let principal = fields.principal.as_deref().map(parse_principal).transpose()?;
        Ok(Member { session: parse_session(&fields.session)?, principal })
    };
    members.iter().map(member).collect()
}

fn read_payload(
    json: Option<&RawValue>,
    data: Option<Text<'_>>,
    number: Option<u64>,
) -> Result<Payload, Malformed> {
    match (json, data) {
        (Some(_), Some(_)) => Err(Malformed::content(number, "both a payload and data")),
        (Some(json), None) => {
            Ok(Payload::from_json_bytes(Bytes::copy_from_slice(json.get().as_bytes())))
        }
        (None, Some(data)) => match STANDARD.decode(&*data) {
            Ok(bytes) => Ok(Payload::binary(bytes)),
            Err(error) => {
                let detail = format!("data is not base64 with padding: {error}");
                Err(Malformed::content(number, &detail))
            }
        },
        (None, None) => Ok(Payload::NULL),
    }
}

fn parse_delivery(word: Option<&str>) -> Result<Delivery, Malformed> {
    let Some(word) = word else { return Ok(Delivery::default()) };
    let found = DELIVERIES.iter().find(|known| delivery_word(**known) == word);
    found.copied().ok_or_else(|| unknown_word("delivery", word))
}

fn parse_presence(word: Option<&str>) -> Result<PresenceMode, Malformed> {
    let Some(word) = word else { return Ok(PresenceMode::default()) };
    let found = PRESENCE_MODES.iter().find(|known| presence_word(**known) == word);
    found.copied().ok_or_else(|| unknown_word("presence", word))
}

/// A string, borrowed from the input unless it has escapes.
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    fn into_string(self) -> String {
        self.0.into_owned()
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// An integer from 0 to 2⁵³ − 1.
#[derive(Clone, Copy)]
struct Number(u64);

impl Number {
    /// Of what is counted in 32 bits, more is as good as all.
    fn count(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        match u64::deserialize(deserializer)? {
            number if number <= NUMBER_MAX => Ok(Number(number)),
            number => Err(D::Error::custom(format_args!("{number} is over 2^53 - 1"))),
        }
    }
}

/// Stands where a second `type` would.
#[derive(Default)]
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Once, D::Error> {
        Err(D::Error::duplicate_field("type"))
    }
}

/// An object inside a frame. A derived struct by itself would take an array for one.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// A list that is read no further than its limit.
struct Capped<T> {
    items: Vec<T>,
    is_cut: bool,
}

impl<T> Capped<T> {
    fn within(self, field: &str) -> Result<Vec<T>, Malformed> {
        if self.is_cut {
            let detail = format!("{field} has more than {CURSOR_COUNT_MAX} elements");
            return Err(Malformed::new(MalformedKind::TooManyCursors, None, &detail));
        }
        Ok(self.items)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Capped<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Capped<T>, D::Error> {
        struct CappedVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for CappedVisitor<T> {
            type Value = Capped<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Capped<T>, A::Error> {
                let mut items = Vec::new();
                while items.len() < CURSOR_COUNT_MAX {
                    let Some(item) = list.next_element()? else {
                        return Ok(Capped { items, is_cut: false });
                    };
                    items.push(item);
                }
                let is_cut = list.next_element::<IgnoredAny>()?.is_some();
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Capped { items, is_cut })
            }
        }
        deserializer.deserialize_seq(CappedVisitor(PhantomData))
    }
}

/// `"now"`, `{"after": …, "epoch": …}` or `{"last": …}`.
struct StartField(Start);

impl<'de> Deserialize<'de> for StartField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StartField, D::Error> {
        deserializer.deserialize_any(StartVisitor)
    }
}

struct StartVisitor;

impl<'de> Visitor<'de> for StartVisitor {
    type Value = StartField;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"now\", an object with after and epoch, or one with last")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<StartField, E> {
        if word == "now" { Ok(StartField(Start::Now)) } else { Err(E::custom("unknown start")) }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StartField, A::Error> {
        #[derive(Deserialize)]
        struct Fields<'a> {
            after: Option<Number>,
            #[serde(borrow)]
            epoch: Option<Text<'a>>,
            last: Option<Number>,
        }
        let fields = Fields::deserialize(MapAccessDeserializer::new(map))?;
        let epoch =
            fields.epoch.as_deref().map(parse_epoch).transpose().map_err(A::Error::custom)?;
        let start = match (fields.after, epoch, fields.last) {
            (Some(after), epoch, None) if after.0 == 0 || epoch.is_some() => {
                Start::After { epoch, offset: Offset(after.0) }
            }
            (Some(_), None, None) => {
                return Err(A::Error::custom("an offset means nothing without its epoch"));
            }
            (None, None, Some(last)) => Start::Last(last.count()),
            _ => return Err(A::Error::custom("a start is either after or last")),
        };
        Ok(StartField(start))
    }
}

const STANDINGS: [Standing; 4] =
    [Standing::New, Standing::Resumed, Standing::Expired, Standing::Unknown];
const DELIVERIES: [Delivery; 2] = [Delivery::Every, Delivery::Latest];
const PRESENCE_MODES: [PresenceMode; 4] =
    [PresenceMode::None, PresenceMode::Join, PresenceMode::Watch, PresenceMode::JoinAndWatch];
