//! What clients note down: all that the oracle knows.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use mainstay_client::RequestFailure;
use mainstay_client::frames::{Epoch, Gap};

/// A client of a test.
pub(crate) type Who = u32;

#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// An event was given to the session.
    Sent {
        who: Who,
        channel: String,
        id: u64,
    },
    /// Its outcome.
    Stored {
        who: Who,
        id: u64,
        epoch: Epoch,
        offset: u64,
    },
    NotStored {
        who: Who,
        id: u64,
        failure: RequestFailure,
    },
    /// A request was given to the session.
    Asked {
        who: Who,
        id: u64,
    },
    /// Its outcome: whether the handler has run.
    Answered {
        who: Who,
        id: u64,
        outcome: Ran,
    },
    /// A reader has heard an event.
    Heard {
        who: Who,
        channel: String,
        epoch: Epoch,
        offset: u64,
        id: u64,
    },
    /// A reader was told of a gap.
    Gap {
        who: Who,
        gap: Gap,
    },
}

/// What a client knows of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    Once,
    Never,
    Perhaps,
}

/// All notes of all clients; clones share them.
#[derive(Clone, Default)]
pub(crate) struct Journal {
    notes: Arc<Mutex<Vec<Note>>>,
    stored: Arc<AtomicU64>,
}

impl Journal {
    pub(crate) fn note(&self, note: Note) {
        if matches!(note, Note::Stored { .. }) {
            self.stored.fetch_add(1, Ordering::Relaxed);
        }
        self.notes().push(note);
    }

    pub(crate) fn notes(&self) -> MutexGuard<'_, Vec<Note>> {
        self.notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// How many events are acknowledged.
    pub(crate) fn stored_count(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(std::fs::File::create(path)?);
        for note in self.notes().iter() {
            writeln!(file, "{note:?}")?;
        }
        file.flush()
    }
}
