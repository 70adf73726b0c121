//! Which sessions belong to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{self, Excluded, Included, Unbounded};

use mainstay_wire::session::{Principal, SessionId};

/// Sessions by principal.
///
/// Flat, for nearly every principal has one session or a few, and a set for each would be larger than
/// what it holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Principals {
    counts: BTreeMap<Principal, usize>,
    sessions: BTreeSet<(Principal, SessionId)>,
}

impl Principals {
    /// Notes a session, once.
    pub(crate) fn add(&mut self, principal: &Principal, id: SessionId) {
        if self.sessions.insert((principal.clone(), id)) {
            *self.counts.entry(principal.clone()).or_default() += 1;
        }
    }

    pub(crate) fn remove(&mut self, principal: &Principal, id: SessionId) {
        if !self.sessions.remove(&(principal.clone(), id)) {
            return;
        }
        if let Some(count) = self.counts.get_mut(principal) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(principal);
            }
        }
    }

    /// How many sessions a principal has.
    pub(crate) fn count(&self, principal: &Principal) -> usize {
        self.counts.get(principal).copied().unwrap_or(0)
    }

    /// A principal's sessions by id.
    pub(crate) fn sessions<'a>(
        &'a self,
        principal: &'a Principal,
        from: Bound<SessionId>,
    ) -> impl Iterator<Item = SessionId> + 'a {
        let from = match from {
            Included(id) => Included((principal.clone(), id)),
            Excluded(id) => Excluded((principal.clone(), id)),
            Unbounded => Included((principal.clone(), SessionId::from_bytes([0; 16]))),
        };
        let behind = self.sessions.range((from, Unbounded));
        behind.take_while(move |(owner, _)| owner == principal).map(|(_, id)| *id)
    }
}
