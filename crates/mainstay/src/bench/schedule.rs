//! When batches are to be sent in an open loop: `--rate`.

use std::ops::Range;
use std::time::{Duration, Instant};

/// Messages a second of all connections of all threads together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate(pub(super) u32);

/// The moments at which the connections of one thread send, whatever was answered by then. Batches
/// are evenly spread over time, and go over the connections in turn.
#[derive(Debug)]
pub(super) struct Schedule {
    rate: Rate,
    depth: usize,
    /// Of all threads.
    connection_count: usize,
    share: Range<usize>,
    began: Option<Instant>,
    /// Batches of this thread that were due so far.
    due_count: u64,
}

impl Schedule {
    /// For the connections `share` of so many, which send `depth` messages at a time.
    pub(super) fn new(
        rate: Rate,
        depth: usize,
        connection_count: usize,
        share: Range<usize>,
    ) -> Schedule {
        Schedule { rate, depth, connection_count, share, began: None, due_count: 0 }
    }

    /// Begins, unless it has.
    pub(super) fn begin(&mut self, now: Instant) {
        self.began.get_or_insert(now);
    }

    /// The next connection that is to send by `now`, counted within the share, and when it was to.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(usize, Instant)> {
        let due = self.next_due().filter(|due| due.1 <= now)?;
        self.due_count += 1;
        Some(due)
    }

    /// How long nothing is to be sent.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        match self.next_due() {
            Some((_, at)) => at.saturating_duration_since(now),
            None => Duration::MAX,
        }
    }

    fn next_due(&self) -> Option<(usize, Instant)> {
        let share_count = self.share.len() as u64;
        let turn = self.due_count.checked_div(share_count)?;
        let index = (self.due_count % share_count) as usize;
        let of_all = turn * self.connection_count as u64 + (self.share.start + index) as u64;
        let messages = u128::from(of_all) * self.depth as u128;
        let ns = messages * 1_000_000_000 / u128::from(self.rate.0.max(1));
        let at = self.began? + Duration::from_nanos(u64::try_from(ns).ok()?);
        Some((index, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connection and microsecond of each batch, in the order in which a thread has them.
    fn dues(rate: u32, depth: usize, share: Range<usize>, until_us: u64) -> Vec<(usize, u64)> {
        let mut schedule = Schedule::new(Rate(rate), depth, 4, share.clone());
        let start = Instant::now();
        let end = start + Duration::from_micros(until_us);
        assert_eq!(schedule.take_due(end), None, "not begun");
        schedule.begin(start);
        schedule.begin(end);
        let due = std::iter::from_fn(|| schedule.take_due(end));
        let us = |at: Instant| at.duration_since(start).as_micros() as u64;
        due.map(|(index, at)| (share.start + index, us(at))).collect()
    }

    #[test]
    fn messages_are_spread_over_time_and_connections() {
        let all = dues(10_000, 1, 0..4, 550);
        assert_eq!(all, [(0, 0), (1, 100), (2, 200), (3, 300), (0, 400), (1, 500)]);
    }

    #[test]
    fn threads_together_send_what_one_would() {
        let mut both = dues(10_000, 1, 0..3, 950);
        both.extend(dues(10_000, 1, 3..4, 950));
        both.sort_by_key(|(_, us)| *us);
        assert_eq!(both, dues(10_000, 1, 0..4, 950));
    }

    #[test]
    fn a_batch_takes_the_time_of_its_messages() {
        assert_eq!(dues(10_000, 16, 0..4, 3300), [(0, 0), (1, 1600), (2, 3200)]);
    }

    #[test]
    fn a_late_thread_still_has_all_its_moments() {
        let mut schedule = Schedule::new(Rate(1000), 1, 1, 0..1);
        let start = Instant::now();
        schedule.begin(start);
        let late = start + Duration::from_secs(1);
        for ms in 0..=1000 {
            let due = start + Duration::from_millis(ms);
            assert_eq!(schedule.take_due(late), Some((0, due)), "not when it is noticed");
        }
        assert_eq!(schedule.take_due(late), None);
        assert_eq!(schedule.wait(late), Duration::from_millis(1));
    }
}
