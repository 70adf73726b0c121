//! What the log was given: the ground that everything told is compared with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use mainstay_log::{ChannelKeep, Key, Log, LogError, ReadLimit, StoredEvent, Write};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Epoch, Offset, Payload, PayloadKind, SessionId};

/// Every event that any log of a world was given and has committed.
#[derive(Clone, Debug, Default)]
pub struct Truth(Arc<Mutex<Facts>>);

/// What is known.
#[derive(Debug, Default)]
pub struct Facts {
    /// The incarnations of each channel, the newest last.
    pub channels: BTreeMap<ChannelName, Vec<Incarnation>>,
    /// Where each marked payload stands.
    pub places: BTreeMap<u64, Vec<(ChannelName, Epoch, Offset)>>,
    /// How many writes there were.
    pub write_count: u64,
    /// The log takes nothing for the time being.
    pub is_full: bool,
}

/// One epoch of a channel.
#[derive(Debug)]
pub struct Incarnation {
    /// Which.
    pub epoch: Epoch,
    /// Its events, from offset 1 on, trimmed ones included.
    pub events: Vec<Payload>,
    /// The first that is kept.
    pub first: Offset,
}

impl Incarnation {
    /// The newest offset.
    pub fn head(&self) -> Offset {
        Offset(self.events.len() as u64)
    }
}

impl Truth {
    /// The facts, for as long as the guard lives.
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A log whose commits become facts.
    pub fn watch(&self, log: Box<dyn Log>) -> WatchedLog {
        WatchedLog { log, truth: self.clone() }
    }

    /// Compares a log that was opened again with the facts, and learns of commits that were made
    /// although nobody was told.
    ///
    /// # Errors
    /// What was committed and is gone.
    pub fn reconcile(&self, log: &mut dyn Log) -> Result<(), String> {
        let mut facts = self.facts();
        let names: Vec<ChannelName> = facts.channels.keys().cloned().collect();
        for name in &names {
            facts.reconcile_channel(name, log)?;
        }
        let found = log.channels(None, usize::MAX).map_err(|error| error.to_string())?;
        for (name, _) in found {
            if !facts.channels.contains_key(&name) {
                facts.learn_channel(&name, log)?;
            }
        }
        Ok(())
    }
}

impl Facts {
    /// The present incarnation of a channel.
    pub fn newest(&self, channel: &ChannelName) -> Option<&Incarnation> {
        self.channels.get(channel)?.last()
    }

    /// An incarnation of a channel.
    pub fn incarnation(&self, channel: &ChannelName, epoch: Epoch) -> Option<&Incarnation> {
        self.channels.get(channel)?.iter().find(|held| held.epoch == epoch)
    }

    /// Where a marked payload stands.
    pub fn places_of(&self, mark: u64) -> &[(ChannelName, Epoch, Offset)] {
        self.places.get(&mark).map_or(&[], Vec::as_slice)
    }

    /// An inbox begins to exist with its first message, in the epoch that its owner was told before.
    pub(crate) fn expect_inbox(&mut self, channel: &ChannelName, epoch: Epoch) {
        if channel.is_session_inbox() && !self.channels.contains_key(channel) {
            let (events, first) = (Vec::new(), Offset(1));
            self.channels.insert(channel.clone(), vec![Incarnation { epoch, events, first }]);
        }
    }

    fn apply(&mut self, write: &Write) {
        self.write_count += 1;
        match write {
            Write::PutChannel { channel, record } => {
                let held = self.channels.entry(channel.clone()).or_default();
                if held.last().is_none_or(|last| last.epoch != record.epoch) {
                    let (epoch, events, first) = (record.epoch, Vec::new(), Offset(1));
                    held.push(Incarnation { epoch, events, first });
                }
            }
            Write::Append { channel, event } => self.append(channel, event),
            Write::Trim { channel, below } => {
                if let Some(held) = self.channels.get_mut(channel).and_then(|all| all.last_mut()) {
                    held.first = held.first.max((*below).min(held.head().next()));
                }
            }
            _ => {}
        }
    }

    fn append(&mut self, channel: &ChannelName, event: &StoredEvent) {
        let Some(held) = self.channels.get_mut(channel).and_then(|all| all.last_mut()) else {
            return;
        };
        held.events.push(event.payload.clone());
        let place = (channel.clone(), held.epoch, event.offset);
        if let Some(mark) = mark_of(&event.payload) {
            self.places.entry(mark).or_default().push(place);
        }
    }

    fn reconcile_channel(&mut self, name: &ChannelName, log: &mut dyn Log) -> Result<(), String> {
        let known = self.newest(name).map(|known| (known.epoch, known.head(), known.first));
        let Some((epoch, head, first)) = known else { return Ok(()) };
        let keep = log.channel(name).map_err(|error| error.to_string())?;
        let Some(keep) = keep else {
            return if name.is_inbox() { Ok(()) } else { Err(format!("{name} is gone")) };
        };
        if keep.record.epoch != epoch || keep.head < head {
            return Err(format!(
                "{name} was at {epoch}.{head} and is at {}.{}",
                keep.record.epoch, keep.head
            ));
        }
        let limit = ReadLimit { count_max: usize::MAX, bytes_max: usize::MAX };
        let events = log.read(name, keep.first, limit).map_err(|error| error.to_string())?;
        if keep.first > first {
            self.apply(&Write::Trim { channel: name.clone(), below: keep.first });
        }
        for event in events {
            if event.offset > head {
                self.append(name, &event);
            } else if let Some(known) = self.newest(name)
                && known.events.get(event.offset.0 as usize - 1) != Some(&event.payload)
            {
                return Err(format!("{name} {} is another event than before", event.offset));
            }
        }
        Ok(())
    }

    fn learn_channel(&mut self, name: &ChannelName, log: &mut dyn Log) -> Result<(), String> {
        let keep = log.channel(name).map_err(|error| error.to_string())?;
        let Some(keep) = keep else { return Ok(()) };
        self.apply(&Write::PutChannel { channel: name.clone(), record: keep.record });
        self.reconcile_channel(name, log)
    }
}

/// A log whose commits become facts, and that can be told to be full.
pub struct WatchedLog {
    log: Box<dyn Log>,
    truth: Truth,
}

impl Log for WatchedLog {
    fn commit(&mut self, writes: &[Write]) -> Result<(), LogError> {
        let mut facts = self.truth.facts();
        let grows = |write: &Write| {
            !matches!(
                write,
                Write::Trim { .. }
                    | Write::DropReplies { .. }
                    | Write::CapKeys { .. }
                    | Write::DropExpiredKeys { .. }
                    | Write::DeleteSession { .. }
                    | Write::DeleteChannel { .. }
            )
        };
        if facts.is_full && writes.iter().any(grows) {
            return Err(LogError::Full("simulated".to_owned()));
        }
        self.log.commit(writes)?;
        writes.iter().for_each(|write| facts.apply(write));
        Ok(())
    }

    fn read(
        &mut self,
        channel: &ChannelName,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, LogError> {
        self.log.read(channel, from, limit)
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

    fn damaged_sessions(&mut self) -> Result<Vec<SessionId>, LogError> {
        self.log.damaged_sessions()
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

/// A payload that can be told from every other one of a world.
pub fn marked(mark: u64, kind: PayloadKind, bytes: usize) -> Payload {
    match kind {
        PayloadKind::Json => {
            Payload::from_json_bytes(format!(r#"{{"mark":{mark},"pad":"{}"}}"#, "x".repeat(bytes)))
        }
        PayloadKind::Binary => {
            let mut content = mark.to_be_bytes().to_vec();
            content.resize(8 + bytes, b'x');
            Payload::binary(content)
        }
    }
}

/// The mark of a payload.
pub fn mark_of(payload: &Payload) -> Option<u64> {
    match payload.kind {
        PayloadKind::Binary => Some(u64::from_be_bytes(payload.bytes.get(..8)?.try_into().ok()?)),
        PayloadKind::Json => {
            let text = std::str::from_utf8(&payload.bytes).ok()?;
            let digits = text.strip_prefix(r#"{"mark":"#)?;
            digits[..digits.find(|c: char| !c.is_ascii_digit())?].parse().ok()
        }
    }
}
