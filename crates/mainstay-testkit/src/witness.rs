//! What one application saw, and whether that can be so.

use std::collections::BTreeMap;

use mainstay_session::client::{Place, RequestKey, SavedState, StateChange};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{
    ErrorCode, Event, Gap, GapReason, Offset, Outcome, SessionId, Start, Subscribed,
};

use crate::truth::Facts;

/// The memory of an application. When its process is killed it goes back to what is in the state
/// file, as an application does that keeps its own state together with its cursors.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    pub(crate) places: BTreeMap<ChannelName, Position>,
    pub(crate) notes: BTreeMap<RequestKey, Note>,
    /// Marks of requests that were made and never safe when the process was killed.
    pub(crate) lost: Vec<u64>,
    /// What was told of each channel, in words.
    pub(crate) seen: BTreeMap<ChannelName, Vec<String>>,
    /// How often each command of the server was told.
    pub(crate) commands: BTreeMap<u64, u32>,
    pub(crate) session: Option<SessionId>,
    pub(crate) generation: u64,
    /// When the session was lost.
    pub(crate) forgotten_at_ms: Vec<u64>,
    pub(crate) problem: Option<String>,
}

/// Where an application is in a channel.
#[derive(Clone, Debug)]
pub(crate) enum Position {
    /// It has asked, when the channel stood there.
    Awaiting { start: Start, head: Option<Place> },
    /// It has everything up to there, and waits for the next.
    At(Place),
}

/// A request of an application.
#[derive(Clone, Debug)]
pub struct Note {
    /// What its payload bears.
    pub mark: u64,
    /// The channel of a publish.
    pub channel: Option<ChannelName>,
    /// What became of it.
    pub outcome: Option<Outcome>,
    pub(crate) made_at_ms: u64,
    pub(crate) settled_at_ms: u64,
    pub(crate) is_safe: bool,
}

/// What an outcome says about the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It happened.
    Happened,
    /// It never did and never will.
    NeverHappened,
    /// It may have happened in part.
    Stopped,
    /// Nobody knows.
    Unknown,
}

impl Claim {
    /// What an outcome claims.
    pub fn of(outcome: &Outcome) -> Claim {
        match outcome {
            Outcome::Done(_) | Outcome::Published { .. } => Claim::Happened,
            Outcome::Indeterminate => Claim::Unknown,
            Outcome::Failed(failure) => match failure.code {
                ErrorCode::HandlerFailed => Claim::Happened,
                ErrorCode::Internal | ErrorCode::DeadlineExceeded | ErrorCode::Cancelled => {
                    Claim::Stopped
                }
                _ => Claim::NeverHappened,
            },
        }
    }
}

impl Witness {
    /// The process was killed: only what was safe is known.
    /// Outcomes that it no longer knows of come again.
    pub(crate) fn rewind(&mut self, disk: &SavedState) {
        self.places.clear();
        for (channel, saved) in &disk.channels {
            let position = match saved.cursor {
                Some(place) => Position::At(place),
                None => Position::Awaiting { start: saved.start, head: None },
            };
            self.places.insert(channel.clone(), position);
        }
        for (key, mut note) in std::mem::take(&mut self.notes) {
            if disk.requests.contains_key(&key) {
                note.outcome = None;
            } else if !note.is_safe {
                self.lost.push(note.mark);
                continue;
            } else if note.outcome.is_none() {
                self.problem = Some(format!("request {key} went without an outcome: {note:?}"));
            }
            self.notes.insert(key, note);
        }
    }

    pub(crate) fn persisted(&mut self, change: &StateChange) {
        if let StateChange::Requested { key, .. } = change
            && let Some(note) = self.notes.get_mut(key)
        {
            note.is_safe = true;
        }
    }

    pub(crate) fn forget_session(&mut self, now_ms: u64) {
        self.forgotten_at_ms.push(now_ms);
        self.session = None;
        // Of whichever session: a process that was killed need not have been told which it had.
        self.places.retain(|channel, _| !channel.is_session_inbox());
    }

    pub(crate) fn subscribed(&mut self, facts: &mut Facts, subscribed: &Subscribed) -> Verdict {
        let Subscribed { channel, epoch, offset, head, .. } = subscribed;
        let place = Place { epoch: *epoch, offset: *offset };
        facts.expect_inbox(channel, *epoch);
        let Some(held) = facts.incarnation(channel, *epoch) else {
            return Err(("G2", format!("{channel} has no epoch {epoch}")));
        };
        if *head > held.head() || *offset > *head {
            let (at, all) = (format!("{offset} of {head}"), held.head());
            return Err(("G2", format!("{channel} begins at {at}, and there are {all}")));
        }
        let (low, high) = match self.places.get(channel) {
            Some(Position::At(_)) => return Ok(()),
            // The server's own subscription: an inbox begins where it says.
            None => (Offset::ZERO, held.head()),
            Some(Position::Awaiting { start, head }) => {
                let asked = head.filter(|asked| asked.epoch == *epoch);
                let asked = asked.map_or(Offset::ZERO, |asked| asked.offset);
                let trimmed = Offset(held.first.0 - 1);
                match *start {
                    Start::Now => (asked, held.head()),
                    Start::Last(count) => {
                        let back = |from: Offset| Offset(from.0.saturating_sub(count.into()));
                        (back(asked), back(held.head()).max(trimmed))
                    }
                    Start::After { epoch: None, .. } => (Offset::ZERO, trimmed),
                    Start::After { .. } => (Offset::ZERO, held.head()),
                }
            }
        };
        if *offset < low || *offset > high {
            let text = format!("{channel} begins behind {offset}, not within {low} and {high}");
            return Err(("G2", text));
        }
        self.places.insert(channel.clone(), Position::At(place));
        Ok(())
    }

    pub(crate) fn event(&mut self, facts: &Facts, at: Place, event: &Event) -> Verdict {
        let channel = &event.channel;
        let Some(Position::At(place)) = self.places.get(channel).cloned() else {
            return Err(("G1", format!("{channel} {} without a subscription", event.offset)));
        };
        let text = format!("{channel} {}.{} came behind {place:?}", at.epoch, at.offset);
        if at.epoch != place.epoch {
            return Err(("G2", text));
        }
        if at.offset <= place.offset {
            return Err(("G3", text));
        }
        if at.offset != place.offset.next() {
            return Err(("G2", text));
        }
        let known = facts.incarnation(channel, at.epoch);
        let known = known.and_then(|held| held.events.get(at.offset.0 as usize - 1));
        if known != Some(&event.payload) {
            let given = &event.payload;
            return Err(("G1", format!("{text} as {given:?}, but the log has {known:?}")));
        }
        self.places.insert(channel.clone(), Position::At(at));
        self.tell(channel, at.offset.to_string());
        Ok(())
    }

    pub(crate) fn gap(&mut self, facts: &Facts, gap: &Gap) -> Verdict {
        let channel = &gap.channel;
        let Some(Position::At(place)) = self.places.get(channel).cloned() else {
            return Err(("G1", format!("{channel}: a gap without a subscription")));
        };
        let wrong = |why: &str| Err(("G2", format!("{gap:?} behind {place:?}: {why}")));
        if gap.from_epoch != place.epoch || gap.from != place.offset.next() {
            return wrong("it does not begin at the cursor");
        }
        let Some(held) = facts.incarnation(channel, gap.epoch) else {
            return wrong("there is no such epoch");
        };
        let is_within = gap.from_epoch == gap.epoch;
        let is_told = match (is_within, gap.reason) {
            (true, _) if gap.to != Some(gap.offset) || gap.offset < gap.from => {
                return wrong("it contradicts itself");
            }
            (_, GapReason::Conflated) => gap.offset < held.head(),
            (true, GapReason::Trimmed) | (false, GapReason::Epoch) => gap.offset < held.first,
            _ => false,
        };
        if !is_told {
            return wrong(&format!("history reaches back to {}", held.first));
        }
        let order = |epoch| {
            let all = facts.channels.get(channel).map_or(&[][..], Vec::as_slice);
            all.iter().position(|held| held.epoch == epoch)
        };
        if order(gap.epoch) < order(gap.from_epoch) {
            return wrong("epochs do not come back");
        }
        let next = Place { epoch: gap.epoch, offset: gap.offset };
        self.places.insert(channel.clone(), Position::At(next));
        let to = gap.to.map_or("?".to_owned(), |to| to.to_string());
        self.tell(channel, format!("gap {}-{to} {}", gap.from, gap.reason));
        Ok(())
    }

    fn tell(&mut self, channel: &ChannelName, word: String) {
        self.seen.entry(channel.clone()).or_default().push(word);
    }
}

/// The guarantee that is broken, and how.
pub(crate) type Verdict = Result<(), (&'static str, String)>;
