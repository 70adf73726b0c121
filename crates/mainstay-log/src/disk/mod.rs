//! The engine on disk: redb, one durable transaction for each commit.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bytes::Bytes;
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Offset, SessionId};
use redb::{Database, StorageBackend};

use crate::{ChannelKeep, Key, Log, LogError, ReadLimit, StoredEvent, Write};

mod open;
pub use open::OpenError;

mod commit;
mod read;
mod row;
mod tables;

mod directory;
mod watch;

mod maintain;
pub use maintain::{Check, Stats};

use directory::DirectoryLock;
use row::Identity;
use watch::Watched;

/// A log in a directory that survives the process and the power.
///
/// `commit` returns when the writes are on disk. The first failed fsync, and whatever else leaves it
/// unclear what is on disk, ends the log: every later commit fails, and what was acknowledged is found
/// when the directory is opened again. A full disk ends nothing: the commit fails with
/// [`LogError::Full`], and the next may succeed. Trimming needs a little room too, since nothing is
/// overwritten in place, so an administrator may have to make some.
///
/// A damaged event is not skipped: reading stops in front of it, and reading from it on fails with
/// [`LogError::Corrupt`], so a caller can tell its readers what they miss and go on behind it.
///
/// Only one process can have a directory open.
pub struct DiskLog {
    /// Gone once the log has failed.
    database: Option<Database>,
    storage: Watched,
    options: DiskOptions,
    identity: Identity,
    commit_count: u64,
    /// Why nothing more is taken.
    failure: Option<String>,
    /// Released last.
    _lock: Option<DirectoryLock>,
}

/// How a log is opened.
#[derive(Clone, Copy, Debug)]
pub struct DiskOptions {
    /// Bytes of memory for pages read and pages not yet written. 64 MiB by default. More saves reads
    /// when many channels are read far back; below 8 MiB commits over many channels become slow.
    pub cache_bytes: usize,
    /// A random number that no other opening was given. It becomes the id of a log that is created
    /// and the mark that tells a restored copy's epochs from those of the log it was copied from.
    pub fresh: u64,
    /// What is verified before the log is used. Records by default.
    pub verify: Verify,
}

impl DiskOptions {
    /// The defaults.
    pub fn new(fresh: u64) -> DiskOptions {
        DiskOptions { cache_bytes: 64 << 20, fresh, verify: Verify::Records }
    }
}

/// What opening verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// All records but events, whose checksums are compared when they are read. Takes milliseconds. Damage
    /// to the pages by which redb finds free room stays unnoticed until a commit needs them; the process
    /// may then be aborted, and what was acknowledged stays.
    Records,
    /// Every page of the file too. Takes as long as reading the file: a second for a million events.
    Everything,
}

impl DiskLog {
    /// Opens the log in a directory, or creates one. The parent directory must exist.
    ///
    /// After a crash this takes as long as reading the channels, the sessions, their replies and the
    /// keys; events are not read. A copy that [`backup`](DiskLog::backup) made begins new epochs: those
    /// of all its channels change.
    ///
    /// # Errors
    /// [`OpenError`] says whose fault it is.
    pub fn open(directory: &Path, options: DiskOptions) -> Result<DiskLog, OpenError> {
        open::open_directory(directory, options, open::Purpose::Serve)
    }

    /// Opens the log in a storage that is not a directory, or creates one. If a power cut interrupts the
    /// making, the storage may have to be emptied first; in a directory a log appears whole.
    ///
    /// # Errors
    /// As [`open`](DiskLog::open).
    pub fn open_on(
        storage: impl StorageBackend,
        options: DiskOptions,
    ) -> Result<DiskLog, OpenError> {
        let storage = Watched::new(storage);
        open::open_storage(storage, options, open::Purpose::Serve, open::Blank::Create)
    }

    /// Opens the log in a directory for [`check`](DiskLog::check), [`stats`](DiskLog::stats) or
    /// [`backup`](DiskLog::backup): it must exist, and if it is a copy it stays marked as one.
    ///
    /// # Errors
    /// As [`open`](DiskLog::open).
    pub fn inspect(directory: &Path, options: DiskOptions) -> Result<DiskLog, OpenError> {
        open::open_directory(directory, options, open::Purpose::Inspect)
    }

    /// The log's id: the same for as long as the log exists, and for its copies.
    pub fn log_id(&self) -> u64 {
        self.identity.log_id
    }

    /// How many commits the log has had since it was created.
    pub fn commit_count(&self) -> u64 {
        self.commit_count
    }

    /// Lets `work` use the database. A panic means that redb met pages that it never wrote.
    fn with_database<T>(
        &mut self,
        work: impl FnOnce(&Database, u64) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let Some(database) = &self.database else {
            let failure = self.failure.as_deref().unwrap_or("it is closed");
            return Err(LogError::Failed(format!("{failure}; the log takes nothing more")));
        };
        let salt = self.identity.salt;
        match catch_unwind(AssertUnwindSafe(|| work(database, salt))) {
            Ok(result) => result,
            Err(_) => {
                let error = LogError::Corrupt("the store met what it never wrote".to_owned());
                self.fail(&error);
                Err(error)
            }
        }
    }

    fn read_with<T>(
        &mut self,
        work: impl FnOnce(&Database, u64) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let result = self.with_database(work);
        // redb does nothing more after a failed read either. Damaged rows concern nobody else.
        if let Err(error @ LogError::Failed(_)) = &result {
            self.fail(error);
        }
        result
    }

    /// Ends the log: nothing reaches the storage any more, whatever closing the database tries.
    fn fail(&mut self, error: &LogError) {
        self.storage.seal();
        self.failure.get_or_insert_with(|| error.to_string());
        match (error, self.database.take()) {
            (LogError::Corrupt(_), Some(database)) => abandon(database),
            (_, database) => discard(database),
        }
    }

    /// After a commit that failed: whether the log can go on.
    fn after_failed_commit(&mut self, error: LogError) -> LogError {
        let failures = self.storage.failures();
        let is_merely_full = failures.is_full && !failures.is_broken && !failures.has_lost_writes;
        match error {
            LogError::Failed(message)
                if is_merely_full && self.database.is_some() && self.reopen().is_some() =>
            {
                LogError::Full(message)
            }
            error => {
                self.fail(&error);
                error
            }
        }
    }

    /// Opens the same storage anew, which redb asks for after any failed write. `None` if that does not
    /// lead back to the state before the commit.
    fn reopen(&mut self) -> Option<()> {
        discard(self.database.take());
        self.storage.reset();
        let opened = open::reopen(&self.storage, self.options).ok()?;
        let is_as_before =
            opened.identity == self.identity && opened.commit_count == self.commit_count;
        self.database = is_as_before.then_some(opened.database);
        self.database.is_some().then_some(())
    }
}

impl Log for DiskLog {
    fn commit(&mut self, writes: &[Write]) -> Result<(), LogError> {
        self.storage.reset();
        let result = self.with_database(|database, salt| match writes {
            [] => Ok(0),
            writes => commit::commit(database, salt, writes).map(|()| 1),
        });
        match result {
            // A sync that failed beside the ones that redb waited for is one too many.
            Ok(_) if self.storage.failures().has_lost_writes => {
                let error = LogError::Failed("an fsync failed".to_owned());
                self.fail(&error);
                Err(error)
            }
            Ok(count) => {
                self.commit_count += count;
                Ok(())
            }
            Err(error @ LogError::Misuse(_)) => Err(error),
            Err(error) => Err(self.after_failed_commit(error)),
        }
    }

    fn read(
        &mut self,
        channel: &ChannelName,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<StoredEvent>, LogError> {
        self.read_with(|database, salt| read::events(database, salt, channel, from, limit))
    }

    fn epoch_salt(&self) -> u64 {
        self.identity.salt
    }

    fn channel(&mut self, channel: &ChannelName) -> Result<Option<ChannelKeep>, LogError> {
        self.read_with(|database, salt| read::channel(database, salt, channel))
    }

    fn channels(
        &mut self,
        after: Option<&ChannelName>,
        count_max: usize,
    ) -> Result<Vec<(ChannelName, ChannelKeep)>, LogError> {
        self.read_with(|database, salt| read::channels(database, salt, after, count_max))
    }

    fn session(&mut self, session: SessionId) -> Result<Option<Bytes>, LogError> {
        self.read_with(|database, _| read::session(database, session))
    }

    fn sessions(
        &mut self,
        after: Option<SessionId>,
        count_max: usize,
    ) -> Result<Vec<(SessionId, Bytes)>, LogError> {
        self.read_with(|database, _| read::sessions(database, after, count_max))
    }

    fn damaged_sessions(&mut self) -> Result<Vec<SessionId>, LogError> {
        self.read_with(|database, _| maintain::damaged_sessions(&tables::begin_read(database)?))
    }

    fn replies(&mut self, session: SessionId) -> Result<Vec<(u64, Bytes)>, LogError> {
        self.read_with(|database, _| read::replies(database, session))
    }

    fn reply_sizes(&mut self, session: SessionId) -> Result<Vec<(u64, usize)>, LogError> {
        self.read_with(|database, _| read::reply_sizes(database, session))
    }

    fn reply(&mut self, session: SessionId, number: u64) -> Result<Option<Bytes>, LogError> {
        self.read_with(|database, _| read::reply(database, session, number))
    }

    fn key(&mut self, key: &Key, now_ms: u64) -> Result<Option<Bytes>, LogError> {
        self.read_with(|database, _| read::key(database, key, now_ms))
    }

    fn key_count(&mut self) -> Result<u64, LogError> {
        self.read_with(|database, _| read::key_count(database))
    }
}

impl Drop for DiskLog {
    fn drop(&mut self) {
        discard(self.database.take());
    }
}

impl fmt::Debug for DiskLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut formatter = formatter.debug_struct("DiskLog");
        formatter.field("identity", &self.identity).field("commit_count", &self.commit_count);
        formatter.field("failure", &self.failure).finish_non_exhaustive()
    }
}

/// Lets go of a database that met damage, without closing it: closing commits, which would build on the
/// damage, and a panic on the way out may become a second one, which ends the process. What is left
/// behind is a file handle and a cache, once for each damaged log.
fn abandon(database: Database) {
    std::mem::forget(database);
}

/// Closes a database. One that met unnoticed damage may panic on its way out.
fn discard(database: Option<Database>) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
}
