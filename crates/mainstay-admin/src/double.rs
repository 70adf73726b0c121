//! A stand-in for a server: a small log that is honest about channels, and an answer for everything
//! else.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use mainstay_server::session::{Epoch, ErrorCode, Event, Offset, Outcome, Payload, SessionId};
use mainstay_server::{
    Answer, Call, CallError, ChannelName, ChannelQuery, ChannelView, ConnectionId, EndReason,
    Journal, JournalLimits, JournalPage, JournalQuery, LastEnd, MemberView, SessionQuery,
    SessionStanding, SessionView, SubscriptionView,
};
use tokio::sync::watch;

use crate::source::{Answering, Source};

/// Does something at a moment of the test's choice.
type Hook = Box<dyn FnMut(&Double) + Send>;

pub(crate) struct Double {
    channels: Mutex<BTreeMap<ChannelName, Log>>,
    heads: Mutex<BTreeMap<ChannelName, watch::Sender<Offset>>>,
    /// Everything that was asked.
    pub(crate) calls: Mutex<Vec<Call>>,
    /// Answers instead of the double.
    pub(crate) refusal: Mutex<Option<CallError>>,
    /// Called when a page has been read and before it is answered.
    pub(crate) after_read: Mutex<Option<Hook>>,
    /// So many of the newest events are missing on the next pages, one number for each page, as if
    /// they were just being stored.
    pub(crate) withheld: Mutex<Vec<usize>>,
    /// The outcome of commands.
    pub(crate) outcome: Mutex<Option<Outcome>>,
    /// What happened.
    pub(crate) journal: Journal,
    /// Never answers.
    pub(crate) is_silent: Mutex<bool>,
}

/// Small, so that it is soon full.
pub(crate) const JOURNAL_COUNT_MAX: usize = 8;

impl Default for Double {
    fn default() -> Double {
        let limits = JournalLimits { count_max: JOURNAL_COUNT_MAX, ..JournalLimits::default() };
        Double {
            channels: Mutex::default(),
            heads: Mutex::default(),
            calls: Mutex::default(),
            refusal: Mutex::default(),
            after_read: Mutex::default(),
            withheld: Mutex::default(),
            outcome: Mutex::default(),
            journal: Journal::new(limits),
            is_silent: Mutex::default(),
        }
    }
}

struct Log {
    epoch: Epoch,
    first: Offset,
    events: Vec<Event>,
}

pub(crate) fn channel(name: &str) -> ChannelName {
    ChannelName::parse_any(name).expect("a name")
}

pub(crate) fn session() -> SessionId {
    SessionId::from_bytes([0x8f; 16])
}

impl Double {
    /// Appends an event and tells whoever watches.
    pub(crate) fn publish(&self, name: &str, payload: Payload) {
        let name = channel(name);
        let offset = {
            let mut channels = lock(&self.channels);
            let log = channels.entry(name.clone()).or_insert_with(|| Log {
                epoch: Epoch(1),
                first: Offset(1),
                events: Vec::new(),
            });
            let offset = Offset(log.first.0 + log.events.len() as u64);
            log.events.push(Event {
                channel: name.clone(),
                offset,
                at_ms: 1_780_000_000_000,
                payload,
            });
            offset
        };
        if let Some(head) = lock(&self.heads).get(&name) {
            head.send_replace(offset);
        }
    }

    pub(crate) fn publish_texts(&self, name: &str, texts: &[&str]) {
        texts.iter().for_each(|text| self.publish(name, Payload::text(text)));
    }

    /// Forgets the oldest events up to this one.
    pub(crate) fn trim(&self, name: &str, to: u64) {
        let mut channels = lock(&self.channels);
        let log = channels.get_mut(&channel(name)).expect("a channel");
        log.events.retain(|event| event.offset.0 > to);
        log.first = Offset(to + 1);
    }

    /// The log is lost, and another begins.
    pub(crate) fn lose(&self, name: &str, epoch: u64) {
        let log = Log { epoch: Epoch(epoch), first: Offset(1), events: Vec::new() };
        lock(&self.channels).insert(channel(name), log);
    }

    pub(crate) fn watcher_count(&self, name: &str) -> usize {
        lock(&self.heads).get(&channel(name)).map_or(0, watch::Sender::receiver_count)
    }

    fn view(name: &ChannelName, log: &Log) -> ChannelView {
        ChannelView {
            name: name.clone(),
            epoch: log.epoch,
            first: log.first,
            head: Offset(log.first.0 + log.events.len() as u64 - 1),
            bytes: log.events.iter().map(|event| event.payload.bytes.len() as u64).sum(),
            subscriber_count: 2,
            member_count: 1,
        }
    }

    fn history(
        &self,
        name: ChannelName,
        after: Offset,
        count_max: usize,
    ) -> Result<Answer, CallError> {
        let read = {
            let channels = lock(&self.channels);
            let log = channels.get(&name).ok_or_else(|| unreachable("there is no such channel"))?;
            let withheld = if count_max == 0 { None } else { lock(&self.withheld).pop() };
            let stored = log.events.len() - withheld.unwrap_or(0);
            let events = log.events[..stored].iter().filter(|event| event.offset > after);
            let events = events.take(count_max).cloned().collect();
            Answer::History { channel: Self::view(&name, log), events }
        };
        let hook = lock(&self.after_read).take();
        if let Some(mut hook) = hook {
            hook(self);
        }
        Ok(read)
    }

    fn answer(&self, call: Call) -> Result<Answer, CallError> {
        if let Some(refusal) = lock(&self.refusal).clone() {
            return Err(refusal);
        }
        match call {
            Call::Publish { channels, .. } => {
                let place = |name| (name, Epoch(1), Offset(42));
                Ok(Answer::Published(channels.into_iter().map(place).collect()))
            }
            Call::Send { .. } => {
                let inbox = ChannelName::session_inbox(session());
                Ok(Answer::Published(vec![(inbox, Epoch(1), Offset(7))]))
            }
            Call::Command { .. } => {
                let outcome = lock(&self.outcome).clone();
                Ok(Answer::Outcome(outcome.unwrap_or(Outcome::Indeterminate)))
            }
            Call::History { channel, after, count_max } => self.history(channel, after, count_max),
            Call::Members { .. } => {
                Ok(Answer::Members(vec![MemberView { session: session(), principal: None }]))
            }
            Call::Channels(ChannelQuery { after, count_max, .. }) => {
                let channels = lock(&self.channels);
                let behind = channels.iter().filter(|(name, _)| after.as_ref() < Some(*name));
                let mut views = behind.map(|(name, log)| Self::view(name, log));
                let page: Vec<ChannelView> = views.by_ref().take(count_max).collect();
                let next = views.next().and(page.last()).map(|last| last.name.clone());
                Ok(Answer::Channels { channels: page, next })
            }
            // As if there were others behind it that were not looked at.
            Call::Sessions(SessionQuery { after, .. }) => {
                let is_there = after.is_none_or(|after| after < session());
                let sessions = is_there.then(session_view).into_iter().collect();
                Ok(Answer::Sessions { sessions, next: is_there.then(session) })
            }
            Call::Session { session: id } if id == session() => {
                Ok(Answer::Session(Box::new(session_view())))
            }
            Call::End { session: id } if id == session() => Ok(Answer::Done),
            Call::Session { .. } | Call::End { .. } => Err(unreachable("there is no such session")),
        }
    }
}

impl Source for Double {
    fn call(&self, call: Call) -> Answering {
        if *lock(&self.is_silent) {
            return Box::pin(std::future::pending());
        }
        lock(&self.calls).push(call.clone());
        let answer = self.answer(call);
        Box::pin(async move {
            // As from another thread: not at the first look.
            tokio::task::yield_now().await;
            answer
        })
    }

    fn watch_head(&self, channel: &ChannelName) -> watch::Receiver<Offset> {
        let mut heads = lock(&self.heads);
        let head = heads.entry(channel.clone()).or_insert_with(|| watch::Sender::new(Offset::ZERO));
        head.subscribe()
    }

    fn journal(&self, query: &JournalQuery) -> JournalPage {
        self.journal.read(query)
    }
}

fn unreachable(message: &str) -> CallError {
    CallError { code: ErrorCode::Unreachable, message: message.to_owned() }
}

fn session_view() -> SessionView {
    SessionView {
        session: session(),
        principal: None,
        standing: SessionStanding::Connected(
            "0300000007000009".parse::<ConnectionId>().expect("an id").into(),
        ),
        client: "test/1.0".to_owned(),
        generation: 3,
        since_ms: 1_780_000_000_000,
        accepted: 5,
        reply_count: 1,
        command_count: 0,
        subscriptions: vec![SubscriptionView {
            channel: channel("news"),
            delivery: Default::default(),
            presence: Default::default(),
            acknowledged: Offset(40),
            lag: 2,
        }],
        is_behind: true,
        last_end: Some(LastEnd { reason: EndReason::PeerEof, at_ms: 1_780_000_000_500 }),
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics inside")
}
