//! What one connection has asked, and how much of it is answered.

use std::collections::VecDeque;
use std::time::Instant;

use super::traffic::Wrong;

/// The batches of one connection that are not answered whole, oldest first. A closed loop has one at
/// most; an open loop sends without waiting for the last one.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// The number behind the last one sent; `None` before the first.
    next_number: Option<u64>,
    open: VecDeque<Round>,
    /// One that is over, to be used again: a closed loop asks for no memory.
    spare: Option<Round>,
}

#[derive(Debug)]
struct Round {
    first_number: u64,
    depth: usize,
    answered_count: usize,
    /// One bit for each request that is answered: a server may answer out of order.
    answered: Vec<u64>,
    since: Since,
}

/// Since when a batch waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since {
    /// When it was sent, or was to be sent.
    pub(super) at: Instant,
    /// Whether that was in the measured time.
    pub(super) is_measured: bool,
}

impl Rounds {
    /// Whether all that was sent is answered.
    pub(super) fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    /// How many more batches may be sent: a server that answers nothing must not fill the memory.
    pub(super) fn has_room(&self) -> bool {
        self.open.len() < ROUND_COUNT_MAX
    }

    /// How many replies are still to come.
    pub(super) fn unanswered_count(&self) -> usize {
        self.open.iter().map(|round| round.depth.saturating_sub(round.answered_count)).sum()
    }

    /// A further batch of `depth` requests. Gives the number of the first.
    pub(super) fn begin(&mut self, depth: usize, since: Since) -> u64 {
        let next = self.next_number.unwrap_or(NUMBER_MIN);
        let fits = next + depth as u64 - 1 <= NUMBER_MAX;
        let first_number = if fits { next } else { NUMBER_MIN };
        self.next_number = Some(first_number + depth as u64);
        let mut answered = self.spare.take().map(|round| round.answered).unwrap_or_default();
        answered.clear();
        answered.resize(depth.div_ceil(64), 0);
        self.open.push_back(Round { first_number, depth, answered_count: 0, answered, since });
        first_number
    }

    /// One reply more to the oldest batch, whichever of its requests it answers. `None`: nothing was
    /// sent for it.
    pub(super) fn answer_next(&mut self) -> Option<Since> {
        let round = self.open.front_mut()?;
        round.answered_count += 1;
        let since = round.since;
        self.close_front();
        Some(since)
    }

    /// The reply to a request.
    ///
    /// # Errors
    /// It is not open.
    pub(super) fn answer(&mut self, number: u64) -> Result<Since, Wrong> {
        let is_of = |round: &&mut Round| round.index(number).is_some();
        let Some(round) = self.open.iter_mut().find(is_of) else {
            return Err(Wrong(format!("a reply to request {number}, which is not open")));
        };
        let index = round.index(number).unwrap_or_default();
        let bit = 1 << (index % 64);
        match round.answered.get_mut(index / 64) {
            Some(word) if *word & bit == 0 => *word |= bit,
            _ => return Err(Wrong(format!("a second reply to request {number}"))),
        }
        round.answered_count += 1;
        let since = round.since;
        self.close_front();
        Ok(since)
    }

    fn close_front(&mut self) {
        while self.open.front().is_some_and(|round| round.answered_count >= round.depth) {
            self.spare = self.open.pop_front();
        }
    }
}

impl Round {
    fn index(&self, number: u64) -> Option<usize> {
        let index = usize::try_from(number.checked_sub(self.first_number)?).ok()?;
        (index < self.depth).then_some(index)
    }
}

/// Requests have ten digits from the first one on; JSON allows no leading zeros.
pub(super) const NUMBER_MIN: u64 = 1_000_000_000;
const NUMBER_MAX: u64 = 9_999_999_999;
/// Of one connection, in an open loop: minutes of an unusual rate.
const ROUND_COUNT_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn since(is_measured: bool) -> Since {
        Since { at: Instant::now(), is_measured }
    }

    #[test]
    fn numbers_start_again_before_they_grow_longer() {
        let mut rounds = Rounds { next_number: Some(NUMBER_MAX - 2), ..Rounds::default() };
        assert_eq!(rounds.begin(3, since(false)), NUMBER_MAX - 2, "the last three of ten digits");
        assert_eq!(rounds.begin(3, since(false)), NUMBER_MIN);
        assert!(rounds.answer(NUMBER_MAX).is_ok() && rounds.answer(NUMBER_MIN).is_ok());
    }

    #[test]
    fn replies_belong_to_the_batch_that_they_answer() {
        let mut rounds = Rounds::default();
        let early = since(false);
        let late = Since { at: early.at + Duration::from_secs(1), is_measured: true };
        let first = rounds.begin(2, early);
        rounds.begin(2, late);
        assert_eq!(rounds.unanswered_count(), 4);
        assert_eq!(rounds.answer(first + 3), Ok(late));
        assert_eq!(rounds.answer(first), Ok(early));
        assert!(rounds.answer(first).unwrap_err().0.contains("second reply"));
        assert!(rounds.answer(first + 4).unwrap_err().0.contains("not open"));
        assert_eq!(rounds.answer_next(), Some(early));
        assert!(rounds.answer(first).unwrap_err().0.contains("not open"), "that batch is over");
        assert_eq!(rounds.unanswered_count(), 1);
        assert_eq!(rounds.answer_next(), Some(late));
        assert!(rounds.is_over());
        assert_eq!(rounds.answer_next(), None);
    }

    #[test]
    fn a_server_that_answers_nothing_does_not_fill_the_memory() {
        let mut rounds = Rounds::default();
        while rounds.has_room() {
            rounds.begin(1, since(true));
        }
        assert_eq!(rounds.unanswered_count(), ROUND_COUNT_MAX);
    }
}
