//! `mainstay store`, as an administrator meets it.

#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::RwLock;

use bytes::Bytes;
use mainstay_log::{ChannelRecord, DiskLog, DiskOptions, Log, StoredEvent, Write};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Epoch, Offset, Payload, SessionId};
use serde_json::{Value, json};

#[test]
fn a_sound_log_is_checked_and_counted() {
    let (_temporary, directory) = temporary();
    leave_three_events(&directory);
    let (code, out, err) = store("check", &[&directory]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, "3 events and 2 records read: all sound\n");

    let (code, out, err) = store("stats", &[&directory]);
    assert_eq!((code, err.as_str()), (0, ""));
    for line in ["log         000000000000002a", "channels    1", "events      3", "sessions    1"]
    {
        assert!(out.lines().any(|found| found == line), "{line}: {out}");
    }
}

#[test]
fn machines_get_json() {
    let (temporary, directory) = temporary();
    leave_three_events(&directory);
    let (code, check) = store_json("check", &[&directory]);
    assert_eq!(code, 0);
    let expected = json!({
        "ok": true, "event_count": 3, "record_count": 2, "problems": [], "problems_omitted": 0
    });
    assert_eq!(check, expected);
    let (code, stats) = store_json("stats", &[&directory]);
    assert_eq!((code, &stats["event_bytes"], &stats["key_count"]), (0, &json!(150), &json!(0)));
    let (code, backup) = store_json("backup", &[&directory, &temporary.path().join("copy")]);
    assert_eq!((code, &backup["copied"]["event_count"]), (0, &json!(3)));
}

#[test]
fn damage_is_named_and_exits_with_1() {
    let (_temporary, directory) = temporary();
    leave_three_events(&directory);
    let path = directory.join("log.redb");
    let mut content = fs::read(&path).unwrap();
    let mark = [2; 50];
    let places: Vec<_> =
        (0..content.len() - 50).filter(|at| content[*at..at + 50] == mark).collect();
    places.iter().for_each(|at| content[*at] = 0);
    fs::write(&path, content).unwrap();
    let (code, out, err) = store("check", &[&directory]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    assert!(out.contains("damaged: "), "{out}");
    assert!(out.contains("event 2 of news"), "{out}");
    assert!(out.ends_with("damage found\n"), "{out}");
    let (code, check) = store_json("check", &[&directory]);
    assert_eq!((code, &check["ok"]), (1, &json!(false)));
}

#[test]
fn a_copy_is_whole_is_made_once_and_begins_new_epochs() {
    let (temporary, directory) = temporary();
    leave_three_events(&directory);
    let copy = temporary.path().join("copy");
    let (code, out, err) = store("backup", &[&directory, &copy]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, format!("3 events copied to {}\n", copy.display()));
    assert_eq!(store("check", &[&copy]).0, 0);

    let before = fs::read(copy.join("log.redb")).unwrap();
    let (code, out, err) = store("backup", &[&directory, &copy]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with("error: ") && err.contains("exists already"), "{err}");
    assert_eq!(fs::read(copy.join("log.redb")).unwrap(), before, "left as it was");

    let epoch = |directory: &Path, fresh| {
        let _nobody = starting().read();
        let mut log = DiskLog::open(directory, DiskOptions::new(fresh)).unwrap();
        log.channel(&news()).unwrap().unwrap().record.epoch
    };
    assert_eq!(epoch(&directory, 9), Epoch(5));
    assert_ne!(epoch(&copy, 9), Epoch(5));
}

#[test]
fn a_log_in_use_is_left_alone() {
    let (temporary, directory) = temporary();
    let _log = three_events(&directory);
    let copy = temporary.path().join("copy");
    for (command, paths) in
        [("check", &[&directory][..]), ("stats", &[&directory]), ("backup", &[&directory, &copy])]
    {
        let (code, out, err) = store(command, paths);
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.contains("is in use by another process"), "{err}");
    }
    assert!(!copy.exists());
}

#[test]
fn what_is_no_log_is_said_to_be_none() {
    let (temporary, directory) = temporary();
    let (code, _, err) = store("check", &[&directory]);
    assert_eq!(code, 1);
    assert!(err.contains("No such file"), "{err}");
    fs::create_dir(&directory).unwrap();
    let (code, _, err) = store("stats", &[&directory]);
    assert_eq!(code, 1);
    assert!(err.contains("holds no log"), "{err}");
    let file = temporary.path().join("file");
    fs::write(&file, "").unwrap();
    let (_, _, err) = store("check", &[&file]);
    assert!(err.contains("is not a directory"), "{err}");
    assert_eq!(store("check", &[]).0, 2, "the command line is wrong");
}

fn store(command: &str, paths: &[&PathBuf]) -> (i32, String, String) {
    finish(mainstay(command).args(paths))
}

fn store_json(command: &str, paths: &[&PathBuf]) -> (i32, Value) {
    let (code, out, err) = finish(mainstay(command).arg("--json").args(paths));
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}")))
}

fn mainstay(command: &str) -> Command {
    let mut mainstay = Command::new(env!("CARGO_BIN_EXE_mainstay"));
    mainstay.env_clear().args(["store", command]);
    mainstay
}

fn finish(command: &mut Command) -> (i32, String, String) {
    let child = {
        let _starting = starting().write();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A child that is just being started has what this process has open, and with it the lock of a log,
/// until it runs its own program: no test may start one while another opens and closes a log.
fn starting() -> &'static RwLock<()> {
    static STARTING: RwLock<()> = RwLock::new(());
    &STARTING
}

fn leave_three_events(directory: &Path) {
    let _nobody = starting().read();
    drop(three_events(directory));
}

fn three_events(directory: &Path) -> DiskLog {
    let mut log = DiskLog::open(directory, DiskOptions::new(42)).unwrap();
    let record = ChannelRecord { epoch: Epoch(5), settings: Bytes::new() };
    let session = SessionId::from_bytes([1; 16]);
    let mut writes = vec![
        Write::PutChannel { channel: news(), record },
        Write::PutSession { session, record: Bytes::from_static(b"record") },
    ];
    for offset in 1..=3 {
        let payload = Payload::binary(vec![offset as u8; 50]);
        let event = StoredEvent { offset: Offset(offset), at_ms: 0, payload };
        writes.push(Write::Append { channel: news(), event });
    }
    log.commit(&writes).unwrap();
    log
}

fn news() -> ChannelName {
    ChannelName::parse("news").unwrap()
}

fn temporary() -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("data");
    (temporary, directory)
}
