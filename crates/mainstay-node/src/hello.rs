//! A connection says hello: a session begins, or goes on.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mainstay_log::LogError;
use mainstay_session::server::{Record, Session, decode_outcome};
use mainstay_wire::session::{
    Hello, Outcome, Principal, Reply, ServerFrame, SessionId, SessionLimits, Standing, Token,
    Welcome,
};
use mainstay_wire::{ChannelName, EndReason};

use crate::node::{Entry, Link};
use crate::subscriptions::Subscriptions;
use crate::timer::Timer;
use crate::{ConnectionKey, Effect, Happening, Node, Note, Pace};

/// A connection that says hello.
pub(crate) struct Arrival {
    pub(crate) connection: ConnectionKey,
    pub(crate) principal: Option<Principal>,
    /// Where it comes from.
    pub(crate) source: [u8; 8],
}

impl Node {
    pub(crate) fn handle_hello(&mut self, now_ms: u64, arrival: Arrival, hello: Hello) {
        let connection = arrival.connection;
        if self.links.contains_key(&connection) {
            self.close(connection, EndReason::SessionViolation, "a second hello");
            let reason = EndReason::SessionViolation;
            return self.handle_gone(now_ms, connection, reason, "a second hello");
        }
        // Two inboxes come on top.
        if hello.cursors.len() > self.config.subscription_count_max as usize + 2 {
            let detail = "more cursors than a session may have";
            return self.close(connection, EndReason::SessionViolation, detail);
        }
        let Some((id, token)) = hello.resume.clone() else {
            return self.begin(now_ms, arrival, &hello, Standing::New, 0);
        };
        if self.sessions.contains_key(&id) {
            return self.resume(now_ms, arrival, &hello, id, &token);
        }
        match self.tombstone(id) {
            Some(record) => {
                let expired = Session::load(id, record, &[]);
                if !expired.admits(&token) || expired.record().principal != arrival.principal {
                    return self.refuse_resume(connection, id);
                }
                let (standing, accepted) = match expired.check(&hello) {
                    Ok(()) => (Standing::Expired, expired.record().accepted),
                    Err(_) => (Standing::Unknown, 0),
                };
                self.begin(now_ms, arrival, &hello, standing, accepted);
            }
            None => self.begin(now_ms, arrival, &hello, Standing::Unknown, 0),
        }
    }

    /// What is remembered of a session that has expired.
    fn tombstone(&mut self, id: SessionId) -> Option<Record> {
        self.tombstones.get(&id)?;
        match self.log.session(id) {
            Ok(record) => Record::decode(record?).ok(),
            Err(error) => {
                self.failed.get_or_insert(error);
                None
            }
        }
    }

    /// One sentence for a wrong token and a wrong principal: who guesses learns nothing.
    fn refuse_resume(&mut self, connection: ConnectionKey, id: SessionId) {
        let (reason, detail) = (EndReason::ResumeRefused, "the session is not this client's");
        self.note(id, Some(connection), Note::of(Happening::Refused).because(reason, detail));
        self.close(connection, reason, detail);
    }

    fn begin(
        &mut self,
        now_ms: u64,
        arrival: Arrival,
        hello: &Hello,
        standing: Standing,
        accepted: u64,
    ) {
        let Arrival { connection, principal, source } = arrival;
        let of_principal = principal.as_ref().map_or(0, |name| self.principals.count(name));
        if self.sessions.len() >= self.config.session_count_max
            || of_principal >= self.config.sessions_per_principal_max
        {
            let (reason, detail) =
                (EndReason::ServerBehind, "there are as many sessions as there may be");
            let refused = Note::of(Happening::Refused).because(reason, detail);
            self.push(Effect::Note(Note { connection: Some(connection), ..refused }));
            return self.close(connection, reason, detail);
        }
        let id = SessionId::from_bytes(self.random());
        let token = Token::from_bytes(self.random());
        if let Some(principal) = &principal {
            self.principals.add(principal, id);
        }
        let client = client_name(hello);
        let session = Session::begin(id, principal, client, &token, now_ms);
        let link =
            Link { connection, source, subscriptions: Subscriptions::default(), pace: Pace::Live };
        let entry = Entry { session, link: Some(link), last_end: None, lingering: BTreeSet::new() };
        self.sessions.insert(id, Box::new(entry));
        self.links.insert(connection, id);
        self.note_opened(connection, id, hello, standing);
        self.open_principal_inbox(now_ms, id);
        self.put_session(id);
        self.welcome(id, standing, token, accepted);
        self.subscribe_all(now_ms, id, hello);
    }

    fn resume(
        &mut self,
        now_ms: u64,
        arrival: Arrival,
        hello: &Hello,
        id: SessionId,
        token: &Token,
    ) {
        let Arrival { connection, source, .. } = arrival;
        let Some(entry) = self.sessions.get(&id) else { return };
        if !entry.session.admits(token) || entry.session.record().principal != arrival.principal {
            return self.refuse_resume(connection, id);
        }
        if let Err(ahead) = entry.session.check(hello) {
            // The store was set back, and this is not the session that the client knows. Going on with it
            // would give numbers a second time: what is new would be taken for what was answered.
            let detail = format!("the client knows more than the store: {ahead}");
            self.end_session(now_ms, id, EndReason::Superseded, &detail);
            return self.begin(now_ms, arrival, hello, Standing::Unknown, 0);
        }
        let away_since_ms = entry.session.record().away_since_ms;
        let (reason, detail) = TAKEN_OVER;
        if let Some(before) = self.unlink(now_ms, id, reason, detail) {
            let superseded = Note::of(Happening::Superseded).because(reason, detail);
            self.note(id, Some(before), superseded);
        }
        let next = Token::from_bytes(self.random());
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        // What an earlier connection sent and was not accepted is sent again.
        entry.session.part(now_ms);
        entry.session.resume(token, &next, client_name(hello));
        entry.link = Some(Link {
            connection,
            source,
            subscriptions: Subscriptions::default(),
            pace: Pace::Live,
        });
        self.links.insert(connection, id);
        self.timers.disarm(&Timer::Expire { session: id });
        self.timers.disarm(&Timer::Leave { session: id });
        self.note_resumed(now_ms, connection, id, away_since_ms, hello);
        self.drop_outcomes(id, hello.unanswered_from);
        let accepted = self.sessions.get(&id).map_or(0, |e| e.session.record().accepted);
        self.welcome(id, Standing::Resumed, next, accepted);
        self.say_outcomes(id);
        self.say_commands(now_ms, id, hello.accepted);
        self.put_session(id);
        self.subscribe_all(now_ms, id, hello);
    }

    fn note_opened(
        &mut self,
        connection: ConnectionKey,
        id: SessionId,
        hello: &Hello,
        standing: Standing,
    ) {
        let client = client_name(hello);
        let before = hello.resume.as_ref().map(|(before, _)| before);
        let detail = match (before, standing) {
            (Some(before), Standing::Expired) => format!("{client}; {before} has expired"),
            (Some(before), _) => format!("{client}; {before} is not known here"),
            (None, _) => client,
        };
        let note = Note { detail: detail.into(), ..Note::of(Happening::Opened) };
        self.note(id, Some(connection), note);
    }

    fn note_resumed(
        &mut self,
        now_ms: u64,
        connection: ConnectionKey,
        id: SessionId,
        away_since_ms: Option<u64>,
        hello: &Hello,
    ) {
        let client = client_name(hello);
        let detail = match away_since_ms {
            Some(since_ms) => format!("{client}, away for {} ms", now_ms.saturating_sub(since_ms)),
            None => format!("{client}, takes over"),
        };
        let note = Note { detail: detail.into(), ..Note::of(Happening::Resumed) };
        self.note(id, Some(connection), note);
    }

    fn welcome(&mut self, id: SessionId, standing: Standing, token: Token, accepted: u64) {
        let Some(entry) = self.sessions.get(&id) else { return };
        let record = entry.session.record();
        let welcome = Welcome {
            standing,
            session: id,
            token,
            generation: record.generation,
            accepted,
            principal: record.principal.clone(),
            server: self.config.server.clone(),
            ping_interval_ms: self.config.ping_interval_ms,
            session_expiry_ms: self.config.session_expiry_ms,
            limits: SessionLimits {
                request_count_max: self.config.request_count_max,
                message_bytes_max: self.config.message_bytes_max,
                subscription_count_max: self.config.subscription_count_max,
                request_bytes_max: Some(
                    u32::try_from(self.config.request_bytes_max).unwrap_or(u32::MAX),
                ),
            },
        };
        self.say(id, ServerFrame::Welcome(Box::new(welcome)));
    }

    /// Says every outcome that the client has not acknowledged. A handler that a lost server had
    /// started has come to nobody knows what, unless it still runs in this process.
    fn say_outcomes(&mut self, id: SessionId) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        if let Some(number) = entry.session.interrupted() {
            entry.session.finish(number);
            // Its outcome is said with the others, below.
            let outcome = self.unstored.remove(&(id, number)).unwrap_or(Outcome::Indeterminate);
            self.keep_outcome(id, number, outcome);
        }
        for (number, outcome) in self.outcomes(id) {
            self.say(id, ServerFrame::Reply(Reply { number, outcome }));
        }
    }

    /// The outcomes that are kept for a session, by number.
    pub(crate) fn outcomes(&mut self, id: SessionId) -> BTreeMap<u64, Outcome> {
        let Some(entry) = self.sessions.get(&id) else { return BTreeMap::new() };
        let wanted = entry.session.outcomes();
        let mut outcomes = BTreeMap::new();
        match self.log.replies(id) {
            Ok(stored) => {
                outcomes.extend(stored.into_iter().map(|(n, bytes)| (n, read_outcome(bytes))));
            }
            // One that is damaged does not take the others with it.
            Err(LogError::Corrupt(_)) => {
                for number in wanted.clone() {
                    outcomes.extend(self.outcome(id, number).map(|outcome| (number, outcome)));
                }
            }
            Err(error) => {
                self.failed.get_or_insert(error);
            }
        }
        for ((_, number), outcome) in self.staged.outcomes.range((id, 0)..=(id, u64::MAX)) {
            outcomes.insert(*number, outcome.clone());
        }
        outcomes.retain(|number, _| wanted.contains(number));
        outcomes
    }

    /// The outcome that is kept for one number.
    pub(crate) fn outcome(&mut self, id: SessionId, number: u64) -> Option<Outcome> {
        if !self.sessions.get(&id)?.session.outcomes().contains(&number) {
            return None;
        }
        if let Some(outcome) = self.staged.outcomes.get(&(id, number)) {
            return Some(outcome.clone());
        }
        match self.log.reply(id, number) {
            Ok(stored) => stored.map(read_outcome),
            Err(LogError::Corrupt(_)) => Some(Outcome::Indeterminate),
            Err(error) => {
                self.failed.get_or_insert(error);
                None
            }
        }
    }

    /// The first frame behind a welcome proves that its token arrived.
    pub(crate) fn prove(&mut self, id: SessionId) {
        let entry = self.sessions.get_mut(&id);
        if entry.is_some_and(|entry| entry.session.prove()) {
            self.put_session(id);
        }
    }

    pub(crate) fn handle_gone(
        &mut self,
        now_ms: u64,
        connection: ConnectionKey,
        end: EndReason,
        detail: &str,
    ) {
        let Some(&id) = self.links.get(&connection) else { return };
        self.detach(now_ms, id, end);
        self.note(id, Some(connection), Note::of(Happening::Lost).because(end, detail));
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        entry.session.part(now_ms);
        if !entry.lingering.is_empty() {
            let leaves_at_ms = now_ms + self.config.presence_grace_ms;
            self.timers.arm(leaves_at_ms, Timer::Leave { session: id });
        }
        let expires_at_ms = now_ms + self.config.session_expiry_ms;
        self.timers.arm(expires_at_ms, Timer::Expire { session: id });
        self.put_session(id);
    }

    /// The channels that the client listens to, as its cursors say, and its inboxes.
    fn subscribe_all(&mut self, now_ms: u64, id: SessionId, hello: &Hello) {
        for cursor in &hello.cursors {
            self.subscribe_from_cursor(now_ms, id, cursor);
        }
        let missing: Vec<ChannelName> = self.inboxes(id);
        for inbox in missing {
            self.subscribe_inbox(now_ms, id, inbox);
        }
        // Whoever was a member and did not say that it still is has left.
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        let lingering = std::mem::take(&mut entry.lingering);
        let joined = |channel: &ChannelName| {
            let subscriptions = entry.link.as_ref().map(|link| &link.subscriptions);
            let subscription = subscriptions.and_then(|held| held.get(channel));
            subscription.is_some_and(|subscription| subscription.presence.joins())
        };
        let left: Vec<ChannelName> =
            lingering.into_iter().filter(|channel| !joined(channel)).collect();
        for channel in left {
            self.leave_room(now_ms, &channel, id);
        }
    }

    /// The connection that serves a session.
    pub(crate) fn connection(&self, id: SessionId) -> Option<ConnectionKey> {
        self.sessions.get(&id)?.link.as_ref().map(|link| link.connection)
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.staged.effects.push(effect);
    }
}

/// One that cannot be read is as good as lost.
fn read_outcome(bytes: Bytes) -> Outcome {
    decode_outcome(bytes).unwrap_or(Outcome::Indeterminate)
}

/// What the client calls itself, cut to what a log line bears.
fn client_name(hello: &Hello) -> String {
    let end = hello.client.floor_char_boundary(CLIENT_BYTES_MAX);
    hello.client.get(..end).unwrap_or_default().to_owned()
}

const TAKEN_OVER: (EndReason, &str) =
    (EndReason::Superseded, "another connection has taken the session over");

const CLIENT_BYTES_MAX: usize = 100;
