//! What happened lately to sessions and connections: a flight recorder.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mainstay_node::{ConnectionKey, Happening, Note};
use mainstay_wire::session::SessionId;

/// The latest notes, bounded in count and bytes. In memory only, and what is pushed out is forgotten.
///
/// Many threads write, each some hundred bytes for what costs it far more anyway: a handshake, a
/// commit. Whoever is told of something finds it here already.
#[derive(Debug)]
pub struct Journal {
    limits: JournalLimits,
    ring: Mutex<Ring>,
}

/// How much a journal holds. The first bound that is reached counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalLimits {
    /// Entries. Default 10,000; 0 keeps none.
    pub count_max: usize,
    /// Bytes. Default 4 MiB.
    pub bytes_max: usize,
}

impl Default for JournalLimits {
    fn default() -> JournalLimits {
        JournalLimits { count_max: 10_000, bytes_max: 4 * 1024 * 1024 }
    }
}

/// A note, its place and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// 1 for the first since the process started.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    pub note: Note,
}

/// Which entries are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalQuery {
    /// Only those of this session.
    pub session: Option<SessionId>,
    /// The oldest ones behind this one; of an earlier process's number nothing can be behind, so one
    /// beyond the newest counts as none.
    pub after: u64,
    /// Instead, the newest ones before this one.
    pub before: Option<u64>,
    /// At most so many.
    pub count_max: usize,
}

/// A part of the journal, the oldest entry first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalPage {
    /// The entries.
    pub entries: Vec<JournalEntry>,
    /// Whether there are more in the direction of the query.
    pub has_more: bool,
    /// The last entry that is not there any more; 0 if all are.
    pub forgotten_up_to: u64,
}

#[derive(Debug)]
struct Ring {
    entries: VecDeque<JournalEntry>,
    bytes: usize,
    last_seq: u64,
}

impl Journal {
    /// An empty one.
    pub fn new(limits: JournalLimits) -> Journal {
        // Its memory is taken and touched now: it never moves while others wait for it, and what a
        // server needs as it fills up is what its connections need.
        let count_max = limits.count_max.min(limits.bytes_max / size_of::<JournalEntry>());
        let note = Note::of(Happening::Connected);
        let blank = JournalEntry { seq: 0, at_ms: 0, note };
        let mut entries = VecDeque::from(vec![blank; count_max + 1]);
        entries.clear();
        let ring = Ring { entries, bytes: 0, last_seq: 0 };
        Journal { limits, ring: Mutex::new(ring) }
    }

    /// Puts in a note, and forgets the oldest if there is no room.
    pub fn note(&self, at_ms: u64, mut note: Note) {
        if note.detail.len() > DETAIL_BYTES_MAX {
            let end = note.detail.floor_char_boundary(DETAIL_BYTES_MAX);
            note.detail = note.detail.get(..end).unwrap_or_default().into();
        }
        let mut ring = self.lock();
        ring.last_seq += 1;
        let entry = JournalEntry { seq: ring.last_seq, at_ms, note };
        ring.bytes += weight(&entry);
        ring.entries.push_back(entry);
        while ring.entries.len() > self.limits.count_max || ring.bytes > self.limits.bytes_max {
            let Some(oldest) = ring.entries.pop_front() else { return };
            ring.bytes -= weight(&oldest);
        }
    }

    /// Reads a part.
    pub fn read(&self, query: &JournalQuery) -> JournalPage {
        let ring = self.lock();
        let forgotten_up_to = ring.last_seq - ring.entries.len() as u64;
        let connections = query.session.map(|session| ring.connections_of(session));
        let is_wanted = |entry: &&JournalEntry| match (query.session, &connections) {
            (Some(session), Some(connections)) => match entry.note.session {
                Some(held) => held == session,
                None => entry.note.connection.is_some_and(|held| connections.contains(&held)),
            },
            _ => true,
        };
        let index = |seq: u64| {
            let index = usize::try_from(seq.saturating_sub(forgotten_up_to)).unwrap_or(usize::MAX);
            index.min(ring.entries.len())
        };
        // One more than wanted tells whether there are more.
        let count = query.count_max.saturating_add(1);
        let mut entries: Vec<JournalEntry> = match query.before {
            Some(before) => {
                let newest_first = ring.entries.range(..index(before.saturating_sub(1))).rev();
                newest_first.filter(is_wanted).take(count).cloned().collect()
            }
            None => {
                let after = if query.after > ring.last_seq { 0 } else { query.after };
                ring.entries.range(index(after)..).filter(is_wanted).take(count).cloned().collect()
            }
        };
        let has_more = entries.len() > query.count_max;
        entries.truncate(query.count_max);
        if query.before.is_some() {
            entries.reverse();
        }
        JournalPage { entries, has_more, forgotten_up_to }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // Nothing in here panics between two changes that belong together.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    /// The connections that the session is known to have had.
    fn connections_of(&self, session: SessionId) -> HashSet<ConnectionKey> {
        let own = self.entries.iter().filter(|entry| entry.note.session == Some(session));
        own.filter_map(|entry| entry.note.connection).collect()
    }
}

/// What an entry holds in memory. A channel's name may be shared, and counts all the same.
fn weight(entry: &JournalEntry) -> usize {
    let channel = entry.note.channel.as_ref().map_or(0, |channel| channel.as_str().len());
    size_of::<JournalEntry>() + entry.note.detail.len() + channel
}

/// What peers say of themselves is cut here.
const DETAIL_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn session(byte: u8) -> SessionId {
        SessionId::from_bytes([byte; 16])
    }

    fn note(byte: u8, happening: Happening, connection: u64) -> Note {
        let connection = Some(ConnectionKey(connection));
        Note { session: Some(session(byte)), connection, ..Note::of(happening) }
    }

    fn seqs(page: &JournalPage) -> Vec<u64> {
        page.entries.iter().map(|entry| entry.seq).collect()
    }

    fn query(after: u64, count_max: usize) -> JournalQuery {
        JournalQuery { after, count_max, ..JournalQuery::default() }
    }

    fn filled(count: u64, limits: JournalLimits) -> Journal {
        let journal = Journal::new(limits);
        for number in 1..=count {
            journal.note(number, note((number % 2) as u8, Happening::Resumed, number));
        }
        journal
    }

    #[test]
    fn pages_go_forwards_and_backwards() {
        let journal = filled(10, JournalLimits::default());
        let page = journal.read(&query(0, 4));
        assert_eq!((seqs(&page), page.has_more, page.forgotten_up_to), (vec![1, 2, 3, 4], true, 0));
        let page = journal.read(&query(6, 4));
        assert_eq!((seqs(&page), page.has_more), (vec![7, 8, 9, 10], false));
        assert!(seqs(&journal.read(&query(10, 4))).is_empty());
        assert_eq!(seqs(&journal.read(&query(11, 2))), [1, 2], "a number of an earlier process");
        let before = |before| JournalQuery { before: Some(before), ..query(0, 3) };
        let page = journal.read(&before(u64::MAX));
        assert_eq!((seqs(&page), page.has_more), (vec![8, 9, 10], true));
        let page = journal.read(&before(4));
        assert_eq!((seqs(&page), page.has_more), (vec![1, 2, 3], false));
        assert!(seqs(&journal.read(&before(1))).is_empty());
        assert!(seqs(&journal.read(&before(0))).is_empty());
    }

    #[test]
    fn one_session_is_told_apart_with_its_connections() {
        let journal = filled(6, JournalLimits::default());
        let closed = Note { connection: Some(ConnectionKey(3)), ..Note::of(Happening::Closed) };
        journal.note(7, closed);
        journal.note(8, Note { connection: Some(ConnectionKey(4)), ..Note::of(Happening::Closed) });
        let of_one = JournalQuery { session: Some(session(1)), ..query(0, 10) };
        assert_eq!(seqs(&journal.read(&of_one)), [1, 3, 5, 7]);
        let page = journal.read(&JournalQuery { after: 1, count_max: 2, ..of_one });
        assert_eq!((seqs(&page), page.has_more), (vec![3, 5], true));
    }

    #[test]
    fn what_overflows_is_forgotten_and_said() {
        let journal = filled(10, JournalLimits { count_max: 3, bytes_max: 1024 * 1024 });
        let page = journal.read(&query(0, 100));
        assert_eq!((seqs(&page), page.forgotten_up_to), (vec![8, 9, 10], 7));
        assert_eq!(seqs(&journal.read(&query(8, 100))), [9, 10]);

        let journal = Journal::new(JournalLimits { count_max: 100, bytes_max: 4096 });
        for at_ms in 0..50 {
            let detail = "é".repeat(1000).into();
            journal.note(at_ms, Note { detail, ..Note::of(Happening::Lost) });
        }
        let page = journal.read(&query(0, 100));
        assert!((5..20).contains(&page.entries.len()), "{}", page.entries.len());
        assert_eq!(page.forgotten_up_to, 50 - page.entries.len() as u64);
        assert!(page.entries.iter().all(|entry| entry.note.detail.len() <= DETAIL_BYTES_MAX));

        let journal = filled(5, JournalLimits { count_max: 0, bytes_max: 4096 });
        let page = journal.read(&query(0, 100));
        assert_eq!(
            (seqs(&page), page.forgotten_up_to),
            (vec![], 5),
            "a journal may be switched off"
        );
    }
}
