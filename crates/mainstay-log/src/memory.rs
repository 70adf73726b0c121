//! The engine that forgets when the process ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Offset, SessionId};

use crate::validate::{Heads, validate};
use crate::{ChannelKeep, ChannelRecord, Key, Log, LogError, ReadLimit, StoredEvent, Write};

/// A log in memory: each channel is a ring of events, whose payloads are shared with whoever appended
/// them. It bounds nothing by itself; what it holds is what its caller does not trim.
#[derive(Debug, Default)]
pub struct MemoryLog {
    channels: BTreeMap<ChannelName, Channel>,
    sessions: BTreeMap<SessionId, Bytes>,
    replies: BTreeMap<(SessionId, u64), Bytes>,
    keys: BTreeMap<Key, (u64, Bytes)>,
    /// The same keys in the order in which they expire.
    expiries: BTreeSet<(u64, Key)>,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> MemoryLog {
        MemoryLog::default()
    }

    fn apply(&mut self, write: &Write) {
        match write {
            Write::PutChannel { channel, record } => self.put_channel(channel, record),
            Write::Append { channel, event } => {
                if let Some(channel) = self.channels.get_mut(channel) {
                    channel.append(event.clone());
                }
            }
            Write::Trim { channel, below } => {
                if let Some(channel) = self.channels.get_mut(channel) {
                    channel.trim(*below);
                }
            }
            Write::DeleteChannel { channel } => {
                self.channels.remove(channel);
            }
            Write::PutSession { session, record } => {
                self.sessions.insert(*session, record.clone());
            }
            Write::DeleteSession { session } => {
                self.sessions.remove(session);
                self.drop_replies(*session, None);
            }
            Write::PutReply { session, number, reply } => {
                self.replies.insert((*session, *number), reply.clone());
            }
            Write::DropReplies { session, below } => self.drop_replies(*session, Some(*below)),
            Write::PutKey { key, value, expires_at_ms } => {
                self.put_key(key, value, *expires_at_ms);
            }
            Write::CapKeys { latest_ms } => self.cap_keys(*latest_ms),
            Write::DropExpiredKeys { now_ms, count_max } => {
                self.drop_expired_keys(*now_ms, *count_max);
            }
        }
    }

    fn put_channel(&mut self, channel: &ChannelName, record: &ChannelRecord) {
        match self.channels.get_mut(channel) {
            Some(known) => known.record = record.clone(),
            None => {
                self.channels.insert(channel.clone(), Channel::new(record.clone()));
            }
        }
    }

    /// Drops those below a number, or all.
    fn drop_replies(&mut self, session: SessionId, below: Option<u64>) {
        let end = match below {
            Some(below) => Bound::Excluded((session, below)),
            None => Bound::Included((session, u64::MAX)),
        };
        let range = (Bound::Included((session, 0)), end);
        let dropped: Vec<_> = self.replies.range(range).map(|(number, _)| *number).collect();
        for number in dropped {
            self.replies.remove(&number);
        }
    }

    fn put_key(&mut self, key: &Key, value: &Bytes, expires_at_ms: u64) {
        if let Some((before_ms, _)) = self.keys.insert(key.clone(), (expires_at_ms, value.clone()))
        {
            self.expiries.remove(&(before_ms, key.clone()));
        }
        self.expiries.insert((expires_at_ms, key.clone()));
    }

    fn cap_keys(&mut self, latest_ms: u64) {
        while let Some((expires_at_ms, key)) = self.expiries.pop_last() {
            let is_later = expires_at_ms > latest_ms;
            let capped_ms = expires_at_ms.min(latest_ms);
            if let Some((kept_until_ms, _)) = self.keys.get_mut(&key) {
                *kept_until_ms = capped_ms;
            }
            self.expiries.insert((capped_ms, key));
            if !is_later {
                return;
            }
        }
    }

    fn drop_expired_keys(&mut self, now_ms: u64, count_max: usize) {
        for _ in 0..count_max {
            match self.expiries.first() {
                Some((expires_at_ms, _)) if *expires_at_ms <= now_ms => {}
                _ => return,
            }
            if let Some((_, key)) = self.expiries.pop_first() {
                self.keys.remove(&key);
            }
        }
    }
}

impl Log for MemoryLog {
    fn commit(&mut self, writes: &[Write]) -> Result<(), LogError> {
        validate(self, writes)?;
        for write in writes {
            self.apply(write);
        }
        Ok(())
    }

    fn read(
        &mut self,
        channel: &ChannelName,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, LogError> {
        let Some(channel) = self.channels.get(channel) else { return Ok(Vec::new()) };
        let skipped = from.0.saturating_sub(channel.first().0);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(channel.events.len());
        let mut page = limit.page();
        Ok(channel.events.range(skipped..).take_while(|event| page.takes(event)).cloned().collect())
    }

    fn epoch_salt(&self) -> u64 {
        0
    }

    fn channel(&mut self, channel: &ChannelName) -> Result<Option<ChannelKeep>, LogError> {
        Ok(self.channels.get(channel).map(Channel::keep))
    }

    fn channels(
        &mut self,
        after: Option<&ChannelName>,
        count_max: usize,
    ) -> Result<Vec<(ChannelName, ChannelKeep)>, LogError> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let found = self.channels.range::<ChannelName, _>(range).take(count_max);
        Ok(found.map(|(name, channel)| (name.clone(), channel.keep())).collect())
    }

    fn session(&mut self, session: SessionId) -> Result<Option<Bytes>, LogError> {
        Ok(self.sessions.get(&session).cloned())
    }

    fn sessions(
        &mut self,
        after: Option<SessionId>,
        count_max: usize,
    ) -> Result<Vec<(SessionId, Bytes)>, LogError> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let found = self.sessions.range(range).take(count_max);
        Ok(found.map(|(session, record)| (*session, record.clone())).collect())
    }

    fn replies(&mut self, session: SessionId) -> Result<Vec<(u64, Bytes)>, LogError> {
        let found = self.replies.range((session, 0)..=(session, u64::MAX));
        Ok(found.map(|((_, number), reply)| (*number, reply.clone())).collect())
    }

    fn reply_sizes(&mut self, session: SessionId) -> Result<Vec<(u64, usize)>, LogError> {
        let found = self.replies.range((session, 0)..=(session, u64::MAX));
        Ok(found.map(|((_, number), reply)| (*number, reply.len())).collect())
    }

    fn reply(&mut self, session: SessionId, number: u64) -> Result<Option<Bytes>, LogError> {
        Ok(self.replies.get(&(session, number)).cloned())
    }

    fn key(&mut self, key: &Key, now_ms: u64) -> Result<Option<Bytes>, LogError> {
        let found = self.keys.get(key).filter(|(expires_at_ms, _)| *expires_at_ms > now_ms);
        Ok(found.map(|(_, value)| value.clone()))
    }

    fn key_count(&mut self) -> Result<u64, LogError> {
        Ok(self.keys.len() as u64)
    }
}

impl Heads for MemoryLog {
    fn head(&self, channel: &ChannelName) -> Result<Option<Offset>, LogError> {
        Ok(self.channels.get(channel).map(|channel| channel.head))
    }
}

#[derive(Debug)]
struct Channel {
    record: ChannelRecord,
    head: Offset,
    /// The newest last, without holes; the last has the offset `head`.
    events: VecDeque<StoredEvent>,
    /// Of all payloads in `events`.
    bytes: u64,
}

impl Channel {
    fn new(record: ChannelRecord) -> Channel {
        Channel { record, head: Offset::ZERO, events: VecDeque::new(), bytes: 0 }
    }

    fn first(&self) -> Offset {
        self.events.front().map_or(self.head.next(), |event| event.offset)
    }

    fn append(&mut self, event: StoredEvent) {
        self.head = event.offset;
        self.bytes += event.payload.bytes.len() as u64;
        self.events.push_back(event);
    }

    fn trim(&mut self, below: Offset) {
        while self.events.front().is_some_and(|event| event.offset < below) {
            let event = self.events.pop_front();
            self.bytes -= event.map_or(0, |event| event.payload.bytes.len() as u64);
        }
        // A ring that was once large gives its room back when it has become small.
        if self.events.capacity() > 64 && self.events.len() < self.events.capacity() / 4 {
            self.events.shrink_to(self.events.len() * 2);
        }
    }

    fn keep(&self) -> ChannelKeep {
        ChannelKeep {
            record: self.record.clone(),
            first: self.first(),
            head: self.head,
            bytes: self.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_wire::session::{Epoch, Payload};

    use super::*;

    #[test]
    fn a_payload_is_shared_and_not_copied() {
        let channel = ChannelName::parse("news").unwrap();
        let payload = Bytes::from(vec![7; 100]);
        let mut log = MemoryLog::new();
        let record = ChannelRecord { epoch: Epoch(1), settings: Bytes::new() };
        let event =
            StoredEvent { offset: Offset(1), at_ms: 5, payload: Payload::binary(payload.clone()) };
        log.commit(&[
            Write::PutChannel { channel: channel.clone(), record },
            Write::Append { channel: channel.clone(), event },
        ])
        .unwrap();
        let read = log.read(&channel, Offset(1), ReadLimit { count_max: 1, bytes_max: 1 }).unwrap();
        assert_eq!(read[0].payload.bytes.as_ptr(), payload.as_ptr());
    }
}
