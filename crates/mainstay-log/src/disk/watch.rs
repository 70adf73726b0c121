//! Between redb and its storage: remembers what failed, and lets a storage be opened twice.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;

/// A storage that is kept when the database over it is closed, and that notes failures.
#[derive(Clone)]
pub(super) struct Watched {
    storage: Arc<dyn StorageBackend>,
    failures: Arc<Mutex<Failures>>,
}

/// What the storage has refused.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failures {
    /// A sync failed: what was written before may never arrive, and nobody can find out.
    pub(super) has_lost_writes: bool,
    /// A write found no room since this was last reset.
    pub(super) is_full: bool,
    /// Something else failed since this was last reset.
    pub(super) is_broken: bool,
    is_sealed: bool,
}

impl Watched {
    pub(super) fn new(storage: impl StorageBackend) -> Watched {
        Watched { storage: Arc::new(storage), failures: Arc::default() }
    }

    pub(super) fn failures(&self) -> Failures {
        *self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets failures that say nothing about the next commit.
    pub(super) fn reset(&self) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.is_full = false;
        failures.is_broken = false;
    }

    /// Lets nothing through any more.
    pub(super) fn seal(&self) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).is_sealed = true;
    }

    fn note<T>(&self, call: Call, result: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if self.failures().is_sealed {
            return Err(io::Error::other("the log has failed"));
        }
        let result = result();
        if let Err(error) = &result {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            match (call, is_full(error)) {
                (Call::Sync, _) => failures.has_lost_writes = true,
                (Call::Write, true) => failures.is_full = true,
                _ => failures.is_broken = true,
            }
        }
        result
    }
}

/// Whether an error means that there is no room, and not that something is broken.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

#[derive(Clone, Copy)]
enum Call {
    Read,
    Write,
    Sync,
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.note(Call::Read, || self.storage.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.note(Call::Read, || self.storage.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note(Call::Write, || self.storage.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(Call::Sync, || self.storage.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(Call::Write, || self.storage.write(offset, data))
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Watched({:?})", self.storage)
    }
}
