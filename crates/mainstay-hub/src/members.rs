//! Who is there: the members of channels, and what their watchers are told.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_wire::ChannelName;
use mainstay_wire::session::{Member, Principal, SessionId};

/// The members and watchers of every channel that has some.
///
/// Comings and goings gather until [`take_changes`](Members::take_changes): who left and came back in
/// between has done neither. Knows no time; when to take and when to let go is its caller's business.
#[derive(Debug, Default)]
pub struct Members {
    rooms: BTreeMap<ChannelName, Room>,
}

#[derive(Debug, Default)]
struct Room {
    members: BTreeMap<SessionId, Option<Principal>>,
    watchers: BTreeSet<SessionId>,
    joined: BTreeMap<SessionId, Option<Principal>>,
    left: BTreeMap<SessionId, Option<Principal>>,
}

/// What has happened in a channel since it was last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Who became a member.
    pub joined: Vec<Member>,
    /// Who no longer is one.
    pub left: Vec<Member>,
}

impl Members {
    /// Makes a session a member. `false` if it was one.
    pub fn join(
        &mut self,
        channel: &ChannelName,
        session: SessionId,
        principal: Option<Principal>,
    ) -> bool {
        let room = self.rooms.entry(channel.clone()).or_default();
        if room.members.insert(session, principal.clone()).is_some() {
            return false;
        }
        if room.left.remove(&session).is_none() {
            room.joined.insert(session, principal);
        }
        true
    }

    /// Ends a membership. `false` if there was none.
    pub fn leave(&mut self, channel: &ChannelName, session: SessionId) -> bool {
        let Some(room) = self.rooms.get_mut(channel) else { return false };
        let Some(principal) = room.members.remove(&session) else { return false };
        if room.joined.remove(&session).is_none() {
            room.left.insert(session, principal);
        }
        self.sweep(channel);
        true
    }

    /// Has a session told of comings and goings.
    pub fn watch(&mut self, channel: &ChannelName, session: SessionId) {
        self.rooms.entry(channel.clone()).or_default().watchers.insert(session);
    }

    /// No longer has it told.
    pub fn unwatch(&mut self, channel: &ChannelName, session: SessionId) {
        if let Some(room) = self.rooms.get_mut(channel) {
            room.watchers.remove(&session);
            self.sweep(channel);
        }
    }

    /// Takes what has gathered; `None` if that is nothing.
    pub fn take_changes(&mut self, channel: &ChannelName) -> Option<Changes> {
        let room = self.rooms.get_mut(channel)?;
        let changes = Changes {
            joined: members(&std::mem::take(&mut room.joined)),
            left: members(&std::mem::take(&mut room.left)),
        };
        self.sweep(channel);
        (changes != Changes::default()).then_some(changes)
    }

    /// Everyone who is told.
    pub fn watchers(&self, channel: &ChannelName) -> Vec<SessionId> {
        self.rooms.get(channel).map_or(Vec::new(), |room| room.watchers.iter().copied().collect())
    }

    /// Everyone who is there.
    pub fn members(&self, channel: &ChannelName) -> Vec<Member> {
        self.rooms.get(channel).map_or(Vec::new(), |room| members(&room.members))
    }

    /// Everyone who was there when changes were last taken: those who hear of the changes to come
    /// begin with these.
    pub fn settled(&self, channel: &ChannelName) -> Vec<Member> {
        let Some(room) = self.rooms.get(channel) else { return Vec::new() };
        let mut settled = room.members.clone();
        settled.retain(|session, _| !room.joined.contains_key(session));
        settled.extend(room.left.iter().map(|(session, who)| (*session, who.clone())));
        members(&settled)
    }

    /// How many are there.
    pub fn count(&self, channel: &ChannelName) -> u32 {
        let count = self.rooms.get(channel).map_or(0, |room| room.members.len());
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether nobody is, watches, or has news here.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    fn sweep(&mut self, channel: &ChannelName) {
        let is_bare = |room: &Room| {
            room.members.is_empty()
                && room.watchers.is_empty()
                && room.joined.is_empty()
                && room.left.is_empty()
        };
        if self.rooms.get(channel).is_some_and(is_bare) {
            self.rooms.remove(channel);
        }
    }
}

fn members(sessions: &BTreeMap<SessionId, Option<Principal>>) -> Vec<Member> {
    let member = |(session, principal): (&SessionId, &Option<Principal>)| Member {
        session: *session,
        principal: principal.clone(),
    };
    sessions.iter().map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: u8) -> SessionId {
        SessionId::from_bytes([number; 16])
    }

    #[test]
    fn who_leaves_and_comes_back_in_between_has_done_neither() {
        let channel = ChannelName::parse("room").expect("a name");
        let mut members = Members::default();
        assert!(members.join(&channel, session(1), None));
        assert!(!members.join(&channel, session(1), None), "once is enough");
        assert!(members.join(&channel, session(2), None));
        assert!(members.leave(&channel, session(2)));
        let changes = members.take_changes(&channel).expect("changes");
        assert_eq!(changes.joined.iter().map(|m| m.session).collect::<Vec<_>>(), [session(1)]);
        assert_eq!(changes.left, []);
        members.leave(&channel, session(1));
        members.join(&channel, session(2), None);
        let settled = members.settled(&channel);
        assert_eq!(settled.iter().map(|m| m.session).collect::<Vec<_>>(), [session(1)]);
        members.leave(&channel, session(2));
        members.join(&channel, session(1), None);
        assert_eq!(members.take_changes(&channel), None);
        assert_eq!(members.count(&channel), 1);
    }

    #[test]
    fn nothing_is_kept_of_a_channel_that_everybody_left() {
        let channel = ChannelName::parse("room").expect("a name");
        let mut members = Members::default();
        members.join(&channel, session(1), None);
        members.watch(&channel, session(2));
        assert_eq!(members.watchers(&channel), [session(2)]);
        members.leave(&channel, session(1));
        members.unwatch(&channel, session(2));
        members.take_changes(&channel);
        assert!(members.is_empty());
    }
}
