//! A log's directory: who may have it open, what is refused, and what an administrator does with it.

#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use mainstay_log::suite::histories::{compare, models, script};
use mainstay_log::{
    ChannelRecord, DiskLog, DiskOptions, Log, LogError, OpenError, ReadLimit, StoredEvent, Verify,
    Write,
};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Epoch, Offset, Payload};

#[test]
fn one_process_at_a_time() {
    let (_temporary, directory) = temporary();
    let log = DiskLog::open(&directory, DiskOptions::new(1)).unwrap();
    for error in [DiskLog::open(&directory, OPTIONS), DiskLog::inspect(&directory, OPTIONS)] {
        let error = error.unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    }
    drop(log);
    DiskLog::open(&directory, OPTIONS).unwrap();
}

#[test]
fn what_is_no_directory_or_no_log_is_refused_and_left_alone() {
    let (temporary, directory) = temporary();
    let file = temporary.path().join("file");
    fs::write(&file, "mine").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = DiskLog::open(&path, OPTIONS).unwrap_err();
        assert!(matches!(error, OpenError::NotADirectory { .. }), "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine");

    fs::create_dir(&directory).unwrap();
    let error = DiskLog::inspect(&directory, OPTIONS).unwrap_err();
    assert!(matches!(error, OpenError::NotFound { .. }), "{error}");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);

    for content in [&b"no database"[..], &[0; 100_000]] {
        fs::write(directory.join("log.redb"), content).unwrap();
        let error = DiskLog::open(&directory, OPTIONS).unwrap_err();
        assert!(matches!(error, OpenError::Damaged(_)), "{error}");
        assert_eq!(fs::read(directory.join("log.redb")).unwrap(), content);
    }
    fs::write(directory.join("log.redb"), "").unwrap();
    let error = DiskLog::open(&directory, OPTIONS).unwrap_err();
    assert!(matches!(error, OpenError::Damaged(_)), "a file that has lost everything: {error}");
}

#[test]
fn a_log_whose_making_was_interrupted_is_made_anew() {
    let (_temporary, directory) = temporary();
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("log.redb.unfinished"), "half").unwrap();
    let mut log = DiskLog::open(&directory, DiskOptions::new(77)).unwrap();
    assert_eq!((log.log_id(), log.commit_count()), (77, 0));
    log.commit(&[put("news", 5)]).unwrap();
    drop(log);
    let log = DiskLog::open(&directory, DiskOptions::new(78)).unwrap();
    assert_eq!((log.log_id(), log.commit_count()), (77, 1), "the id stays");
}

#[test]
fn a_check_of_a_sound_log_counts_everything() {
    let (_temporary, directory) = temporary();
    let mut log = ten_events(&directory);
    let check = log.check().unwrap();
    assert_eq!((check.event_count, check.record_count, check.problems), (10, 1, vec![]));
    let stats = log.stats().unwrap();
    assert_eq!((stats.channel_count, stats.event_count, stats.event_bytes), (1, 10, 10 * 64));
    assert_eq!((stats.session_count, stats.reply_count, stats.key_count), (0, 0, 0));
    assert_eq!(stats.file_bytes, fs::metadata(directory.join("log.redb")).unwrap().len());
    log.commit(&[append(11)]).unwrap();
    drop(log);
    // What a random script leaves is sound too.
    let (_temporary, directory) = temporary();
    let script = script(1, 50);
    let mut log = DiskLog::open(&directory, OPTIONS).unwrap();
    script.iter().for_each(|writes| log.commit(writes).unwrap());
    assert_eq!(log.check().unwrap().problems, [""; 0]);
    compare(&mut log, &models(&script)[50]);
}

#[test]
fn a_damaged_event_is_found_and_not_served_and_the_others_are() {
    let (_temporary, directory) = temporary();
    drop(ten_events(&directory));
    let path = directory.join("log.redb");
    let mut content = fs::read(&path).unwrap();
    // Every copy of it: redb keeps pages of earlier commits until it needs the room.
    let mark = [b'e'; 64];
    let places: Vec<_> =
        (0..content.len() - 64).filter(|at| content[*at..at + 64] == mark).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|at| content[at + 7] ^= 4);
    fs::write(&path, content).unwrap();

    let mut log = DiskLog::inspect(&directory, OPTIONS).unwrap();
    let problems = log.check().unwrap().problems;
    assert!(problems.iter().any(|problem| problem.contains("event 5 of news")), "{problems:?}");
    drop(log);

    let mut log = DiskLog::open(&directory, OPTIONS).unwrap();
    let mut offsets = |from| {
        let events = log.read(&name("news"), Offset(from), EVERYTHING)?;
        Ok::<_, LogError>(events.iter().map(|event| event.offset.0).collect::<Vec<_>>())
    };
    assert_eq!(offsets(1).unwrap(), [1, 2, 3, 4], "up to the damage");
    assert!(matches!(offsets(5), Err(LogError::Corrupt(_))));
    assert_eq!(offsets(6).unwrap(), [6, 7, 8, 9, 10], "and behind it");
    log.commit(&[append(11)]).unwrap();
    let trim = Write::Trim { channel: name("news"), below: Offset(6) };
    log.commit(&[trim]).unwrap();
    assert_eq!(log.check().unwrap().problems, [""; 0], "trimmed away");
}

#[test]
fn a_restored_copy_begins_new_epochs() {
    let (temporary, directory) = temporary();
    let mut log = ten_events(&directory);
    let backup = temporary.path().join("backup");
    log.backup(&backup).unwrap();
    let error = log.backup(&backup).unwrap_err();
    assert!(matches!(error, OpenError::Exists { .. }), "{error}");
    // The log itself goes on as before.
    log.commit(&[append(11)]).unwrap();
    assert_eq!(epoch(&mut log), Epoch(5));
    drop(log);

    // Looking at a copy does not bring it to life.
    let mut copy = DiskLog::inspect(&backup, DiskOptions::new(50)).unwrap();
    assert_eq!(copy.check().unwrap().problems, [""; 0]);
    assert_eq!(copy.stats().unwrap().event_count, 10);
    drop(copy);

    let second = temporary.path().join("second");
    fs::create_dir(&second).unwrap();
    fs::copy(backup.join("log.redb"), second.join("log.redb")).unwrap();
    let mut restored = DiskLog::open(&backup, DiskOptions::new(100)).unwrap();
    let mut other = DiskLog::open(&second, DiskOptions::new(200)).unwrap();
    let (first_epoch, second_epoch) = (epoch(&mut restored), epoch(&mut other));
    assert_ne!(first_epoch, Epoch(5));
    assert_ne!(second_epoch, Epoch(5));
    assert_ne!(first_epoch, second_epoch, "each restoring is another history");
    assert_eq!(first_epoch, Epoch(5 ^ restored.epoch_salt()), "an epoch that was computed agrees");
    assert_eq!(restored.read(&name("news"), Offset(1), EVERYTHING).unwrap().len(), 10);

    // What is put comes back as it was put, and stays over restarts.
    restored.commit(&[append(11), put("other", 9)]).unwrap();
    drop(restored);
    let mut restored = DiskLog::open(&backup, DiskOptions::new(300)).unwrap();
    assert_eq!(epoch(&mut restored), first_epoch);
    assert_eq!(restored.channel(&name("other")).unwrap().unwrap().record.epoch, Epoch(9));
    assert_eq!(restored.check().unwrap().problems, [""; 0]);
}

#[test]
fn a_copy_holds_everything() {
    let (temporary, directory) = temporary();
    let script = script(2, 60);
    let mut log = DiskLog::open(&directory, OPTIONS).unwrap();
    script.iter().for_each(|writes| log.commit(writes).unwrap());
    let backup = temporary.path().join("backup");
    log.backup(&backup).unwrap();
    let mut copy = DiskLog::inspect(&backup, OPTIONS).unwrap();
    compare(&mut copy, &models(&script)[60]);
    assert_eq!(copy.commit_count(), 60);
}

fn ten_events(directory: &Path) -> DiskLog {
    let mut log = DiskLog::open(directory, OPTIONS).unwrap();
    let writes: Vec<_> = [put("news", 5)].into_iter().chain((1..=10).map(append)).collect();
    log.commit(&writes).unwrap();
    log
}

fn append(offset: u64) -> Write {
    let payload = Payload::binary(vec![(b'a' - 1).wrapping_add(offset as u8); 64]);
    let event = StoredEvent { offset: Offset(offset), at_ms: 0, payload };
    Write::Append { channel: name("news"), event }
}

fn put(channel: &str, epoch: u64) -> Write {
    let record = ChannelRecord { epoch: Epoch(epoch), settings: Bytes::new() };
    Write::PutChannel { channel: name(channel), record }
}

fn epoch(log: &mut DiskLog) -> Epoch {
    log.channel(&name("news")).unwrap().unwrap().record.epoch
}

fn name(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

fn temporary() -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("log");
    (temporary, directory)
}

const OPTIONS: DiskOptions =
    DiskOptions { cache_bytes: 8 << 20, fresh: 1, verify: Verify::Records };
const EVERYTHING: ReadLimit = ReadLimit { count_max: usize::MAX, bytes_max: usize::MAX };
