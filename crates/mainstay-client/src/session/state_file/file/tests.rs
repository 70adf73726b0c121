use std::os::unix::fs::PermissionsExt;

use mainstay_session::client::{Call, Place, RequestKey};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Epoch, Offset, Payload};
use tempfile::TempDir;

use super::*;

const SERVER: &str = "ws://localhost/server";

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(path: &Path) -> Result<Opened, StateFileError> {
    StateFile::open(path, SERVER)
}

fn requested(key: u64) -> StateChange {
    let call = Call::Command { command: format!("command {key}"), payload: Payload::NULL };
    StateChange::Requested { key: RequestKey(key), call, deadline_at_ms: None }
}

/// Applies and commits.
fn keep(opened: &mut Opened, changes: &[StateChange]) {
    for change in changes {
        opened.state.apply(change);
        opened.file.push(change);
    }
    let state = opened.file.grows_long().then_some(&opened.state);
    opened.file.commit(state).unwrap();
}

#[test]
fn what_is_committed_is_there_again() {
    let folder = folder();
    let path = folder.path().join("state");
    let mut opened = open(&path).unwrap();
    keep(&mut opened, &[requested(1), requested(2)]);
    keep(&mut opened, &[StateChange::Settled { key: RequestKey(1) }]);
    let expected = opened.state.clone();
    drop(opened);
    assert_eq!(open(&path).unwrap().state, expected);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds a secret");
    let names = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names, 1, "nothing is left beside it");
}

#[test]
fn a_file_cut_anywhere_loses_nothing_that_was_committed_before_the_cut() {
    let folder = folder();
    let path = folder.path().join("state");
    let mut opened = open(&path).unwrap();
    let mut committed = vec![(fs::metadata(&path).unwrap().len(), opened.state.clone())];
    for key in 1..20 {
        let mut changes = vec![requested(key)];
        if key % 3 == 0 {
            changes.push(StateChange::Settled { key: RequestKey(key - 1) });
        }
        keep(&mut opened, &changes);
        committed.push((fs::metadata(&path).unwrap().len(), opened.state.clone()));
    }
    drop(opened);
    let whole = fs::read(&path).unwrap();
    let cut = folder.path().join("cut");
    for length in 0..=whole.len() {
        fs::write(&cut, &whole[..length]).unwrap();
        let expected = committed.iter().rfind(|(end, _)| *end <= length as u64);
        match (open(&cut), expected) {
            (Ok(mut opened), Some((_, state))) => {
                assert_eq!(&opened.state, state, "cut at {length}");
                // It goes on from there.
                keep(&mut opened, &[requested(100)]);
                let state = opened.state.clone();
                drop(opened);
                assert_eq!(open(&cut).unwrap().state, state);
            }
            (Ok(opened), None) => {
                assert_eq!(length, 0, "an empty file is a new one");
                assert_eq!(opened.state, SavedState::default());
            }
            (Err(_), None) => {}
            (Err(error), Some(_)) => panic!("cut at {length}: {error}"),
        }
    }
}

#[test]
fn a_byte_changed_anywhere_but_at_the_end_is_damage() {
    let folder = folder();
    let path = folder.path().join("state");
    let mut opened = open(&path).unwrap();
    keep(&mut opened, &[requested(1)]);
    keep(&mut opened, &[requested(2)]);
    let last_at = fs::metadata(&path).unwrap().len() as usize;
    keep(&mut opened, &[requested(3)]);
    drop(opened);
    let whole = fs::read(&path).unwrap();
    for at in 0..last_at {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        fs::write(&path, &bytes).unwrap();
        let error = open(&path).map(|_| ()).unwrap_err();
        let is_expected = match error {
            StateFileError::Foreign { .. } => at < MAGIC.len(),
            StateFileError::Damaged { .. } => at >= MAGIC.len(),
            _ => false,
        };
        assert!(is_expected, "byte {at}: {error}");
    }
}

#[test]
fn a_tail_of_zeros_is_a_write_that_did_not_happen() {
    let folder = folder();
    let path = folder.path().join("state");
    let mut opened = open(&path).unwrap();
    keep(&mut opened, &[requested(1)]);
    let expected = opened.state.clone();
    drop(opened);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend([0; 100]);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(open(&path).unwrap().state, expected);
}

#[test]
fn one_session_at_a_time_has_the_file() {
    let folder = folder();
    let path = folder.path().join("state");
    let mut opened = open(&path).unwrap();
    assert!(matches!(open(&path), Err(StateFileError::InUse { .. })));
    // The lock goes along when the file is written anew.
    let big = Payload::binary(vec![0; 300 * 1024]);
    let call = Call::Command { command: String::new(), payload: big };
    let key = RequestKey(1);
    let deadline_at_ms = None;
    keep(&mut opened, &[StateChange::Requested { key, call, deadline_at_ms }]);
    assert!(matches!(open(&path), Err(StateFileError::InUse { .. })));
    drop(opened);
    assert_eq!(open(&path).unwrap().state.requests.len(), 1);
}

#[test]
fn a_file_of_something_else_is_not_touched() {
    let folder = folder();
    let path = folder.path().join("state");
    fs::write(&path, "precious").unwrap();
    assert!(matches!(open(&path), Err(StateFileError::Foreign { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    fs::remove_file(&path).unwrap();
    drop(open(&path).unwrap());
    let error = StateFile::open(&path, "ws://elsewhere/server").map(|_| ()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("belongs to ws://localhost/server, not to ws://elsewhere"), "{text}");
    let missing = folder.path().join("no/such/folder/state");
    assert!(matches!(open(&missing), Err(StateFileError::Io { .. })));
}

#[test]
fn a_file_does_not_grow_for_ever() {
    let folder = folder();
    let path = folder.path().join("state");
    let mut opened = open(&path).unwrap();
    let channel = ChannelName::parse("news").unwrap();
    for round in 0..40u64 {
        let moved = |offset| StateChange::CursorMoved {
            channel: channel.clone(),
            place: Place { epoch: Epoch(1), offset: Offset(round * 1000 + offset) },
        };
        keep(&mut opened, &(0..1000).map(moved).collect::<Vec<_>>());
        let bytes = fs::metadata(&path).unwrap().len();
        assert!(bytes < 2 * COMPACTION_BYTES_MIN, "{bytes}");
    }
    let expected = opened.state.clone();
    drop(opened);
    assert_eq!(open(&path).unwrap().state, expected);
}
