//! Servers that say anything at all.

use std::collections::BTreeMap;

use mainstay_wire::session::{
    Epoch, ErrorCode, Event, Failure, Gap, GapReason, Goaway, Offset, Outcome, Payload, Presence,
    Problem, Reply, Request, ServerFrame, SessionId, Standing, Start, Subscribed, Token,
    Unsubscribed, Welcome,
};
use proptest::prelude::*;

use super::support::{name, subscribe, welcome};
use crate::client::{
    ClientConfig, ClientEvent, ClientSession, CommandKey, Output, RequestKey, SavedState,
};

/// Something that happens to a client.
#[derive(Clone, Debug)]
enum Step {
    Open,
    Closed(Option<u16>),
    Frame(ServerFrame),
    /// An event or gap of the first channel, right or nearly right after what was told before.
    Near(Nearly, u64, u64),
    Wait(u64),
    Request(Option<u64>),
    Cancel(u64),
    Subscribe(usize, Start),
    Unsubscribe(usize),
    Detach(usize),
    Attach(usize),
    /// Consumes the oldest delivery that is not consumed.
    Consume,
    Answer(u64),
    /// The process ends and another begins with what was kept.
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum Nearly {
    Event,
    Gap,
    NewEpoch,
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 0..8u64, 1 => Just(u64::MAX), 1 => any::<u64>()]
}

fn channel() -> impl Strategy<Value = usize> {
    0..CHANNELS.len()
}

fn offset() -> impl Strategy<Value = Offset> {
    number().prop_map(Offset)
}

fn epoch() -> impl Strategy<Value = Epoch> {
    (1..4u64).prop_map(Epoch)
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Done(Payload::NULL)),
        Just(Outcome::Indeterminate),
        (epoch(), offset()).prop_map(|(epoch, offset)| Outcome::Published { epoch, offset }),
        Just(Outcome::Failed(failure())),
    ]
}

fn failure() -> Failure {
    Failure { code: ErrorCode::Busy, message: String::new() }
}

fn any_welcome() -> impl Strategy<Value = ServerFrame> {
    let standing = prop_oneof![
        3 => Just(Standing::New), 5 => Just(Standing::Resumed),
        1 => Just(Standing::Expired), 1 => Just(Standing::Unknown),
    ];
    (standing, 1..3u8, number(), 0..4u32).prop_map(|(standing, session, accepted, count)| {
        let mut welcome = Welcome {
            session: SessionId::from_bytes([session; 16]),
            token: Token::from_bytes([session; 32]),
            accepted,
            ..welcome(standing)
        };
        welcome.limits.request_count_max = count;
        ServerFrame::Welcome(Box::new(welcome))
    })
}

fn frame() -> impl Strategy<Value = ServerFrame> {
    let named = || channel().prop_map(|index| name(CHANNELS[index]));
    prop_oneof![
        4 => any_welcome(),
        6 => (number(), outcome()).prop_map(|(number, outcome)| ServerFrame::Reply(Reply { number, outcome })),
        2 => number().prop_map(|number| ServerFrame::Request(Request {
            number, command: "c".to_owned(), payload: Payload::NULL, deadline_ms: Some(number),
        })),
        1 => number().prop_map(|number| ServerFrame::Cancel { number }),
        1 => number().prop_map(|number| ServerFrame::Ack { number }),
        4 => (named(), epoch(), offset()).prop_map(|(channel, epoch, offset)| {
            ServerFrame::Subscribed(Subscribed { channel, epoch, offset, head: offset, member_count: 0 })
        }),
        1 => named().prop_map(|channel| ServerFrame::Unsubscribed(Unsubscribed {
            channel, failure: Some(failure()),
        })),
        9 => (named(), offset()).prop_map(|(channel, offset)| {
            ServerFrame::Event(Event { channel, offset, at_ms: 0, payload: Payload::NULL })
        }),
        3 => (named(), epoch(), offset(), proptest::option::of(offset()), epoch(), offset()).prop_map(
            |(channel, from_epoch, from, to, epoch, offset)| ServerFrame::Gap(Gap {
                channel, from_epoch, from, to, reason: GapReason::Trimmed, epoch, offset,
            })
        ),
        1 => named().prop_map(|channel| ServerFrame::Presence(Presence {
            channel, joined: Vec::new(), left: Vec::new(), member_count: 0,
        })),
        1 => Just(ServerFrame::Ping),
        1 => number().prop_map(|window_ms| ServerFrame::Goaway(Goaway { window_ms, reason: String::new() })),
        1 => named().prop_map(|channel| ServerFrame::Problem(Problem {
            failure: failure(), channel: Some(channel),
        })),
    ]
}

fn near() -> impl Strategy<Value = Nearly> {
    prop_oneof![6 => Just(Nearly::Event), 2 => Just(Nearly::Gap), 1 => Just(Nearly::NewEpoch)]
}

fn step() -> impl Strategy<Value = Step> {
    let code = prop_oneof![
        8 => Just(None), 1 => Just(Some(1001)), 1 => Just(Some(4100)), 1 => Just(Some(4200)),
    ];
    let start = prop_oneof![
        Just(Start::Now),
        Just(Start::Last(3)),
        (proptest::option::of(epoch()), offset())
            .prop_map(|(epoch, offset)| Start::After { epoch, offset }),
    ];
    prop_oneof![
        6 => Just(Step::Open),
        2 => code.prop_map(Step::Closed),
        40 => frame().prop_map(Step::Frame),
        40 => (near(), 0..4u64, 0..4u64).prop_map(|(near, a, b)| Step::Near(near, a, b)),
        3 => prop_oneof![0..2000u64, Just(40_000)].prop_map(Step::Wait),
        8 => proptest::option::of(0..3000u64).prop_map(Step::Request),
        1 => number().prop_map(Step::Cancel),
        3 => (channel(), start).prop_map(|(channel, start)| Step::Subscribe(channel, start)),
        1 => channel().prop_map(Step::Unsubscribe),
        1 => channel().prop_map(Step::Detach),
        1 => channel().prop_map(Step::Attach),
        8 => Just(Step::Consume),
        2 => number().prop_map(Step::Answer),
        1 => Just(Step::Restart),
    ]
}

/// A client with what an application and a disk see of it.
struct Witness {
    session: ClientSession,
    now_ms: u64,
    disk: SavedState,
    outcomes: BTreeMap<RequestKey, u32>,
    made: Vec<RequestKey>,
    /// The last place of each channel that was told, since it was last subscribed to anew.
    places: BTreeMap<String, (Epoch, Offset)>,
    deliveries: Vec<(String, Epoch, Offset)>,
    is_welcomed: bool,
}

impl Witness {
    fn new() -> Witness {
        Witness {
            session: ClientSession::new(ClientConfig::new([3; 32]), None),
            now_ms: 0,
            disk: SavedState::default(),
            outcomes: BTreeMap::new(),
            made: Vec::new(),
            places: BTreeMap::new(),
            deliveries: Vec::new(),
            is_welcomed: false,
        }
    }

    fn take(&mut self, step: Step) {
        let (session, now_ms) = (&mut self.session, self.now_ms);
        match step {
            Step::Open => {
                session.handle_open(now_ms);
                self.is_welcomed = false;
            }
            Step::Closed(code) => session.handle_closed(now_ms, code),
            Step::Frame(frame) => {
                self.is_welcomed |= matches!(frame, ServerFrame::Welcome(_));
                session.handle_frame(now_ms, frame);
            }
            Step::Near(near, back, forth) => {
                let place = self.places.get(CHANNELS[0]).copied();
                let (epoch, last) = place.unwrap_or((Epoch(1), Offset(1)));
                session.handle_frame(now_ms, near_frame(near, epoch, last, back, forth));
            }
            Step::Wait(ms) => {
                self.now_ms += ms;
                session.handle_timeout(self.now_ms);
                let next = session.next_timeout();
                assert!(next.is_none_or(|at_ms| at_ms > self.now_ms), "it would not come to rest");
            }
            Step::Request(deadline_ms) => {
                let deadline_at_ms = deadline_ms.map(|ms| now_ms + ms);
                self.made.extend(session.request(now_ms, "r", Payload::NULL, deadline_at_ms));
            }
            Step::Cancel(key) => session.cancel(now_ms, RequestKey(key)),
            Step::Subscribe(index, start) => {
                if session.subscribe(now_ms, subscribe(CHANNELS[index], start)).is_ok() {
                    self.places.remove(CHANNELS[index]);
                }
            }
            Step::Unsubscribe(index) => session.unsubscribe(now_ms, &name(CHANNELS[index])),
            // What was handed over and not consumed comes again to whoever attaches next.
            Step::Detach(index) => {
                session.detach(now_ms, &name(CHANNELS[index]));
                self.places.remove(CHANNELS[index]);
            }
            Step::Attach(index) => {
                let wish = subscribe(CHANNELS[index], Start::Now);
                if session.attach(now_ms, wish).is_ok() {
                    self.places.remove(CHANNELS[index]);
                }
            }
            Step::Consume => {
                if !self.deliveries.is_empty() {
                    let (channel, epoch, offset) = self.deliveries.remove(0);
                    session.consumed(now_ms, &name(&channel), epoch, offset);
                }
            }
            Step::Answer(key) => session.answer(now_ms, CommandKey(key), Outcome::Indeterminate),
            Step::Restart => {
                let config = ClientConfig::new([4; 32]);
                self.session = ClientSession::new(config, Some(self.disk.clone()));
                // Another application: what was not consumed comes again.
                self.places.clear();
                self.deliveries.clear();
            }
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Persist(change) => self.disk.apply(&change),
                Output::Event(event) => self.hear(event),
                Output::Transmit(frame) => {
                    let is_hello = matches!(frame, mainstay_wire::session::ClientFrame::Hello(_));
                    assert!(is_hello || self.is_welcomed, "{frame:?} before the welcome");
                }
                Output::CloseConnection { .. } => {}
            }
        }
        assert_eq!(&self.disk, self.session.saved());
    }

    fn hear(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Outcome { key, .. } | ClientEvent::GivenUp { key, .. } => {
                *self.outcomes.entry(key).or_default() += 1;
            }
            ClientEvent::Event { epoch, event } => {
                let channel = event.channel.to_string();
                if let Some(&(last_epoch, last)) = self.places.get(&channel) {
                    assert_eq!((epoch, event.offset), (last_epoch, last.next()), "{channel}");
                }
                self.deliver(channel, epoch, event.offset);
            }
            ClientEvent::Gap(gap) => {
                let channel = gap.channel.to_string();
                if let Some(&(last_epoch, last)) = self.places.get(&channel) {
                    assert_eq!((gap.from_epoch, gap.from), (last_epoch, last.next()), "{channel}");
                    assert!((gap.epoch, gap.offset) != (last_epoch, last));
                }
                self.deliver(channel, gap.epoch, gap.offset);
            }
            ClientEvent::Unsubscribed { channel, .. } => {
                self.places.remove(channel.as_str());
            }
            ClientEvent::Welcomed { .. } => {
                self.places.retain(|channel, _| !channel.starts_with("$session/"));
            }
            _ => {}
        }
    }

    fn deliver(&mut self, channel: String, epoch: Epoch, offset: Offset) {
        self.places.insert(channel.clone(), (epoch, offset));
        self.deliveries.push((channel, epoch, offset));
    }
}

/// One behind the last is right where `back` is 1 for an event and 0 for a gap.
fn near_frame(near: Nearly, epoch: Epoch, last: Offset, back: u64, forth: u64) -> ServerFrame {
    let channel = name(CHANNELS[0]);
    let from = Offset((last.0.saturating_add(1)).saturating_sub(back));
    let to = Offset(from.0.saturating_add(forth));
    let (to, reason, epoch_then) = match near {
        Nearly::Event => {
            let offset = Offset(last.0.saturating_add(back));
            return ServerFrame::Event(Event { channel, offset, at_ms: 0, payload: Payload::NULL });
        }
        Nearly::Gap => (Some(to), GapReason::Trimmed, epoch),
        Nearly::NewEpoch => (None, GapReason::Epoch, Epoch(epoch.0 + 1)),
    };
    let offset = to.unwrap_or(Offset(forth));
    let (from_epoch, epoch) = (epoch, epoch_then);
    ServerFrame::Gap(Gap { channel, from_epoch, from, to, reason, epoch, offset })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// Whatever a server says: no panic, no second outcome, no hole and no duplicate on a channel,
    /// nothing before the welcome, and a disk that agrees with the memory.
    #[test]
    fn no_server_can_break_what_the_application_is_promised(
        steps in proptest::collection::vec(step(), 0..200)
    ) {
        let mut witness = Witness::new();
        let mut hello = welcome(Standing::New);
        hello.limits.request_count_max = 3;
        let begin = [
            Step::Open,
            Step::Frame(ServerFrame::Welcome(Box::new(hello))),
            Step::Subscribe(0, Start::Now),
            Step::Frame(super::support::subscribed(CHANNELS[0], 1, 0)),
        ];
        for step in begin.into_iter().chain(steps) {
            witness.take(step);
        }
        witness.session.close(witness.now_ms);
        witness.drain();
        for key in witness.made {
            prop_assert_eq!(witness.outcomes.get(&key), Some(&1), "{:?}", key);
        }
    }
}

const CHANNELS: [&str; 3] = ["a", "b", "$session/01010101010101010101010101010101"];
