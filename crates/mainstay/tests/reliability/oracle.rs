//! The guarantees, as sentences that are checked. Nothing of the server is looked at: only what
//! clients noted, and the history as a reader hears it that comes when all is over.

use std::collections::{BTreeMap, HashMap, HashSet};

use mainstay_client::RequestFailure;
use mainstay_client::frames::Epoch;

use crate::journal::{Note, Ran, Who};

/// What was counted; tests assert that it is what they did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) sent: usize,
    pub(crate) stored: usize,
    pub(crate) heard: usize,
    pub(crate) gaps: usize,
    pub(crate) answered: usize,
    pub(crate) perhaps: usize,
    pub(crate) never_ran: usize,
}

/// Judges. `last` is the reader that heard everything once more at the end.
pub(crate) fn judge(notes: &[Note], last: Who) -> Verdict {
    let mut verdict = Verdict::default();
    let history = history(notes, last);
    check_publishers(notes, &history, &mut verdict);
    check_readers(notes, &history, &mut verdict);
    check_requests(notes, &mut verdict);
    verdict
}

/// Judges where history is trimmed: it is what publishers were told.
pub(crate) fn judge_trimmed(notes: &[Note]) -> Verdict {
    let mut verdict = Verdict::default();
    let history = told(notes);
    check_publishers(notes, &history, &mut verdict);
    check_readers(notes, &history, &mut verdict);
    check_requests(notes, &mut verdict);
    verdict
}

type Place = (Epoch, u64);

/// A channel in the end.
#[derive(Default)]
struct Channel {
    /// In order.
    events: BTreeMap<Place, u64>,
    places: HashMap<u64, Place>,
}

fn history(notes: &[Note], last: Who) -> HashMap<String, Channel> {
    let mut channels: HashMap<String, Channel> = HashMap::new();
    for note in notes {
        let Note::Heard { who, channel, epoch, offset, id } = note else { continue };
        if *who == last {
            let channel = channels.entry(channel.clone()).or_default();
            let place = (*epoch, *offset);
            let before = channel.places.insert(*id, place);
            assert!(before.is_none(), "event {id:x} is stored at {before:?} and at {place:?}");
            assert!(channel.events.insert(place, *id).is_none(), "{place:?} was heard twice");
        }
    }
    channels
}

fn told(notes: &[Note]) -> HashMap<String, Channel> {
    let mut sent = HashMap::new();
    let mut channels: HashMap<String, Channel> = HashMap::new();
    for note in notes {
        match note {
            Note::Sent { channel, id, .. } => _ = sent.insert(*id, channel),
            Note::Stored { id, epoch, offset, .. } => {
                let channel = channels.entry(sent[id].clone()).or_default();
                let place = (*epoch, *offset);
                channel.places.insert(*id, place);
                let other = channel.events.insert(place, *id);
                assert!(other.is_none(), "{id:x} and {other:x?} were both told {place:?}");
            }
            _ => {}
        }
    }
    channels
}

/// What is acknowledged is stored exactly once and where it was said to be, in the order in which
/// its publisher sent it; nothing is stored that nobody sent or that is said never to be.
fn check_publishers(notes: &[Note], history: &HashMap<String, Channel>, verdict: &mut Verdict) {
    let mut sent: HashMap<u64, &str> = HashMap::new();
    let mut settled = HashSet::new();
    let mut newest: HashMap<(Who, &str), Place> = HashMap::new();
    let place_of = |id: &u64, channel: &str| history.get(channel)?.places.get(id).copied();
    for note in notes {
        match note {
            Note::Sent { who, channel, id } => {
                verdict.sent += 1;
                assert!(sent.insert(*id, channel).is_none(), "the test sends {id:x} twice");
                let Some(place) = place_of(id, channel) else { continue };
                let before = newest.insert((*who, channel), place);
                assert!(before < Some(place), "{who} sent {id:x} at {place:?} after {before:?}");
            }
            Note::Stored { who, id, epoch, offset } => {
                verdict.stored += 1;
                assert!(settled.insert(*id), "{who} heard two outcomes of {id:x}");
                let place = place_of(id, sent[id]);
                let said = Some((*epoch, *offset));
                assert_eq!(place, said, "{who} was told another place of {id:x}: lost or moved");
            }
            Note::NotStored { who, id, failure } => {
                assert!(settled.insert(*id), "{who} heard two outcomes of {id:x}");
                let place = place_of(id, sent[id]);
                let may_be = *failure == RequestFailure::Indeterminate;
                assert!(may_be || place.is_none(), "{id:x}: {failure}, and is at {place:?}");
            }
            _ => {}
        }
    }
    for (id, channel) in &sent {
        assert!(settled.contains(id), "{id:x} to {channel} has no outcome");
    }
    for (name, channel) in history {
        for id in channel.places.keys() {
            assert_eq!(sent.get(id), Some(&name.as_str()), "nobody sent {id:x}");
        }
    }
}

/// Every reader hears each place as everybody else, in order, once, and holes only where a gap says
/// exactly what is missing.
fn check_readers(notes: &[Note], history: &HashMap<String, Channel>, verdict: &mut Verdict) {
    let mut places: HashMap<(Who, String), Place> = HashMap::new();
    for note in notes {
        match note {
            Note::Heard { who, channel, epoch, offset, id } => {
                verdict.heard += 1;
                let place = places.entry((*who, channel.clone())).or_insert((*epoch, 0));
                let next = (*epoch, place.1 + 1);
                let here = (*epoch, *offset);
                assert_eq!(
                    (place.0, here),
                    (*epoch, next),
                    "reader {who} of {channel} at {place:?}"
                );
                *place = here;
                let kept = history.get(channel).and_then(|channel| channel.events.get(&here));
                // What is trimmed by now can be compared with other readers only.
                if let Some(kept) = kept {
                    assert_eq!(kept, id, "reader {who} heard another event at {here:?}");
                }
            }
            Note::Gap { who, gap } => {
                verdict.gaps += 1;
                let channel = gap.channel.as_str().to_owned();
                let place = places.entry((*who, channel)).or_insert((gap.from_epoch, 0));
                let expected = (place.0, place.1 + 1);
                assert_eq!((gap.from_epoch, gap.from.0), expected, "reader {who}: {gap:?}");
                if let Some(to) = gap.to {
                    assert!(to >= gap.from && gap.offset == to, "reader {who}: {gap:?}");
                    assert_eq!(gap.epoch, gap.from_epoch, "reader {who}: {gap:?}");
                }
                *place = (gap.epoch, gap.offset.0);
            }
            _ => {}
        }
    }
    let mut everywhere: HashMap<(&str, Place), u64> = HashMap::new();
    for note in notes {
        let Note::Heard { who, channel, epoch, offset, id } = note else { continue };
        let first = *everywhere.entry((channel, (*epoch, *offset))).or_insert(*id);
        assert_eq!(first, *id, "reader {who} heard another event at {offset} of {channel}");
    }
    for ((who, name), place) in places {
        let head = history.get(&name).and_then(|channel| channel.events.keys().next_back());
        assert_eq!(Some(&place), head, "reader {who} of {name} stopped before the end");
    }
}

/// Every request has exactly one outcome.
fn check_requests(notes: &[Note], verdict: &mut Verdict) {
    let mut open = HashSet::new();
    for note in notes {
        match note {
            Note::Asked { who, id } => assert!(open.insert(*id), "{who} asks {id:x} twice"),
            Note::Answered { who, id, outcome } => {
                assert!(open.remove(id), "{who} heard two outcomes of {id:x}");
                match outcome {
                    Ran::Once => verdict.answered += 1,
                    Ran::Perhaps => verdict.perhaps += 1,
                    Ran::Never => verdict.never_ran += 1,
                }
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "requests without an outcome: {open:x?}");
}

/// Compares what clients heard of their requests with how often the handler ran for each.
pub(crate) fn judge_effects(notes: &[Note], effects: &HashMap<u64, u64>) {
    let mut asked = HashSet::new();
    for note in notes {
        match note {
            Note::Asked { id, .. } => _ = asked.insert(*id),
            Note::Answered { id, outcome, .. } => {
                let count = effects.get(id).copied().unwrap_or(0);
                let is_right = match outcome {
                    Ran::Once => count == 1,
                    Ran::Never => count == 0,
                    Ran::Perhaps => count <= 1,
                };
                assert!(is_right, "{id:x} ran {count} times, and its client heard {outcome:?}");
            }
            _ => {}
        }
    }
    for id in effects.keys() {
        assert!(asked.contains(id), "nobody asked for {id:x}");
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use mainstay_client::ChannelName;
    use mainstay_client::frames::{Gap, GapReason, Offset};

    use super::*;

    const EPOCH: Epoch = Epoch(7);

    fn sent(id: u64) -> Note {
        Note::Sent { who: 1, channel: "c".to_owned(), id }
    }

    fn stored(id: u64, offset: u64) -> Note {
        Note::Stored { who: 1, id, epoch: EPOCH, offset }
    }

    fn heard(who: Who, offset: u64, id: u64) -> Note {
        Note::Heard { who, channel: "c".to_owned(), epoch: EPOCH, offset, id }
    }

    fn gap(who: Who, from: u64, to: u64) -> Note {
        let gap = Gap {
            channel: ChannelName::parse("c").unwrap(),
            from_epoch: EPOCH,
            from: Offset(from),
            to: Some(Offset(to)),
            reason: GapReason::Trimmed,
            epoch: EPOCH,
            offset: Offset(to),
        };
        Note::Gap { who, gap }
    }

    fn good() -> Vec<Note> {
        let mut notes: Vec<Note> = (1..=3).flat_map(|id| [sent(id), stored(id, id)]).collect();
        for who in [2, 9] {
            notes.extend((1..=3).map(|offset| heard(who, offset, offset)));
        }
        notes
    }

    fn is_bad(notes: Vec<Note>) -> bool {
        catch_unwind(|| judge(&notes, 9)).is_err()
    }

    #[test]
    fn what_is_right_is_counted() {
        let verdict = judge(&good(), 9);
        assert_eq!((verdict.sent, verdict.stored, verdict.heard, verdict.gaps), (3, 3, 6, 0));
        let mut notes = good();
        notes.splice(6..8, [gap(2, 1, 2)]);
        assert_eq!(judge(&notes, 9).gaps, 1);
    }

    #[test]
    fn every_lie_is_seen() {
        let changed = |change: &dyn Fn(&mut Vec<Note>)| {
            let mut notes = good();
            change(&mut notes);
            is_bad(notes)
        };
        assert!(changed(&|notes| _ = notes.pop()), "lost at the end");
        assert!(changed(&|notes| _ = notes.remove(7)), "a silent hole");
        assert!(changed(&|notes| notes.insert(7, heard(2, 1, 1))), "heard twice");
        assert!(changed(&|notes| notes.swap(6, 7)), "heard in another order");
        assert!(changed(&|notes| notes[7] = heard(2, 2, 3)), "heard another event");
        assert!(changed(&|notes| notes.push(heard(9, 4, 1))), "stored twice");
        assert!(changed(&|notes| notes[3] = stored(2, 3)), "told another place");
        assert!(changed(&|notes| _ = notes.remove(1)), "without an outcome");
        assert!(changed(&|notes| notes.push(stored(1, 1))), "two outcomes");
        assert!(changed(&|notes| notes.insert(7, gap(2, 3, 3))), "a gap elsewhere");
        assert!(changed(&|notes| notes.insert(6, gap(2, 1, 3))), "a gap over what comes");
        let never = RequestFailure::NeverRan(String::new());
        let note = Note::NotStored { who: 1, id: 2, failure: never };
        assert!(changed(&|notes| notes[3] = note.clone()), "stored and said not to be");
        assert!(changed(&|notes| notes.insert(0, sent(4))), "never settled");
    }

    #[test]
    fn effects_are_compared() {
        let notes = |outcome| {
            vec![Note::Asked { who: 1, id: 5 }, Note::Answered { who: 1, id: 5, outcome }]
        };
        let is_bad = |outcome, count| {
            let effects: HashMap<u64, u64> =
                (0..u64::from(count > 0)).map(|_| (5, count)).collect();
            let notes = notes(outcome);
            catch_unwind(|| judge_effects(&notes, &effects)).is_err()
        };
        assert!(!is_bad(Ran::Once, 1) && is_bad(Ran::Once, 0) && is_bad(Ran::Once, 2));
        assert!(!is_bad(Ran::Never, 0) && is_bad(Ran::Never, 1));
        assert!(!is_bad(Ran::Perhaps, 0) && !is_bad(Ran::Perhaps, 1) && is_bad(Ran::Perhaps, 2));
    }
}
