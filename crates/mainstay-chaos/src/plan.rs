//! The random decisions of one direction of a connection.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::faults::{Direction, Faults, Probability};

/// Where decisions come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The seed of the whole run.
    pub(crate) seed: u64,
    /// The number of the connection.
    pub(crate) connection: u64,
    /// How often the faults were set before.
    pub(crate) generation: u32,
}

/// What is to happen to one direction. Offsets count from the start of the connection.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The byte before which the connection is cut.
    pub(crate) cut_offset: Option<u64>,
    /// The byte before which nothing passes for a while.
    pub(crate) stall_offset: Option<u64>,
    faults: Arc<Faults>,
    random: ChaCha12Rng,
}

impl Plan {
    /// Decides what does not depend on chunks. `passed_bytes` have passed already.
    pub(crate) fn draw(
        source: Source,
        direction: Direction,
        faults: &Arc<Faults>,
        passed_bytes: u64,
    ) -> Plan {
        let mut random = source.random(match direction {
            Direction::Up => Stream::Up,
            Direction::Down => Stream::Down,
        });
        let every = faults.cut_every.of(direction).as_ref();
        let drawn = every.map(|range| uniform(&mut random, range));
        let soonest = drawn.into_iter().chain(*faults.cut_at.of(direction)).min();
        let offset = |bytes: u64| passed_bytes.saturating_add(bytes);
        Plan {
            cut_offset: soonest.map(offset),
            stall_offset: faults.stall.map(|stall| offset(stall.after_bytes)),
            faults: Arc::clone(faults),
            random,
        }
    }

    /// Decides about a chunk that begins at `offset`: how long it is held back, and whether it is
    /// cut.
    pub(crate) fn take_chunk(&mut self, offset: u64, bytes: u64) -> Duration {
        if happens(&mut self.random, self.faults.cut_rate) {
            let cut = offset + uniform(&mut self.random, &(0..=bytes));
            self.cut_offset = Some(self.cut_offset.map_or(cut, |other| other.min(cut)));
        }
        match &self.faults.delay {
            None => Duration::ZERO,
            Some(range) => {
                let nanos =
                    |duration: &Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
                let range = nanos(range.start())..=nanos(range.end());
                Duration::from_nanos(uniform(&mut self.random, &range))
            }
        }
    }

    /// What it was drawn for.
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }
}

/// What is decided when a connection is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reception {
    pub(crate) is_refused: bool,
    pub(crate) is_duplicated: bool,
}

impl Reception {
    pub(crate) fn draw(source: Source, faults: &Faults) -> Reception {
        let mut random = source.random(Stream::Connection);
        let is_refused = happens(&mut random, faults.refuse_rate);
        let is_duplicated = happens(&mut random, faults.duplicate_rate);
        Reception { is_refused, is_duplicated }
    }
}

impl Source {
    /// A stream of its own for everything, so that no decision depends on how many others came
    /// before it.
    fn random(self, stream: Stream) -> ChaCha12Rng {
        let mut random = ChaCha12Rng::seed_from_u64(self.seed);
        let generation = u64::from(self.generation) << 2;
        random.set_stream((self.connection << 34) ^ generation ^ stream as u64);
        random
    }
}

#[derive(Clone, Copy)]
enum Stream {
    Connection,
    Up,
    Down,
}

fn happens(random: &mut ChaCha12Rng, probability: Probability) -> bool {
    // 53 bits are what an f64 holds; 1 is never drawn, so 1 is always.
    let drawn = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    drawn < probability.value()
}

/// A number of the range, each as probable as any other (to within 2⁻⁶⁴ of the range's width).
fn uniform(random: &mut ChaCha12Rng, range: &RangeInclusive<u64>) -> u64 {
    let width = u128::from(range.end().saturating_sub(*range.start())) + 1;
    let drawn = (u128::from(random.next_u64()) * width) >> 64;
    range.start() + drawn as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::EachWay;

    fn source(seed: u64, connection: u64) -> Source {
        Source { seed, connection, generation: 0 }
    }

    fn faults(range: RangeInclusive<u64>) -> Arc<Faults> {
        Arc::new(Faults { cut_every: EachWay::both(Some(range)), ..Faults::default() })
    }

    fn offsets(seed: u64) -> Vec<u64> {
        let faults = faults(10..=1_000_000);
        let ways = [Direction::Up, Direction::Down];
        (1..=20)
            .flat_map(|connection| ways.map(|way| (connection, way)))
            .filter_map(|(number, way)| {
                Plan::draw(source(seed, number), way, &faults, 0).cut_offset
            })
            .collect()
    }

    #[test]
    fn the_same_seed_decides_the_same() {
        assert_eq!(offsets(1), offsets(1));
        assert_ne!(offsets(1), offsets(2));
        let mut all = offsets(1);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 40, "every connection and direction decides for itself");
    }

    #[test]
    fn faults_that_are_set_again_decide_anew() {
        let faults = faults(10..=1_000_000);
        let first = Plan::draw(source(1, 1), Direction::Up, &faults, 0);
        let again = Source { generation: 1, ..source(1, 1) };
        let second = Plan::draw(again, Direction::Up, &faults, 0);
        assert_ne!(first.cut_offset, second.cut_offset);
    }

    #[test]
    fn every_offset_of_a_range_comes_up_and_no_other() {
        let faults = faults(3..=7);
        let mut seen = [0; 10];
        for number in 0..1000 {
            let plan = Plan::draw(source(1, number), Direction::Up, &faults, 0);
            seen[plan.cut_offset.unwrap() as usize] += 1;
        }
        for (offset, count) in seen.into_iter().enumerate() {
            let expected = if (3..=7).contains(&offset) { 120..280 } else { 0..1 };
            assert!(expected.contains(&count), "{offset}: {count}");
        }
    }

    #[test]
    fn the_widest_and_the_emptiest_range_are_drawn_from() {
        let mut random = source(1, 1).random(Stream::Up);
        assert!((0..100).any(|_| uniform(&mut random, &(0..=u64::MAX)) > u64::MAX / 2));
        assert_eq!(uniform(&mut random, &(u64::MAX..=u64::MAX)), u64::MAX);
        #[expect(clippy::reversed_empty_ranges, reason = "what is tested")]
        let reversed = 7..=3;
        assert_eq!(uniform(&mut random, &reversed), 7);
    }

    #[test]
    fn the_soonest_cut_counts_from_what_has_passed() {
        let mut faults = Faults { cut_every: EachWay::both(Some(50..=50)), ..Faults::default() };
        faults.cut_at.up = Some(20);
        let faults = Arc::new(faults);
        let offset = |direction| Plan::draw(source(1, 1), direction, &faults, 100).cut_offset;
        assert_eq!((offset(Direction::Up), offset(Direction::Down)), (Some(120), Some(150)));
    }

    #[test]
    fn a_chunk_is_cut_anywhere_in_it() {
        let faults = Arc::new(Faults { cut_rate: Probability::ALWAYS, ..Faults::default() });
        let mut seen = [false; 5];
        for number in 0..100 {
            let mut plan = Plan::draw(source(1, number), Direction::Down, &faults, 0);
            plan.take_chunk(1000, 4);
            seen[plan.cut_offset.unwrap() as usize - 1000] = true;
        }
        assert_eq!(seen, [true; 5]);
        let mut plan = Plan::draw(source(1, 1), Direction::Down, &Arc::default(), 0);
        plan.take_chunk(1000, 4);
        assert_eq!(plan.cut_offset, None, "never is never");
    }

    #[test]
    fn delays_stay_in_their_range() {
        let range = Duration::from_millis(5)..=Duration::from_millis(50);
        let faults = Arc::new(Faults { delay: Some(range.clone()), ..Faults::default() });
        let mut plan = Plan::draw(source(1, 1), Direction::Up, &faults, 0);
        let delays: Vec<Duration> = (0..100).map(|_| plan.take_chunk(0, 1)).collect();
        assert!(delays.iter().all(|delay| range.contains(delay)), "{delays:?}");
        assert_ne!(delays.iter().min(), delays.iter().max());
    }

    #[test]
    fn a_reception_is_as_probable_as_asked() {
        let rate = |value| Probability::new(value).unwrap();
        let faults =
            Faults { refuse_rate: rate(0.25), duplicate_rate: rate(0.75), ..Faults::default() };
        let all = (0..1000).map(|number| Reception::draw(source(1, number), &faults));
        let (mut refused, mut duplicated) = (0, 0);
        for reception in all {
            refused += usize::from(reception.is_refused);
            duplicated += usize::from(reception.is_duplicated);
        }
        assert!((200..300).contains(&refused) && (700..800).contains(&duplicated));
    }
}
