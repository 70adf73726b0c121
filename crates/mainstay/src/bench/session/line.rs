//! One session of the load: the least that a client must do to keep the protocol.

use std::collections::VecDeque;
use std::time::Instant;

use mainstay_wire::ChannelName;
use mainstay_wire::session::{
    Ack, ClientFrame, Cursor, Delivery, Epoch, Hello, Offset, Outcome, Payload, PresenceMode,
    Publish, Reply, ServerFrame, SessionId, Standing, Start, Subscribe, Subscribed, Token, Welcome,
};

use super::super::traffic::Wrong;

/// A session across its connections.
#[derive(Debug)]
pub(super) struct Session {
    identity: Option<(SessionId, Token)>,
    is_welcomed: bool,
    /// Whether that was told of this connection.
    is_ready: bool,
    feeds: Vec<Feed>,
    next_number: u64,
    unanswered_from: u64,
    /// Since when each publish without an outcome waits, in the order of their numbers.
    waiting: VecDeque<Instant>,
    unacknowledged_count: u32,
}

#[derive(Debug)]
struct Feed {
    channel: ChannelName,
    place: Option<(Epoch, Offset)>,
    is_subscribed: bool,
}

/// What a frame meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing that is counted.
    Nothing,
    /// The session is welcomed, and hears every channel that it wants.
    Ready,
    /// An event, at its place.
    Event(Offset),
    /// A publish that has waited since then is stored.
    Stored(Instant),
}

impl Session {
    /// A session that wants to hear `channels`.
    pub(super) fn new(channels: impl IntoIterator<Item = ChannelName>) -> Session {
        let feed = |channel| Feed { channel, place: None, is_subscribed: false };
        Session {
            identity: None,
            is_welcomed: false,
            is_ready: false,
            feeds: channels.into_iter().map(feed).collect(),
            next_number: 1,
            unanswered_from: 1,
            waiting: VecDeque::new(),
            unacknowledged_count: 0,
        }
    }

    /// Publishes without an outcome.
    pub(super) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// The first frame of a connection.
    pub(super) fn hello(&mut self) -> ClientFrame {
        (self.is_welcomed, self.is_ready) = (false, false);
        for feed in &mut self.feeds {
            feed.is_subscribed = false;
        }
        ClientFrame::Hello(Box::new(Hello {
            client: "mainstay-bench".to_owned(),
            resume: self.identity.clone(),
            unanswered_from: self.unanswered_from,
            accepted: 0,
            cursors: self.cursors(),
        }))
    }

    pub(super) fn publish(
        &mut self,
        channel: &ChannelName,
        payload: &Payload,
        since: Instant,
    ) -> ClientFrame {
        let number = self.next_number;
        self.next_number += 1;
        self.waiting.push_back(since);
        let (channel, payload) = (channel.clone(), payload.clone());
        ClientFrame::Publish(Publish { number, channel, payload })
    }

    /// Takes a frame in; what is to be said next goes into `answers`.
    ///
    /// # Errors
    /// The frame is not one that a sound server says here.
    pub(super) fn hear(
        &mut self,
        frame: &ServerFrame,
        answers: &mut Vec<ClientFrame>,
    ) -> Result<Meaning, Wrong> {
        let meaning = match frame {
            ServerFrame::Welcome(welcome) => self.hear_welcome(welcome, answers)?,
            ServerFrame::Subscribed(subscribed) => self.hear_subscribed(subscribed),
            ServerFrame::Event(event) => self.hear_event(&event.channel, event.offset)?,
            ServerFrame::Reply(reply) => self.hear_reply(reply)?,
            ServerFrame::Ping => {
                answers.push(ClientFrame::Pong);
                Meaning::Nothing
            }
            ServerFrame::Gap(gap) => {
                return Err(Wrong(format!("a gap: {}", gap.reason.word())));
            }
            ServerFrame::Problem(problem) => {
                let failure = &problem.failure;
                return Err(Wrong(format!("{}: {}", failure.code.word(), failure.message)));
            }
            ServerFrame::Unsubscribed(_) | ServerFrame::Request(_) => {
                return Err(Wrong("a frame that nothing was asked for".to_owned()));
            }
            _ => Meaning::Nothing,
        };
        if matches!(meaning, Meaning::Event(_) | Meaning::Stored(_)) {
            self.unacknowledged_count += 1;
            if self.unacknowledged_count >= ACKNOWLEDGED_COUNT {
                answers.push(self.acknowledge());
            }
        }
        Ok(meaning)
    }

    fn hear_welcome(
        &mut self,
        welcome: &Welcome,
        answers: &mut Vec<ClientFrame>,
    ) -> Result<Meaning, Wrong> {
        let is_resumed = self.identity.is_some();
        self.identity = Some((welcome.session, welcome.token.clone()));
        self.is_welcomed = true;
        if is_resumed {
            return match welcome.standing {
                Standing::Resumed => Ok(self.ready()),
                other => Err(Wrong(format!("a session was not resumed: {other:?}"))),
            };
        }
        for feed in &self.feeds {
            answers.push(ClientFrame::Subscribe(Subscribe {
                channel: feed.channel.clone(),
                start: Start::Now,
                delivery: Delivery::Every,
                presence: PresenceMode::None,
            }));
        }
        Ok(self.ready())
    }

    fn hear_subscribed(&mut self, subscribed: &Subscribed) -> Meaning {
        let place = Some((subscribed.epoch, subscribed.offset));
        match self.feeds.iter_mut().find(|feed| feed.channel == subscribed.channel) {
            Some(feed) => (feed.place, feed.is_subscribed) = (place, true),
            // An inbox comes unasked.
            None => {
                let channel = subscribed.channel.clone();
                self.feeds.push(Feed { channel, place, is_subscribed: true });
            }
        }
        self.ready()
    }

    fn hear_event(&mut self, channel: &ChannelName, offset: Offset) -> Result<Meaning, Wrong> {
        let feed = self.feeds.iter_mut().find(|feed| feed.channel == *channel);
        let Some((_, place)) = feed.and_then(|feed| feed.place.as_mut()) else {
            return Err(Wrong("an event of a channel that nobody listens to".to_owned()));
        };
        let before = std::mem::replace(place, offset);
        if offset != before.next() {
            return Err(Wrong(format!("event {} behind event {}", offset.0, before.0)));
        }
        Ok(Meaning::Event(offset))
    }

    fn hear_reply(&mut self, reply: &Reply) -> Result<Meaning, Wrong> {
        if reply.number != self.unanswered_from {
            let (number, expected) = (reply.number, self.unanswered_from);
            return Err(Wrong(format!("a reply to {number} instead of {expected}")));
        }
        self.unanswered_from += 1;
        let since = self.waiting.pop_front();
        match (&reply.outcome, since) {
            (Outcome::Published { .. }, Some(since)) => Ok(Meaning::Stored(since)),
            (Outcome::Failed(failure), _) => {
                Err(Wrong(format!("{}: {}", failure.code.word(), failure.message)))
            }
            (outcome, _) => Err(Wrong(format!("an outcome that is none: {outcome:?}"))),
        }
    }

    fn ready(&mut self) -> Meaning {
        let is_ready = self.is_welcomed && self.feeds.iter().all(|feed| feed.is_subscribed);
        // An inbox that comes later changes nothing.
        match is_ready && !std::mem::replace(&mut self.is_ready, is_ready) {
            true => Meaning::Ready,
            false => Meaning::Nothing,
        }
    }

    fn acknowledge(&mut self) -> ClientFrame {
        self.unacknowledged_count = 0;
        let cursors = self.cursors().into_iter().map(|cursor| (cursor.channel, cursor.offset));
        ClientFrame::Ack(Ack { unanswered_from: self.unanswered_from, cursors: cursors.collect() })
    }

    fn cursors(&self) -> Vec<Cursor> {
        let cursor = |feed: &Feed| {
            let (epoch, offset) = feed.place?;
            Some(Cursor {
                channel: feed.channel.clone(),
                epoch,
                offset,
                delivery: Delivery::Every,
                presence: PresenceMode::None,
            })
        };
        self.feeds.iter().filter_map(cursor).collect()
    }
}

/// As often as a client must (PROTOCOL.md, "Acknowledgements").
const ACKNOWLEDGED_COUNT: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_wire::session::{ErrorCode, Event, Failure, SessionLimits};

    fn news() -> ChannelName {
        ChannelName::parse("news").unwrap()
    }

    fn welcome(standing: Standing) -> ServerFrame {
        ServerFrame::Welcome(Box::new(Welcome {
            standing,
            session: SessionId::from_bytes([1; 16]),
            token: Token::from_bytes([2; 32]),
            generation: 1,
            accepted: 0,
            principal: None,
            server: String::new(),
            ping_interval_ms: 25_000,
            session_expiry_ms: 1,
            limits: SessionLimits {
                request_count_max: 1,
                message_bytes_max: 1,
                subscription_count_max: 1,
                request_bytes_max: None,
            },
        }))
    }

    fn subscribed(offset: u64) -> ServerFrame {
        let (epoch, offset) = (Epoch(5), Offset(offset));
        let channel = news();
        ServerFrame::Subscribed(Subscribed {
            channel,
            epoch,
            offset,
            head: offset,
            member_count: 0,
        })
    }

    fn event(offset: u64) -> ServerFrame {
        let (offset, payload) = (Offset(offset), Payload::NULL);
        ServerFrame::Event(Event { channel: news(), offset, at_ms: 0, payload })
    }

    #[test]
    fn a_session_subscribes_acknowledges_and_comes_back_to_its_place() {
        let mut session = Session::new([news()]);
        let mut answers = Vec::new();
        let mut hear = |frame, answers: &mut Vec<_>| session.hear(&frame, answers);
        assert_eq!(hear(welcome(Standing::New), &mut answers), Ok(Meaning::Nothing));
        assert!(matches!(answers[..], [ClientFrame::Subscribe(_)]));
        assert_eq!(hear(subscribed(7), &mut answers), Ok(Meaning::Ready));
        answers.clear();
        for offset in 8..8 + 64 {
            assert_eq!(hear(event(offset), &mut answers), Ok(Meaning::Event(Offset(offset))));
        }
        let [ClientFrame::Ack(ack)] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!(ack.cursors, [(news(), Offset(71))]);
        assert!(hear(event(73), &mut answers).unwrap_err().0.contains("event 73 behind event 71"));
        assert_eq!(hear(subscribed(73), &mut answers), Ok(Meaning::Nothing), "told once");
        let ClientFrame::Hello(hello) = session.hello() else { panic!("no hello") };
        assert_eq!((hello.resume.is_some(), hello.cursors[0].offset), (true, Offset(73)));
        let lost = session.hear(&welcome(Standing::Unknown), &mut answers);
        assert!(lost.unwrap_err().0.contains("not resumed"));
    }

    #[test]
    fn outcomes_come_in_order_and_are_successes() {
        let mut session = Session::new([]);
        let since = Instant::now();
        for _ in 0..3 {
            session.publish(&news(), &Payload::NULL, since);
        }
        let reply = |number, outcome| ServerFrame::Reply(Reply { number, outcome });
        let stored =
            |number| reply(number, Outcome::Published { epoch: Epoch(5), offset: Offset(number) });
        let mut hear = |frame| session.hear(&frame, &mut Vec::new());
        assert_eq!(hear(stored(1)), Ok(Meaning::Stored(since)));
        assert_eq!(hear(stored(3)).unwrap_err().0, "a reply to 3 instead of 2");
        let failure = Failure { code: ErrorCode::Busy, message: "later".to_owned() };
        assert_eq!(hear(reply(2, Outcome::Failed(failure))).unwrap_err().0, "busy: later");
        assert_eq!(session.waiting_count(), 1);
    }
}
