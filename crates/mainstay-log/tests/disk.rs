//! The disk engine keeps the contract, in a directory and on a simulated disk.

#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]

use std::path::PathBuf;

use mainstay_log::suite::Subject;
use mainstay_log::testing::SimDisk;
use mainstay_log::{DiskLog, DiskOptions, Log, log_suite};

struct Disk<Open: Fn() -> DiskLog> {
    log: Option<DiskLog>,
    open: Open,
    /// Removed at the end.
    _directory: Option<tempfile::TempDir>,
}

impl<Open: Fn() -> DiskLog> Subject for Disk<Open> {
    fn log(&mut self) -> &mut dyn Log {
        self.log.as_mut().unwrap()
    }

    fn reopen(&mut self) {
        self.log = None;
        self.log = Some((self.open)());
    }
}

fn in_directory() -> impl Subject {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("log");
    let open = move || DiskLog::open(&path, DiskOptions::new(1)).unwrap();
    Disk { log: Some(open()), open, _directory: Some(directory) }
}

fn on_simulated_disk() -> impl Subject {
    let disk = SimDisk::new(1);
    let open = move || DiskLog::open_on(disk.clone(), DiskOptions::new(1)).unwrap();
    Disk { log: Some(open()), open, _directory: None }
}

// Few, because a real disk may take its time for every commit.
log_suite!(directory, in_directory(), 16);
log_suite!(simulated, on_simulated_disk(), 512);
