//! The disk fills up under load, and has room again later.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::case::Case;
use crate::clients::{LARGE, PATIENCE};
use crate::crowd::Crowd;
use crate::kills::{UNBOUNDED, wait_for_progress};
use crate::program::Program;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_and_is_got_over() {
    fill(Case::begin("full-disk"), Killed::Never).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_on_a_full_disk_has_lost_nothing() {
    fill(Case::begin("full-disk-kill"), Killed::Once).await;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Killed {
    Never,
    Once,
}

async fn fill(case: Case, killed: Killed) {
    let Some(disk) = Disk::mount(&case.folder().join("disk")) else {
        case.tell("SKIPPED: mounting a small disk takes root");
        return;
    };
    let data = disk.folder.join("data");
    let mut program = Program::start_in(case.folder(), data, UNBOUNDED);
    let mut crowd = Crowd::gather(&case, program.address());
    for who in 0..2 {
        crowd.listen(who).await;
    }
    for who in LARGE..LARGE + 4 {
        crowd.publish(who, Duration::from_millis(1)).await;
    }
    wait_until_full(&case).await;
    case.tell(&format!("full after {} events", case.journal.stored_count()));
    assert!(program.is_running(), "a full disk ends nothing");
    if killed == Killed::Once {
        // What was said before is what holds afterwards.
        program.kill();
        disk.resize("256m");
        program.run();
    } else {
        disk.resize("256m");
    }
    wait_for_progress(&case).await;
    crowd.finish().await;
    // Before the disk that it runs on.
    drop(program);
}

/// Until nothing was acknowledged for a while.
async fn wait_until_full(case: &Case) {
    let (mut count, mut since) = (0, Instant::now());
    let deadline = Instant::now() + PATIENCE;
    while count == 0 || since.elapsed() < Duration::from_secs(1) {
        assert!(Instant::now() < deadline, "the disk is never full");
        sleep(Duration::from_millis(20)).await;
        let stored = case.journal.stored_count();
        if stored != count {
            (count, since) = (stored, Instant::now());
        }
    }
}

/// A disk of 8 MB, in memory.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// `None` if this takes rights that we do not have.
    fn mount(folder: &Path) -> Option<Disk> {
        fs::create_dir(folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(folder);
        let is_mounted = mount.output().is_ok_and(|output| output.status.success());
        is_mounted.then(|| Disk { folder: folder.to_owned() })
    }

    fn resize(&self, size: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={size}")]).arg(&self.folder);
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
