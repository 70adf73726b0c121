//! Opening: whose storage it is, whether it is a log of ours, and whether what must be whole is whole.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, StorageError};
use thiserror::Error;

use super::commit::begin;
use super::directory::{self, DirectoryLock};
use super::maintain;
use super::row::{Identity, Standing, State};
use super::tables::{
    CHANNELS, EVENTS, EXPIRIES, IDENTITY, KEYS, META, REPLIES, SCHEMA, SESSIONS, STATE, begin_read,
    has_table, is_blank, read_identity, read_state, store,
};
use super::watch::{Watched, is_full};
use super::{DiskLog, DiskOptions, Verify, abandon};
use crate::LogError;

/// Why a log could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The caller's fault: the path names something else.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The caller's fault: the directory holds no log.
    #[error("{} holds no log", directory.display())]
    NotFound {
        /// The directory.
        directory: PathBuf,
    },
    /// The caller's fault: there is something already where a new log should be.
    #[error("{} exists already and is left as it is", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// The caller's fault: the process may not.
    #[error("no permission for {}: {source}", path.display())]
    Permission {
        /// For what.
        path: PathBuf,
        /// As the system says it.
        source: io::Error,
    },
    /// Another process has it open, such as a running server.
    #[error("{} is in use by another process", directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// A later version of this program wrote it.
    #[error("the log has format {found}, and this program knows format {SCHEMA}: use a newer one")]
    Newer {
        /// The format.
        found: u32,
    },
    /// An earlier version of this program wrote it, and this one does not convert it.
    #[error("the log has format {found}, and this program knows format {SCHEMA}: use an older one")]
    Older {
        /// The format.
        found: u32,
    },
    /// The file is a database, and not one of ours.
    #[error("the file is no log of this program")]
    Foreign,
    /// What is stored is not what was written.
    #[error("the log is damaged: {0}")]
    Damaged(String),
    /// There is no room to open it.
    #[error("there is no room to open the log: {0}")]
    Full(String),
    /// The system failed to read or write.
    #[error("the log could not be read or written: {0}")]
    Failed(String),
}

impl OpenError {
    pub(super) fn from_io(path: &Path, error: io::Error) -> OpenError {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                OpenError::Permission { path, source: error }
            }
            io::ErrorKind::NotADirectory => OpenError::NotADirectory { path },
            _ if is_full(&error) => OpenError::Full(format!("{}: {error}", path.display())),
            _ => OpenError::Failed(format!("{}: {error}", path.display())),
        }
    }
}

impl From<LogError> for OpenError {
    fn from(error: LogError) -> OpenError {
        match error {
            LogError::Corrupt(message) => OpenError::Damaged(message),
            LogError::Full(message) => OpenError::Full(message),
            LogError::Misuse(message) | LogError::Failed(message) => OpenError::Failed(message),
        }
    }
}

/// What a log is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Serving clients: it is created if it is missing, and a copy comes alive.
    Serve,
    /// Looking at it.
    Inspect,
}

/// What a database without tables is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Blank {
    /// A log whose making was interrupted, or has not begun.
    Create,
    /// A log that has lost everything: files in directories get their name when they are made.
    Damage,
}

pub(super) fn open_directory(
    path: &Path,
    options: DiskOptions,
    purpose: Purpose,
) -> Result<DiskLog, OpenError> {
    match purpose {
        Purpose::Serve => directory::create(path)?,
        Purpose::Inspect => directory::require(path)?,
    }
    let store_path = directory::store_path(path);
    let exists = store_path.try_exists().map_err(|error| OpenError::from_io(&store_path, error))?;
    if !exists && purpose == Purpose::Inspect {
        return Err(OpenError::NotFound { directory: path.to_owned() });
    }
    let lock = DirectoryLock::acquire(path)?;
    if !exists {
        create_store(path, options, Standing::Live)?;
    }
    let file = std::fs::File::options().read(true).write(true).open(&store_path);
    let file = file.map_err(|error| OpenError::from_io(&store_path, error))?;
    let storage = Watched::new(FileBackend::new(file).map_err(database_error)?);
    let mut log = open_storage(storage, options, purpose, Blank::Damage)?;
    log._lock = Some(lock);
    Ok(log)
}

/// Makes the file of a directory whose lock is held; it appears whole or not at all.
fn create_store(path: &Path, options: DiskOptions, standing: Standing) -> Result<(), OpenError> {
    let file = directory::create_unfinished(path)?;
    let storage = Watched::new(FileBackend::new(file).map_err(database_error)?);
    let database = open_database(&storage, options)?;
    let identity = Identity { schema: SCHEMA, log_id: options.fresh, salt: 0, standing };
    initialise(&database, identity, State::default())?;
    database.close().map_err(database_error)?;
    directory::finish(path)
}

pub(super) fn open_storage(
    storage: Watched,
    options: DiskOptions,
    purpose: Purpose,
    blank: Blank,
) -> Result<DiskLog, OpenError> {
    let database = open_database(&storage, options)?;
    let ready = guarded(|| make_ready(&database, options, purpose, blank));
    let (identity, state) = match ready {
        Ok(ready) => ready,
        Err(error) => {
            storage.seal();
            abandon(database);
            return Err(error);
        }
    };
    Ok(DiskLog {
        database: Some(database),
        storage,
        options,
        identity,
        commit_count: state.commit_count,
        failure: None,
        _lock: None,
    })
}

fn make_ready(
    database: &Database,
    options: DiskOptions,
    purpose: Purpose,
    blank: Blank,
) -> Result<(Identity, State), OpenError> {
    if is_blank(&begin_read(database)?)? {
        if blank == Blank::Damage {
            return Err(OpenError::Damaged("nothing is left in it".to_owned()));
        }
        let (schema, log_id) = (SCHEMA, options.fresh);
        let identity = Identity { schema, log_id, salt: 0, standing: Standing::Live };
        initialise(database, identity, State::default())?;
    }
    let (mut identity, state) = recognise(database)?;
    maintain::walk_records(&begin_read(database)?, identity.salt)?;
    if identity.standing == Standing::Copy && purpose == Purpose::Serve {
        identity = come_alive(database, identity, options.fresh)?;
    }
    Ok((identity, state))
}

/// What opening again found.
pub(super) struct Reopened {
    pub(super) database: Database,
    pub(super) identity: Identity,
    pub(super) commit_count: u64,
}

/// Opens a storage that was open a moment ago.
pub(super) fn reopen(storage: &Watched, options: DiskOptions) -> Result<Reopened, OpenError> {
    let options = DiskOptions { verify: Verify::Records, ..options };
    let database = open_database(storage, options)?;
    let (identity, state) = match guarded(|| recognise(&database)) {
        Ok(recognised) => recognised,
        Err(error) => {
            abandon(database);
            return Err(error);
        }
    };
    Ok(Reopened { database, identity, commit_count: state.commit_count })
}

pub(super) fn open_database(
    storage: &Watched,
    options: DiskOptions,
) -> Result<Database, OpenError> {
    guarded(|| {
        let mut builder = Database::builder();
        builder.set_cache_size(options.cache_bytes);
        builder.set_check_integrity_on_open(options.verify == Verify::Everything);
        builder.create_with_backend(storage.clone()).map_err(database_error)
    })
}

/// Writes what every log has.
pub(super) fn initialise(
    database: &Database,
    identity: Identity,
    state: State,
) -> Result<(), OpenError> {
    let transaction = begin(database)?;
    {
        let mut meta = transaction.open_table(META).map_err(store)?;
        meta.insert(IDENTITY, &identity.encode()[..]).map_err(store)?;
        meta.insert(STATE, &state.encode()[..]).map_err(store)?;
        transaction.open_table(CHANNELS).map_err(store)?;
        transaction.open_table(EVENTS).map_err(store)?;
        transaction.open_table(SESSIONS).map_err(store)?;
        transaction.open_table(REPLIES).map_err(store)?;
        transaction.open_table(KEYS).map_err(store)?;
        transaction.open_table(EXPIRIES).map_err(store)?;
    }
    transaction.commit().map_err(store)?;
    Ok(())
}

/// Whether it is a log of ours, and of a format that we know.
fn recognise(database: &Database) -> Result<(Identity, State), OpenError> {
    let view = begin_read(database)?;
    if !has_table(&view, "meta")? {
        return Err(OpenError::Foreign);
    }
    let meta = view.open_table(META).map_err(store)?;
    let Some(identity) = read_identity(&meta)? else { return Err(OpenError::Foreign) };
    match identity.schema {
        SCHEMA => Ok((identity, read_state(&meta)?)),
        found if found > SCHEMA => Err(OpenError::Newer { found }),
        found => Err(OpenError::Older { found }),
    }
}

/// Makes a copy a log of its own, with other epochs than any log has had before.
fn come_alive(database: &Database, identity: Identity, fresh: u64) -> Result<Identity, OpenError> {
    let salt = identity.salt ^ fresh.max(1);
    let identity = Identity { salt, standing: Standing::Live, ..identity };
    let transaction = begin(database)?;
    {
        let mut meta = transaction.open_table(META).map_err(store)?;
        meta.insert(IDENTITY, &identity.encode()[..]).map_err(store)?;
    }
    transaction.commit().map_err(store)?;
    Ok(identity)
}

/// redb panics over some damage.
fn guarded<T>(work: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    let damaged = |_| Err(OpenError::Damaged("the store met what it never wrote".to_owned()));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(damaged)
}

pub(super) fn database_error(error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::Storage(StorageError::Io(error)) if is_full(&error) => {
            OpenError::Full(error.to_string())
        }
        DatabaseError::Storage(StorageError::Io(error))
            if error.kind() == io::ErrorKind::InvalidData =>
        {
            OpenError::Damaged(error.to_string())
        }
        DatabaseError::UpgradeRequired(version) => OpenError::Older { found: version.into() },
        error => store(error).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SimDisk;

    #[test]
    fn other_formats_are_refused_by_name() {
        for (schema, says) in [(0, "use an older one"), (2, "use a newer one")] {
            let disk = SimDisk::new(1);
            let storage = Watched::new(disk.clone());
            let database = open_database(&storage, DiskOptions::new(1)).unwrap();
            let identity = Identity { schema, log_id: 1, salt: 0, standing: Standing::Live };
            initialise(&database, identity, State::default()).unwrap();
            drop(database);
            let error = DiskLog::open_on(disk, DiskOptions::new(1)).unwrap_err().to_string();
            assert!(error.contains(&format!("format {schema}")) && error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_database_of_someone_else_is_refused_and_left_alone() {
        let disk = SimDisk::new(1);
        let database = Database::builder().create_with_backend(disk.clone()).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(redb::TableDefinition::<u64, u64>::new("theirs")).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = DiskLog::open_on(disk, DiskOptions::new(1)).unwrap_err();
        assert!(matches!(error, OpenError::Foreign), "{error}");
    }

    #[test]
    fn errors_of_the_system_say_whose_fault_they_are() {
        let of = |kind: io::ErrorKind| OpenError::from_io(Path::new("/data"), kind.into());
        assert!(matches!(of(io::ErrorKind::PermissionDenied), OpenError::Permission { .. }));
        assert!(matches!(of(io::ErrorKind::ReadOnlyFilesystem), OpenError::Permission { .. }));
        assert!(matches!(of(io::ErrorKind::NotADirectory), OpenError::NotADirectory { .. }));
        assert!(matches!(of(io::ErrorKind::QuotaExceeded), OpenError::Full(_)));
        assert!(of(io::ErrorKind::Other).to_string().contains("/data"));
    }
}
