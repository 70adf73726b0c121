//! Who is a member of which channel, and who is told.

use mainstay_wire::ChannelName;
use mainstay_wire::session::{Member, Presence, ServerFrame, SessionId};

use crate::Node;
use crate::timer::Timer;

impl Node {
    pub(crate) fn join_room(&mut self, now_ms: u64, channel: &ChannelName, id: SessionId) {
        let Some(entry) = self.sessions.get(&id) else { return };
        let principal = entry.session.record().principal.clone();
        if self.members.join(channel, id, principal) {
            self.arm_gather(now_ms, channel);
        }
    }

    pub(crate) fn leave_room(&mut self, now_ms: u64, channel: &ChannelName, id: SessionId) {
        if self.members.leave(channel, id) {
            self.arm_gather(now_ms, channel);
        }
    }

    /// Has a session told of the members: with this batch of those whom the other watchers know of, and
    /// later of each change, with the others.
    pub(crate) fn watch_room(&mut self, channel: &ChannelName, id: SessionId) {
        self.members.watch(channel, id);
        self.staged.watching.insert((channel.clone(), id));
    }

    /// Tells each new watcher of the members, once for however often it asked in this batch: of a full
    /// room that is ten thousand times as long as the question.
    pub(crate) fn tell_new_watchers(&mut self) {
        for (channel, id) in std::mem::take(&mut self.staged.watching) {
            if self.watches(id, &channel) {
                self.tell_members(&channel, id);
            }
        }
    }

    fn tell_members(&mut self, channel: &ChannelName, id: SessionId) {
        let members = self.members.settled(channel);
        if members.is_empty() {
            return self.say_presence(id, channel, Vec::new(), Vec::new());
        }
        for joined in members.chunks(self.member_count_max()) {
            self.say_presence(id, channel, joined.to_vec(), Vec::new());
        }
    }

    fn watches(&self, id: SessionId, channel: &ChannelName) -> bool {
        let link = self.sessions.get(&id).and_then(|entry| entry.link.as_ref());
        let held = link.and_then(|link| link.subscriptions.get(channel));
        held.is_some_and(|held| held.presence.watches())
    }

    /// Tells the watchers what has gathered.
    pub(crate) fn tell_watchers(&mut self, channel: &ChannelName) {
        // Those who begin to watch know the members of before.
        self.tell_new_watchers();
        let Some(changes) = self.members.take_changes(channel) else { return };
        let count_max = self.member_count_max();
        for watcher in self.members.watchers(channel) {
            for joined in changes.joined.chunks(count_max) {
                self.say_presence(watcher, channel, joined.to_vec(), Vec::new());
            }
            for left in changes.left.chunks(count_max) {
                self.say_presence(watcher, channel, Vec::new(), left.to_vec());
            }
        }
    }

    /// A member that lost its connection has not come back in time.
    pub(crate) fn leave_rooms(&mut self, now_ms: u64, id: SessionId) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        let away_since_ms = entry.session.record().away_since_ms;
        let grace_ms = self.config.presence_grace_ms;
        if away_since_ms.is_none_or(|since_ms| since_ms + grace_ms > now_ms) {
            return;
        }
        for channel in std::mem::take(&mut entry.lingering) {
            self.leave_room(now_ms, &channel, id);
        }
    }

    /// How many members one frame may tell of, so that a client takes it.
    fn member_count_max(&self) -> usize {
        let bytes_max = self.config.message_bytes_max as usize;
        let fitting = bytes_max.saturating_sub(FRAME_BYTES_MAX) / MEMBER_BYTES_MAX;
        fitting.clamp(1, MEMBER_COUNT_MAX)
    }

    fn say_presence(
        &mut self,
        to: SessionId,
        channel: &ChannelName,
        joined: Vec<Member>,
        left: Vec<Member>,
    ) {
        let member_count = self.members.count(channel);
        let channel = channel.clone();
        self.say(to, ServerFrame::Presence(Presence { channel, joined, left, member_count }));
    }

    fn arm_gather(&mut self, now_ms: u64, channel: &ChannelName) {
        let timer = Timer::Gather { channel: channel.clone() };
        // What comes later joins what has gathered, and puts nothing off.
        if !self.timers.is_armed(&timer) {
            self.timers.arm(now_ms + self.config.presence_gather_ms, timer);
        }
    }
}

/// Members in one frame at most: what a shard writes at once.
const MEMBER_COUNT_MAX: usize = 250;
/// A member's bytes in a frame, at most: an id of 32 and a principal of 96, with what stands around them.
const MEMBER_BYTES_MAX: usize = 160;
/// What else stands in a frame of members, at most.
const FRAME_BYTES_MAX: usize = 256;
