//! One random life, from its seed to its end.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Counts, Keeps, World};

/// What went wrong in the life of a seed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The guarantee, and how it was broken.
    pub text: String,
    /// What led to it.
    pub lines: Vec<String>,
}

/// What a life was worth.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Of everything that happened; a second run of the seed has the same.
    pub hash: u64,
    /// What happened.
    pub counts: Counts,
    /// What happened, if lines were kept.
    pub lines: Vec<String>,
}

/// Runs the life of a seed: a random one, and then, when everything has healed, until it is quiet.
///
/// # Errors
/// The first contradiction to a guarantee. A panic is one too.
pub fn simulate(seed: u64, keeps: Keeps) -> Result<Tally, Failure> {
    let mut lines = Vec::new();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut world = live(seed, keeps);
        lines = world.trace.lines().to_vec();
        match world.checks.failure() {
            Some(text) => Err(text.to_owned()),
            None => Ok(world.tally()),
        }
    }));
    let text = match result {
        Ok(Ok(tally)) => return Ok(tally),
        Ok(Err(text)) => text,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            format!("a panic: {}", text.unwrap_or_default())
        }
    };
    Err(Failure { seed, text, lines })
}

fn live(seed: u64, keeps: Keeps) -> World {
    let (mut world, heal_at_ms) = World::random(seed, keeps);
    while world.step(heal_at_ms) {}
    let until_ms = heal_at_ms + QUIET_WITHIN_MS;
    loop {
        // What is said last may still be under way.
        let next_ms = world.now_ms.max(heal_at_ms) + 1_000;
        while world.step(next_ms) {}
        if world.checks.failure().is_some() {
            return world;
        }
        world.now_ms = next_ms;
        if world.is_quiet() {
            break;
        }
        if world.now_ms > until_ms {
            let text = format!("it does not come to rest: {}", world.unrest());
            world.checks.fail("liveness", text);
            return world;
        }
    }
    let rest_ms = world.now_ms + REST_MS;
    while world.step(rest_ms) {}
    if world.checks.failure().is_none() {
        world.now_ms = rest_ms;
        world.check_end();
    }
    world
}

impl World {
    fn tally(&mut self) -> Tally {
        let counts = self.checks.counts;
        for count in [counts.event_count, counts.outcome_count, counts.gap_count] {
            self.trace.mix(count);
        }
        Tally { hash: self.trace.hash(), counts, lines: self.trace.lines().to_vec() }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.event_count += other.event_count;
        self.gap_count += other.gap_count;
        self.outcome_count += other.outcome_count;
        self.indeterminate_count += other.indeterminate_count;
        self.resume_count += other.resume_count;
        self.zombie_count += other.zombie_count;
        self.behind_count += other.behind_count;
        self.server_loss_count += other.server_loss_count;
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, text, lines } = self;
        let shown = lines.len().saturating_sub(LINES_SHOWN);
        for line in &lines[shown..] {
            writeln!(formatter, "{line}")?;
        }
        writeln!(formatter, "seed {seed}: {text}")?;
        write!(
            formatter,
            "replay: SIM_SEED={seed} SIM_TRACE=1 cargo test -p mainstay-testkit --test simulation \
             -- --nocapture"
        )
    }
}

/// How long everything may take to come to rest once nothing goes wrong any more: two heartbeats
/// that must be missed, one back-off at its longest, and the longest command.
const QUIET_WITHIN_MS: u64 = 180_000;
/// For what is decided a little later: presence, heartbeats, connections that nobody closes.
const REST_MS: u64 = 60_000;
/// How much of a trace a failure shows.
const LINES_SHOWN: usize = 4000;
