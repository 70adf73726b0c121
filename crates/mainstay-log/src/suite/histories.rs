//! Random histories, told to an engine and to a model that is too simple to be wrong.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

/// Runs so many histories of random commits, reads and reopenings on an engine and on the model, and compares whatever
/// either says.
///
/// # Panics
/// If they disagree, with the smallest history found.
pub fn agree_with_the_model<S: Subject>(make: impl Fn() -> S, count: u32) {
    let config = Config { cases: count, failure_persistence: None, ..Config::default() };
    let histories = vec(step(), 1..STEPS_MAX);
    let result = TestRunner::new(config).run(&histories, |steps| {
        let (mut subject, mut model) = (make(), Model::default());
        for step in &steps {
            perform(step, &mut subject, &mut model);
        }
        subject.reopen();
        compare(subject.log(), &model);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// One thing that happens. Few names and numbers, so that they meet.
#[derive(Clone, Debug)]
pub enum Step {
    /// A commit.
    Commit(Vec<Op>),
    /// A page of a channel.
    Read { channel: u8, from: u64, count_max: usize, bytes_max: usize },
    /// Everything is compared.
    Compare,
    /// The engine is closed and opened.
    Reopen,
}

/// One change, in the model's words.
#[derive(Clone, Debug)]
pub enum Op {
    Put {
        channel: u8,
        epoch: u64,
        settings: u8,
    },
    /// At the next offset, or beside it.
    Append {
        channel: u8,
        beside: u64,
        bytes: usize,
        mark: u8,
    },
    Trim {
        channel: u8,
        below: u64,
    },
    Delete {
        channel: u8,
    },
    PutSession {
        session: u8,
        mark: u8,
    },
    DeleteSession {
        session: u8,
    },
    PutReply {
        session: u8,
        number: u64,
        mark: u8,
    },
    DropReplies {
        session: u8,
        below: u64,
    },
    PutKey {
        key: u8,
        mark: u8,
        expires_at_ms: u64,
    },
    CapKeys {
        latest_ms: u64,
    },
    DropExpiredKeys {
        now_ms: u64,
        count_max: usize,
    },
}

/// Any step.
pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => vec(op(), 0..12).prop_map(Step::Commit),
        4 => (0..4u8, 0..20u64, 0..5usize, 0..400usize).prop_map(
            |(channel, from, count_max, bytes_max)| Step::Read { channel, from, count_max, bytes_max }
        ),
        1 => Just(Step::Compare),
        1 => Just(Step::Reopen),
    ]
}

/// Any change; most appends are at the right offset.
pub fn op() -> impl Strategy<Value = Op> {
    let beside = prop_oneof![60 => Just(0u64), 1 => 1..3u64];
    prop_oneof![
        3 => (0..4u8, 0..9u64, any::<u8>())
            .prop_map(|(channel, epoch, settings)| Op::Put { channel, epoch, settings }),
        12 => (0..4u8, beside, 0..300usize, any::<u8>())
            .prop_map(|(channel, beside, bytes, mark)| Op::Append { channel, beside, bytes, mark }),
        2 => (0..4u8, 0..20u64).prop_map(|(channel, below)| Op::Trim { channel, below }),
        1 => (0..4u8).prop_map(|channel| Op::Delete { channel }),
        2 => (0..3u8, any::<u8>()).prop_map(|(session, mark)| Op::PutSession { session, mark }),
        1 => (0..3u8).prop_map(|session| Op::DeleteSession { session }),
        3 => (0..3u8, 0..9u64, any::<u8>())
            .prop_map(|(session, number, mark)| Op::PutReply { session, number, mark }),
        1 => (0..3u8, 0..9u64).prop_map(|(session, below)| Op::DropReplies { session, below }),
        3 => (0..5u8, any::<u8>(), 0..30u64)
            .prop_map(|(key, mark, expires_at_ms)| Op::PutKey { key, mark, expires_at_ms }),
        1 => (0..30u64).prop_map(|latest_ms| Op::CapKeys { latest_ms }),
        1 => (0..30u64, 0..4usize)
            .prop_map(|(now_ms, count_max)| Op::DropExpiredKeys { now_ms, count_max }),
    ]
}

fn perform(step: &Step, subject: &mut impl Subject, model: &mut Model) {
    match step {
        Step::Commit(ops) => {
            let mut after = model.clone();
            let (mut writes, mut is_sound) = (Vec::new(), true);
            for op in ops {
                // What follows a change that makes no sense is not asked of the model.
                if is_sound {
                    let write = after.write(op);
                    is_sound = after.apply(&write);
                    writes.push(write);
                }
            }
            match subject.log().commit(&writes) {
                Ok(()) => assert!(is_sound, "the model refuses {writes:?}"),
                Err(LogError::Misuse(message)) => assert!(!is_sound, "{message}"),
                Err(error) => panic!("{error}"),
            }
            if is_sound {
                *model = after;
            }
        }
        Step::Read { channel, from, count_max, bytes_max } => {
            let limit = ReadLimit { count_max: *count_max, bytes_max: *bytes_max };
            let name = name(*channel);
            let events = subject.log().read(&name, Offset(*from), limit).expect("read");
            assert_eq!(events, model.read(&name, *from, limit));
        }
        Step::Compare => compare(subject.log(), model),
        Step::Reopen => subject.reopen(),
    }
}

/// Asserts that an engine holds what the model holds, and nothing else.
///
/// # Panics
/// If it does not.
pub fn compare(log: &mut dyn Log, model: &Model) {
    let difference = difference(log, model).expect("everything is read");
    assert_eq!(difference, None);
}

/// Where an engine and the model disagree.
///
/// # Errors
/// The engine's, when it cannot read.
pub fn difference(log: &mut dyn Log, model: &Model) -> Result<Option<String>, LogError> {
    let channels = log.channels(None, usize::MAX)?;
    if channels != model.keeps() {
        return Ok(Some(format!("{channels:?} instead of {:?}", model.keeps())));
    }
    for (name, channel) in &model.channels {
        let events = all_events(log, name)?;
        if events != channel.events {
            return Ok(Some(format!("{name} has {events:?} instead of {:?}", channel.events)));
        }
    }
    let sessions = log.sessions(None, usize::MAX)?;
    if !sessions.iter().map(|(id, record)| (id, record)).eq(&model.sessions) {
        return Ok(Some(format!("{sessions:?} instead of {:?}", model.sessions)));
    }
    for byte in 0..3 {
        let replies = log.replies(session(byte))?;
        let expected = model.replies.iter().filter(|((id, _), _)| *id == session(byte));
        if !replies.iter().map(|(n, reply)| (n, reply)).eq(expected.map(|((_, n), r)| (n, r))) {
            return Ok(Some(format!("{replies:?} instead of {:?}", model.replies)));
        }
    }
    for byte in 0..5u8 {
        let key = Bytes::from(vec![byte]);
        for now_ms in [0, 10, 29] {
            let expected = model.keys.get(&key).filter(|(until_ms, _)| *until_ms > now_ms);
            let expected = expected.map(|(_, value)| value.clone());
            let value = log.key(&key, now_ms)?;
            if value != expected {
                return Ok(Some(format!("key {byte}: {value:?} instead of {expected:?}")));
            }
        }
    }
    Ok(None)
}

/// In pages: an engine may stop in front of damage.
fn all_events(log: &mut dyn Log, name: &ChannelName) -> Result<Vec<StoredEvent>, LogError> {
    let mut events: Vec<StoredEvent> = Vec::new();
    loop {
        let from = events.last().map_or(Offset::ZERO, |event| event.offset.next());
        let page = log.read(name, from, EVERYTHING)?;
        if page.is_empty() {
            return Ok(events);
        }
        events.extend(page);
    }
}

/// A script of commits that all make sense: the same for the same length.
pub fn script(seed: u8, commit_count: usize) -> Vec<Vec<Write>> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let ops = vec(op(), 1..7);
    let mut model = Model::default();
    let mut commits = Vec::new();
    while commits.len() < commit_count {
        let ops = ops.new_tree(&mut runner).expect("a value").current();
        let mut writes: Vec<Write> = Vec::new();
        for op in &ops {
            let write = model.write(op);
            if model.apply(&write) {
                writes.push(write);
            }
        }
        if !writes.is_empty() {
            commits.push(writes);
        }
    }
    commits
}

/// What a log holds before a script, after its first commit, and so on.
pub fn models(script: &[Vec<Write>]) -> Vec<Model> {
    let mut models = vec![Model::default()];
    for writes in script {
        let mut model = models[models.len() - 1].clone();
        assert!(writes.iter().all(|write| model.apply(write)), "the script makes sense");
        models.push(model);
    }
    models
}

/// What a log holds, kept in the most obvious way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    channels: BTreeMap<ChannelName, ModelChannel>,
    sessions: BTreeMap<SessionId, Bytes>,
    replies: BTreeMap<(SessionId, u64), Bytes>,
    keys: BTreeMap<Bytes, (u64, Bytes)>,
}

#[derive(Clone, Debug, PartialEq)]
struct ModelChannel {
    record: ChannelRecord,
    head: u64,
    events: Vec<StoredEvent>,
}

impl Model {
    /// The change as an engine takes it.
    pub fn write(&self, op: &Op) -> Write {
        let mark = |mark: u8| Bytes::from(vec![mark; usize::from(mark % 40)]);
        match op.clone() {
            Op::Put { channel, epoch, settings } => {
                let record = ChannelRecord { epoch: Epoch(epoch), settings: mark(settings) };
                Write::PutChannel { channel: name(channel), record }
            }
            Op::Append { channel, beside, bytes, mark } => {
                let channel = name(channel);
                let head = self.channels.get(&channel).map_or(0, |channel| channel.head);
                let payload = vec![mark; bytes];
                let payload = match mark % 2 {
                    0 => Payload::binary(payload),
                    _ => Payload::from_json_bytes(payload),
                };
                let (offset, at_ms) = (Offset(head + 1 + beside), u64::from(mark));
                Write::Append { channel, event: StoredEvent { offset, at_ms, payload } }
            }
            Op::Trim { channel, below } => {
                Write::Trim { channel: name(channel), below: Offset(below) }
            }
            Op::Delete { channel } => Write::DeleteChannel { channel: name(channel) },
            Op::PutSession { session: byte, mark: m } => {
                Write::PutSession { session: session(byte), record: mark(m) }
            }
            Op::DeleteSession { session: byte } => Write::DeleteSession { session: session(byte) },
            Op::PutReply { session: byte, number, mark: m } => {
                Write::PutReply { session: session(byte), number, reply: mark(m) }
            }
            Op::DropReplies { session: byte, below } => {
                Write::DropReplies { session: session(byte), below }
            }
            Op::PutKey { key, mark: m, expires_at_ms } => {
                Write::PutKey { key: Bytes::from(vec![key]), value: mark(m), expires_at_ms }
            }
            Op::CapKeys { latest_ms } => Write::CapKeys { latest_ms },
            Op::DropExpiredKeys { now_ms, count_max } => {
                Write::DropExpiredKeys { now_ms, count_max }
            }
        }
    }

    /// Applies a change; `false` if it makes no sense.
    pub fn apply(&mut self, write: &Write) -> bool {
        match write.clone() {
            Write::PutChannel { channel, record } => {
                let fresh = ModelChannel { record: record.clone(), head: 0, events: Vec::new() };
                self.channels.entry(channel).or_insert(fresh).record = record;
            }
            Write::Append { channel, event } => match self.channels.get_mut(&channel) {
                Some(channel) if channel.head + 1 == event.offset.0 => {
                    channel.head = event.offset.0;
                    channel.events.push(event);
                }
                _ => return false,
            },
            Write::Trim { channel, below } => {
                if let Some(channel) = self.channels.get_mut(&channel) {
                    channel.events.retain(|event| event.offset >= below);
                }
            }
            Write::DeleteChannel { channel } => drop(self.channels.remove(&channel)),
            Write::PutSession { session, record } => drop(self.sessions.insert(session, record)),
            Write::DeleteSession { session } => {
                self.sessions.remove(&session);
                self.replies.retain(|(id, _), _| *id != session);
            }
            Write::PutReply { session, number, reply } => {
                self.replies.insert((session, number), reply);
            }
            Write::DropReplies { session, below } => {
                self.replies.retain(|(id, number), _| *id != session || *number >= below);
            }
            Write::PutKey { key, value, expires_at_ms } => {
                self.keys.insert(key, (expires_at_ms, value));
            }
            Write::CapKeys { latest_ms } => {
                self.keys.values_mut().for_each(|(at_ms, _)| *at_ms = latest_ms.min(*at_ms));
            }
            Write::DropExpiredKeys { now_ms, count_max } => {
                let mut expired: Vec<_> =
                    self.keys.iter().map(|(key, (at_ms, _))| (*at_ms, key.clone())).collect();
                expired.retain(|(at_ms, _)| *at_ms <= now_ms);
                expired.sort();
                expired.iter().take(count_max).for_each(|(_, key)| drop(self.keys.remove(key)));
            }
        }
        true
    }

    fn read(&self, channel: &ChannelName, from: u64, limit: ReadLimit) -> Vec<StoredEvent> {
        let Some(channel) = self.channels.get(channel) else { return Vec::new() };
        let mut page: Vec<StoredEvent> = Vec::new();
        for event in channel.events.iter().filter(|event| event.offset.0 >= from) {
            let bytes: usize = page.iter().chain([event]).map(|e| e.payload.bytes.len()).sum();
            if !page.is_empty() && (page.len() >= limit.count_max || bytes > limit.bytes_max) {
                break;
            }
            page.push(event.clone());
        }
        page
    }

    fn keeps(&self) -> Vec<(ChannelName, ChannelKeep)> {
        let keep = |channel: &ModelChannel| ChannelKeep {
            record: channel.record.clone(),
            first: channel.events.first().map_or(Offset(channel.head + 1), |event| event.offset),
            head: Offset(channel.head),
            bytes: channel.events.iter().map(|event| event.payload.bytes.len() as u64).sum(),
        };
        self.channels.iter().map(|(name, channel)| (name.clone(), keep(channel))).collect()
    }
}

fn name(byte: u8) -> ChannelName {
    channel(["a", "b", "a/b", "c"][usize::from(byte % 4)])
}

const STEPS_MAX: usize = 24;
