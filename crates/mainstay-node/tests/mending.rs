//! Faults that a node must get over: a store that is full, damaged events, limits met half-way.

#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mainstay_log::{ChannelKeep, Key, Log, LogError, MemoryLog, ReadLimit, StoredEvent, Write};
use mainstay_node::{Answer, Call, ConnectionKey, Effect, Input, Node, NodeConfig, Target, Ticket};
use mainstay_wire::session::{
    Ack, ClientFrame, Cursor, Delivery, ErrorCode, Hello, Offset, Outcome, Payload, PresenceMode,
    Reply, Request, ServerFrame, SessionId, Token,
};
use mainstay_wire::{ChannelName, EndReason};

/// What a test does to its log.
#[derive(Default)]
struct Faults {
    is_full: bool,
    commit_count: usize,
    /// Offsets that read as damaged, in every channel.
    damaged: Vec<Offset>,
}

struct FaultyLog {
    log: MemoryLog,
    faults: Arc<Mutex<Faults>>,
}

impl Log for FaultyLog {
    fn commit(&mut self, writes: &[Write]) -> Result<(), LogError> {
        let mut faults = self.faults.lock().unwrap();
        faults.commit_count += 1;
        if faults.is_full {
            return Err(LogError::Full("the test says so".to_owned()));
        }
        self.log.commit(writes)
    }

    fn read(
        &mut self,
        channel: &ChannelName,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, LogError> {
        let mut events = self.log.read(channel, from, limit)?;
        let faults = self.faults.lock().unwrap();
        let damaged = events.iter().position(|event| faults.damaged.contains(&event.offset));
        match damaged {
            Some(0) => Err(LogError::Corrupt("the test says so".to_owned())),
            Some(index) => {
                events.truncate(index);
                Ok(events)
            }
            None => Ok(events),
        }
    }

    fn epoch_salt(&self) -> u64 {
        self.log.epoch_salt()
    }

    fn channel(&mut self, channel: &ChannelName) -> Result<Option<ChannelKeep>, LogError> {
        self.log.channel(channel)
    }

    fn channels(
        &mut self,
        after: Option<&ChannelName>,
        count_max: usize,
    ) -> Result<Vec<(ChannelName, ChannelKeep)>, LogError> {
        self.log.channels(after, count_max)
    }

    fn session(&mut self, session: SessionId) -> Result<Option<Bytes>, LogError> {
        self.log.session(session)
    }

    fn sessions(
        &mut self,
        after: Option<SessionId>,
        count_max: usize,
    ) -> Result<Vec<(SessionId, Bytes)>, LogError> {
        self.log.sessions(after, count_max)
    }

    fn replies(&mut self, session: SessionId) -> Result<Vec<(u64, Bytes)>, LogError> {
        self.log.replies(session)
    }

    fn key(&mut self, key: &Key, now_ms: u64) -> Result<Option<Bytes>, LogError> {
        self.log.key(key, now_ms)
    }

    fn key_count(&mut self) -> Result<u64, LogError> {
        self.log.key_count()
    }
}

struct Bench {
    node: Node,
    now_ms: u64,
    faults: Arc<Mutex<Faults>>,
}

impl Bench {
    fn new(config: NodeConfig) -> Bench {
        let faults = Arc::new(Mutex::new(Faults::default()));
        let log = FaultyLog { log: MemoryLog::new(), faults: faults.clone() };
        let node = Node::open(1_000, config, Box::new(log), [7; 32]).unwrap();
        Bench { node, now_ms: 1_000, faults }
    }

    fn handle(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<Effect> {
        for input in inputs {
            self.node.handle(self.now_ms, input);
        }
        let mut effects = Vec::new();
        self.node.commit(self.now_ms, &mut effects).unwrap();
        effects
    }

    /// Does all that is due until a moment, and counts how often the node was woken.
    fn pass(&mut self, ms: u64) -> (usize, Vec<Effect>) {
        let until_ms = self.now_ms + ms;
        let (mut count, mut effects) = (0, Vec::new());
        while let Some(at_ms) = self.node.next_timeout().filter(|at_ms| *at_ms <= until_ms) {
            self.now_ms = self.now_ms.max(at_ms);
            self.node.handle_timeout(self.now_ms);
            self.node.commit(self.now_ms, &mut effects).unwrap();
            count += 1;
            assert!(count < 10_000, "the node spins");
        }
        self.now_ms = until_ms;
        (count, effects)
    }

    fn hello(&mut self, connection: u64, hello: Hello) -> (SessionId, Token, Vec<Effect>) {
        let connection = ConnectionKey(connection);
        let hello = Box::new(hello);
        let effects =
            self.handle([Input::Hello { connection, principal: None, source: [0; 8], hello }]);
        let welcome = effects.iter().find_map(|effect| match effect {
            Effect::Send { frame: ServerFrame::Welcome(welcome), .. } => Some(welcome.clone()),
            _ => None,
        });
        let welcome = welcome.unwrap_or_else(|| panic!("no welcome: {effects:?}"));
        (welcome.session, welcome.token, effects)
    }

    fn call(&mut self, call: Call) -> Result<Answer, ErrorCode> {
        let effects = self.handle([Input::Call { ticket: Ticket(99), call }]);
        let answers = answers(&effects);
        assert_eq!(answers.len(), 1, "{effects:?}");
        answers.into_iter().next().unwrap().1
    }

    fn set_full(&mut self, is_full: bool) {
        self.faults.lock().unwrap().is_full = is_full;
    }
}

fn answers(effects: &[Effect]) -> Vec<(Ticket, Result<Answer, ErrorCode>)> {
    let answer = |effect: &Effect| match effect {
        Effect::Answer { ticket, result } => {
            Some((*ticket, result.clone().map_err(|error| error.code)))
        }
        _ => None,
    };
    effects.iter().filter_map(answer).collect()
}

fn frame(connection: u64, frame: ClientFrame) -> Input {
    Input::Frame { connection: ConnectionKey(connection), frame }
}

fn name(text: &str) -> ChannelName {
    ChannelName::parse(text).unwrap()
}

fn publish(channels: &[&str]) -> Call {
    let channels = channels.iter().map(|text| name(text)).collect();
    Call::Publish { channels, payload: Payload::NULL, key: None }
}

fn history(channel: &str) -> Call {
    Call::History { channel: name(channel), after: Offset::ZERO, count_max: 100 }
}

fn command(to: SessionId, deadline_ms: u64) -> Call {
    Call::Command { to, command: "show".to_owned(), payload: Payload::NULL, deadline_ms }
}

#[test]
fn a_reply_that_comes_with_a_full_store_still_reaches_its_caller() {
    let mut bench = Bench::new(NodeConfig::default());
    let (session, _, _) = bench.hello(1, Hello::default());
    bench.handle([frame(1, ClientFrame::Ack(Ack::default()))]);
    bench.handle([Input::Call { ticket: Ticket(5), call: command(session, 60_000) }]);
    bench.set_full(true);
    let reply = Reply { number: 1, outcome: Outcome::Done(Payload::text("shown")) };
    let ask = Input::Call { ticket: Ticket(6), call: publish(&["news"]) };
    let effects = bench.handle([frame(1, ClientFrame::Reply(reply)), ask]);
    let answers = answers(&effects);
    assert_eq!(answers.len(), 2, "each call has one answer: {answers:?}");
    for (ticket, result) in answers {
        match ticket.0 {
            5 => assert!(matches!(result, Ok(Answer::Outcome(Outcome::Done(_)))), "{result:?}"),
            _ => assert_eq!(result.err(), Some(ErrorCode::StoreFailed)),
        }
    }
}

#[test]
fn a_command_that_a_client_has_is_not_said_to_be_undone() {
    let mut bench = Bench::new(NodeConfig::default());
    let (session, _, _) = bench.hello(1, Hello::default());
    bench.handle([Input::Call { ticket: Ticket(5), call: command(session, 60_000) }]);
    bench.set_full(true);
    let effects = bench.handle([
        Input::Call { ticket: Ticket(6), call: command(session, 60_000) },
        Input::Call { ticket: Ticket(7), call: publish(&["news"]) },
    ]);
    for (ticket, result) in answers(&effects) {
        match ticket.0 {
            5 => assert!(matches!(result, Ok(Answer::Outcome(Outcome::Indeterminate)))),
            _ => assert_eq!(result.err(), Some(ErrorCode::StoreFailed), "it was never said"),
        }
    }
}

#[test]
fn a_store_that_stays_full_does_not_keep_the_node_busy() {
    let mut bench = Bench::new(NodeConfig::default());
    bench.hello(1, Hello::default());
    bench.call(publish(&["news"])).unwrap();
    bench.set_full(true);
    let error = bench.call(publish(&["news"])).err();
    assert_eq!(error, Some(ErrorCode::StoreFailed));
    let (count, _) = bench.pass(10_000);
    assert!(count <= 40, "woken {count} times in 10 s");
    bench.set_full(false);
    bench.pass(1_000);
    bench.call(publish(&["news"])).unwrap();
}

#[test]
fn a_call_to_several_channels_reaches_all_or_none() {
    let config = NodeConfig { channel_count_max: 2, ..NodeConfig::default() };
    let mut bench = Bench::new(config);
    bench.call(publish(&["old"])).unwrap();
    let error = bench.call(publish(&["old", "new", "other"])).err();
    assert_eq!(error, Some(ErrorCode::TooManyChannels));
    let Ok(Answer::History { events, .. }) = bench.call(history("old")) else { panic!() };
    assert_eq!(events.len(), 1, "nothing was appended");
    bench.call(publish(&["old", "new", "new"])).unwrap();
}

#[test]
fn a_hello_acknowledges_what_it_says_of_the_inbox() {
    let mut config = NodeConfig::default();
    config.inbox_retention.count_max = 2;
    let mut bench = Bench::new(config);
    let (session, token, effects) = bench.hello(1, Hello::default());
    let epoch = effects.iter().find_map(|effect| match effect {
        Effect::Send { frame: ServerFrame::Subscribed(subscribed), .. } => Some(subscribed.epoch),
        _ => None,
    });
    let send = Call::Send { to: Target::Session(session), payload: Payload::NULL, key: None };
    bench.call(send.clone()).unwrap();
    bench.call(send.clone()).unwrap();
    assert_eq!(bench.call(send.clone()).err(), Some(ErrorCode::InboxFull));
    // The acknowledgement was lost with the connection.
    let cursor = |offset| Cursor {
        channel: ChannelName::session_inbox(session),
        epoch: epoch.unwrap(),
        offset: Offset(offset),
        delivery: Delivery::Every,
        presence: PresenceMode::None,
    };
    let resume = Some((session, token));
    let cursors = vec![cursor(2)];
    bench.hello(2, Hello { resume, unanswered_from: 1, cursors, ..Hello::default() });
    bench.call(send).unwrap();
}

#[test]
fn a_handler_that_has_ended_leaves_no_timer() {
    let mut bench = Bench::new(NodeConfig::default());
    let (session, _, _) = bench.hello(1, Hello::default());
    bench.pass(3 * 300_000);
    let before = bench.node.next_timeout();
    for number in 1..=20 {
        let request = Request {
            number,
            command: "go".to_owned(),
            payload: Payload::NULL,
            deadline_ms: Some(100 + number),
        };
        let outcome = Outcome::Done(Payload::NULL);
        bench.handle([frame(1, ClientFrame::Request(request))]);
        bench.handle([Input::Ran { session, number, outcome }]);
    }
    assert_eq!(bench.node.next_timeout(), before);
    bench.handle([Input::Call { ticket: Ticket(5), call: command(session, 100) }]);
    assert!(bench.node.next_timeout() != before, "this one waits");
    let reply = Reply { number: 1, outcome: Outcome::Done(Payload::NULL) };
    bench.handle([frame(1, ClientFrame::Reply(reply))]);
    assert_eq!(bench.node.next_timeout(), before);
}

#[test]
fn of_too_many_expired_sessions_the_oldest_is_forgotten() {
    use mainstay_wire::session::Standing;
    let config = NodeConfig { session_count_max: 2, ..NodeConfig::default() };
    let expiry_ms = config.session_expiry_ms;
    let mut bench = Bench::new(config);
    let mut gone = Vec::new();
    for connection in 1..=3 {
        let (session, token, _) = bench.hello(connection, Hello::default());
        let (end, detail) = (EndReason::PeerEof, "".into());
        bench.handle([Input::Gone { connection: ConnectionKey(connection), end, detail }]);
        bench.pass(expiry_ms);
        gone.push((session, token));
    }
    for (index, expected) in [Standing::Unknown, Standing::Expired].into_iter().enumerate() {
        let hello = Hello { resume: Some(gone[index].clone()), ..Hello::default() };
        let (_, _, effects) = bench.hello(10 + index as u64, hello);
        let standing = effects.iter().find_map(|effect| match effect {
            Effect::Send { frame: ServerFrame::Welcome(welcome), .. } => Some(welcome.standing),
            _ => None,
        });
        assert_eq!(standing, Some(expected), "session {index}");
    }
}

#[test]
fn a_damaged_event_is_trimmed_like_any_other() {
    let mut bench = reopened_with_damage();
    for _ in 0..20 {
        bench.call(publish(&["news"])).unwrap();
        bench.pass(0);
    }
    let Ok(Answer::History { channel, events }) = bench.call(history("news")) else { panic!() };
    assert_eq!(channel.head.0 + 1 - channel.first.0, 5, "{channel:?}");
    assert_eq!(events.len(), 5);
}

/// A node that finds five events in its log, the first and the third damaged.
fn reopened_with_damage() -> Bench {
    let mut config = NodeConfig::default();
    config.channel_retention.count_max = 5;
    let faults = Arc::new(Mutex::new(Faults::default()));
    let mut log = MemoryLog::new();
    let record = mainstay_log::ChannelRecord {
        epoch: mainstay_wire::session::Epoch(1),
        settings: Bytes::new(),
    };
    let mut writes = vec![Write::PutChannel { channel: name("news"), record }];
    for offset in 1..=5 {
        let event = StoredEvent { offset: Offset(offset), at_ms: 900, payload: Payload::NULL };
        writes.push(Write::Append { channel: name("news"), event });
    }
    log.commit(&writes).unwrap();
    faults.lock().unwrap().damaged = vec![Offset(1), Offset(3)];
    let log = FaultyLog { log, faults: faults.clone() };
    let node = Node::open(1_000, config, Box::new(log), [7; 32]).unwrap();
    Bench { node, now_ms: 1_000, faults }
}
