//! What becomes of a log when its disk loses power, fails or rots.

#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]

use mainstay_log::suite::histories::{Model, compare, models, script};
use mainstay_log::testing::{Call, Fault, SimDisk};
use mainstay_log::{DiskLog, DiskOptions, Log, LogError, OpenError, Write};

mod failing_calls;
mod power_cut;

fn open(disk: &SimDisk) -> Result<DiskLog, OpenError> {
    DiskLog::open_on(disk.clone(), DiskOptions::new(1))
}

/// Opens a disk whose power was cut after so many commits had returned. What was in flight may be
/// there, wholly.
fn recovered(disk: &SimDisk, acknowledged: usize, models: &[Model], context: &str) {
    let mut log = open(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    let found = log.commit_count() as usize;
    assert!(
        found == acknowledged || found == acknowledged + 1,
        "{context}: {found} commits of {acknowledged} acknowledged"
    );
    let difference = mainstay_log::suite::histories::difference(&mut log, &models[found]);
    assert_eq!(difference.unwrap(), None, "{context}");
}
