//! Sessions end: by saying so, by an operator's wish, or by staying away.

use std::collections::BTreeSet;

use mainstay_log::Write;
use mainstay_wire::session::{ErrorCode, SessionId};
use mainstay_wire::{ChannelName, EndReason};

use crate::request::failed;
use crate::timer::Timer;
use crate::{Effect, Happening, Node, Note};

impl Node {
    /// Ends a session for good: nothing of it is kept.
    pub(crate) fn end_session(
        &mut self,
        now_ms: u64,
        id: SessionId,
        reason: EndReason,
        detail: &str,
    ) {
        self.settle_commands(id);
        let connection = self.unlink(now_ms, id, reason, detail);
        self.note(id, connection, Note::of(Happening::Ended).because(reason, detail));
        self.part_for_good(now_ms, id);
        self.staged.writes.push(Write::DeleteSession { session: id });
    }

    /// A session has been away for too long: what is left is how many requests it had accepted.
    pub(crate) fn expire(&mut self, now_ms: u64, id: SessionId) {
        let Some(entry) = self.sessions.get(&id) else { return };
        let Some(away_since_ms) = entry.session.record().away_since_ms else { return };
        if entry.link.is_some() || away_since_ms + self.config.session_expiry_ms > now_ms {
            return;
        }
        self.settle_commands(id);
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        let record = entry.session.record_mut();
        record.expired_at_ms = Some(now_ms);
        let below = record.accepted + 1;
        self.put_session(id);
        let away_ms = now_ms.saturating_sub(away_since_ms);
        let detail = format!("away for {away_ms} ms").into();
        self.note(id, None, Note { detail, ..Note::of(Happening::Expired) });
        self.staged.writes.push(Write::DropReplies { session: id, below });
        self.part_for_good(now_ms, id);
        let until_ms = now_ms + self.config.tombstone_expiry_ms;
        self.tombstones.insert(id, until_ms);
        self.tombstone_order.insert((until_ms, id));
        self.timers.arm(until_ms, Timer::Forget { session: id });
        if self.tombstones.len() > self.config.session_count_max {
            self.forget_oldest();
        }
    }

    fn part_for_good(&mut self, now_ms: u64, id: SessionId) {
        let rooms: BTreeSet<ChannelName> = match self.sessions.remove(&id) {
            Some(entry) => {
                if let Some((number, _)) = entry.session.running() {
                    // Nobody is left who would stop it at its deadline.
                    self.handlers.remove(&(id, number));
                    self.timers.disarm(&Timer::Handler { session: id, number });
                    let stop = Effect::Stop { session: id, number, is_late: false };
                    self.staged.effects.push(stop);
                    // If the end finds no room in the log the session goes on, and this is known.
                    let outcome = failed(ErrorCode::Cancelled, "the session ended");
                    self.staged.outcomes.insert((id, number), outcome);
                }
                if let Some(principal) = &entry.session.record().principal {
                    self.principals.remove(principal, id);
                    let is_owned = self.principals.count(principal) > 0;
                    self.channels.own(now_ms, &ChannelName::principal_inbox(principal), is_owned);
                }
                entry.lingering
            }
            None => return,
        };
        for channel in rooms {
            self.leave_room(now_ms, &channel, id);
        }
        self.timers.disarm(&Timer::Expire { session: id });
        self.timers.disarm(&Timer::Leave { session: id });
        self.delete_session_inbox(id);
    }

    /// An expired session need no longer be remembered.
    pub(crate) fn forget(&mut self, now_ms: u64, id: SessionId) {
        let until_ms = self.tombstones.get(&id).copied();
        if let Some(until_ms) = until_ms.filter(|until_ms| *until_ms <= now_ms) {
            self.tombstones.remove(&id);
            self.tombstone_order.remove(&(until_ms, id));
            self.staged.writes.push(Write::DeleteSession { session: id });
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, id)) = self.tombstone_order.pop_first() else { return };
        self.tombstones.remove(&id);
        self.timers.disarm(&Timer::Forget { session: id });
        self.staged.writes.push(Write::DeleteSession { session: id });
    }

    /// Drops idempotency keys that have expired, and comes back as long as there may be some.
    pub(crate) fn drop_keys(&mut self, now_ms: u64) {
        let Some(last_key_at_ms) = self.last_key_at_ms else { return };
        // Keys expire as fast as they came, and no slower may they be dropped.
        self.key_count_peak = self.key_count_peak.max(std::mem::take(&mut self.key_count));
        let count_max = KEY_COUNT_MAX + self.key_count_peak;
        // Later ones were put by a clock that was ahead.
        let latest_ms = now_ms + self.config.key_expiry_ms;
        self.staged.writes.push(Write::CapKeys { latest_ms });
        self.staged.writes.push(Write::DropExpiredKeys { now_ms, count_max });
        if last_key_at_ms + self.config.key_expiry_ms + KEY_INTERVAL_MS < now_ms {
            self.last_key_at_ms = None;
            self.key_count_peak = 0;
        } else {
            self.timers.arm(now_ms + KEY_INTERVAL_MS, Timer::Keys);
        }
    }
}

/// Keys dropped in one commit, besides as many as have been put in one interval.
const KEY_COUNT_MAX: usize = 5_000;
/// How often expired keys are looked for while there are some.
const KEY_INTERVAL_MS: u64 = 1_000;
