//! How fast the disk engine appends: `cargo run --release -p mainstay-log --example append -- DIR`.
//!
//! Appends events of 256 bytes to 1, 100 and 10,000 channels, in batches of several sizes and then as
//! they come at 10,000 a second, each commit taking what came during the one before. Then trims, and
//! measures how long it takes to open a log of a million events whose process was killed. DIR must not
//! exist, and is left for a look.

#![expect(clippy::expect_used, reason = "a measurement that fails has no result")]
#![expect(clippy::print_stdout, reason = "its result is what it prints")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mainstay_log::{ChannelRecord, DiskLog, DiskOptions, Log, StoredEvent, Verify, Write};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Epoch, Offset, Payload};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().expect("a directory that does not exist"));
    if arguments.next().is_some() {
        fill_and_die(&directory);
    }
    std::fs::create_dir(&directory).expect("a directory that does not exist yet");
    for channel_count in [1, 100, 10_000] {
        let mut run = Run::new(&directory.join(format!("{channel_count}")), channel_count);
        for batch in [1, 32, 256, 1024] {
            run.batches(batch);
        }
        run.paced(10_000.0);
        run.trim();
    }
    reopen(&directory.join("million"));
}

struct Run {
    log: DiskLog,
    names: Vec<ChannelName>,
    heads: Vec<u64>,
    random: u64,
}

impl Run {
    fn new(directory: &Path, channel_count: usize) -> Run {
        let mut log = DiskLog::open(directory, DiskOptions::new(1)).expect("a new log");
        let name = |index| ChannelName::parse(&format!("channel/{index}")).expect("a name");
        let names: Vec<_> = (0..channel_count).map(name).collect();
        let record = ChannelRecord { epoch: Epoch(1), settings: Bytes::new() };
        let put = |channel: &ChannelName| {
            let (channel, record) = (channel.clone(), record.clone());
            Write::PutChannel { channel, record }
        };
        log.commit(&names.iter().map(put).collect::<Vec<_>>()).expect("channels");
        let mut run = Run { log, names, heads: vec![0; channel_count], random: 1 };
        // A history of some depth: a table of a few pages would flatter.
        for _ in 0..30 {
            run.append(10_000);
        }
        run
    }

    fn append(&mut self, count: usize) -> Duration {
        let mut writes = Vec::with_capacity(count);
        for _ in 0..count {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let index = (self.random >> 33) as usize % self.names.len();
            self.heads[index] += 1;
            let payload = Payload::binary(vec![self.random as u8; 256]);
            let event = StoredEvent { offset: Offset(self.heads[index]), at_ms: 0, payload };
            writes.push(Write::Append { channel: self.names[index].clone(), event });
        }
        let start = Instant::now();
        self.log.commit(&writes).expect("a commit");
        start.elapsed()
    }

    fn batches(&mut self, batch: usize) {
        let start = Instant::now();
        let mut times = Vec::new();
        while start.elapsed() < MEASURED {
            times.push(self.append(batch));
        }
        let rate = (times.len() * batch) as f64 / start.elapsed().as_secs_f64();
        self.report(&format!("batches of {batch}: {rate:.0} events/s, commit"), times);
    }

    fn paced(&mut self, rate: f64) {
        let start = Instant::now();
        let (mut done, mut times) = (0u64, Vec::new());
        while start.elapsed() < MEASURED {
            let due = (start.elapsed().as_secs_f64() * rate) as u64;
            if due == done {
                std::thread::sleep(Duration::from_micros(100));
                continue;
            }
            self.append((due - done) as usize);
            let now = start.elapsed();
            let came = (done + 1..=due).map(|n| Duration::from_secs_f64(n as f64 / rate));
            times.extend(came.map(|came| now.saturating_sub(came)));
            done = due;
        }
        self.report(&format!("{rate} events/s as they come, from coming to durable"), times);
    }

    fn trim(&mut self) {
        let mut times = Vec::new();
        for index in 0..self.names.len().min(20) {
            let (channel, below) = (self.names[index].clone(), self.heads[index].min(1_001));
            let start = Instant::now();
            let trim = Write::Trim { channel, below: Offset(below) };
            self.log.commit(&[trim]).expect("a trim");
            times.push(start.elapsed());
        }
        self.report("trimming up to 1,000 events of a channel", times);
    }

    fn report(&self, what: &str, mut times: Vec<Duration>) {
        times.sort();
        let at = |share: f64| times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e3;
        let channels = self.names.len();
        println!("{channels} channels, {what} p50 {:.2} ms p99 {:.2} ms", at(0.5), at(0.99));
    }
}

/// What the killed process of the last measurement does.
fn fill_and_die(directory: &Path) -> ! {
    let mut run = Run::new(directory, 10_000);
    for _ in 0..70 {
        run.append(10_000);
    }
    std::process::abort();
}

fn reopen(directory: &Path) {
    let this = std::env::current_exe().expect("this program");
    let mut killed = Command::new(this).arg(directory).arg("fill").spawn().expect("a process");
    killed.wait().expect("it dies");
    for verify in [Verify::Records, Verify::Everything] {
        let start = Instant::now();
        let options = DiskOptions { verify, ..DiskOptions::new(1) };
        let mut log = DiskLog::open(directory, options).expect("it opens");
        let time = start.elapsed().as_secs_f64() * 1e3;
        let event_count = log.stats().expect("stats").event_count;
        println!("opening {event_count} events, {verify:?} verified: {time:.1} ms");
    }
}

const MEASURED: Duration = Duration::from_secs(2);
