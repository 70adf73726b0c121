//! A process that is killed while it writes.
//!
//! By itself, for a process that is begun holds every lock of this one for a moment, until it has become
//! another program: a test beside it would find its own log in use.

#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use mainstay_log::{
    ChannelRecord, DiskLog, DiskOptions, Log, ReadLimit, StoredEvent, Verify, Write,
};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Epoch, Offset, Payload};

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("log");
    let mut acknowledged = 0;
    for round in 1..=10 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writes_until_it_is_killed", "--nocapture"])
            .env(WRITER_VARIABLE, &directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        // Killed at once after so many, while it is at the next.
        let numbers = lines.filter_map(|line| line.unwrap().parse::<u64>().ok());
        acknowledged = numbers.take(round * 7).last().unwrap();
        writer.kill().unwrap();
        writer.wait().unwrap();
        let mut log = DiskLog::open(&directory, OPTIONS).unwrap();
        let head = log.channel(&news()).unwrap().unwrap().head.0;
        assert!(head >= acknowledged, "round {round}: {head} of {acknowledged}");
        let events = log.read(&news(), Offset(1), EVERYTHING).unwrap();
        assert!(events.iter().map(|event| event.offset.0).eq(1..=head));
        assert_eq!(log.check().unwrap().problems, [""; 0]);
    }
    assert!(acknowledged >= 385, "every round went on: {acknowledged}");
}

/// The process that the test above kills; nothing by itself.
#[test]
#[expect(clippy::print_stdout, reason = "what it prints is what it acknowledges")]
fn writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(WRITER_VARIABLE) else { return };
    let mut log = DiskLog::open(Path::new(&directory), OPTIONS).unwrap();
    let record = ChannelRecord { epoch: Epoch(5), settings: Bytes::new() };
    log.commit(&[Write::PutChannel { channel: news(), record }]).unwrap();
    println!();
    for _ in 0..100_000 {
        let next = log.channel(&news()).unwrap().unwrap().head.0 + 1;
        log.commit(&[append(next)]).unwrap();
        println!("{next}");
    }
}

fn append(offset: u64) -> Write {
    let event = StoredEvent { offset: Offset(offset), at_ms: 0, payload: Payload::binary("said") };
    Write::Append { channel: news(), event }
}

fn news() -> ChannelName {
    ChannelName::parse("news").unwrap()
}

/// Where the process that is killed finds its directory.
const WRITER_VARIABLE: &str = "MAINSTAY_TEST_LOG";
const OPTIONS: DiskOptions =
    DiskOptions { cache_bytes: 8 << 20, fresh: 1, verify: Verify::Records };
const EVERYTHING: ReadLimit = ReadLimit { count_max: usize::MAX, bytes_max: usize::MAX };
