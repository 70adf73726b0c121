//! The directory of a log: `log.redb`, and `lock`, which says that a process has it open.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::OpenError;

/// Holds a directory against other processes until it is dropped, or the process ends.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    pub(super) fn acquire(directory: &Path) -> Result<DirectoryLock, OpenError> {
        let path = directory.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| OpenError::from_io(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(DirectoryLock { _file: file }),
            Err(TryLockError::WouldBlock) => {
                Err(OpenError::InUse { directory: directory.to_owned() })
            }
            Err(TryLockError::Error(error)) => Err(OpenError::from_io(&path, error)),
        }
    }
}

/// Makes sure that there is a directory.
pub(super) fn create(directory: &Path) -> Result<(), OpenError> {
    match fs::create_dir(directory) {
        Ok(()) => sync_parent(directory),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => require(directory),
        Err(error) => Err(OpenError::from_io(directory, error)),
    }
}

/// Refuses what is not a directory.
pub(super) fn require(directory: &Path) -> Result<(), OpenError> {
    let metadata = fs::metadata(directory).map_err(|error| OpenError::from_io(directory, error))?;
    if metadata.is_dir() {
        Ok(())
    } else {
        Err(OpenError::NotADirectory { path: directory.to_owned() })
    }
}

/// The file that holds everything.
pub(super) fn store_path(directory: &Path) -> PathBuf {
    directory.join("log.redb")
}

/// Where that file is made; it gets its name when it is whole.
pub(super) fn unfinished_path(directory: &Path) -> PathBuf {
    directory.join("log.redb.unfinished")
}

/// An empty file for a log that is being made.
pub(super) fn create_unfinished(directory: &Path) -> Result<File, OpenError> {
    let path = unfinished_path(directory);
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
    file.map_err(|error| OpenError::from_io(&path, error))
}

/// Gives a finished file its name. It was synced when its database was closed.
pub(super) fn finish(directory: &Path) -> Result<(), OpenError> {
    let (from, to) = (unfinished_path(directory), store_path(directory));
    fs::rename(&from, &to).map_err(|error| OpenError::from_io(&to, error))?;
    sync(directory)
}

/// Makes names in a directory durable. Windows does so by itself, and refuses to open a directory.
fn sync(directory: &Path) -> Result<(), OpenError> {
    if cfg!(windows) {
        return Ok(());
    }
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| OpenError::from_io(directory, error))
}

fn sync_parent(directory: &Path) -> Result<(), OpenError> {
    match directory.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync(Path::new(".")),
        Some(parent) => sync(parent),
        None => Ok(()),
    }
}
