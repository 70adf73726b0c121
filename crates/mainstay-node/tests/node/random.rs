//! Whatever clients, handlers, time and the log do: what was promised holds after each commit.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mainstay_log::{Log, ReadLimit};
use mainstay_node::{Call, Effect, NodeConfig, Target, Ticket};
use mainstay_wire::session::{
    ClientFrame, Cursor, Delivery, Epoch, Hello, Offset, Outcome, Payload, PresenceMode, Reply,
    ServerFrame, SessionId, Standing, Start, Token,
};
use proptest::prelude::*;

use crate::log::SharedLog;
use crate::world::{World, hello, name};

const CHANNELS: [&str; 3] = ["a", "b", "c"];
const PRINCIPALS: [Option<&str>; 3] = [None, Some("ann"), Some("bob")];

#[derive(Clone, Debug)]
enum Step {
    New { who: usize },
    Resume { session: usize, told: bool },
    Cut { which: usize },
    Bye { which: usize },
    Publish { which: usize, channel: usize },
    Request { which: usize, deadline_ms: Option<u64> },
    Again { which: usize, back: u64 },
    Ran { which: usize },
    Cancel { which: usize, back: u64 },
    Subscribe { which: usize, channel: usize, start: u8, latest: bool, presence: u8 },
    Unsubscribe { which: usize, channel: usize },
    Ack { which: usize, all: bool },
    Emit { channel: usize, both: bool, key: u8 },
    Send { session: usize },
    Command { session: usize, deadline_ms: u64 },
    ReplyTo { which: usize, number: u64 },
    Commit,
    Pass { ms: u64 },
    Full,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0usize..4;
    let channel = 0usize..CHANNELS.len();
    prop_oneof![
        2 => (0usize..3).prop_map(|who| Step::New { who }),
        4 => (which.clone(), any::<bool>())
            .prop_map(|(session, told)| Step::Resume { session, told }),
        2 => which.clone().prop_map(|which| Step::Cut { which }),
        1 => which.clone().prop_map(|which| Step::Bye { which }),
        6 => (which.clone(), channel.clone())
            .prop_map(|(which, channel)| Step::Publish { which, channel }),
        5 => (which.clone(), prop::option::of(1u64..2_000))
            .prop_map(|(which, deadline_ms)| Step::Request { which, deadline_ms }),
        2 => (which.clone(), 0u64..4).prop_map(|(which, back)| Step::Again { which, back }),
        6 => which.clone().prop_map(|which| Step::Ran { which }),
        1 => (which.clone(), 0u64..3).prop_map(|(which, back)| Step::Cancel { which, back }),
        6 => (which.clone(), channel.clone(), 0u8..5, any::<bool>(), 0u8..4).prop_map(
            |(which, channel, start, latest, presence)| Step::Subscribe {
                which, channel, start, latest, presence
            }
        ),
        1 => (which.clone(), channel.clone())
            .prop_map(|(which, channel)| Step::Unsubscribe { which, channel }),
        3 => (which.clone(), any::<bool>()).prop_map(|(which, all)| Step::Ack { which, all }),
        5 => (channel, any::<bool>(), 0u8..6)
            .prop_map(|(channel, both, key)| Step::Emit { channel, both, key }),
        2 => which.clone().prop_map(|session| Step::Send { session }),
        2 => (which.clone(), 1u64..20_000)
            .prop_map(|(session, deadline_ms)| Step::Command { session, deadline_ms }),
        2 => (which, 0u64..4).prop_map(|(which, number)| Step::ReplyTo { which, number }),
        12 => Just(Step::Commit),
        3 => prop_oneof![1u64..3_000, Just(12_000u64), Just(70_000)]
            .prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::Full),
        1 => Just(Step::Restart),
    ]
}

/// What one client knows.
struct Client {
    session: SessionId,
    principal: Option<&'static str>,
    token: Token,
    /// Its connection, once it has been welcomed.
    key: Option<u64>,
    next: u64,
    /// Outcomes that it has got.
    outcomes: BTreeMap<u64, Outcome>,
    unanswered_from: u64,
    accepted: u64,
}

struct Check {
    world: World,
    clients: Vec<Client>,
    /// Hellos whose answer has not come, with the client that they are for, if there is one.
    pending: BTreeMap<u64, (Option<usize>, Option<&'static str>)>,
    key_next: u64,
    runs: BTreeSet<(SessionId, u64)>,
    /// Handlers of this process that have not ended.
    running: Vec<(SessionId, u64)>,
    linked: BTreeSet<u64>,
    tickets: BTreeSet<Ticket>,
    heads: BTreeMap<(String, Epoch), u64>,
}

fn config() -> NodeConfig {
    let mut config = NodeConfig {
        session_count_max: 6,
        sessions_per_principal_max: 3,
        session_expiry_ms: 60_000,
        tombstone_expiry_ms: 120_000,
        request_count_max: 6,
        command_count_max: 3,
        subscription_count_max: 2,
        channel_count_max: 2,
        handler_timeout_ms: 5_000,
        key_expiry_ms: 10_000,
        log_bytes_max: 4_000,
        ..NodeConfig::default()
    };
    config.channel_retention.count_max = 8;
    config.channel_retention.age_max_ms = 30_000;
    config.inbox_retention.count_max = 3;
    config
}

impl Check {
    fn new() -> Check {
        Check {
            world: World::over(SharedLog::default(), config()),
            clients: Vec::new(),
            pending: BTreeMap::new(),
            key_next: 1,
            runs: BTreeSet::new(),
            running: Vec::new(),
            linked: BTreeSet::new(),
            tickets: BTreeSet::new(),
            heads: BTreeMap::new(),
        }
    }

    /// The client that a number means, and its connection if it has one.
    fn connected(&self, which: usize) -> Option<(usize, u64)> {
        let index = which.checked_rem(self.clients.len())?;
        Some((index, self.clients[index].key?))
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::New { who } => self.say_hello(None, PRINCIPALS[who], hello()),
            Step::Resume { session, told } => self.resume(session, told),
            Step::Cut { which } => {
                if let Some((index, key)) = self.connected(which) {
                    self.clients[index].key = None;
                    self.linked.remove(&key);
                    self.world.cut(key);
                }
            }
            Step::Bye { which } => {
                if let Some((index, key)) = self.connected(which) {
                    self.clients[index].key = None;
                    self.world.frame(key, ClientFrame::Bye);
                }
            }
            Step::Ran { which } => {
                if let Some(index) = which.checked_rem(self.running.len()) {
                    let (session, number) = self.running.remove(index);
                    self.world.ran(session, number, "done");
                }
            }
            Step::Emit { channel, both, key } => self.emit(channel, both, key),
            Step::Send { session } => {
                if let Some(index) = session.checked_rem(self.clients.len()) {
                    let client = &self.clients[index];
                    let to = match client.principal {
                        Some(name) if session % 2 == 0 => Target::Principal(
                            mainstay_wire::session::Principal::parse(name).expect("one"),
                        ),
                        _ => Target::Session(client.session),
                    };
                    self.call(Call::Send { to, payload: Payload::text("s"), key: None });
                }
            }
            Step::Command { session, deadline_ms } => {
                if let Some(index) = session.checked_rem(self.clients.len()) {
                    let (to, command) = (self.clients[index].session, "show".to_owned());
                    let payload = Payload::NULL;
                    self.call(Call::Command { to, command, payload, deadline_ms });
                }
            }
            Step::Commit => self.commit(),
            Step::Pass { ms } => self.pass(ms),
            Step::Full => {
                self.world.log.fill_up();
                self.commit();
                self.world.log.get().full_after = None;
            }
            Step::Restart => self.restart(),
            _ => self.take_frame(step),
        }
    }

    /// Steps that are frames of a connected client.
    fn take_frame(&mut self, step: &Step) {
        let (Step::Publish { which, .. }
        | Step::Request { which, .. }
        | Step::Again { which, .. }
        | Step::Cancel { which, .. }
        | Step::Subscribe { which, .. }
        | Step::Unsubscribe { which, .. }
        | Step::Ack { which, .. }
        | Step::ReplyTo { which, .. }) = *step
        else {
            return;
        };
        let Some((index, key)) = self.connected(which) else { return };
        let client = &mut self.clients[index];
        match *step {
            Step::Publish { channel, .. } => {
                client.next += 1;
                self.world.publish(key, client.next - 1, CHANNELS[channel], "p");
            }
            Step::Request { deadline_ms, .. } => {
                client.next += 1;
                self.world.request_within(key, client.next - 1, deadline_ms);
            }
            Step::Again { back, .. } => {
                let number = client.next.saturating_sub(back + 1).max(1);
                if number < client.next {
                    self.world.request(key, number);
                }
            }
            Step::Cancel { back, .. } => {
                let number = client.next.saturating_sub(back);
                self.world.frame(key, ClientFrame::Cancel { number });
            }
            Step::Subscribe { channel, start, latest, presence, .. } => {
                let after = |epoch, offset| Start::After { epoch, offset: Offset(offset) };
                let start = match start {
                    0 => Start::Now,
                    1 => Start::Last(3),
                    2 => after(None, 0),
                    3 => after(Some(Epoch(7)), 2),
                    _ => after(None, 4),
                };
                let delivery = if latest { Delivery::Latest } else { Delivery::Every };
                let presence = presence_mode(presence);
                self.world.subscribe_with(key, CHANNELS[channel], start, delivery, presence);
            }
            Step::Unsubscribe { channel, .. } => self.world.unsubscribe(key, CHANNELS[channel]),
            Step::Ack { all, .. } => {
                let dense =
                    (client.unanswered_from..).take_while(|n| client.outcomes.contains_key(n));
                let has = client.unanswered_from + dense.count() as u64;
                client.unanswered_from =
                    if all { has } else { has.min(client.unanswered_from + 1) };
                let inbox = mainstay_wire::ChannelName::session_inbox(client.session);
                self.world.ack(key, client.unanswered_from, &[(&inbox, u64::from(all) * 99)]);
            }
            Step::ReplyTo { number, .. } => {
                let outcome = Outcome::Done(Payload::NULL);
                self.world.frame(key, ClientFrame::Reply(Reply { number, outcome }));
            }
            _ => {}
        }
    }

    fn say_hello(&mut self, client: Option<usize>, who: Option<&'static str>, hello: Hello) {
        let key = self.key_next;
        self.key_next += 1;
        self.pending.insert(key, (client, who));
        self.linked.insert(key);
        self.world.say_hello(key, who, hello);
    }

    fn resume(&mut self, session: usize, told: bool) {
        let Some(index) = session.checked_rem(self.clients.len()) else { return };
        if self.pending.values().any(|(pending, _)| *pending == Some(index)) {
            return;
        }
        let client = &mut self.clients[index];
        client.key = None;
        let cursors = CHANNELS[..2].iter().map(|channel| Cursor {
            channel: name(channel),
            epoch: Epoch(7),
            offset: Offset(1),
            delivery: Delivery::Every,
            presence: PresenceMode::JoinAndWatch,
        });
        let hello = Hello {
            resume: Some((client.session, client.token.clone())),
            unanswered_from: client.unanswered_from,
            cursors: if told { cursors.collect() } else { Vec::new() },
            ..hello()
        };
        let who = client.principal;
        self.say_hello(Some(index), who, hello);
    }

    fn emit(&mut self, channel: usize, both: bool, key: u8) {
        let mut channels = vec![name(CHANNELS[channel])];
        if both {
            channels.push(name(CHANNELS[(channel + 1) % CHANNELS.len()]));
        }
        let key = (key < 2).then(|| Bytes::from(vec![key]));
        self.call(Call::Publish { channels, payload: Payload::text("e"), key });
    }

    fn call(&mut self, call: Call) {
        let ticket = self.world.call(call);
        self.tickets.insert(ticket);
    }

    fn pass(&mut self, ms: u64) {
        let until_ms = self.world.now_ms + ms;
        while let Some(due_ms) = self.world.node.next_timeout().filter(|due| *due <= until_ms) {
            self.world.now_ms = self.world.now_ms.max(due_ms);
            self.world.node.handle_timeout(self.world.now_ms);
            self.commit();
        }
        self.world.now_ms = until_ms;
    }

    fn restart(&mut self) {
        self.commit();
        self.world.restart();
        self.linked.clear();
        self.pending.clear();
        self.running.clear();
        self.clients.iter_mut().for_each(|client| client.key = None);
        // Who waited for an answer went with the process.
        self.tickets.clear();
    }

    /// Commits as the world does, and looks at each batch of effects.
    fn commit(&mut self) {
        for _ in 0..200 {
            let linked = self.linked.clone();
            let effects = self.world.try_commit().expect("nothing is fatal");
            self.look(&linked, &effects);
            let mut has_asked = false;
            for key in linked {
                if let Some((channel, after)) = self.world.hub.next_read(key as usize) {
                    has_asked = true;
                    let connection = mainstay_node::ConnectionKey(key);
                    let bytes_max = 20;
                    self.world.handle(mainstay_node::Input::Read {
                        connection,
                        channel,
                        after,
                        bytes_max,
                    });
                }
            }
            if !has_asked {
                return self.compare_with_log();
            }
        }
        panic!("somebody reads without end");
    }

    fn look(&mut self, linked: &BTreeSet<u64>, effects: &[Effect]) {
        for effect in effects {
            let named = match effect {
                Effect::Send { connection, frame } => {
                    self.hear(connection.0, frame);
                    Some(connection)
                }
                Effect::Feed { connection, .. } | Effect::Unfeed { connection, .. } => {
                    Some(connection)
                }
                Effect::Close { connection, .. } => {
                    self.linked.remove(&connection.0);
                    self.pending.remove(&connection.0);
                    for client in &mut self.clients {
                        client.key = client.key.filter(|key| *key != connection.0);
                    }
                    None
                }
                Effect::Run { session, request, .. } => {
                    let run = (*session, request.number);
                    assert!(self.runs.insert(run), "{run:?} runs twice");
                    self.running.push(run);
                    None
                }
                Effect::Answer { ticket, .. } => {
                    assert!(self.tickets.remove(ticket), "{ticket:?} was asked for");
                    None
                }
                _ => None,
            };
            assert!(
                named.is_none_or(|key| linked.contains(&key.0) || self.world.gone.contains(&key.0)),
                "{effect:?} is for nobody"
            );
        }
        for (session, _) in &self.running {
            let of_session = self.running.iter().filter(|(other, _)| other == session);
            // A stopped one may linger on beside the next.
            assert!(of_session.count() <= 1 + self.world.stops.len());
        }
    }

    fn hear(&mut self, key: u64, frame: &ServerFrame) {
        match frame {
            ServerFrame::Welcome(welcome) => {
                let Some((client, principal)) = self.pending.remove(&key) else { return };
                let of = client.map(|index| &mut self.clients[index]);
                match (welcome.standing, of) {
                    (Standing::Resumed, Some(client)) => {
                        assert_eq!(welcome.session, client.session);
                        assert!(welcome.accepted >= client.accepted, "accepted goes back");
                        client.accepted = welcome.accepted;
                        client.next = welcome.accepted + 1;
                        client.token = welcome.token.clone();
                        client.key = Some(key);
                    }
                    (standing, of) => {
                        if let Some(client) = of {
                            assert_ne!(standing, Standing::New);
                            let least =
                                if standing == Standing::Expired { client.accepted } else { 0 };
                            assert!(welcome.accepted >= least, "accepted goes back");
                        }
                        self.clients.push(Client {
                            session: welcome.session,
                            principal,
                            token: welcome.token.clone(),
                            key: Some(key),
                            next: 1,
                            outcomes: BTreeMap::new(),
                            unanswered_from: 1,
                            accepted: 0,
                        });
                    }
                }
            }
            ServerFrame::Reply(reply) => {
                let client = self.clients.iter_mut().find(|client| client.key == Some(key));
                let Some(client) = client else { return };
                let before = client.outcomes.insert(reply.number, reply.outcome.clone());
                assert!(
                    before.is_none_or(|before| before == reply.outcome),
                    "the outcome of {} changes to {:?}",
                    reply.number,
                    reply.outcome
                );
                client.accepted = client.accepted.max(reply.number);
            }
            _ => {}
        }
    }

    /// Every channel in the log has dense offsets, and no head goes back.
    fn compare_with_log(&mut self) {
        let mut log = self.world.log.clone();
        for (name, keep) in log.channels(None, 100).expect("read") {
            let limit = ReadLimit { count_max: 1_000, bytes_max: 1 << 20 };
            let events = log.read(&name, Offset(1), limit).expect("read");
            let offsets: Vec<u64> = events.iter().map(|event| event.offset.0).collect();
            assert_eq!(offsets, (keep.first.0..=keep.head.0).collect::<Vec<_>>(), "{name}");
            let before = self.heads.insert((name.to_string(), keep.record.epoch), keep.head.0);
            assert!(before.is_none_or(|before| before <= keep.head.0), "{name} goes back");
        }
        let kept = self.world.node.audit();
        assert!(kept < 100, "{kept} timers");
    }

    /// Clients come back, handlers end, time passes: then nothing is left open.
    fn finish(&mut self) {
        self.commit();
        while let Some((session, number)) = self.running.pop() {
            self.world.ran(session, number, "done");
            self.commit();
        }
        self.pass(600_000);
        assert!(self.tickets.is_empty(), "{:?} have no answer", self.tickets);
        for index in 0..self.clients.len().min(4) {
            self.resume(index, false);
            self.commit();
            let client = &self.clients[index];
            let missing = (client.unanswered_from..=client.accepted)
                .filter(|number| !client.outcomes.contains_key(number));
            assert!(
                client.key.is_none() || missing.count() == 0,
                "a session that goes on has all outcomes"
            );
        }
    }
}

fn presence_mode(presence: u8) -> PresenceMode {
    match presence {
        0 => PresenceMode::None,
        1 => PresenceMode::Join,
        2 => PresenceMode::Watch,
        _ => PresenceMode::JoinAndWatch,
    }
}

fn run(steps: &[Step]) -> Vec<String> {
    let mut check = Check::new();
    for step in steps {
        check.take(step);
    }
    check.finish();
    check.world.told
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_promises_hold(steps in prop::collection::vec(step(), 1..150)) {
        let told = run(&steps);
        prop_assert!(told == run(&steps), "the same inputs have the same effects");
    }
}
