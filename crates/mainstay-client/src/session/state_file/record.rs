//! Changes as bytes.

use bytes::Bytes;
use mainstay_session::client::{Call, Identity, Place, RequestKey, StateChange};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{
    Delivery, Epoch, ErrorCode, Failure, Offset, Outcome, Payload, PayloadKind, PresenceMode,
    SessionId, Standing, Start, Subscribe, Token,
};

/// Appends a change to a batch.
pub(super) fn write(change: &StateChange, out: &mut Vec<u8>) {
    let mut out = Writer(out);
    match change {
        StateChange::Requested { key, call, deadline_at_ms } => {
            out.tagged(REQUESTED, key.0);
            out.call(call);
            out.optional(*deadline_at_ms);
        }
        StateChange::Numbered { key, number } => {
            out.tagged(NUMBERED, key.0);
            out.number(*number);
        }
        StateChange::GivenUp { key, failure } => {
            out.tagged(GIVEN_UP, key.0);
            out.failure(failure);
        }
        StateChange::Settled { key } => out.tagged(SETTLED, key.0),
        StateChange::Welcomed { standing, identity, accepted } => {
            out.byte(WELCOMED);
            out.byte(match standing {
                Standing::New => 0,
                Standing::Resumed => 1,
                Standing::Expired => 2,
                Standing::Unknown => 3,
            });
            out.identity(identity);
            out.number(*accepted);
        }
        StateChange::Forgotten => out.byte(FORGOTTEN),
        StateChange::Ended => out.byte(ENDED),
        StateChange::Subscribed(subscribe) => {
            out.byte(SUBSCRIBED);
            out.subscribe(subscribe);
        }
        StateChange::Unsubscribed { channel } => {
            out.byte(UNSUBSCRIBED);
            out.text(channel.as_str());
        }
        StateChange::CursorMoved { channel, place } => {
            out.byte(CURSOR_MOVED);
            out.text(channel.as_str());
            out.number(place.epoch.0);
            out.number(place.offset.0);
        }
        StateChange::CommandAccepted { number } => out.tagged(COMMAND_ACCEPTED, *number),
        StateChange::CommandAnswered { number, outcome } => {
            out.tagged(COMMAND_ANSWERED, *number);
            out.outcome(outcome);
        }
        StateChange::AnswersSafe { number } => out.tagged(ANSWERS_SAFE, *number),
        StateChange::Counted { identity, next_key, next_number, accepted } => {
            out.byte(COUNTED);
            match identity {
                None => out.byte(0),
                Some(identity) => {
                    out.byte(1);
                    out.identity(identity);
                }
            }
            out.number(next_key.0);
            out.number(*next_number);
            out.number(*accepted);
        }
    }
}

/// Takes a change from the front of a batch's content; `None` if it holds something else.
pub(super) fn read(input: &mut &[u8]) -> Option<StateChange> {
    let mut input = Reader(input);
    Some(match input.byte()? {
        REQUESTED => StateChange::Requested {
            key: RequestKey(input.number()?),
            call: input.call()?,
            deadline_at_ms: input.optional()?,
        },
        NUMBERED => {
            StateChange::Numbered { key: RequestKey(input.number()?), number: input.number()? }
        }
        GIVEN_UP => {
            StateChange::GivenUp { key: RequestKey(input.number()?), failure: input.failure()? }
        }
        SETTLED => StateChange::Settled { key: RequestKey(input.number()?) },
        WELCOMED => StateChange::Welcomed {
            standing: match input.byte()? {
                0 => Standing::New,
                1 => Standing::Resumed,
                2 => Standing::Expired,
                3 => Standing::Unknown,
                _ => return None,
            },
            identity: input.identity()?,
            accepted: input.number()?,
        },
        FORGOTTEN => StateChange::Forgotten,
        ENDED => StateChange::Ended,
        SUBSCRIBED => StateChange::Subscribed(input.subscribe()?),
        UNSUBSCRIBED => StateChange::Unsubscribed { channel: input.channel()? },
        CURSOR_MOVED => StateChange::CursorMoved {
            channel: input.channel()?,
            place: Place { epoch: Epoch(input.number()?), offset: Offset(input.number()?) },
        },
        COMMAND_ACCEPTED => StateChange::CommandAccepted { number: input.number()? },
        COMMAND_ANSWERED => {
            StateChange::CommandAnswered { number: input.number()?, outcome: input.outcome()? }
        }
        ANSWERS_SAFE => StateChange::AnswersSafe { number: input.number()? },
        COUNTED => StateChange::Counted {
            identity: match input.byte()? {
                0 => None,
                1 => Some(input.identity()?),
                _ => return None,
            },
            next_key: RequestKey(input.number()?),
            next_number: input.number()?,
            accepted: input.number()?,
        },
        _ => return None,
    })
}

pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        // Nothing that goes into a state file comes near 4 GiB: each part came in one message, or
        // was bounded by the outbox.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.extend(length.to_le_bytes());
        self.0.extend(bytes.get(..length as usize).unwrap_or(bytes));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn tagged(&mut self, tag: u8, number: u64) {
        self.byte(tag);
        self.number(number);
    }

    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn optional(&mut self, number: Option<u64>) {
        self.byte(u8::from(number.is_some()));
        if let Some(number) = number {
            self.number(number);
        }
    }

    fn payload(&mut self, payload: &Payload) {
        self.byte(match payload.kind {
            PayloadKind::Json => 0,
            PayloadKind::Binary => 1,
        });
        self.bytes(&payload.bytes);
    }

    fn call(&mut self, call: &Call) {
        match call {
            Call::Command { command, payload } => {
                self.byte(0);
                self.text(command);
                self.payload(payload);
            }
            Call::Publish { channel, payload } => {
                self.byte(1);
                self.text(channel.as_str());
                self.payload(payload);
            }
        }
    }

    fn identity(&mut self, identity: &Identity) {
        self.0.extend(identity.session.as_bytes());
        self.0.extend(identity.token.as_bytes());
    }

    fn subscribe(&mut self, subscribe: &Subscribe) {
        self.text(subscribe.channel.as_str());
        match subscribe.start {
            Start::Now => self.byte(0),
            Start::After { epoch, offset } => {
                self.byte(1);
                self.optional(epoch.map(|epoch| epoch.0));
                self.number(offset.0);
            }
            Start::Last(count) => {
                self.byte(2);
                self.number(u64::from(count));
            }
        }
        self.byte(match subscribe.delivery {
            Delivery::Every => 0,
            Delivery::Latest => 1,
        });
        self.byte(match subscribe.presence {
            PresenceMode::None => 0,
            PresenceMode::Join => 1,
            PresenceMode::Watch => 2,
            PresenceMode::JoinAndWatch => 3,
        });
    }

    fn outcome(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Done(payload) => {
                self.byte(0);
                self.payload(payload);
            }
            Outcome::Published { epoch, offset } => {
                self.byte(1);
                self.number(epoch.0);
                self.number(offset.0);
            }
            Outcome::Failed(failure) => {
                self.byte(2);
                self.failure(failure);
            }
            Outcome::Indeterminate => self.byte(3),
        }
    }

    fn failure(&mut self, failure: &Failure) {
        self.text(failure.code.word());
        self.text(&failure.message);
    }
}

pub(super) struct Reader<'a, 'b>(pub(super) &'a mut &'b [u8]);

impl<'b> Reader<'_, 'b> {
    pub(super) fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = u32::from_le_bytes(*self.array()?);
        let (bytes, rest) = self.0.split_at_checked(length as usize)?;
        *self.0 = rest;
        Some(bytes)
    }

    pub(super) fn text(&mut self) -> Option<&'b str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn array<const N: usize>(&mut self) -> Option<&'b [u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        *self.0 = rest;
        Some(array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| *byte)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(|array| u64::from_le_bytes(*array))
    }

    fn optional(&mut self) -> Option<Option<u64>> {
        match self.byte()? {
            0 => Some(None),
            1 => self.number().map(Some),
            _ => None,
        }
    }

    fn payload(&mut self) -> Option<Payload> {
        let kind = match self.byte()? {
            0 => PayloadKind::Json,
            1 => PayloadKind::Binary,
            _ => return None,
        };
        Some(Payload { kind, bytes: Bytes::copy_from_slice(self.bytes()?) })
    }

    fn channel(&mut self) -> Option<ChannelName> {
        ChannelName::parse_any(self.text()?).ok()
    }

    fn call(&mut self) -> Option<Call> {
        match self.byte()? {
            0 => {
                let command = self.text()?.to_owned();
                Some(Call::Command { command, payload: self.payload()? })
            }
            1 => {
                let channel = self.channel()?;
                Some(Call::Publish { channel, payload: self.payload()? })
            }
            _ => None,
        }
    }

    fn identity(&mut self) -> Option<Identity> {
        let session = SessionId::from_bytes(*self.array()?);
        Some(Identity { session, token: Token::from_bytes(*self.array()?) })
    }

    fn subscribe(&mut self) -> Option<Subscribe> {
        let channel = self.channel()?;
        let start = match self.byte()? {
            0 => Start::Now,
            1 => {
                Start::After { epoch: self.optional()?.map(Epoch), offset: Offset(self.number()?) }
            }
            2 => Start::Last(u32::try_from(self.number()?).ok()?),
            _ => return None,
        };
        let delivery = match self.byte()? {
            0 => Delivery::Every,
            1 => Delivery::Latest,
            _ => return None,
        };
        let presence = match self.byte()? {
            0 => PresenceMode::None,
            1 => PresenceMode::Join,
            2 => PresenceMode::Watch,
            3 => PresenceMode::JoinAndWatch,
            _ => return None,
        };
        Some(Subscribe { channel, start, delivery, presence })
    }

    fn outcome(&mut self) -> Option<Outcome> {
        match self.byte()? {
            0 => self.payload().map(Outcome::Done),
            1 => Some(Outcome::Published {
                epoch: Epoch(self.number()?),
                offset: Offset(self.number()?),
            }),
            2 => self.failure().map(Outcome::Failed),
            3 => Some(Outcome::Indeterminate),
            _ => None,
        }
    }

    fn failure(&mut self) -> Option<Failure> {
        let code = ErrorCode::parse(self.text()?)?;
        Some(Failure { code, message: self.text()?.to_owned() })
    }
}

// These stand in files: a number is never given another meaning.
const COUNTED: u8 = 1;
const REQUESTED: u8 = 2;
const NUMBERED: u8 = 3;
const SETTLED: u8 = 4;
const WELCOMED: u8 = 5;
const FORGOTTEN: u8 = 6;
const ENDED: u8 = 7;
const SUBSCRIBED: u8 = 8;
const UNSUBSCRIBED: u8 = 9;
const CURSOR_MOVED: u8 = 10;
const COMMAND_ACCEPTED: u8 = 11;
const COMMAND_ANSWERED: u8 = 12;
const ANSWERS_SAFE: u8 = 13;
const GIVEN_UP: u8 = 14;

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each, with every kind of part.
    pub(crate) fn samples() -> Vec<StateChange> {
        let channel = ChannelName::parse("news").expect("a name");
        let identity =
            Identity { session: SessionId::from_bytes([1; 16]), token: Token::from_bytes([2; 32]) };
        let key = RequestKey(9);
        let subscribe = |start, delivery, presence| {
            StateChange::Subscribed(Subscribe {
                channel: channel.clone(),
                start,
                delivery,
                presence,
            })
        };
        let command = Call::Command { command: "do".to_owned(), payload: Payload::NULL };
        let publish =
            Call::Publish { channel: channel.clone(), payload: Payload::binary(vec![0, 255]) };
        let answered = |outcome| StateChange::CommandAnswered { number: 1, outcome };
        let failure = Failure { code: ErrorCode::Busy, message: "später".to_owned() };
        let after = Start::After { epoch: Some(Epoch(u64::MAX)), offset: Offset(3) };
        let mut changes = vec![
            StateChange::Requested { key, call: command, deadline_at_ms: Some(5) },
            StateChange::Requested { key, call: publish, deadline_at_ms: None },
            StateChange::Numbered { key, number: 7 },
            StateChange::GivenUp { key, failure: failure.clone() },
            StateChange::Settled { key },
            StateChange::Forgotten,
            StateChange::Ended,
            subscribe(Start::Now, Delivery::Every, PresenceMode::None),
            subscribe(Start::Last(9), Delivery::Latest, PresenceMode::Join),
            subscribe(after, Delivery::Every, PresenceMode::Watch),
            subscribe(
                Start::After { epoch: None, offset: Offset(0) },
                Delivery::Every,
                PresenceMode::JoinAndWatch,
            ),
            StateChange::Unsubscribed { channel: channel.clone() },
            StateChange::CursorMoved {
                channel: ChannelName::session_inbox(identity.session),
                place: Place { epoch: Epoch(5), offset: Offset(6) },
            },
            StateChange::CommandAccepted { number: 3 },
            answered(Outcome::Done(Payload::text("x"))),
            answered(Outcome::Published { epoch: Epoch(1), offset: Offset(2) }),
            answered(Outcome::Failed(failure)),
            answered(Outcome::Indeterminate),
            StateChange::AnswersSafe { number: 3 },
        ];
        for identity in [None, Some(identity.clone())] {
            let next_key = RequestKey(4);
            changes.push(StateChange::Counted { identity, next_key, next_number: 5, accepted: 6 });
        }
        for standing in [Standing::New, Standing::Resumed, Standing::Expired, Standing::Unknown] {
            let identity = identity.clone();
            changes.push(StateChange::Welcomed { standing, identity, accepted: 4 });
        }
        changes
    }

    #[test]
    fn every_change_comes_back_as_it_was() {
        let mut bytes = Vec::new();
        samples().iter().for_each(|change| write(change, &mut bytes));
        let mut input = bytes.as_slice();
        for change in samples() {
            assert_eq!(read(&mut input), Some(change));
        }
        assert!(input.is_empty());
    }

    #[test]
    fn a_part_of_a_change_is_none() {
        for change in samples() {
            let mut bytes = Vec::new();
            write(&change, &mut bytes);
            for end in 0..bytes.len() {
                assert_eq!(read(&mut &bytes[..end]), None, "{change:?} cut at {end}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes: Vec<u8>) {
            let mut input = bytes.as_slice();
            while read(&mut input).is_some() {}
        }
    }
}
