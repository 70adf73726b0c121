//! A log that outlives its node, and fails when told to.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use mainstay_log::{ChannelKeep, Key, Log, LogError, MemoryLog, ReadLimit, StoredEvent, Write};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Offset, SessionId};

#[derive(Clone, Default)]
pub(crate) struct SharedLog(Arc<Mutex<Inner>>);

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) memory: MemoryLog,
    /// Commits that succeed before one fails; `None` for all.
    pub(crate) full_after: Option<u32>,
    /// No commit finds room.
    pub(crate) is_full: bool,
    pub(crate) refused_count: u64,
    pub(crate) is_broken: bool,
    pub(crate) damaged: BTreeSet<(ChannelName, Offset)>,
    pub(crate) damaged_replies: BTreeSet<u64>,
    pub(crate) damaged_session: Option<SessionId>,
    pub(crate) commit_count: u64,
    /// As if the log were a copy that came alive.
    pub(crate) epoch_salt: u64,
    pub(crate) replies_count: u64,
}

impl SharedLog {
    pub(crate) fn get(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("one thread")
    }

    /// The next commit finds no room.
    pub(crate) fn fill_up(&self) {
        self.get().full_after = Some(0);
    }

    pub(crate) fn damage(&self, channel: &str, offset: u64) {
        let channel = ChannelName::parse(channel).expect("a name");
        self.get().damaged.insert((channel, Offset(offset)));
    }
}

impl Log for SharedLog {
    fn commit(&mut self, writes: &[Write]) -> Result<(), LogError> {
        let mut inner = self.get();
        if inner.is_broken {
            return Err(LogError::Failed("it is broken".to_owned()));
        }
        match inner.full_after {
            _ if inner.is_full => {
                inner.refused_count += 1;
                return Err(LogError::Full("no room".to_owned()));
            }
            Some(0) => {
                inner.full_after = None;
                return Err(LogError::Full("no room".to_owned()));
            }
            Some(count) => inner.full_after = Some(count - 1),
            None => {}
        }
        inner.commit_count += 1;
        inner.memory.commit(writes)
    }

    fn read(
        &mut self,
        channel: &ChannelName,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, LogError> {
        let mut inner = self.get();
        let mut events = inner.memory.read(channel, from, limit)?;
        let is_damaged =
            |event: &StoredEvent| inner.damaged.contains(&(channel.clone(), event.offset));
        match events.iter().position(is_damaged) {
            Some(0) => return Err(LogError::Corrupt("damaged".to_owned())),
            Some(index) => events.truncate(index),
            None => {}
        }
        Ok(events)
    }

    fn epoch_salt(&self) -> u64 {
        self.get().epoch_salt
    }

    fn channel(&mut self, channel: &ChannelName) -> Result<Option<ChannelKeep>, LogError> {
        self.get().memory.channel(channel)
    }

    fn channels(
        &mut self,
        after: Option<&ChannelName>,
        count_max: usize,
    ) -> Result<Vec<(ChannelName, ChannelKeep)>, LogError> {
        self.get().memory.channels(after, count_max)
    }

    fn session(&mut self, session: SessionId) -> Result<Option<Bytes>, LogError> {
        self.get().memory.session(session)
    }

    fn sessions(
        &mut self,
        after: Option<SessionId>,
        count_max: usize,
    ) -> Result<Vec<(SessionId, Bytes)>, LogError> {
        let mut inner = self.get();
        let mut sessions = inner.memory.sessions(after, count_max)?;
        sessions.retain(|(id, _)| inner.damaged_session != Some(*id));
        Ok(sessions)
    }

    fn damaged_sessions(&mut self) -> Result<Vec<SessionId>, LogError> {
        Ok(self.get().damaged_session.into_iter().collect())
    }

    fn replies(&mut self, session: SessionId) -> Result<Vec<(u64, Bytes)>, LogError> {
        let mut inner = self.get();
        inner.replies_count += 1;
        let replies = inner.memory.replies(session)?;
        match replies.iter().any(|(number, _)| inner.damaged_replies.contains(number)) {
            true => Err(LogError::Corrupt("damaged".to_owned())),
            false => Ok(replies),
        }
    }

    fn reply_sizes(&mut self, session: SessionId) -> Result<Vec<(u64, usize)>, LogError> {
        self.get().memory.reply_sizes(session)
    }

    fn reply(&mut self, session: SessionId, number: u64) -> Result<Option<Bytes>, LogError> {
        let mut inner = self.get();
        match inner.damaged_replies.contains(&number) {
            true => Err(LogError::Corrupt("damaged".to_owned())),
            false => inner.memory.reply(session, number),
        }
    }

    fn key(&mut self, key: &Key, now_ms: u64) -> Result<Option<Bytes>, LogError> {
        self.get().memory.key(key, now_ms)
    }

    fn key_count(&mut self) -> Result<u64, LogError> {
        self.get().memory.key_count()
    }
}

impl Inner {
    /// Replies of all sessions.
    pub(crate) fn memory_replies(&mut self) -> usize {
        let sessions = self.memory.sessions(None, usize::MAX).expect("read");
        let count = |(id, _): &(SessionId, Bytes)| self.memory.replies(*id).expect("read").len();
        sessions.iter().map(count).sum()
    }
}

/// Looks into the log without asking for an event.
pub(crate) trait Peek {
    fn commit_view(&mut self, channel: &str) -> (Offset, Offset);
    fn names(&mut self) -> Vec<String>;
}

impl Peek for MemoryLog {
    fn commit_view(&mut self, channel: &str) -> (Offset, Offset) {
        let channel = ChannelName::parse_any(channel).expect("a name");
        let keep = self.channel(&channel).expect("read").expect("a channel");
        (keep.first, keep.head)
    }

    /// Every channel, inboxes too.
    fn names(&mut self) -> Vec<String> {
        let channels = self.channels(None, usize::MAX).expect("read").into_iter();
        let mut names: Vec<String> = channels.map(|(name, _)| name.to_string()).collect();
        names.sort();
        names
    }
}

impl Inner {
    pub(crate) fn memory_key(&mut self, key: &str) -> Option<Bytes> {
        // As of a time at which nothing had expired.
        self.memory.key(&Bytes::from(key.to_owned()), 0).expect("read")
    }
}
