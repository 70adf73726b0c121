//! A node, its log, its clock, and connections that collect what they are told. Feeds are read on as
//! a shard does, and every subscriber's stream is checked as it comes.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_hub::Hub;
use mainstay_log::LogError;
use mainstay_node::{
    Answer, Call, CallError, ConnectionKey, Effect, Input, Node, NodeConfig, Note, Page, Ticket,
};
use mainstay_wire::session::{
    Ack, ClientFrame, Cursor, Delivery, Epoch, ErrorCode, Event, Gap, Hello, Offset, Outcome,
    Payload, PresenceMode, Principal, Publish, Reply, Request, ServerFrame, SessionId, Standing,
    Start, Subscribe, Subscribed, Token, Welcome,
};
use mainstay_wire::{ChannelName, EndReason};

use crate::log::SharedLog;

pub(crate) struct World {
    pub(crate) node: Node,
    pub(crate) log: SharedLog,
    pub(crate) config: NodeConfig,
    pub(crate) now_ms: u64,
    /// Where connections come from.
    pub(crate) source: [u8; 8],
    pub(crate) hub: Hub,
    pub(crate) frames: BTreeMap<u64, Vec<ServerFrame>>,
    pub(crate) closed: BTreeMap<u64, EndReason>,
    pub(crate) gone: BTreeSet<u64>,
    pub(crate) runs: Vec<(SessionId, u64)>,
    /// With whether it was late.
    pub(crate) stops: Vec<(SessionId, u64, bool)>,
    pub(crate) notes: Vec<Note>,
    pub(crate) answers: BTreeMap<Ticket, Result<Answer, CallError>>,
    /// Everything that ever came out, as text: two runs compare by it.
    pub(crate) told: Vec<String>,
    /// Where each subscriber is: the next event must be the one behind it.
    places: BTreeMap<(u64, ChannelName), Offset>,
    /// The channel of which a connection awaits a page.
    tickets: u64,
    restarts: u8,
}

impl World {
    pub(crate) fn new() -> World {
        World::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut NodeConfig)) -> World {
        let mut config = NodeConfig::default();
        change(&mut config);
        World::over(SharedLog::default(), config)
    }

    pub(crate) fn over(log: SharedLog, config: NodeConfig) -> World {
        let now_ms = 1_000_000;
        let node = Node::open(now_ms, config.clone(), Box::new(log.clone()), [1; 32]);
        World {
            node: node.expect("an empty log opens"),
            log,
            config,
            now_ms,
            source: [0; 8],
            hub: Hub::default(),
            frames: BTreeMap::new(),
            closed: BTreeMap::new(),
            gone: BTreeSet::new(),
            runs: Vec::new(),
            stops: Vec::new(),
            notes: Vec::new(),
            answers: BTreeMap::new(),
            told: Vec::new(),
            places: BTreeMap::new(),
            tickets: 0,
            restarts: 0,
        }
    }

    /// The process is lost; another one opens the same log.
    pub(crate) fn restart(&mut self) {
        self.restarts += 1;
        let seed = [1 + self.restarts; 32];
        let log = Box::new(self.log.clone());
        self.node = Node::open(self.now_ms, self.config.clone(), log, seed).expect("opens again");
        self.hub = Hub::default();
        self.places.clear();
        self.runs.clear();
    }

    pub(crate) fn handle(&mut self, input: Input) {
        self.node.handle(self.now_ms, input);
    }

    /// Commits, carries out, and reads on until every feed is live.
    pub(crate) fn commit(&mut self) {
        self.try_commit().expect("the log takes it");
        for _ in 0..10_000 {
            let keys: Vec<u64> = self.frames.keys().copied().collect();
            let mut has_asked = false;
            for key in keys {
                if let Some((channel, after)) = self.hub.next_read(key as usize) {
                    has_asked = true;
                    let connection = ConnectionKey(key);
                    self.handle(Input::Read { connection, channel, after, bytes_max: 64 * 1024 });
                }
            }
            if !has_asked {
                return;
            }
            self.try_commit().expect("reading writes nothing");
        }
        panic!("somebody reads without end");
    }

    pub(crate) fn try_commit(&mut self) -> Result<Vec<Effect>, LogError> {
        let mut effects = Vec::new();
        self.node.commit(self.now_ms, &mut effects)?;
        self.node.audit();
        for effect in effects.clone() {
            self.told.push(format!("{effect:?}"));
            self.carry_out(effect);
        }
        Ok(effects)
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send { connection, frame } => self.say(connection.0, frame),
            Effect::Feed { connection, channel, after, head, .. } => {
                self.hub.feed(connection.0 as usize, &channel, after, head);
            }
            Effect::Unfeed { connection, channel } => {
                self.hub.unsubscribe(connection.0 as usize, &channel);
                self.places.remove(&(connection.0, channel));
            }
            Effect::Deliver { channel, events } => {
                for live in self.hub.live(&channel).to_vec() {
                    for event in &events {
                        self.say(live as u64, ServerFrame::Event(event.clone()));
                    }
                }
            }
            Effect::Page(page) => self.turn_page(page),
            Effect::Run { session, request, .. } => self.runs.push((session, request.number)),
            Effect::Stop { session, number, is_late } => {
                self.stops.push((session, number, is_late));
            }
            Effect::Close { connection, reason, .. } => {
                assert!(!self.closed.contains_key(&connection.0), "{connection:?} closed twice");
                self.closed.insert(connection.0, reason);
                self.hub.remove(connection.0 as usize);
            }
            Effect::Answer { ticket, result } => {
                let before = self.answers.insert(ticket, result);
                assert!(before.is_none(), "{ticket:?} is answered twice");
            }
            Effect::Note(note) => self.notes.push(note),
        }
    }

    fn turn_page(&mut self, page: Page) {
        let key = page.connection.0;
        let first = page.gap.as_ref().map(|gap| gap.from);
        let first = first.or_else(|| page.events.first().map(|event| event.offset));
        let from = first.map_or(page.after, |first| Offset(first.0 - 1));
        if self.hub.turn_page(key as usize, &page.channel, from, page.after, page.head) {
            if let Some(gap) = page.gap {
                self.say(key, ServerFrame::Gap(gap));
            }
            for event in page.events {
                self.say(key, ServerFrame::Event(event));
            }
        }
    }

    /// Notes a frame, and checks that a subscriber's stream has no hole and no repetition.
    fn say(&mut self, key: u64, frame: ServerFrame) {
        if self.gone.contains(&key) {
            return;
        }
        assert!(!self.closed.contains_key(&key), "{key} is closed and hears {frame:?}");
        assert!(self.frames.contains_key(&key), "{key} is nobody, and hears {frame:?}");
        match &frame {
            ServerFrame::Subscribed(said) => {
                self.places.insert((key, said.channel.clone()), said.offset);
            }
            ServerFrame::Gap(gap) => {
                let place = self.places.insert((key, gap.channel.clone()), gap.offset);
                assert!(place.is_some_and(|place| place.next() == gap.from || gap.to.is_none()));
                assert!(gap.to.is_none_or(|to| to >= gap.from), "{gap:?} is a range");
            }
            ServerFrame::Event(event) => {
                let place = self.places.insert((key, event.channel.clone()), event.offset);
                assert_eq!(place.map(Offset::next), Some(event.offset), "{key}: {event:?}");
            }
            _ => {}
        }
        self.frames.entry(key).or_default().push(frame);
    }

    /// A connection says hello. What it hears comes with the commit.
    pub(crate) fn say_hello(&mut self, key: u64, principal: Option<&str>, hello: Hello) {
        self.frames.insert(key, Vec::new());
        let connection = ConnectionKey(key);
        let principal = principal.map(|name| Principal::parse(name).expect("a principal"));
        let (source, hello) = (self.source, Box::new(hello));
        self.handle(Input::Hello { connection, principal, source, hello });
    }

    /// A connection says hello and is heard.
    pub(crate) fn connect(&mut self, key: u64, hello: Hello) -> Welcome {
        self.connect_as(key, None, hello)
    }

    pub(crate) fn connect_as(
        &mut self,
        key: u64,
        principal: Option<&str>,
        hello: Hello,
    ) -> Welcome {
        self.say_hello(key, principal, hello);
        self.commit();
        self.welcome(key).unwrap_or_else(|| panic!("{:?} and no welcome", self.closed.get(&key)))
    }

    pub(crate) fn welcome(&self, key: u64) -> Option<Welcome> {
        let said = self.frames[&key].iter();
        said.into_iter().find_map(|frame| match frame {
            ServerFrame::Welcome(welcome) => Some((**welcome).clone()),
            _ => None,
        })
    }

    pub(crate) fn frame(&mut self, key: u64, frame: ClientFrame) {
        self.handle(Input::Frame { connection: ConnectionKey(key), frame });
    }

    pub(crate) fn request(&mut self, key: u64, number: u64) {
        self.request_within(key, number, None);
    }

    pub(crate) fn request_within(&mut self, key: u64, number: u64, deadline_ms: Option<u64>) {
        let command = "work".to_owned();
        let request = Request { number, command, payload: Payload::NULL, deadline_ms };
        self.frame(key, ClientFrame::Request(request));
    }

    pub(crate) fn publish(&mut self, key: u64, number: u64, channel: &str, text: &str) {
        let publish = Publish { number, channel: name(channel), payload: Payload::text(text) };
        self.frame(key, ClientFrame::Publish(publish));
    }

    pub(crate) fn ran(&mut self, session: SessionId, number: u64, text: &str) {
        self.handle(Input::Ran { session, number, outcome: Outcome::Done(Payload::text(text)) });
    }

    pub(crate) fn subscribe(&mut self, key: u64, channel: &str, start: Start) {
        self.subscribe_with(key, channel, start, Delivery::Every, PresenceMode::None);
    }

    pub(crate) fn subscribe_with(
        &mut self,
        key: u64,
        channel: &str,
        start: Start,
        delivery: Delivery,
        presence: PresenceMode,
    ) {
        let channel = any_name(channel);
        let subscribe = Subscribe { channel, start, delivery, presence };
        self.frame(key, ClientFrame::Subscribe(subscribe));
    }

    pub(crate) fn unsubscribe(&mut self, key: u64, channel: &str) {
        self.frame(key, ClientFrame::Unsubscribe { channel: any_name(channel) });
    }

    pub(crate) fn ack(&mut self, key: u64, unanswered_from: u64, cursors: &[(&ChannelName, u64)]) {
        let cursors = cursors.iter().map(|(name, at)| ((*name).clone(), Offset(*at))).collect();
        self.frame(key, ClientFrame::Ack(Ack { unanswered_from, cursors }));
    }

    pub(crate) fn cut(&mut self, key: u64) {
        self.gone.insert(key);
        self.hub.remove(key as usize);
        let (end, detail) = (EndReason::PeerEof, "".into());
        self.handle(Input::Gone { connection: ConnectionKey(key), end, detail });
    }

    pub(crate) fn call(&mut self, call: Call) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.handle(Input::Call { ticket, call });
        ticket
    }

    /// Calls, commits and takes the answer.
    pub(crate) fn ask(&mut self, call: Call) -> Result<Answer, CallError> {
        let ticket = self.call(call);
        self.commit();
        self.answers.get(&ticket).cloned().expect("an answer")
    }

    /// Publishes from outside, in this batch.
    pub(crate) fn emit(&mut self, channel: &str, text: &str) -> Ticket {
        let payload = Payload::text(text);
        self.call(Call::Publish { channels: vec![name(channel)], payload, key: None })
    }

    /// The same so many times.
    pub(crate) fn emit_many(&mut self, channel: &str, count: u64) {
        for _ in 0..count {
            self.emit(channel, "a");
        }
    }

    /// Time passes; what is due is done.
    pub(crate) fn pass(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        for _ in 0..10_000 {
            let Some(due_ms) = self.node.next_timeout().filter(|due| *due <= until_ms) else {
                self.now_ms = until_ms;
                return;
            };
            self.now_ms = self.now_ms.max(due_ms);
            self.node.handle_timeout(self.now_ms);
            self.commit();
        }
        panic!("there is something due without end");
    }

    /// A log that was full has been left alone for long enough.
    pub(crate) fn rest(&mut self) {
        self.pass(1_000);
    }

    /// What a connection has heard since it was last asked.
    pub(crate) fn take(&mut self, key: u64) -> Vec<ServerFrame> {
        std::mem::take(self.frames.get_mut(&key).expect("a connection"))
    }

    pub(crate) fn replies(&self, key: u64) -> Vec<(u64, Outcome)> {
        let said = self.frames[&key].iter();
        said.filter_map(|frame| match frame {
            ServerFrame::Reply(Reply { number, outcome }) => Some((*number, outcome.clone())),
            _ => None,
        })
        .collect()
    }

    pub(crate) fn events(&self, key: u64, channel: &str) -> Vec<u64> {
        let events = self.frames[&key].iter().filter_map(|frame| match frame {
            ServerFrame::Event(Event { channel, offset, .. }) => Some((channel, offset.0)),
            _ => None,
        });
        events.filter(|(name, _)| name.as_str() == channel).map(|(_, offset)| offset).collect()
    }

    pub(crate) fn gaps(&self, key: u64) -> Vec<Gap> {
        let said = self.frames[&key].iter();
        said.filter_map(|frame| match frame {
            ServerFrame::Gap(gap) => Some(gap.clone()),
            _ => None,
        })
        .collect()
    }

    pub(crate) fn subscribed(&self, key: u64, channel: &str) -> Option<Subscribed> {
        let said = self.frames[&key].iter().rev();
        said.into_iter().find_map(|frame| match frame {
            ServerFrame::Subscribed(said) if said.channel.as_str() == channel => Some(said.clone()),
            _ => None,
        })
    }

    pub(crate) fn problems(&self, key: u64) -> Vec<ErrorCode> {
        let said = self.frames[&key].iter();
        said.filter_map(|frame| match frame {
            ServerFrame::Problem(problem) => Some(problem.failure.code),
            _ => None,
        })
        .collect()
    }
}

pub(crate) fn name(name: &str) -> ChannelName {
    ChannelName::parse(name).expect("a name")
}

pub(crate) fn any_name(name: &str) -> ChannelName {
    ChannelName::parse_any(name).expect("a name")
}

pub(crate) fn hello() -> Hello {
    Hello { client: "test".to_owned(), unanswered_from: 1, ..Hello::default() }
}

pub(crate) fn resume(welcome: &Welcome) -> Hello {
    resume_with(welcome.session, &welcome.token)
}

pub(crate) fn resume_with(session: SessionId, token: &Token) -> Hello {
    Hello { resume: Some((session, token.clone())), ..hello() }
}

pub(crate) fn cursor(channel: &str, epoch: Epoch, offset: u64) -> Cursor {
    Cursor {
        channel: any_name(channel),
        epoch,
        offset: Offset(offset),
        delivery: Delivery::Every,
        presence: PresenceMode::None,
    }
}

pub(crate) fn done(text: &str) -> Outcome {
    Outcome::Done(Payload::text(text))
}

pub(crate) fn code(outcome: &Outcome) -> Option<ErrorCode> {
    match outcome {
        Outcome::Failed(failure) => Some(failure.code),
        _ => None,
    }
}

pub(crate) fn standing(welcome: &Welcome) -> (Standing, u64, u64) {
    (welcome.standing, welcome.generation, welcome.accepted)
}
