//! What an administrator does with a log that no server has open.

use std::path::Path;

use mainstay_wire::session::{Offset, SessionId};
use redb::backends::FileBackend;
use redb::{
    Durability, Key, ReadTransaction, ReadableTable as _, ReadableTableMetadata as _,
    StorageBackend as _, TableDefinition, Value, WriteTransaction,
};

use super::row::{
    ChannelRow, Damaged, Identity, Kind, Standing, decode_event, decode_key, decode_opaque,
    event_bytes,
};
use super::tables::{
    CHANNELS, EVENTS, EXPIRIES, KEYS, META, REPLIES, SESSIONS, begin_read, read_state, store,
};
use super::watch::Watched;
use super::{DiskLog, OpenError, directory, open, read};
use crate::LogError;

/// What a log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The log's id.
    pub log_id: u64,
    /// Commits since it was created.
    pub commit_count: u64,
    /// Channels.
    pub channel_count: u64,
    /// Events of all channels.
    pub event_count: u64,
    /// Bytes of their payloads.
    pub event_bytes: u64,
    /// Sessions with a record.
    pub session_count: u64,
    /// Replies of all sessions.
    pub reply_count: u64,
    /// Idempotency keys, expired ones included.
    pub key_count: u64,
    /// Bytes of the file. It does not shrink; what is forgotten makes room for what comes.
    pub file_bytes: u64,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// Events whose checksum was compared.
    pub event_count: u64,
    /// Other records whose checksum was compared.
    pub record_count: u64,
    /// What is wrong, a sentence each; empty if nothing is.
    pub problems: Vec<String>,
    /// Problems beyond those listed.
    pub problems_omitted: u64,
}

impl Check {
    fn report(&mut self, problem: impl ToString) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem.to_string());
        } else {
            self.problems_omitted += 1;
        }
    }
}

impl DiskLog {
    /// Counts what the log holds.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    pub fn stats(&mut self) -> Result<Stats, LogError> {
        let (log_id, commit_count) = (self.log_id(), self.commit_count());
        let file_bytes = self.storage.len().map_err(|error| LogError::Failed(error.to_string()))?;
        self.read_with(|database, salt| {
            let view = begin_read(database)?;
            let mut event_bytes = 0;
            let channels = view.open_table(CHANNELS).map_err(store)?;
            for row in channels.iter().map_err(store)? {
                let (name, row) = row.map_err(store)?;
                event_bytes += read::decode_channel(name.value(), salt, row.value())?.1.keep.bytes;
            }
            Ok(Stats {
                log_id,
                commit_count,
                channel_count: channels.len().map_err(store)?,
                event_count: count(&view, EVENTS)?,
                event_bytes,
                session_count: count(&view, SESSIONS)?,
                reply_count: count(&view, REPLIES)?,
                key_count: count(&view, KEYS)?,
                file_bytes,
            })
        })
    }

    /// Reads everything and compares it with its checksums, each channel with what its record says of
    /// it, and the pages of the file with theirs. If something is wrong, the log takes nothing more until
    /// it is opened again.
    ///
    /// # Errors
    /// Whatever keeps it from being read at all; damage that can be walked past is in the result.
    pub fn check(&mut self) -> Result<Check, LogError> {
        let mut check = Check::default();
        if let Some(database) = &mut self.database {
            let pages = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                database.check_integrity()
            }));
            match pages {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => check.report("the file's list of free pages was wrong"),
                Ok(Err(error)) => check.report(error),
                Err(_) => check.report("the file's pages cannot be read"),
            }
        }
        let walked = self.read_with(|database, salt| {
            let view = begin_read(database)?;
            if let Err(error) = walk_records(&view, salt) {
                check.report(error);
            }
            for session in damaged_sessions(&view)? {
                check.report(format_args!("session {session} is not what was written"));
            }
            walk_events(&view, salt, &mut check)
        });
        if let Some(problem) = check.problems.first() {
            // An error of the walk is part of the same damage.
            self.fail(&LogError::Corrupt(problem.clone()));
            return Ok(check);
        }
        walked.map(|()| check)
    }

    /// Copies everything into a new directory, which must not exist. The copy is marked: a log that is
    /// opened over it begins new epochs, so that clients of this log are told of a gap and are never
    /// given events of the one at offsets of the other.
    ///
    /// # Errors
    /// [`OpenError::Exists`] if there is something at `to`; whatever keeps this log from being read or
    /// that one from being written. An unfinished copy is not taken for a log.
    pub fn backup(&mut self, to: &Path) -> Result<(), OpenError> {
        if to.symlink_metadata().is_ok() {
            return Err(OpenError::Exists { path: to.to_owned() });
        }
        directory::create(to)?;
        let lock = directory::DirectoryLock::acquire(to)?;
        let file = directory::create_unfinished(to)?;
        let storage = Watched::new(FileBackend::new(file).map_err(open::database_error)?);
        let copy = open::open_database(&storage, self.options)?;
        let identity = Identity { standing: Standing::Copy, ..self.identity };
        self.read_with(|database, salt| {
            let view = begin_read(database)?;
            walk_records(&view, salt)?;
            if let Some(session) = damaged_sessions(&view)?.first() {
                return Err(Damaged.at(format_args!("session {session}")));
            }
            let state = read_state(&view.open_table(META).map_err(store)?)?;
            copy_all(&view, &copy)?;
            open::initialise(&copy, identity, state)
                .map_err(|error| LogError::Misuse(error.to_string()))
        })?;
        copy.close().map_err(open::database_error)?;
        directory::finish(to)?;
        drop(lock);
        Ok(())
    }
}

/// Sessions whose records are damaged.
pub(super) fn damaged_sessions(view: &ReadTransaction) -> Result<Vec<SessionId>, LogError> {
    let mut damaged = Vec::new();
    walk(view, SESSIONS, |id, row| {
        if decode_opaque(Kind::Session, id, row).is_err() {
            damaged.push(SessionId::from_bytes(*id));
        }
        Ok(())
    })?;
    Ok(damaged)
}

/// Reads all records but events: those are few, and nothing else would notice if one was missing. One
/// damaged session concerns nobody else and is passed over; where there are many, more is wrong.
pub(super) fn walk_records(view: &ReadTransaction, salt: u64) -> Result<u64, LogError> {
    let mut record_count = 0;
    record_count +=
        walk(view, CHANNELS, |name, row| read::decode_channel(name, salt, row).map(|_| ()))?;
    let mut damaged_count = 0;
    record_count += walk(view, SESSIONS, |id, row| {
        damaged_count += usize::from(decode_opaque(Kind::Session, id, row).is_err());
        match damaged_count > DAMAGED_SESSIONS_MAX {
            true => Err(Damaged.at("one session after the other")),
            false => Ok(()),
        }
    })?;
    record_count += walk(view, REPLIES, |key, row| {
        decode_opaque(Kind::Reply, key, row).map(|_| ()).map_err(|d| d.at("a reply"))
    })?;
    let expiries = view.open_table(EXPIRIES).map_err(store)?;
    let key_count = walk(view, KEYS, |key, row| {
        let (expires_at_ms, _) = decode_key(key, row).map_err(|d| d.at("a key"))?;
        match expiries.get((expires_at_ms, key)).map_err(store)? {
            Some(_) => Ok(()),
            None => Err(LogError::Corrupt("a key is not listed by its expiry".to_owned())),
        }
    })?;
    let expiry_count = walk(view, EXPIRIES, |_, ()| Ok(()))?;
    if key_count != expiry_count {
        return Err(LogError::Corrupt("keys and their expiries disagree".to_owned()));
    }
    Ok(record_count + key_count)
}

/// Visits every row of a table, and makes sure that there are as many as the table says.
fn walk<K: Key + 'static, V: Value + 'static>(
    view: &ReadTransaction,
    definition: TableDefinition<'_, K, V>,
    mut visit: impl FnMut(K::SelfType<'_>, V::SelfType<'_>) -> Result<(), LogError>,
) -> Result<u64, LogError> {
    let table = view.open_table(definition).map_err(store)?;
    let mut count = 0;
    for row in table.iter().map_err(store)? {
        let (key, value) = row.map_err(store)?;
        visit(key.value(), value.value())?;
        count += 1;
    }
    if count == table.len().map_err(store)? {
        Ok(count)
    } else {
        Err(LogError::Corrupt("a table does not hold as many rows as it says".to_owned()))
    }
}

fn walk_events(view: &ReadTransaction, salt: u64, check: &mut Check) -> Result<(), LogError> {
    let channels = view.open_table(CHANNELS).map_err(store)?;
    let events = view.open_table(EVENTS).map_err(store)?;
    for row in channels.iter().map_err(store)? {
        let (name, row) = row.map_err(store)?;
        check.record_count += 1;
        let ChannelRow { id, keep } = match ChannelRow::decode(name.value(), salt, row.value()) {
            Ok(row) => row,
            Err(damaged) => {
                check.report(damaged.at(name.value()));
                continue;
            }
        };
        let (mut next, mut bytes) = (keep.first, 0);
        for row in events.range((id, 0)..=(id, u64::MAX)).map_err(store)? {
            let (key, row) = row.map_err(store)?;
            let offset = key.value().1;
            if offset != next.0 {
                check
                    .report(format_args!("{}: event {next} is followed by {offset}", name.value()));
            }
            if let Err(damaged) = decode_event(id, offset, row.value()) {
                check.report(damaged.at(format_args!("event {offset} of {}", name.value())));
            }
            next = Offset(offset).next();
            bytes += event_bytes(row.value());
            check.event_count += 1;
        }
        if (next, bytes) != (keep.head.next(), keep.bytes) {
            check.report(format_args!(
                "{}: its record says events up to {} with {} bytes, and it has {bytes} bytes before {next}",
                name.value(), keep.head, keep.bytes
            ));
        }
    }
    check.record_count += count(view, SESSIONS)? + count(view, REPLIES)? + count(view, KEYS)?;
    if check.event_count != events.len().map_err(store)? {
        check.report("there are events that belong to no channel");
    }
    Ok(())
}

fn copy_all(from: &ReadTransaction, to: &redb::Database) -> Result<(), LogError> {
    copy_table(from, to, CHANNELS, |_, _| Ok(()))?;
    copy_table(from, to, SESSIONS, |_, _| Ok(()))?;
    copy_table(from, to, REPLIES, |_, _| Ok(()))?;
    copy_table(from, to, KEYS, |_, _| Ok(()))?;
    copy_table(from, to, EXPIRIES, |_, _| Ok(()))?;
    copy_table(from, to, EVENTS, |(id, offset), row| {
        decode_event(id, offset, row).map(|_| ()).map_err(|d| d.at(format_args!("event {offset}")))
    })
}

fn copy_table<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &redb::Database,
    definition: TableDefinition<'_, K, V>,
    verify: impl Fn(K::SelfType<'_>, V::SelfType<'_>) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let table = from.open_table(definition).map_err(store)?;
    let mut rows = table.iter().map_err(store)?.peekable();
    while rows.peek().is_some() {
        // Nothing of the copy counts before its last transaction, so only that is made durable.
        let mut transaction: WriteTransaction = to.begin_write().map_err(store)?;
        transaction.set_durability(Durability::None).map_err(store)?;
        {
            let mut copy = transaction.open_table(definition).map_err(store)?;
            for row in rows.by_ref().take(COPIED_ROWS_MAX) {
                let (key, value) = row.map_err(store)?;
                verify(key.value(), value.value())?;
                copy.insert(key.value(), value.value()).map_err(store)?;
            }
        }
        transaction.commit().map_err(store)?;
    }
    Ok(())
}

fn count<K: Key + 'static, V: Value + 'static>(
    view: &ReadTransaction,
    definition: TableDefinition<'_, K, V>,
) -> Result<u64, LogError> {
    view.open_table(definition).map_err(store)?.len().map_err(store)
}

/// Sessions without which a log is still opened.
const DAMAGED_SESSIONS_MAX: usize = 100;
/// Enough to see what is the matter.
const PROBLEMS_MAX: usize = 100;
/// In one transaction of a copy, which holds its pages in memory.
const COPIED_ROWS_MAX: usize = 10_000;
