//! The file: opened by one process, appended to, written anew.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mainstay_session::client::{SavedState, StateChange};
use thiserror::Error;

use super::record::{self, Reader, Writer};

/// A state file, locked for this process.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    file: File,
    server: String,
    /// Where the next batch goes.
    end: u64,
    /// Bytes when the file was last written anew.
    base_bytes: u64,
    /// Changes that are not in the file yet.
    batch: Vec<u8>,
}

/// A state file, and what it says.
pub(crate) struct Opened {
    pub(crate) file: StateFile,
    pub(crate) state: SavedState,
}

/// Why a state file cannot be used.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StateFileError {
    /// The system refused.
    #[error("cannot use the state file {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: Arc<io::Error>,
    },
    /// Another process, or another session of this one, has it open.
    #[error("the state file {} is in use by another program", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is a file of something else.
    #[error("{} is not a state file of Mainstay", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It belongs to a session with another server.
    #[error("the state file {} belongs to {found}, not to {wanted}", path.display())]
    OtherServer {
        /// The file.
        path: PathBuf,
        /// The server that it belongs to.
        found: String,
        /// The server that is to be connected to.
        wanted: String,
    },
    /// Something in it is not as it was written. Not the last batch, which a crash may tear.
    #[error(
        "the state file {} is damaged at byte {at}: a session goes on only from a whole file; \
         restore it, or move it away to begin anew",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        at: u64,
    },
}

impl StateFile {
    /// Opens a state file for a session with `server`, or makes one. It holds a secret, so only its
    /// owner may read it.
    pub(crate) fn open(path: &Path, server: &str) -> Result<Opened, StateFileError> {
        let at = |error: io::Error| io_error(path, error);
        for _ in 0..RACES_MAX {
            let mut file = match open_options().open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // Empty at first: whoever locks it fills it.
                    let made = open_options().create_new(true).open(path);
                    made.map(drop).or_else(ignore_existing).map_err(at)?;
                    continue;
                }
                Err(error) => return Err(at(error)),
            };
            lock(&file, path)?;
            // Whoever had the file before may have put another one into its place meanwhile.
            if !is_at(&file, path).map_err(at)? {
                continue;
            }
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(at)?;
            if bytes.is_empty() {
                let state = SavedState::default();
                let file = StateFile::replace(path, server, &state)?;
                return Ok(Opened { file, state });
            }
            return StateFile::read(path, server, file, &bytes);
        }
        Err(StateFileError::InUse { path: path.to_owned() })
    }

    /// Adds a change to those that [`commit`](StateFile::commit) will make safe.
    pub(crate) fn push(&mut self, change: &StateChange) {
        record::write(change, &mut self.batch);
    }

    /// Whether there is something to commit.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Whether it would be better to write the file anew than to add to it.
    pub(crate) fn grows_long(&self) -> bool {
        let bytes = self.end + self.batch.len() as u64;
        bytes > COMPACTION_BYTES_MIN + COMPACTION_FACTOR * self.base_bytes
    }

    /// Returns when everything that was pushed is on the disk. With `state`, what it all comes to,
    /// the file is written anew. Blocks.
    ///
    /// # Errors
    /// What was pushed may be on the disk or not, and no more can be relied on: the file must not be
    /// used any further.
    pub(crate) fn commit(&mut self, state: Option<&SavedState>) -> Result<(), StateFileError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        if let Some(state) = state {
            let new = StateFile::replace(&self.path, &self.server, state)?;
            *self = new;
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(batch.len() + BATCH_HEAD_BYTES);
        push_batch(&batch, &mut bytes);
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        written.map_err(|error| io_error(&self.path, error))?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn read(
        path: &Path,
        server: &str,
        mut file: File,
        bytes: &[u8],
    ) -> Result<Opened, StateFileError> {
        let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
            return Err(StateFileError::Foreign { path: path.to_owned() });
        };
        let mut state = SavedState::default();
        let mut base_bytes = 0;
        loop {
            let at = bytes.len() - rest.len();
            let damaged = || StateFileError::Damaged { path: path.to_owned(), at: at as u64 };
            let mut content = match take_batch(&mut rest) {
                Batch::Whole(content) => content,
                Batch::Torn if base_bytes > 0 => break,
                Batch::End if base_bytes > 0 => break,
                Batch::Torn | Batch::End | Batch::Damaged => return Err(damaged()),
            };
            if base_bytes == 0 {
                let found = Reader(&mut content).text().ok_or_else(damaged)?;
                if found != server {
                    return Err(StateFileError::OtherServer {
                        path: path.to_owned(),
                        found: found.to_owned(),
                        wanted: server.to_owned(),
                    });
                }
                base_bytes = (bytes.len() - rest.len()) as u64;
            }
            while !content.is_empty() {
                state.apply(&record::read(&mut content).ok_or_else(damaged)?);
            }
        }
        let end = (bytes.len() - rest.len()) as u64;
        let cut = file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end)));
        cut.map_err(|error| io_error(path, error))?;
        let (path, server) = (path.to_owned(), server.to_owned());
        let file = StateFile { path, file, server, end, base_bytes, batch: Vec::new() };
        Ok(Opened { file, state })
    }

    /// Puts a file with this state into the place of the one that is there.
    fn replace(path: &Path, server: &str, state: &SavedState) -> Result<StateFile, StateFileError> {
        let new = StateFile::write_new(path, server, state)?;
        let renamed = fs::rename(temporary(path), path).and_then(|()| sync_folder(path));
        renamed.map_err(|error| io_error(path, error))?;
        Ok(new)
    }

    /// Writes a file beside the one that is there, and locks it before anybody else can see it in
    /// its place.
    fn write_new(
        path: &Path,
        server: &str,
        state: &SavedState,
    ) -> Result<StateFile, StateFileError> {
        let mut content = Vec::new();
        Writer(&mut content).text(server);
        state.to_changes().iter().for_each(|change| record::write(change, &mut content));
        let mut bytes = MAGIC.to_vec();
        push_batch(&content, &mut bytes);
        let temporary = temporary(path);
        let write = || {
            // What an earlier attempt left behind is of no use.
            fs::remove_file(&temporary).or_else(ignore_missing)?;
            let mut file = open_options().create_new(true).open(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            Ok(file)
        };
        let file = write().map_err(|error| io_error(path, error))?;
        lock(&file, path)?;
        let end = bytes.len() as u64;
        let (path, server) = (path.to_owned(), server.to_owned());
        Ok(StateFile { path, file, server, end, base_bytes: end, batch: Vec::new() })
    }
}

enum Batch<'a> {
    Whole(&'a [u8]),
    /// There is nothing more.
    End,
    /// The file ends within it.
    Torn,
    Damaged,
}

/// Takes a whole batch from the front, or nothing.
fn take_batch<'a>(rest: &mut &'a [u8]) -> Batch<'a> {
    if rest.is_empty() {
        return Batch::End;
    }
    let Some((head, tail)) = rest.split_first_chunk::<BATCH_HEAD_BYTES>() else {
        return Batch::Torn;
    };
    let [a, b, c, d, check @ ..] = *head;
    let length = [a, b, c, d];
    let [e, f, g, h, check @ ..] = check;
    if crc32fast::hash(&length) != u32::from_le_bytes([e, f, g, h]) {
        // A file may have got its length before its content.
        return if rest.iter().all(|byte| *byte == 0) { Batch::Torn } else { Batch::Damaged };
    }
    let Some((content, tail)) = tail.split_at_checked(u32::from_le_bytes(length) as usize) else {
        return Batch::Torn;
    };
    if crc32fast::hash(content) != u32::from_le_bytes(check) {
        // Only what nothing follows can have been under way.
        return if tail.is_empty() { Batch::Torn } else { Batch::Damaged };
    }
    *rest = tail;
    Batch::Whole(content)
}

fn push_batch(content: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes();
    out.extend(length);
    out.extend(crc32fast::hash(&length).to_le_bytes());
    out.extend(crc32fast::hash(content).to_le_bytes());
    out.extend(content);
}

fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn lock(file: &File, path: &Path) -> Result<(), StateFileError> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => StateFileError::InUse { path: path.to_owned() },
        TryLockError::Error(error) => io_error(path, error),
    })
}

/// Whether a path still leads to this file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let (opened, found) = (file.metadata()?, fs::metadata(path)?);
        Ok((opened.dev(), opened.ino()) == (found.dev(), found.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = (file, path);
        Ok(true)
    }
}

/// Makes a change of names safe.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Beside the file, so that it can be renamed into its place.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn ignore_existing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

fn io_error(path: &Path, error: io::Error) -> StateFileError {
    StateFileError::Io { path: path.to_owned(), error: Arc::new(error) }
}

/// The last character is the version of the format.
const MAGIC: &[u8; 8] = b"MAINSTA1";
const BATCH_HEAD_BYTES: usize = 12;
/// A file shorter than this is not worth writing anew.
const COMPACTION_BYTES_MIN: u64 = 256 * 1024;
/// A file is written anew when it is so many times as long as it then will be, about.
const COMPACTION_FACTOR: u64 = 4;
/// How often another process may win before the file counts as in use.
const RACES_MAX: usize = 8;

#[cfg(test)]
mod tests;
