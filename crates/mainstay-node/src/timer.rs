//! What a node wants to do at a moment to come.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_wire::ChannelName;
use mainstay_wire::session::SessionId;

/// A reason to look again. Whoever is woken looks whether there still is something to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A handler has reached its deadline.
    Handler { session: SessionId, number: u64 },
    /// A command to a client has.
    Command { session: SessionId, number: u64 },
    /// A member that lost its connection has not come back.
    Leave { session: SessionId },
    /// Comings and goings have gathered for long enough.
    Gather { channel: ChannelName },
    /// A channel may hold more than it should.
    Trim { channel: ChannelName },
    /// A session has been away for too long.
    Expire { session: SessionId },
    /// An expired session need no longer be remembered.
    Forget { session: SessionId },
    /// Idempotency keys have expired.
    Keys,
}

/// Timers by time. Each is armed for one moment at most, and taken back once there is nothing left that
/// it could find: what comes and goes all day leaves nothing behind here.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_time: BTreeSet<(u64, Timer)>,
    armed: BTreeMap<Timer, u64>,
}

impl Timers {
    /// Arms a timer for a moment, in place of the one that it was armed for.
    pub(crate) fn arm(&mut self, at_ms: u64, timer: Timer) {
        if let Some(before_ms) = self.armed.insert(timer.clone(), at_ms) {
            if before_ms == at_ms {
                return;
            }
            self.by_time.remove(&(before_ms, timer.clone()));
        }
        self.by_time.insert((at_ms, timer));
    }

    /// Takes a timer back.
    pub(crate) fn disarm(&mut self, timer: &Timer) {
        if let Some(at_ms) = self.armed.remove(timer) {
            self.by_time.remove(&(at_ms, timer.clone()));
        }
    }

    pub(crate) fn is_armed(&self, timer: &Timer) -> bool {
        self.armed.contains_key(timer)
    }

    /// All that are armed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Timer> {
        self.armed.keys()
    }

    pub(crate) fn next(&self) -> Option<u64> {
        self.by_time.first().map(|(at_ms, _)| *at_ms)
    }

    pub(crate) fn pop_due(&mut self, now_ms: u64) -> Option<Timer> {
        if self.next()? > now_ms {
            return None;
        }
        let (_, timer) = self.by_time.pop_first()?;
        self.armed.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expire(byte: u8) -> Timer {
        Timer::Expire { session: SessionId::from_bytes([byte; 16]) }
    }

    #[test]
    fn a_timer_is_armed_once() {
        let mut timers = Timers::default();
        for at_ms in 0..1_000 {
            timers.arm(at_ms, expire(1));
        }
        timers.arm(500, expire(2));
        assert_eq!((timers.by_time.len(), timers.armed.len()), (2, 2));
        assert_eq!(timers.pop_due(998), Some(expire(2)));
        assert_eq!(timers.pop_due(998), None);
        assert_eq!(timers.next(), Some(999));
        timers.disarm(&expire(1));
        assert!(timers.next().is_none() && !timers.is_armed(&expire(1)));
        assert!(timers.by_time.is_empty() && timers.armed.is_empty());
    }
}
