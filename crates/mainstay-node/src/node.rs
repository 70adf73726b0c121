//! The node: what it holds, what comes in, and what one commit lets out.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_hub::Members;
use mainstay_log::{Key, Log, LogError, Write};
use mainstay_session::bounded_reply;
use mainstay_session::server::{Record, Session, encode_outcome};
use mainstay_wire::session::{
    Delivery, Encoding, ErrorCode, Failure, Offset, Outcome, PresenceMode, Problem, Reply,
    ServerFrame, SessionId,
};
use mainstay_wire::{ChannelName, EndReason};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::channel::{Channel, Channels};
use crate::fit::fit_outcome;
use crate::hello::Arrival;
use crate::key::{Fingerprint, Places, Remembered};
use crate::principals::Principals;
use crate::subscriptions::Subscriptions;
use crate::timer::{Timer, Timers};
use crate::{
    Answer, CallError, ConnectionKey, Effect, Happening, Input, LastEnd, NodeConfig, Note, Pace,
    Ticket,
};

/// One node's sessions, channels and log.
///
/// The driver hands over what happened with [`handle`](Node::handle), as much as it has, then calls
/// [`commit`](Node::commit) and carries out the effects in their order. When
/// [`next_timeout`](Node::next_timeout) has come it calls [`handle_timeout`](Node::handle_timeout), and
/// commits. Time is milliseconds since 1970 and never goes back.
pub struct Node {
    pub(crate) config: NodeConfig,
    pub(crate) log: Box<dyn Log>,
    pub(crate) rng: ChaCha12Rng,

    /// Every session that may go on, there or away. In boxes, for a tree is a third empty.
    pub(crate) sessions: BTreeMap<SessionId, Box<Entry>>,
    /// Until when it is remembered how far an expired session had come.
    pub(crate) tombstones: BTreeMap<SessionId, u64>,
    /// The same, the first to be forgotten first.
    pub(crate) tombstone_order: BTreeSet<(u64, SessionId)>,
    pub(crate) principals: Principals,
    pub(crate) links: BTreeMap<ConnectionKey, SessionId>,
    pub(crate) channels: Channels,
    pub(crate) members: Members,
    pub(crate) timers: Timers,
    /// Handlers that run in this process, and when each is to be stopped. They outlast a store that
    /// was full, which sessions do not.
    pub(crate) handlers: BTreeMap<(SessionId, u64), u64>,
    /// What handlers came to that a full store did not take.
    pub(crate) unstored: BTreeMap<(SessionId, u64), Outcome>,
    /// When the node took its log over. What has a later moment from before was stamped by a clock that was
    /// ahead, and counts from here.
    pub(crate) opened_at_ms: u64,
    pub(crate) last_key_at_ms: Option<u64>,
    /// Keys that were put since expired ones were last looked for, and the most that ever were while keys
    /// have been dropped: as many may expire at one time.
    pub(crate) key_count: usize,
    pub(crate) key_count_peak: usize,
    pub(crate) remembered: Remembered,
    /// Until when a log that was full is left alone.
    pub(crate) rests_until_ms: u64,
    /// Handlers that ended while it was.
    pub(crate) ended: Vec<(SessionId, u64, Outcome)>,

    pub(crate) staged: Staged,
    /// The server is about to stop: what is accepted is brought to its end, and nothing more is
    /// accepted, for whoever runs it may be gone.
    pub(crate) is_draining: bool,
    /// The log can no longer be trusted.
    pub(crate) failed: Option<LogError>,
}

/// How much a node holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions with a connection.
    pub connected: usize,
    /// Sessions without one.
    pub away: usize,
    /// Channels, inboxes apart.
    pub channels: usize,
}

/// A session and the connection that serves it.
pub(crate) struct Entry {
    pub(crate) session: Session,
    pub(crate) link: Option<Link>,
    pub(crate) last_end: Option<LastEnd>,
    /// Channels that it stays a member of for a while although its connection is gone.
    pub(crate) lingering: BTreeSet<ChannelName>,
}

/// A connection that serves a session.
pub(crate) struct Link {
    pub(crate) connection: ConnectionKey,
    /// Where it comes from.
    pub(crate) source: [u8; 8],
    pub(crate) subscriptions: Subscriptions,
    /// Whether it keeps up, as its driver says.
    pub(crate) pace: Pace,
}

/// A cursor, as far as the server knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscription {
    pub(crate) delivery: Delivery,
    pub(crate) presence: PresenceMode,
    pub(crate) acknowledged: Offset,
}

/// What waits for the commit.
#[derive(Default)]
pub(crate) struct Staged {
    pub(crate) writes: Vec<Write>,
    /// Where each session's record stands among them.
    pub(crate) records: BTreeMap<SessionId, usize>,
    pub(crate) effects: Vec<Effect>,
    /// Where later events of a channel can join an effect.
    pub(crate) delivers: BTreeMap<ChannelName, usize>,
    /// Outcomes that the log does not have yet.
    pub(crate) outcomes: BTreeMap<(SessionId, u64), Outcome>,
    /// Numbers that came again and were answered again: once is enough for those who come together.
    pub(crate) repeated: BTreeSet<(SessionId, u64)>,
    /// Who is to be told of the members of which channel, once for all that they asked.
    pub(crate) watching: BTreeSet<(ChannelName, SessionId)>,
    /// What keys stand for that the log does not have yet.
    pub(crate) keys: BTreeMap<Key, (Fingerprint, Places)>,
    /// Calls that are answered if the commit succeeds.
    pub(crate) tickets: BTreeSet<Ticket>,
    /// The first event of each channel that the log does not have yet.
    pub(crate) appended: BTreeMap<ChannelName, Offset>,
    /// Channels whose bounds are to be looked at.
    pub(crate) grown: BTreeSet<ChannelName>,
}

impl Node {
    /// Takes over what a log holds. `seed` is secret randomness: tokens are made of it.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn open(
        now_ms: u64,
        config: NodeConfig,
        log: Box<dyn Log>,
        seed: [u8; 32],
    ) -> Result<Node, LogError> {
        let mut node = Node {
            config,
            log,
            rng: ChaCha12Rng::from_seed(seed),
            sessions: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            tombstone_order: BTreeSet::new(),
            principals: Principals::default(),
            links: BTreeMap::new(),
            channels: Channels::default(),
            members: Members::default(),
            timers: Timers::default(),
            handlers: BTreeMap::new(),
            unstored: BTreeMap::new(),
            opened_at_ms: now_ms,
            // What an earlier process has put may expire at any time.
            last_key_at_ms: Some(now_ms),
            key_count: 0,
            key_count_peak: 0,
            remembered: Remembered::default(),
            rests_until_ms: 0,
            ended: Vec::new(),
            staged: Staged::default(),
            is_draining: false,
            failed: None,
        };
        node.timers.arm(now_ms, Timer::Keys);
        let key_count = usize::try_from(node.log.key_count()?).unwrap_or(usize::MAX);
        node.remembered.add(now_ms + node.config.key_expiry_ms, key_count);
        node.load(now_ms)?;
        Ok(node)
    }

    /// Takes something that happened.
    pub fn handle(&mut self, now_ms: u64, input: Input) {
        if self.rests(now_ms) {
            return self.handle_at_rest(now_ms, input);
        }
        self.wake(now_ms);
        match input {
            Input::Hello { connection, principal, source, hello } => {
                let arrival = Arrival { connection, principal, source };
                self.handle_hello(now_ms, arrival, *hello);
            }
            Input::Frame { connection, frame } => {
                if let Some(&session) = self.links.get(&connection) {
                    self.prove(session);
                    self.handle_frame(now_ms, session, frame);
                }
            }
            Input::Unfit { connection, number, failure } => {
                if let Some(&session) = self.links.get(&connection) {
                    self.prove(session);
                    self.handle_unfit(now_ms, session, number, failure);
                }
            }
            Input::Gone { connection, end, detail } => {
                self.handle_gone(now_ms, connection, end, &detail);
            }
            Input::Pace { connection, pace } => self.handle_pace(connection, pace),
            Input::Read { connection, channel, after, bytes_max } => {
                self.handle_read(connection, &channel, after, bytes_max);
            }
            Input::Ran { session, number, outcome } => {
                self.handle_ran(now_ms, session, number, outcome);
            }
            Input::Call { ticket, call } => {
                self.staged.tickets.insert(ticket);
                self.handle_call(now_ms, ticket, call);
            }
            Input::Drain { window_ms } => self.handle_drain(window_ms),
        }
    }

    /// Makes everything durable that was staged, then lets the effects out.
    ///
    /// A log that is full costs whoever is connected the connection, and nobody anything that was
    /// acknowledged: the node forgets what was not stored, and clients come back to what was. It is asked
    /// again a second later; until then whoever comes is told to try later.
    ///
    /// # Errors
    /// If the log can no longer be trusted. No effect of what was staged comes out.
    pub fn commit(&mut self, now_ms: u64, effects: &mut Vec<Effect>) -> Result<(), LogError> {
        if self.rests(now_ms) && self.failed.is_none() {
            effects.append(&mut self.staged.effects);
            self.staged.tickets.clear();
            return Ok(());
        }
        self.tell_new_watchers();
        self.trim_grown(now_ms);
        let staged = std::mem::take(&mut self.staged);
        let committed = match self.failed.take() {
            Some(failed) => Err(failed),
            None if staged.writes.is_empty() => Ok(()),
            None => self.log.commit(&staged.writes),
        };
        match committed {
            Ok(()) => {
                effects.extend(staged.effects);
                Ok(())
            }
            Err(LogError::Full(what)) => {
                for effect in staged.effects {
                    match effect {
                        Effect::Run { session, request, .. } => {
                            self.handlers.remove(&(session, request.number));
                        }
                        // Nobody counts these handlers any more, and what they come to is settled.
                        Effect::Stop { .. } => effects.push(effect),
                        // The takeover did not happen; whoever was to give way comes back.
                        Effect::Close { connection, reason: EndReason::Superseded, .. } => {
                            let (reason, detail) = (EndReason::ServerBehind, what.clone());
                            effects.push(Effect::Close { connection, reason, detail });
                        }
                        // The node has forgotten these, so nobody else would close them.
                        Effect::Close { .. } => effects.push(effect),
                        // The end of a command that a client has had for longer rests on no write.
                        Effect::Answer { ticket, .. } if !staged.tickets.contains(&ticket) => {
                            effects.push(effect);
                        }
                        _ => {}
                    }
                }
                self.unstored.extend(staged.outcomes);
                self.begin_again(now_ms, &what, staged.tickets, effects)?;
                self.keep_handlers();
                Ok(())
            }
            Err(error) => {
                // Once is for ever: nothing may be told that rests on what was lost.
                self.failed = Some(LogError::Failed("the log failed before".to_owned()));
                Err(error)
            }
        }
    }

    /// When [`handle_timeout`](Node::handle_timeout) is due, in milliseconds since 1970.
    pub fn next_timeout(&self) -> Option<u64> {
        self.timers.next().map(|at_ms| at_ms.max(self.rests_until_ms))
    }

    /// Does what is due; early and repeated calls do no harm.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        if self.rests(now_ms) {
            return;
        }
        self.wake(now_ms);
        // A bound, so that one commit stays short when much is due at once.
        for _ in 0..TIMER_COUNT_MAX {
            let Some(timer) = self.timers.pop_due(now_ms) else { return };
            match timer {
                Timer::Handler { session, number } => self.stop_late(now_ms, session, number),
                Timer::Command { session, number } => self.give_up(session, number),
                Timer::Leave { session } => self.leave_rooms(now_ms, session),
                Timer::Gather { channel } => self.tell_watchers(&channel),
                Timer::Trim { channel } => {
                    self.staged.grown.insert(channel);
                }
                Timer::Expire { session } => self.expire(now_ms, session),
                Timer::Forget { session } => self.forget(now_ms, session),
                Timer::Keys => self.drop_keys(now_ms),
            }
        }
    }

    /// How much there is now.
    pub fn counts(&self) -> Counts {
        Counts {
            connected: self.links.len(),
            away: self.sessions.len().saturating_sub(self.links.len()),
            channels: self.channels.count(),
        }
    }

    /// Counts again what is otherwise counted along, for tests. Gives how many timers are armed.
    ///
    /// # Panics
    /// If a count is wrong.
    #[doc(hidden)]
    pub fn audit(&self) -> usize {
        self.channels.audit();
        let mut subscriber_counts: BTreeMap<&ChannelName, usize> = BTreeMap::new();
        let mut principals = Principals::default();
        let mut link_count = 0;
        for (id, entry) in &self.sessions {
            if let Some(principal) = &entry.session.record().principal {
                principals.add(principal, *id);
            }
            let Some(link) = &entry.link else { continue };
            assert_eq!(self.links.get(&link.connection), Some(id), "the link is known");
            link_count += 1;
            for name in link.subscriptions.keys() {
                *subscriber_counts.entry(name).or_default() += 1;
            }
        }
        assert_eq!(link_count, self.links.len(), "links");
        assert_eq!(principals, self.principals, "principals");
        for (name, channel) in self.channels.from("", None) {
            let counted = subscriber_counts.remove(name).unwrap_or_default();
            assert_eq!(channel.subscriber_count, counted, "subscribers of {name}");
        }
        let is_expected = |(name, count)| {
            ChannelName::is_session_inbox(name) && count == 1 && self.extent(name).is_some()
        };
        let mut rest = subscriber_counts.into_iter();
        assert!(rest.all(is_expected), "whoever listens listens to a channel");
        assert_eq!(self.tombstones.len(), self.tombstone_order.len(), "tombstones");
        for timer in self.timers.iter() {
            assert!(self.has_reason(timer), "{timer:?} waits for nothing");
        }
        self.timers.iter().count()
    }

    /// Whether there is still what a timer looks at.
    fn has_reason(&self, timer: &Timer) -> bool {
        let is = |session, what: &dyn Fn(&Entry) -> bool| {
            self.sessions.get(session).is_some_and(|entry| what(entry))
        };
        match timer {
            Timer::Handler { session, number } => is(session, &|entry| {
                entry.session.running().is_some_and(|(running, _)| running == *number)
            }),
            Timer::Command { session, .. } => {
                is(session, &|entry| entry.session.command_count() > 0)
            }
            Timer::Leave { session } => is(session, &|entry| !entry.lingering.is_empty()),
            Timer::Expire { session } => is(session, &|entry| entry.link.is_none()),
            Timer::Forget { session } => self.tombstones.contains_key(session),
            Timer::Trim { channel } => self.channels.get(channel).is_some_and(Channel::has_events),
            Timer::Gather { .. } | Timer::Keys => true,
        }
    }

    /// Reads what the log holds into memory: of sessions their records, of channels their bounds.
    fn load(&mut self, now_ms: u64) -> Result<(), LogError> {
        // A session that cannot be read is lost. Its client is told that it is not known here.
        for session in self.log.damaged_sessions()? {
            self.staged.writes.push(Write::DeleteSession { session });
        }
        let mut after = None;
        loop {
            let page = self.log.sessions(after, LOAD_COUNT)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (id, record) in page {
                let record =
                    Record::decode(record).map_err(|e| LogError::Corrupt(e.to_string()))?;
                self.load_session(now_ms, id, record)?;
            }
        }
        let mut after: Option<ChannelName> = None;
        loop {
            let page = self.log.channels(after.as_ref(), LOAD_COUNT)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (name, keep) in page {
                if name.inbox_session().is_some_and(|session| !self.sessions.contains_key(&session))
                {
                    self.staged.writes.push(Write::DeleteChannel { channel: name });
                    continue;
                }
                let channel = Channel::of(&keep);
                // Its oldest event's age is not known; whoever looks reads it.
                if channel.has_events() {
                    self.timers.arm(now_ms, Timer::Trim { channel: name.clone() });
                }
                self.insert_channel(now_ms, name, channel);
            }
        }
    }

    fn load_session(
        &mut self,
        now_ms: u64,
        id: SessionId,
        mut record: Record,
    ) -> Result<(), LogError> {
        let is_mended = self.mend(now_ms, &mut record.away_since_ms)
            | self.mend(now_ms, &mut record.expired_at_ms);
        if is_mended {
            let record = record.encode();
            self.staged.writes.push(Write::PutSession { session: id, record });
        }
        if let Some(expired_at_ms) = record.expired_at_ms {
            let until_ms = expired_at_ms + self.config.tombstone_expiry_ms;
            self.tombstones.insert(id, until_ms);
            self.tombstone_order.insert((until_ms, id));
            self.timers.arm(until_ms, Timer::Forget { session: id });
            return Ok(());
        }
        let outcomes = self.log.reply_sizes(id)?;
        // One that was connected when the server was lost is away since now.
        let away_since_ms = record.away_since_ms.unwrap_or(now_ms);
        let expires_at_ms = away_since_ms + self.config.session_expiry_ms;
        self.timers.arm(expires_at_ms, Timer::Expire { session: id });
        if let Some(principal) = &record.principal {
            self.principals.add(principal, id);
        }
        let mut session = Session::load(id, record, &outcomes);
        session.record_mut().away_since_ms = Some(away_since_ms);
        let entry = Entry { session, link: None, last_end: None, lingering: BTreeSet::new() };
        self.sessions.insert(id, Box::new(entry));
        Ok(())
    }

    /// Sets right a moment that is still to come. Whether it was one.
    fn mend(&self, now_ms: u64, at_ms: &mut Option<u64>) -> bool {
        let is_to_come = at_ms.is_some_and(|at_ms| at_ms > now_ms);
        if is_to_come {
            *at_ms = Some(self.opened_at_ms);
        }
        is_to_come
    }

    /// Forgets everything that is not stored and loads what is. Connections are sent back to
    /// resume, and callers are told that nothing was done.
    fn begin_again(
        &mut self,
        now_ms: u64,
        what: &str,
        mut tickets: BTreeSet<Ticket>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), LogError> {
        for (connection, session) in std::mem::take(&mut self.links) {
            let (reason, detail) = (EndReason::ServerBehind, what.to_owned());
            let lost = Note::of(Happening::Lost).because(reason, what);
            let (session, connection_lost) = (Some(session), Some(connection));
            effects.push(Effect::Note(Note { session, connection: connection_lost, ..lost }));
            effects.push(Effect::Close { connection, reason, detail });
        }
        for (_, mut entry) in std::mem::take(&mut self.sessions) {
            for (_, command) in entry.session.settle_all() {
                let ticket = Ticket(command.caller);
                // One that was sent before may have run, and its number is not known any more.
                if command.is_sent && !tickets.contains(&ticket) {
                    let result = Ok(Answer::Outcome(Outcome::Indeterminate));
                    effects.push(Effect::Answer { ticket, result });
                } else {
                    tickets.insert(ticket);
                }
            }
        }
        for ticket in tickets {
            let message = what.to_owned();
            let error = CallError { code: ErrorCode::StoreFailed, message };
            effects.push(Effect::Answer { ticket, result: Err(error) });
        }
        self.rests_until_ms = now_ms + REST_MS;
        self.tombstones.clear();
        self.tombstone_order.clear();
        self.principals = Principals::default();
        let before = std::mem::take(&mut self.channels);
        self.members = Members::default();
        self.timers = Timers::default();
        self.timers.arm(now_ms, Timer::Keys);
        self.load(now_ms)?;
        self.channels.recall_inherited(&before);
        Ok(())
    }

    /// Handlers that ran before still run, and what they came to is still to be told.
    fn keep_handlers(&mut self) {
        let sessions = &mut self.sessions;
        self.unstored.retain(|(id, number), _| {
            sessions.get(id).is_some_and(|entry| entry.session.interrupted() == Some(*number))
        });
        for (&(id, number), &deadline_at_ms) in &self.handlers {
            let Some(entry) = sessions.get_mut(&id) else { continue };
            if entry.session.interrupted() == Some(number) {
                entry.session.keep_running(number, deadline_at_ms);
                self.timers.arm(deadline_at_ms, Timer::Handler { session: id, number });
            }
        }
    }

    pub(crate) fn handle_drain(&mut self, window_ms: u64) {
        self.is_draining = true;
        for connection in self.links.keys() {
            let reason = "the server is shutting down".to_owned();
            let goaway = mainstay_wire::session::Goaway { window_ms, reason };
            let frame = ServerFrame::Goaway(goaway);
            self.staged.effects.push(Effect::Send { connection: *connection, frame });
        }
    }

    /// Says something to a session's connection, if it has one.
    pub(crate) fn say(&mut self, session: SessionId, frame: ServerFrame) {
        let link = self.sessions.get(&session).and_then(|entry| entry.link.as_ref());
        if let Some(link) = link {
            let connection = link.connection;
            self.staged.effects.push(Effect::Send { connection, frame });
        }
    }

    pub(crate) fn say_problem(
        &mut self,
        session: SessionId,
        channel: ChannelName,
        code: ErrorCode,
        message: impl Into<String>,
    ) {
        let failure = Failure { code, message: message.into() };
        self.say(session, ServerFrame::Problem(Problem { failure, channel: Some(channel) }));
    }

    pub(crate) fn answer(&mut self, ticket: Ticket, result: Result<Answer, CallError>) {
        self.staged.effects.push(Effect::Answer { ticket, result });
    }

    /// Has a session's record stored with this commit.
    pub(crate) fn put_session(&mut self, session: SessionId) {
        let Some(entry) = self.sessions.get(&session) else { return };
        let record = entry.session.record().encode();
        // Of several records of one session only the last is worth storing. Nothing is put behind a
        // deletion, for a session that is deleted is gone from memory.
        let known = self.staged.records.get(&session);
        let known = known.and_then(|index| self.staged.writes.get_mut(*index));
        if let Some(Write::PutSession { record: before, .. }) = known {
            *before = record;
            return;
        }
        self.staged.records.insert(session, self.staged.writes.len());
        self.staged.writes.push(Write::PutSession { session, record });
    }

    /// Has an outcome stored with this commit and told behind it.
    pub(crate) fn put_outcome(&mut self, session: SessionId, number: u64, outcome: Outcome) {
        let bytes_max = self.config.message_bytes_max as usize;
        let outcome = fit_outcome(outcome);
        let told = bounded_reply(Reply { number, outcome }, bytes_max, |reply| {
            Encoding::longest(|encoding| encoding.reply_bytes(reply))
        });
        self.keep_outcome(session, number, told.outcome.clone());
        self.say(session, ServerFrame::Reply(told));
    }

    /// Has an outcome stored with this commit. Older ones that there is no room for any more are known no
    /// longer: what their handlers came to is for nobody to say.
    pub(crate) fn keep_outcome(&mut self, session: SessionId, number: u64, outcome: Outcome) {
        let reply = encode_outcome(&outcome);
        let bytes_max = self.config.outcome_bytes_max;
        let entry = self.sessions.get_mut(&session);
        let given_up = entry.map(|entry| entry.session.keep(reply.len(), bytes_max));
        self.staged.writes.push(Write::PutReply { session, number, reply });
        self.staged.outcomes.insert((session, number), outcome);
        for number in given_up.unwrap_or_default() {
            let reply = encode_outcome(&Outcome::Indeterminate);
            self.staged.writes.push(Write::PutReply { session, number, reply });
            self.staged.outcomes.insert((session, number), Outcome::Indeterminate);
        }
    }

    /// Closes a session's connection and forgets it. What it says later is not heard. Gives it.
    pub(crate) fn unlink(
        &mut self,
        now_ms: u64,
        session: SessionId,
        reason: EndReason,
        detail: &str,
    ) -> Option<ConnectionKey> {
        let connection = self.detach(now_ms, session, reason)?;
        self.close(connection, reason, detail);
        Some(connection)
    }

    /// Takes a session's connection away from it, with its subscriptions. Its memberships stay for a
    /// while.
    pub(crate) fn detach(
        &mut self,
        now_ms: u64,
        session: SessionId,
        reason: EndReason,
    ) -> Option<ConnectionKey> {
        let entry = self.sessions.get_mut(&session)?;
        let link = entry.link.take()?;
        entry.last_end = Some(LastEnd { reason, at_ms: now_ms });
        self.links.remove(&link.connection);
        for (channel, subscription) in &link.subscriptions {
            self.channels.leave(now_ms, channel);
            if subscription.presence.watches() {
                self.members.unwatch(channel, session);
            }
            if subscription.presence.joins() {
                entry.lingering.insert(channel.clone());
            }
        }
        Some(link.connection)
    }

    pub(crate) fn close(&mut self, connection: ConnectionKey, reason: EndReason, detail: &str) {
        let detail = detail.to_owned();
        self.staged.effects.push(Effect::Close { connection, reason, detail });
    }

    pub(crate) fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut node = formatter.debug_struct("Node");
        node.field("session_count", &self.sessions.len()).finish_non_exhaustive()
    }
}

/// How long a log that was full is left alone.
const REST_MS: u64 = 1_000;
/// Timers of one call: some milliseconds' worth of work.
const TIMER_COUNT_MAX: usize = 1000;
/// Rows read at once while loading.
const LOAD_COUNT: usize = 1000;
