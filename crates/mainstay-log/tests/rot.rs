//! What becomes of a log whose bytes rot.

#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]

use bytes::Bytes;
use mainstay_log::suite::histories::{difference, models, script};
use mainstay_log::testing::SimDisk;
use mainstay_log::{DiskLog, DiskOptions, Log, LogError, OpenError, Verify, Write};
use mainstay_wire::session::SessionId;

#[test]
fn rotten_bytes_are_noticed_and_never_served() {
    rot(Verify::Records);
}

#[test]
fn rotten_bytes_are_noticed_when_everything_is_verified() {
    rot(Verify::Everything);
}

fn rot(verify: Verify) {
    let script = script(8, 120);
    let models = models(&script);
    let disk = SimDisk::new(8);
    let mut log = open(&disk).unwrap();
    script.iter().for_each(|writes| log.commit(writes).unwrap());
    // As a process that was killed leaves it, and as one that stopped.
    let killed = disk.content();
    drop(log);
    let stopped = disk.content();
    // redb says of some damage that it met it by a panic, which is caught.
    std::panic::set_hook(Box::new(|_| {}));
    let mut outcomes = [0; 2];
    let mut wrong = Vec::new();
    let mut random = 88_172_645_463_325_252u64;
    for case in 0..CASES {
        let mut content = if case % 2 == 0 { killed.clone() } else { stopped.clone() };
        let length = content.len() as u64;
        let damage = match case % 10 {
            0 => {
                content.truncate((next(&mut random) % length) as usize);
                "truncated"
            }
            1 => {
                let at = (next(&mut random) % length) as usize & !511;
                content[at..at + 512].fill(0);
                "a sector of zeros"
            }
            2..=4 => {
                for _ in 0..20 {
                    flip(&mut content, next(&mut random));
                }
                "twenty bits"
            }
            _ => {
                flip(&mut content, next(&mut random));
                "a bit"
            }
        };
        let disk = SimDisk::new(case);
        disk.set_content(content);
        let options = DiskOptions { verify, ..DiskOptions::new(1) };
        let opened = DiskLog::open_on(disk, options);
        let compare = |mut log: DiskLog| match log.damaged_sessions()?.as_slice() {
            [] => difference(&mut log, &models[script.len()]),
            [session, ..] => Err(LogError::Corrupt(format!("session {session}"))),
        };
        match opened.map(compare) {
            Err(_) | Ok(Err(_)) => outcomes[0] += 1,
            Ok(Ok(None)) => outcomes[1] += 1,
            Ok(Ok(Some(what))) => wrong.push(format!("case {case}, {damage}: {what:.200}")),
        }
    }
    let _ = std::panic::take_hook();
    assert!(wrong.is_empty(), "{} of {CASES}: {wrong:#?}", wrong.len());
    assert!(outcomes.iter().all(|count| *count > CASES / 20), "{outcomes:?}");
}

#[test]
fn a_damaged_session_is_named_and_takes_nothing_with_it() {
    let disk = SimDisk::new(5);
    let mut log = open(&disk).unwrap();
    let session = |index: u8| SessionId::from_bytes([index; 16]);
    let record = |index: u8| Bytes::from(vec![b'a' + index; 200]);
    let put = |index| Write::PutSession { session: session(index), record: record(index) };
    log.commit(&(0..5).map(put).collect::<Vec<_>>()).unwrap();
    let reply = Bytes::from_static(b"done");
    log.commit(&[Write::PutReply { session: session(2), number: 1, reply }]).unwrap();
    drop(log);
    let mut content = disk.content();
    let places: Vec<_> =
        (0..content.len() - 100).filter(|at| content[*at..at + 100] == [b'c'; 100]).collect();
    places.iter().for_each(|at| content[*at] ^= 1);
    disk.set_content(content);

    let problems = open(&disk).unwrap().check().unwrap().problems;
    let named = format!("session {} is not", session(2));
    assert!(problems.iter().any(|problem| problem.contains(&named)), "{problems:?}");
    let mut log = open(&disk).unwrap();
    assert_eq!(log.damaged_sessions().unwrap(), [session(2)]);
    let others = |log: &mut DiskLog| -> Vec<_> {
        let first = log.sessions(None, 2).unwrap();
        let rest = log.sessions(first.last().map(|(id, _)| *id), 9).unwrap();
        first.into_iter().chain(rest).collect()
    };
    let expected = [0, 1, 3, 4].map(|index| (session(index), record(index)));
    assert_eq!(others(&mut log), expected);
    log.commit(&[Write::DeleteSession { session: session(2) }]).unwrap();
    drop(log);
    let mut log = open(&disk).unwrap();
    assert!(log.damaged_sessions().unwrap().is_empty());
    assert!(log.replies(session(2)).unwrap().is_empty());
    assert_eq!(others(&mut log), expected);
}

/// What a killed process leaves says with one bit which of two commits counts, and both are whole: if
/// the bit rots, the log stands where it stood one commit before. Nothing else in the header can do so.
#[test]
fn one_bit_of_the_header_takes_back_one_commit_and_the_others_are_noticed() {
    let script = script(3, 30);
    let models = models(&script);
    let disk = SimDisk::new(3);
    let mut log = open(&disk).unwrap();
    script.iter().for_each(|writes| log.commit(writes).unwrap());
    let killed = disk.content();
    drop(log);
    std::panic::set_hook(Box::new(|_| {}));
    let mut wrong = Vec::new();
    for (name, content) in [("killed", killed), ("stopped", disk.content())] {
        for bit in 0..HEADER_BYTES * 8 {
            let mut content = content.clone();
            flip(&mut content, bit);
            let disk = SimDisk::new(bit);
            disk.set_content(content);
            let outcome = open(&disk)
                .map(|mut log| (difference(&mut log, &models[script.len()]), log.commit_count()));
            if let Ok((Ok(Some(_)), count)) = outcome {
                wrong.push(format!("{name}, bit {} of byte {}: commit {count}", bit % 8, bit / 8));
            }
        }
    }
    let _ = std::panic::take_hook();
    assert_eq!(wrong, ["killed, bit 0 of byte 9: commit 29"]);
}

fn flip(content: &mut [u8], random: u64) {
    let bit = (random % (content.len() as u64 * 8)) as usize;
    content[bit / 8] ^= 1 << (bit % 8);
}

fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random >> 3
}

const CASES: u64 = 400;

fn open(disk: &SimDisk) -> Result<DiskLog, OpenError> {
    DiskLog::open_on(disk.clone(), DiskOptions::new(1))
}

/// Both descriptions of a commit, and what says which of the two counts.
const HEADER_BYTES: u64 = 320;
