//! What every engine promises.

use bytes::Bytes;
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Epoch, Offset, Payload, SessionId};
use thiserror::Error;

/// A store of channels' events, sessions' records and replies, and idempotency keys.
///
/// **Order.** Events of a channel are appended and read in the order of their offsets, without holes.
///
/// **Atomicity.** All writes of one [`commit`](Log::commit) take effect together, or none does, even
/// if the process is killed or the power fails in between. Within a commit, later writes see earlier
/// ones.
///
/// **Durability.** When `commit` returns, a durable engine has the writes on disk. The memory engine
/// keeps them as long as the process lives.
///
/// **Loss.** After an error of [`LogError::is_fatal`] nothing may be assumed of the writes of that
/// commit, and every later commit fails too: retrying a failed fsync is not safe. Other errors
/// leave the log as it was before the call.
///
/// **What is not there.** Forgetting what does not exist changes nothing and is no error. A reply may be
/// kept for a session that has no record.
///
/// **Who calls.** One thread. Reading sees everything committed.
pub trait Log: Send {
    /// Makes `writes` durable, all or none.
    ///
    /// # Errors
    /// [`LogError::Full`] and [`LogError::Misuse`] leave the log as it was; others are fatal.
    fn commit(&mut self, writes: &[Write]) -> Result<(), LogError>;

    /// Reads events of a channel from offset `from` on, at least one if there is one, stopping at
    /// either limit and in front of damage. Empty past the head, for an unknown channel, and nowhere
    /// else: offsets below the first kept event begin at that event.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] if the first event is damaged or missing; nothing damaged is ever returned.
    /// Reading from behind it on goes on, and so do commits: this alone does not end a log.
    fn read(
        &mut self,
        channel: &ChannelName,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, LogError>;

    /// What every epoch of this log is mixed with (xor): 0, unless it is a copy that came alive. Whoever
    /// computes an epoch before there is a channel mixes it in, or two histories would share that epoch.
    fn epoch_salt(&self) -> u64;

    /// What is kept of a channel.
    fn channel(&mut self, channel: &ChannelName) -> Result<Option<ChannelKeep>, LogError>;

    /// Channels in the order of their names, from behind `after` on, at most `count_max`.
    fn channels(
        &mut self,
        after: Option<&ChannelName>,
        count_max: usize,
    ) -> Result<Vec<(ChannelName, ChannelKeep)>, LogError>;

    /// A session's record, as it was put.
    fn session(&mut self, session: SessionId) -> Result<Option<Bytes>, LogError>;

    /// Sessions in the order of their ids, from behind `after` on, at most `count_max`. Damaged ones are
    /// left out.
    fn sessions(
        &mut self,
        after: Option<SessionId>,
        count_max: usize,
    ) -> Result<Vec<(SessionId, Bytes)>, LogError>;

    /// Sessions whose records are damaged: that they were there is all that is known of them. They can be
    /// deleted like others.
    fn damaged_sessions(&mut self) -> Result<Vec<SessionId>, LogError> {
        Ok(Vec::new())
    }

    /// The replies kept for a session, by number.
    fn replies(&mut self, session: SessionId) -> Result<Vec<(u64, Bytes)>, LogError>;

    /// The numbers of a session that replies are kept for, and the bytes of each; a damaged one counts too.
    fn reply_sizes(&mut self, session: SessionId) -> Result<Vec<(u64, usize)>, LogError> {
        Ok(self.replies(session)?.iter().map(|(number, reply)| (*number, reply.len())).collect())
    }

    /// The reply kept for one number of a session.
    fn reply(&mut self, session: SessionId, number: u64) -> Result<Option<Bytes>, LogError> {
        let replies = self.replies(session)?;
        Ok(replies.into_iter().find(|(kept, _)| *kept == number).map(|(_, reply)| reply))
    }

    /// What was put under an idempotency key and has not expired at `now_ms`. A key has expired at the
    /// moment until which it was put.
    fn key(&mut self, key: &Key, now_ms: u64) -> Result<Option<Bytes>, LogError>;

    /// How many keys are kept, expired ones that were not dropped yet included.
    fn key_count(&mut self) -> Result<u64, LogError>;
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Creates a channel, or replaces its record; its events stay.
    PutChannel {
        /// Its name.
        channel: ChannelName,
        /// What to remember of it.
        record: ChannelRecord,
    },
    /// Appends an event to a channel that exists. Its offset is the one behind the last appended,
    /// 1 for the first.
    Append {
        /// The channel.
        channel: ChannelName,
        /// The event.
        event: StoredEvent,
    },
    /// Forgets a channel's events below `below`. The head stays, even when nothing is left; a `below`
    /// behind the next offset means the next offset.
    Trim {
        /// The channel.
        channel: ChannelName,
        /// The first offset that stays.
        below: Offset,
    },
    /// Forgets a channel and its events.
    DeleteChannel {
        /// Its name.
        channel: ChannelName,
    },
    /// Puts or replaces a session's record.
    PutSession {
        /// Whose.
        session: SessionId,
        /// Opaque here.
        record: Bytes,
    },
    /// Forgets a session and its replies.
    DeleteSession {
        /// Whose.
        session: SessionId,
    },
    /// Keeps the reply to a session's request.
    PutReply {
        /// Whose.
        session: SessionId,
        /// The request's number.
        number: u64,
        /// Opaque here.
        reply: Bytes,
    },
    /// Forgets a session's replies with numbers below `below`.
    DropReplies {
        /// Whose.
        session: SessionId,
        /// The first number that stays.
        below: u64,
    },
    /// Remembers a value under an idempotency key until a moment, in place of what was there.
    PutKey {
        /// The key.
        key: Key,
        /// Opaque here.
        value: Bytes,
        /// Until when, in milliseconds since 1970.
        expires_at_ms: u64,
    },
    /// Keeps no key longer than until a moment: those that were put until later expire then.
    CapKeys {
        /// The moment, in milliseconds since 1970.
        latest_ms: u64,
    },
    /// Forgets up to `count_max` keys that expired at or before a moment, the oldest first.
    DropExpiredKeys {
        /// The moment, in milliseconds since 1970.
        now_ms: u64,
        /// At most so many, so that one commit stays short.
        count_max: usize,
    },
}

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    /// Its position.
    pub offset: Offset,
    /// When the server took it, in milliseconds since 1970.
    pub at_ms: u64,
    /// What was published.
    pub payload: Payload,
}

/// What is remembered of a channel besides its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelRecord {
    /// Its incarnation.
    pub epoch: Epoch,
    /// What its owner keeps with it, opaque here.
    pub settings: Bytes,
}

/// A channel as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelKeep {
    /// Its record.
    pub record: ChannelRecord,
    /// The first event that is kept; the one behind the head when none is.
    pub first: Offset,
    /// The newest event; 0 when there never was one.
    pub head: Offset,
    /// Bytes of the payloads that are kept.
    pub bytes: u64,
}

/// How much to read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Events; the first is given even if this is 0.
    pub count_max: usize,
    /// Bytes of payloads; the first event is given even if it alone is over.
    pub bytes_max: usize,
}

/// An idempotency key: whose it is and what its caller calls it, joined by the caller of this crate.
pub type Key = Bytes;

/// Why the log did not do it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// The caller's fault: the writes make no sense, such as an offset that is not the next.
    #[error("the log was used wrongly: {0}")]
    Misuse(String),
    /// No room: the disk or a limit is full. Nothing was written.
    #[error("the log is full: {0}")]
    Full(String),
    /// What is stored is damaged.
    #[error("the log is damaged: {0}")]
    Corrupt(String),
    /// The system failed to read or write.
    #[error("the log failed: {0}")]
    Failed(String),
}

impl LogError {
    /// Whether the log can no longer be trusted with writes.
    pub fn is_fatal(&self) -> bool {
        matches!(self, LogError::Corrupt(_) | LogError::Failed(_))
    }
}
