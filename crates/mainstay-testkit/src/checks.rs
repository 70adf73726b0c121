//! The guarantees of PROTOCOL.md, as checks of what was told and done.

use std::collections::BTreeMap;

use bytes::Bytes;
use mainstay_node::{Answer, Call, CallError, ConnectionKey, Effect, Ticket};
use mainstay_session::client::{ClientEvent, ClientSession, CommandKey, Place, RequestKey};
use mainstay_wire::session::{
    Epoch, ErrorCode, Offset, Outcome, Payload, Request, ServerFrame, SessionId, Standing,
};
use mainstay_wire::{ChannelName, EndReason};

use crate::truth::mark_of;
use crate::witness::{Claim, Position};
use crate::world::{EngineKind, Happening, World};

/// What is known so far, and the first thing that contradicts a guarantee.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    failure: Option<String>,
    /// How often the node had each payload run.
    issued: BTreeMap<u64, u32>,
    /// How often a handler started with each payload: the effects outside the store.
    pub(crate) started: BTreeMap<u64, u32>,
    /// The same by session and number.
    numbers: BTreeMap<(SessionId, u64), u32>,
    generations: BTreeMap<SessionId, u64>,
    /// What the first call with each key was answered.
    keys: BTreeMap<Bytes, Vec<(ChannelName, Epoch, Offset)>>,
    /// Payloads that somebody was told never happened.
    never: Vec<(u64, String)>,
    pub(crate) counts: Counts,
    /// The largest page of several events.
    pub(crate) page_bytes_seen: usize,
}

/// What happened at all, so that a run can be known to have been worth something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Events that applications were given.
    pub event_count: u64,
    /// Gaps that they were told of.
    pub gap_count: u64,
    /// Outcomes that they got.
    pub outcome_count: u64,
    /// Outcomes that nobody knows.
    pub indeterminate_count: u64,
    /// Sessions that were resumed.
    pub resume_count: u64,
    /// Inputs from connections that had been superseded.
    pub zombie_count: u64,
    /// Feeds that fell behind.
    pub behind_count: u64,
    /// Server processes that were lost.
    pub server_loss_count: u64,
}

/// What a call's answer must be.
#[derive(Clone, Debug)]
pub(crate) enum CallNote {
    Publish { mark: u64, key: Option<Bytes> },
    Command { mark: u64, device: usize },
}

impl Checks {
    /// A guarantee is broken. The first one counts.
    pub(crate) fn fail(&mut self, guarantee: &str, text: String) {
        self.failure.get_or_insert_with(|| format!("{guarantee}: {text}"));
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

impl World {
    /// The node's effects of one commit.
    pub(crate) fn check_effects(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Err((guarantee, text)) = self.check_effect(effect) {
                return self.checks.fail(guarantee, text);
            }
        }
    }

    fn check_effect(&mut self, effect: &Effect) -> Result<(), (&'static str, String)> {
        match effect {
            Effect::Send { connection, frame: ServerFrame::Welcome(welcome) } => {
                let known = self.checks.generations.entry(welcome.session).or_default();
                if welcome.generation <= *known {
                    let text = format!("{} is at {known} and gets {welcome:?}", welcome.session);
                    return Err(("G6", text));
                }
                *known = welcome.generation;
                let Some(server) = &mut self.server else { return Ok(()) };
                server.owners.insert(welcome.session, *connection);
                server.welcomed.insert(*connection, welcome.session);
            }
            Effect::Send { connection, .. }
            | Effect::Feed { connection, .. }
            | Effect::Unfeed { connection, .. } => self.check_owner(*connection, effect)?,
            Effect::Page(page) => {
                self.check_owner(page.connection, effect)?;
                let after = page.events.last().map(|event| event.offset);
                let after = after.or(page.gap.as_ref().map(|gap| gap.offset));
                if after.is_some_and(|after| after != page.after) || page.after > page.head {
                    return Err(("G2", format!("{page:?} does not say where it ends")));
                }
            }
            Effect::Deliver { channel, events } => self.check_delivery(channel, events)?,
            Effect::Run { connection, session, request, .. } => {
                self.check_owner(*connection, effect)?;
                let Some(mark) = mark_of(&request.payload) else { return Ok(()) };
                let count = self.checks.issued.entry(mark).or_default();
                *count += 1;
                let numbered = self.checks.numbers.entry((*session, request.number)).or_default();
                *numbered += 1;
                if *count > 1 || *numbered > 1 {
                    let number = request.number;
                    return Err(("G4", format!("{session} {number} ({mark}) runs a second time")));
                }
            }
            Effect::Close { connection, reason, detail } => {
                self.check_close(*connection, *reason, detail)?;
            }
            Effect::Stop { .. } | Effect::Answer { .. } | Effect::Note(_) => {}
        }
        Ok(())
    }

    /// Nothing is said to a connection whose session has another one (G6).
    fn check_owner(
        &self,
        connection: ConnectionKey,
        effect: &Effect,
    ) -> Result<(), (&'static str, String)> {
        let Some(server) = &self.server else { return Ok(()) };
        let Some(session) = server.welcomed.get(&connection) else {
            return Err(("G6", format!("{effect:?} before a welcome")));
        };
        if server.owners.get(session) != Some(&connection) {
            return Err(("G6", format!("{effect:?} after another connection was welcomed")));
        }
        Ok(())
    }

    fn check_close(
        &self,
        connection: ConnectionKey,
        reason: EndReason,
        detail: &str,
    ) -> Result<(), (&'static str, String)> {
        let Some(server) = &self.server else { return Ok(()) };
        let session = server.welcomed.get(&connection);
        let owner = session.and_then(|session| server.owners.get(session));
        let is_superseded = owner.is_some_and(|owner| *owner != connection);
        let is_right = match reason {
            EndReason::Superseded => true,
            EndReason::SessionEnded | EndReason::Drain => !is_superseded,
            EndReason::ResumeRefused => session.is_none(),
            // When the store is full there is no other way, and a client comes back.
            EndReason::ServerBehind | EndReason::StoreFailed => true,
            _ => false,
        };
        match is_right {
            true => Ok(()),
            false => Err(("G8", format!("{connection:?} is closed as {reason}: {detail}"))),
        }
    }

    fn check_delivery(
        &mut self,
        channel: &ChannelName,
        events: &[mainstay_wire::session::Event],
    ) -> Result<(), (&'static str, String)> {
        let facts = self.truth.facts();
        let Some(server) = &mut self.server else { return Ok(()) };
        for event in events {
            let known = facts.newest(channel);
            let known = known.and_then(|held| held.events.get(event.offset.0 as usize - 1));
            if known != Some(&event.payload) {
                return Err(("G2", format!("{event:?} is delivered and not stored")));
            }
            let before = server.delivered.insert(channel.clone(), event.offset);
            if before.is_some_and(|before| before.next() != event.offset) {
                return Err(("G1", format!("{channel} {} behind {before:?}", event.offset)));
            }
        }
        Ok(())
    }

    /// A handler starts: its effects outside the store happen now.
    pub(crate) fn handler_starts(&mut self, session: SessionId, number: u64, mark: u64) {
        let count = self.checks.started.entry(mark).or_default();
        *count += 1;
        if *count > 1 {
            let text = format!("the handler of {session} {number} ({mark}) started twice");
            self.checks.fail("G4", text);
        }
    }

    /// Honest clients are closed for few reasons.
    pub(crate) fn check_close_code(&mut self, index: usize, link: usize, code: u16) {
        let is_expected = matches!(code, 1000 | 1001 | 1011 | 1013 | 4000 | 4001 | 4005 | 4200);
        let is_refused = code == 4100 && self.devices[index].was_raced;
        if !is_expected && !is_refused {
            self.checks.fail("G8", format!("c{index} was closed with {code} on link {link}"));
        }
    }

    /// A client session tells its application something.
    pub(crate) fn client_tells(&mut self, index: usize, event: ClientEvent) {
        let now_ms = self.now_ms;
        let life = self.devices[index].life;
        let mut facts = self.truth.facts();
        let witness = &mut self.devices[index].witness;
        let verdict = match event {
            ClientEvent::Welcomed { standing, session, generation, .. } => {
                if matches!(standing, Standing::Expired | Standing::Unknown) {
                    witness.forget_session(now_ms);
                }
                self.checks.counts.resume_count += u64::from(standing == Standing::Resumed);
                witness.session = Some(session);
                witness.generation = generation;
                Ok(())
            }
            ClientEvent::Outcome { key, outcome } => {
                drop(facts);
                return self.client_gets_outcome(index, key, outcome);
            }
            ClientEvent::GivenUp { key, failure } => {
                drop(facts);
                return self.client_gets_outcome(index, key, Outcome::Failed(failure));
            }
            ClientEvent::Subscribed(subscribed) => witness.subscribed(&mut facts, &subscribed),
            ClientEvent::Unsubscribed { channel, failure } => {
                witness.places.remove(&channel);
                match failure {
                    Some(failure) if failure.code != ErrorCode::StoreFailed => {
                        Err(("protocol", format!("{channel} was taken away: {failure:?}")))
                    }
                    _ => Ok(()),
                }
            }
            ClientEvent::Event { epoch, event } => {
                self.checks.counts.event_count += 1;
                let place = Place { epoch, offset: event.offset };
                let verdict = witness.event(&facts, place, &event);
                drop(facts);
                self.consume_later(index, life, event.channel, place);
                verdict
            }
            ClientEvent::Gap(gap) => {
                self.checks.counts.gap_count += 1;
                let place = Place { epoch: gap.epoch, offset: gap.offset };
                let verdict = match (self.config.engine, gap.from_epoch == gap.epoch) {
                    (EngineKind::Disk, false) => Err(("G2", format!("an epoch is lost: {gap:?}"))),
                    _ => witness.gap(&facts, &gap),
                };
                drop(facts);
                self.consume_later(index, life, gap.channel, place);
                verdict
            }
            ClientEvent::Command { key, request, .. } => {
                drop(facts);
                self.client_gets_command(index, key, &request)
            }
            _ => Ok(()),
        };
        if let Err((guarantee, text)) = verdict {
            self.checks.fail(guarantee, format!("c{index}: {text}"));
        }
    }

    fn client_gets_command(
        &mut self,
        index: usize,
        key: CommandKey,
        request: &Request,
    ) -> Result<(), (&'static str, String)> {
        let device = &mut self.devices[index];
        let life = device.life;
        let mark = mark_of(&request.payload).unwrap_or_default();
        let count = device.witness.commands.entry(mark).or_default();
        *count += 1;
        if *count > 1 {
            return Err(("G4", format!("command {mark} was given twice")));
        }
        let outcome = match request.command.as_str() {
            "ask" => Outcome::Done(Payload::from_json_bytes(mark.to_string())),
            command => ClientSession::no_handler(command),
        };
        let ms = self.dice.below(300);
        self.schedule_in(ms, Happening::Answer { device: index, life, key, outcome });
        Ok(())
    }

    fn consume_later(&mut self, index: usize, life: u64, channel: ChannelName, place: Place) {
        let ms = self.dice.below(20);
        let consume = Happening::Consume { device: index, life, channel, place };
        self.schedule_in(ms, consume);
    }

    fn client_gets_outcome(&mut self, index: usize, key: RequestKey, outcome: Outcome) {
        let now_ms = self.now_ms;
        self.checks.counts.outcome_count += 1;
        self.note(|| format!("c{index} has {key}: {outcome:?}"));
        let Some(note) = self.devices[index].witness.notes.get_mut(&key) else {
            return self.checks.fail("G5", format!("c{index}: an outcome of nothing: {key}"));
        };
        if let Some(before) = &note.outcome {
            let text = format!("c{index}: {key} ended as {before:?} and as {outcome:?}");
            return self.checks.fail("G5", text);
        }
        note.outcome = Some(outcome.clone());
        note.settled_at_ms = now_ms;
        let (mark, channel) = (note.mark, note.channel.clone());
        let started = self.checks.started.get(&mark).copied().unwrap_or_default();
        let facts = self.truth.facts();
        let places = facts.places_of(mark);
        let is_true = match (&outcome, &channel) {
            (Outcome::Published { epoch, offset }, Some(channel)) => {
                places == [(channel.clone(), *epoch, *offset)]
            }
            (Outcome::Done(payload), None) => {
                started == 1 && payload.bytes == mark.to_string().as_bytes()
            }
            (Outcome::Failed(_), _) => match Claim::of(&outcome) {
                Claim::Happened => started == 1 && channel.is_none(),
                Claim::NeverHappened => started == 0 && places.is_empty(),
                _ => channel.is_none() || places.is_empty(),
            },
            (Outcome::Indeterminate, _) => true,
            _ => false,
        };
        if !is_true {
            let text = format!(
                "c{index}: {mark} is said to be {outcome:?}, started {started} times, at {places:?}"
            );
            drop(facts);
            return self.checks.fail("G5", text);
        }
        drop(facts);
        self.checks.counts.indeterminate_count += u64::from(outcome == Outcome::Indeterminate);
        let is_never = match Claim::of(&outcome) {
            Claim::NeverHappened => true,
            Claim::Stopped => channel.is_some(),
            _ => false,
        };
        if is_never {
            self.checks.never.push((mark, format!("c{index} was told {outcome:?}")));
        }
    }

    /// The node answers a call.
    pub(crate) fn answered(&mut self, ticket: Ticket, result: Result<Answer, CallError>) {
        self.note(|| format!("answer {} {result:?}", ticket.0));
        let note = self.server.as_mut().and_then(|server| server.calls.remove(&ticket));
        let Some(note) = note else {
            return self.checks.fail("G5", format!("an answer to no call: {result:?}"));
        };
        let text = format!("{note:?} was answered {result:?}");
        let is_true = match (note, result) {
            (CallNote::Publish { mark, key }, Ok(Answer::Published(places))) => {
                let first = key.map(|key| {
                    let first = self.checks.keys.entry(key).or_insert_with(|| places.clone());
                    *first == places
                });
                let facts = self.truth.facts();
                let is_there = facts.places_of(mark) == places;
                first.unwrap_or(is_there)
            }
            (CallNote::Publish { mark, .. }, Err(error)) => {
                self.checks.never.push((mark, error.to_string()));
                true
            }
            (CallNote::Command { mark, device }, Ok(Answer::Outcome(outcome))) => {
                let count = self.devices[device].witness.commands.get(&mark);
                match outcome {
                    Outcome::Done(payload) => {
                        count == Some(&1) && payload.bytes == mark.to_string().as_bytes()
                    }
                    _ => true,
                }
            }
            (CallNote::Command { .. }, _) => true,
            _ => false,
        };
        if !is_true {
            self.checks.fail("G5", text);
        }
    }

    /// Whether nothing is left to happen but heartbeats.
    pub(crate) fn is_quiet(&self) -> bool {
        let Some(server) = &self.server else { return false };
        server.calls.is_empty()
            && server.running.is_empty()
            && !server.is_draining
            && self.devices.iter().all(|device| device.is_retired || self.is_settled(device))
    }

    fn is_settled(&self, device: &crate::device::Device) -> bool {
        let Some(session) = &device.session else { return false };
        let facts = self.truth.facts();
        session.is_open()
            && session.saved().is_settled()
            && device.witness.places.iter().all(|(channel, position)| match position {
                Position::Awaiting { .. } => false,
                Position::At(place) => facts
                    .newest(channel)
                    .is_some_and(|held| held.epoch == place.epoch && held.head() == place.offset),
            })
    }

    /// Why it is not quiet, for people.
    pub(crate) fn unrest(&self) -> String {
        let Some(server) = &self.server else { return "there is no server".to_owned() };
        let mut text = format!("calls {:?}, handlers {:?}", server.calls, server.running);
        for (index, device) in self.devices.iter().enumerate() {
            if device.is_retired || self.is_settled(device) {
                continue;
            }
            let session = device.session.as_ref();
            let is_open = session.is_some_and(ClientSession::is_open);
            let waits = session.map(|session| session.saved().requests.len());
            let answers = session.map(|session| session.saved().answers.len());
            text += &format!("; c{index} open {is_open}, requests {waits:?}, answers {answers:?}");
            text += &format!(", places {:?}", device.witness.places);
        }
        let facts = self.truth.facts();
        for (channel, held) in &facts.channels {
            let heads = held.iter().map(|held| (held.epoch, held.head().0, held.first.0));
            text += &format!("; {channel} {:?}", heads.collect::<Vec<_>>());
        }
        text
    }

    /// What can be judged only when everything has come to rest.
    pub(crate) fn check_end(&mut self) {
        self.check_claims();
        for device in 0..self.devices.len() {
            self.check_device_end(device);
        }
        for (index, link) in self.links.iter().enumerate() {
            if link.client_end.is_some() != link.server_end.is_some() && !link.is_over() {
                let (client, server) = (link.client_end, link.server_end);
                let text = format!("link {index} ended as {client:?} and {server:?}");
                self.checks.fail("G8", text);
            }
        }
        self.check_bounds();
    }

    fn check_claims(&mut self) {
        let facts = self.truth.facts();
        for (mark, why) in &self.checks.never {
            if !facts.places_of(*mark).is_empty() || self.checks.started.contains_key(mark) {
                let text = format!("{mark} happened, and {why}");
                self.checks.failure.get_or_insert(format!("G5: {text}"));
                return;
            }
        }
        let twice = facts.places.iter().find(|(_, places)| places.len() > 1);
        if let Some((mark, places)) = twice {
            self.checks.failure.get_or_insert(format!("G4: {mark} is in the log at {places:?}"));
        }
    }

    fn check_device_end(&mut self, index: usize) {
        let facts = self.truth.facts();
        let witness = &self.devices[index].witness;
        let mut problem = witness.problem.clone().map(|text| ("G5", text));
        for mark in &witness.lost {
            if !facts.places_of(*mark).is_empty() || self.checks.started.contains_key(mark) {
                problem = Some(("G5", format!("{mark} was sent before it was safe")));
            }
        }
        for (key, note) in &witness.notes {
            let within = |at_ms: &u64| (note.made_at_ms..=note.settled_at_ms).contains(at_ms);
            match &note.outcome {
                None => problem = Some(("G5", format!("{key} has no outcome: {note:?}"))),
                Some(Outcome::Indeterminate) => {
                    let was_forgotten = witness.forgotten_at_ms.iter().any(within);
                    let was_lost = self.server_losses_ms.iter().any(within);
                    if !was_forgotten && (note.channel.is_some() || !was_lost) {
                        problem = Some(("G5", format!("{key} need not be in doubt: {note:?}")));
                    }
                }
                Some(_) => {}
            }
        }
        if let Some((guarantee, text)) = problem {
            drop(facts);
            self.checks.fail(guarantee, format!("c{index}: {text}"));
        }
    }

    /// G7: what is kept is what the configuration says.
    fn check_bounds(&mut self) {
        let facts = self.truth.facts();
        let mut found = None;
        for (channel, held) in &facts.channels {
            let Some(held) = held.last() else { continue };
            let retention = match channel.is_inbox() {
                true => self.config.node.inbox_retention,
                false => self.config.node.channel_retention,
            };
            let count = held.head().next().0 - held.first.0;
            if count > retention.count_max {
                found = Some(format!("{channel} keeps {count} of {}", retention.count_max));
            }
        }
        drop(facts);
        if self.checks.page_bytes_seen > self.config.feed_bytes_max {
            let bytes = self.checks.page_bytes_seen;
            found = Some(format!("a page had {bytes} of {}", self.config.feed_bytes_max));
        }
        if let Some(text) = found {
            self.checks.fail("G7", text);
        }
    }

    /// Commands go to sessions that are known.
    pub(crate) fn call_command(&mut self, device: usize, command: &str, deadline_ms: u64) {
        let Some(to) = self.devices[device].witness.session else { return };
        let mark = self.mark();
        let payload = crate::marked(mark, mainstay_wire::session::PayloadKind::Json, 0);
        let command = command.to_owned();
        let note = CallNote::Command { mark, device };
        self.call(Call::Command { to, command, payload, deadline_ms }, note);
    }
}
