//! Processes that die between any two things that they do, and lose of what they wrote whatever was
//! not said to be safe.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mainstay_wire::session::{
    ClientFrame, Epoch, Event, Offset, Payload, Reply, Request, ServerFrame, SessionId, Standing,
    Start, Token, Welcome,
};
use proptest::prelude::*;

use super::support::{done, name, subscribe, subscribed_at, welcome};
use crate::client::{
    ClientConfig, ClientEvent, ClientSession, CommandKey, Output, RequestKey, SavedState,
    StateChange,
};

#[derive(Clone, Debug)]
enum Step {
    Request,
    /// A request that is no longer wanted after the next [`Step::Wait`].
    RequestWithin,
    /// One of the last requests is no longer wanted.
    Cancel(u64),
    /// So many outputs are carried out, then the process dies; of the changes that were not said
    /// to be safe, so many are on the disk.
    Die(usize, usize),
    /// So many outputs are carried out.
    Work(usize),
    /// So many frames reach the client.
    Hear(usize),
    Lose,
    Publish,
    Command,
    Consume,
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Request),
        2 => Just(Step::RequestWithin),
        2 => (0..4u64).prop_map(Step::Cancel),
        2 => (0..6usize, 0..4usize).prop_map(|(count, kept)| Step::Die(count, kept)),
        8 => (0..8usize).prop_map(Step::Work),
        8 => (0..8usize).prop_map(Step::Hear),
        2 => Just(Step::Lose),
        4 => Just(Step::Publish),
        2 => Just(Step::Command),
        4 => Just(Step::Consume),
        1 => Just(Step::Wait),
    ]
}

/// A server that loses nothing, and is strict about tokens.
#[derive(Default)]
struct Model {
    token: u8,
    /// The token before, until a frame shows that the last one arrived.
    token_before: Option<u8>,
    /// The client has said something behind a welcome.
    is_proved: bool,
    accepted: u64,
    unanswered_from: u64,
    /// How often each command ran, by its name.
    runs: BTreeMap<String, u32>,
    head: u64,
    cursor: Option<u64>,
    command_count: u64,
    replies: BTreeMap<u64, u32>,
    to_client: VecDeque<ServerFrame>,
}

impl Model {
    fn hear(&mut self, frame: ClientFrame) {
        if !matches!(frame, ClientFrame::Hello(_)) {
            self.token_before = None;
            self.is_proved = true;
        }
        match frame {
            ClientFrame::Hello(hello) => {
                let standing = match &hello.resume {
                    None => {
                        assert!(!self.is_proved, "the client has forgotten its session");
                        Standing::New
                    }
                    Some((_, token)) => {
                        let shown = token.as_bytes()[0];
                        let is_good = shown == self.token || Some(shown) == self.token_before;
                        assert!(is_good, "the client has lost its token");
                        self.token_before = Some(shown);
                        Standing::Resumed
                    }
                };
                self.token = self.token.wrapping_add(1);
                assert!(hello.unanswered_from <= self.accepted + 1);
                assert!(
                    hello.unanswered_from >= self.unanswered_from,
                    "it wants an outcome that it acknowledged"
                );
                self.unanswered_from = hello.unanswered_from;
                self.cursor = hello.cursors.first().map(|cursor| cursor.offset.0);
                self.to_client.push_back(ServerFrame::Welcome(Box::new(Welcome {
                    session: SessionId::from_bytes([1; 16]),
                    token: Token::from_bytes([self.token; 32]),
                    accepted: self.accepted,
                    ..welcome(standing)
                })));
                for number in self.unanswered_from..=self.accepted {
                    self.reply(number);
                }
                self.follow();
                for number in hello.accepted + 1..=self.command_count {
                    self.command(number);
                }
            }
            ClientFrame::Request(request) => {
                assert!(request.number <= self.accepted + 1, "no hole");
                if request.number == self.accepted + 1 {
                    self.accepted += 1;
                    *self.runs.entry(request.command).or_default() += 1;
                }
                self.reply(request.number);
            }
            ClientFrame::Ack(ack) => {
                assert!(ack.unanswered_from <= self.accepted + 1);
                self.unanswered_from = self.unanswered_from.max(ack.unanswered_from);
            }
            ClientFrame::Subscribe(wish) => {
                self.cursor = match wish.start {
                    Start::After { offset, .. } => Some(offset.0),
                    _ => Some(self.head),
                };
                self.follow();
            }
            ClientFrame::Reply(reply) => {
                *self.replies.entry(reply.number).or_default() += 1;
            }
            // It has run already.
            ClientFrame::Cancel { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn reply(&mut self, number: u64) {
        self.to_client.push_back(ServerFrame::Reply(Reply { number, outcome: done(number) }));
    }

    fn follow(&mut self) {
        let Some(cursor) = self.cursor else { return };
        self.to_client.push_back(subscribed_at("news", 5, cursor, self.head));
        (cursor + 1..=self.head).for_each(|offset| self.event(offset));
    }

    fn event(&mut self, offset: u64) {
        let (channel, offset) = (name("news"), Offset(offset));
        let payload = Payload::NULL;
        self.to_client.push_back(ServerFrame::Event(Event { channel, offset, at_ms: 0, payload }));
    }

    fn command(&mut self, number: u64) {
        self.to_client.push_back(ServerFrame::Request(Request {
            number,
            command: "tell".to_owned(),
            payload: Payload::NULL,
            deadline_ms: None,
        }));
    }
}

struct World {
    session: ClientSession,
    disk: SavedState,
    /// Written, and not said to be safe.
    unsafe_changes: Vec<StateChange>,
    server: Model,
    is_connected: bool,
    now_ms: u64,
    made_count: u64,
    /// Requests of which the application was told that they are safe.
    kept: Vec<String>,
    /// Requests made since everything was last safe.
    fresh: Vec<String>,
    /// What each request is called by the application.
    ids: BTreeMap<RequestKey, String>,
    /// Requests of which the application was told that they never ran and never will.
    given_up: BTreeSet<String>,
    given: VecDeque<u64>,
    consumed: u64,
    /// Places consumed whose change is not said to be safe.
    handled: BTreeMap<u64, u32>,
    running: Vec<(CommandKey, u64)>,
}

impl World {
    fn new() -> World {
        let mut world = World {
            session: ClientSession::new(ClientConfig::new([1; 32]), None),
            disk: SavedState::default(),
            unsafe_changes: Vec::new(),
            server: Model { unanswered_from: 1, ..Model::default() },
            is_connected: false,
            now_ms: 0,
            made_count: 0,
            kept: Vec::new(),
            fresh: Vec::new(),
            ids: BTreeMap::new(),
            given_up: BTreeSet::new(),
            given: VecDeque::new(),
            consumed: 0,
            handled: BTreeMap::new(),
            running: Vec::new(),
        };
        let start = Start::After { epoch: Some(Epoch(5)), offset: Offset(0) };
        world.session.subscribe(0, subscribe("news", start)).expect("room");
        world.work(usize::MAX);
        world
    }

    /// Carries out outputs; when there are no more, everything is safe.
    fn work(&mut self, count: usize) {
        for _ in 0..count {
            let Some(output) = self.session.poll_output() else {
                self.commit();
                self.kept.append(&mut self.fresh);
                return;
            };
            if output.needs_safety() {
                self.commit();
            }
            match output {
                Output::Persist(change) => self.unsafe_changes.push(change),
                Output::Transmit(frame) if self.is_connected => self.server.hear(frame),
                Output::Transmit(_) => {}
                Output::Event(ClientEvent::Event { event, .. }) => {
                    self.given.push_back(event.offset.0);
                }
                Output::Event(ClientEvent::Gap(gap)) => panic!("{gap:?}"),
                Output::Event(ClientEvent::Command { key, request, .. }) => {
                    *self.handled.entry(request.number).or_default() += 1;
                    self.running.push((key, request.number));
                }
                Output::Event(ClientEvent::GivenUp { key, .. }) => {
                    self.given_up.insert(self.ids[&key].clone());
                }
                Output::Event(_) => {}
                Output::CloseConnection { reason } => panic!("{reason:?}"),
            }
        }
    }

    fn commit(&mut self) {
        self.unsafe_changes.drain(..).for_each(|change| self.disk.apply(&change));
    }

    fn die(&mut self, kept_count: usize) {
        let kept_count = kept_count.min(self.unsafe_changes.len());
        self.unsafe_changes.drain(..kept_count).for_each(|change| self.disk.apply(&change));
        self.unsafe_changes.clear();
        self.fresh.clear();
        self.given.clear();
        self.running.clear();
        self.lose();
        self.session = ClientSession::new(ClientConfig::new([1; 32]), Some(self.disk.clone()));
        let cursor = self.disk.channels[&name("news")].cursor.expect("a cursor").offset.0;
        assert!(cursor <= self.consumed, "nothing is skipped");
        self.consumed = cursor;
    }

    fn lose(&mut self) {
        self.is_connected = false;
        self.server.to_client.clear();
        self.server.cursor = None;
    }

    fn hear(&mut self, count: usize) {
        if !self.is_connected {
            self.is_connected = true;
            self.session.handle_open(self.now_ms);
            return;
        }
        for _ in 0..count {
            let Some(frame) = self.server.to_client.pop_front() else { return };
            self.session.handle_frame(self.now_ms, frame);
        }
    }

    fn request(&mut self, deadline_at_ms: Option<u64>) {
        self.made_count += 1;
        let id = self.made_count.to_string();
        let made = self.session.request(self.now_ms, &id, Payload::NULL, deadline_at_ms);
        if let Ok(key) = made {
            self.ids.insert(key, id.clone());
            self.fresh.push(id);
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Request => self.request(None),
            Step::RequestWithin => self.request(Some(self.now_ms + 500)),
            Step::Cancel(back) => {
                if let Some((&RequestKey(last), _)) = self.ids.last_key_value() {
                    self.session.cancel(self.now_ms, RequestKey(last.saturating_sub(back)));
                }
            }
            Step::Die(count, kept_count) => {
                self.work(count);
                self.die(kept_count);
            }
            Step::Work(count) => self.work(count),
            Step::Hear(count) => self.hear(count),
            Step::Lose => {
                if self.is_connected {
                    self.lose();
                    self.session.handle_closed(self.now_ms, None);
                }
            }
            Step::Publish => {
                self.server.head += 1;
                let head = self.server.head;
                if self.server.cursor.is_some() {
                    self.server.event(head);
                }
            }
            Step::Command => {
                self.server.command_count += 1;
                let number = self.server.command_count;
                if self.server.cursor.is_some() {
                    self.server.command(number);
                }
            }
            Step::Consume => {
                if let Some(offset) = self.given.pop_front() {
                    assert_eq!(offset, self.consumed + 1, "in order, each once");
                    self.consumed = offset;
                    let (news, epoch) = (name("news"), Epoch(5));
                    self.session.consumed(self.now_ms, &news, epoch, Offset(offset));
                }
                if let Some((key, number)) = self.running.pop() {
                    self.session.answer(self.now_ms, key, done(number));
                }
            }
            Step::Wait => {
                self.now_ms += 1000;
                self.session.handle_timeout(self.now_ms);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// A server that keeps its promises and a client that dies at any time: what was said to be
    /// safe runs exactly once, unless it is said never to run, and then it does not; every event is consumed in order, no command of the server runs
    /// twice, and no token is lost.
    #[test]
    fn a_process_that_dies_anywhere_keeps_its_word(
        steps in proptest::collection::vec(step(), 0..150)
    ) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.work(usize::MAX);
        for _ in 0..4 {
            world.hear(usize::MAX);
            world.work(usize::MAX);
            while !world.given.is_empty() || !world.running.is_empty() {
                world.take(Step::Consume);
            }
            world.work(usize::MAX);
        }
        for id in &world.kept {
            let count = u32::from(!world.given_up.contains(id));
            let run_count = world.server.runs.get(id).copied().unwrap_or_default();
            prop_assert_eq!(run_count, count, "request {}", id);
        }
        let is_given_up = |id| world.given_up.contains(id);
        prop_assert!(!world.server.runs.keys().any(is_given_up), "{:?}", world.given_up);
        prop_assert!(world.server.runs.values().all(|count| *count == 1), "at most once");
        prop_assert!(world.handled.values().all(|count| *count == 1), "{:?}", world.handled);
        prop_assert_eq!(world.consumed, world.server.head);
        for number in 1..=world.server.command_count {
            prop_assert!(world.server.replies.contains_key(&number), "reply {}", number);
        }
        prop_assert!(world.disk.requests.is_empty(), "all have their outcomes");
    }
}
