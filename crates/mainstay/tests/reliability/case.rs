//! One run of one test: its seed, its folder, and what is left behind when it fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::journal::Journal;

pub(crate) struct Case {
    name: &'static str,
    pub(crate) seed: u64,
    folder: PathBuf,
    pub(crate) journal: Journal,
    started: Instant,
}

impl Case {
    pub(crate) fn begin(name: &'static str) -> Case {
        let seed = match std::env::var("MAINSTAY_RELIABILITY_SEED") {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) => fresh_seed(),
        };
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("reliability-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Case { name, seed, folder, journal: Journal::default(), started: Instant::now() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn random(&self, stream: u64) -> Random {
        Random(self.seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// Prints a figure.
    pub(crate) fn tell(&self, text: &str) {
        eprintln!("{} ({:.1?}): {text}", self.name, self.started.elapsed());
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
            return;
        }
        let notes = self.folder.join("clients.log");
        let _ = self.journal.write(&notes);
        eprintln!(
            "{}: failed with MAINSTAY_RELIABILITY_SEED={}; kept: {}",
            self.name,
            self.seed,
            self.folder.display()
        );
    }
}

/// A count that `MAINSTAY_RELIABILITY` multiplies.
pub(crate) fn scaled(count: u64) -> u64 {
    count * scale()
}

pub(crate) fn scale() -> u64 {
    std::env::var("MAINSTAY_RELIABILITY").map_or(1, |factor| factor.parse().unwrap())
}

/// SplitMix64: enough for choosing moments.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.below(longest.as_micros() as u64 + 1))
    }
}

/// The value below which so many per cent lie.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn fresh_seed() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}
