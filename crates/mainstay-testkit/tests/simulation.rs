//! Random lives, each from its seed. `SIM_SEEDS` says how many, `SIM_SEED` runs one of them, and
//! `SIM_TRACE=1` prints what happens in it.

#![expect(clippy::print_stdout, reason = "whoever replays a seed wants to read its life")]

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use mainstay_testkit::{Counts, Keeps, simulate};

#[test]
fn every_life_keeps_every_guarantee() {
    if let Some(seed) = number("SIM_SEED") {
        return replay(seed);
    }
    let count = number("SIM_SEEDS").unwrap_or(SEED_COUNT);
    let first = number("SIM_FIRST").unwrap_or(0);
    let next = AtomicU64::new(first);
    let failed = AtomicU64::new(u64::MAX);
    let tallies = thread::scope(|scope| {
        let work = || {
            let mut tally = Counts::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                // Those below a failure are finished, so that the lowest is the one that is shown.
                if seed >= first + count || seed > failed.load(Ordering::Relaxed) {
                    return tally;
                }
                match simulate(seed, Keeps::Hash) {
                    Ok(life) => {
                        if seed - first < TWICE_COUNT {
                            let again = simulate(seed, Keeps::Hash);
                            let again = again.map(|again| again.hash).unwrap_or_default();
                            assert_eq!(again, life.hash, "seed {seed} is not the same twice");
                        }
                        tally += life.counts;
                    }
                    Err(_) => {
                        failed.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            }
        };
        let threads: Vec<_> = (0..THREAD_COUNT).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    if failed.load(Ordering::Relaxed) != u64::MAX {
        replay(failed.load(Ordering::Relaxed));
    }
    let mut all = Counts::default();
    tallies.into_iter().for_each(|tally| all += tally);
    println!("{count} lives: {all:?}");
}

/// Runs one life with everything written down.
fn replay(seed: u64) {
    let keeps = Keeps::Lines;
    match simulate(seed, keeps) {
        Ok(life) => println!("{}\nseed {seed}: {:?}", life.lines.join("\n"), life.counts),
        Err(failure) => panic!("{failure}"),
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

const SEED_COUNT: u64 = 10_000;
/// So many run twice and must be the same.
const TWICE_COUNT: u64 = 500;
const THREAD_COUNT: usize = 2;
