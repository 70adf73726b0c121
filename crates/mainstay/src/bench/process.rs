//! What a process costs, as Linux tells it in `/proc`.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// A running process.
#[derive(Clone, Debug)]
pub(super) struct Process {
    folder: PathBuf,
}

impl Process {
    /// The process with this id.
    ///
    /// # Errors
    /// There is none, or it may not be looked at.
    pub(super) fn find(pid: u32) -> io::Result<Process> {
        let process = Process { folder: Path::new("/proc").join(pid.to_string()) };
        process.cpu_time()?;
        Ok(process)
    }

    /// This process.
    pub(super) fn own() -> Process {
        Process { folder: PathBuf::from("/proc/self") }
    }

    /// CPU time of all its threads so far, user and kernel. Of threads that have ended nothing is
    /// known: the difference of two readings is exact while the same threads live.
    ///
    /// # Errors
    /// The process is gone, or this is not Linux.
    pub(super) fn cpu_time(&self) -> io::Result<Duration> {
        self.cpu_time_where(|_| true)
    }

    /// CPU time so far of its threads with this name.
    ///
    /// # Errors
    /// As [`cpu_time`](Process::cpu_time).
    pub(super) fn thread_cpu_time(&self, name: &str) -> io::Result<Duration> {
        self.cpu_time_where(|folder| {
            fs::read_to_string(folder.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        })
    }

    fn cpu_time_where(&self, is_counted: impl Fn(&Path) -> bool) -> io::Result<Duration> {
        let mut total = Duration::ZERO;
        for thread in fs::read_dir(self.folder.join("task"))? {
            let folder = thread?.path();
            if is_counted(&folder) {
                // A thread may end between being listed and being read.
                total += cpu_time_in(&folder).unwrap_or_default();
            }
        }
        Ok(total)
    }

    /// The most memory that it ever had resident.
    ///
    /// # Errors
    /// As [`memory`](Process::memory).
    pub(super) fn peak_bytes(&self) -> io::Result<u64> {
        let status = fs::read_to_string(self.folder.join("status"))?;
        field_bytes(&status, "VmHWM")
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no VmHWM"))
    }

    /// Its memory.
    ///
    /// # Errors
    /// The process is gone, belongs to another user, or this is not Linux.
    pub(super) fn memory(&self) -> io::Result<Memory> {
        let status = fs::read_to_string(self.folder.join("status"))?;
        let rollup = fs::read_to_string(self.folder.join("smaps_rollup"))?;
        let field = |text: &str, name: &'static str| {
            field_bytes(text, name)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no {name}")))
        };
        Ok(Memory {
            status_rss_bytes: field(&status, "VmRSS")?,
            rss_bytes: field(&rollup, "Rss")?,
            anonymous_bytes: field(&rollup, "Anonymous")?,
        })
    }
}

/// Memory of a process in user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    /// `VmRSS` of `status`: what most tools show, kept in counters that lag a little.
    pub(super) status_rss_bytes: u64,
    /// `Rss` of `smaps_rollup`: the same, counted page by page.
    pub(super) rss_bytes: u64,
    /// `Anonymous` of `smaps_rollup`: heap and stacks, without the program's own file.
    pub(super) anonymous_bytes: u64,
}

fn cpu_time_in(folder: &Path) -> Option<Duration> {
    let read = |name| fs::read_to_string(folder.join(name)).ok();
    // Nanoseconds, where the kernel keeps them; else ticks of 10 ms.
    read("schedstat")
        .and_then(|text| parse_schedstat(&text))
        .or_else(|| read("stat").and_then(|text| parse_stat(&text)))
}

/// The first of three numbers: nanoseconds spent on a CPU.
fn parse_schedstat(text: &str) -> Option<Duration> {
    text.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Fields 14 and 15: ticks in user and in kernel mode.
fn parse_stat(text: &str) -> Option<Duration> {
    // The second field is the program's name, which may hold blanks and parentheses itself.
    let (_, fields) = text.rsplit_once(')')?;
    let mut ticks = fields.split_ascii_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let (user, kernel) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some(TICK * u32::try_from(user.checked_add(kernel)?).ok()?)
}

/// The value of a line such as `VmRSS:      1624 kB`.
fn field_bytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// `USER_HZ` is 100 wherever Linux runs today.
const TICK: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Instant;

    use super::*;

    #[test]
    fn cpu_times_are_read() {
        assert_eq!(
            parse_schedstat("545589131 8796008 58\n"),
            Some(Duration::from_nanos(545_589_131))
        );
        for text in ["", "x 1 2", "-1 0 0"] {
            assert_eq!(parse_schedstat(text), None, "{text:?}");
        }
        let stat = "17 (a b) c) R 1 1 1 0 -1 4194304 2840 6511 0 0 53 4 3 1 20 0 1 0 2183";
        assert_eq!(parse_stat(stat), Some(Duration::from_millis(570)));
        for text in ["", "17 (a) R 1 2 3", "17 a R 1 1 1 0 -1 4 2 6 0 0 53 4"] {
            assert_eq!(parse_stat(text), None, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_read() {
        let text = "VmHWM:\t    9 kB\nVmRSS:\t    1624 kB\nVmRSSX: 1 kB\nRss:    7 pages\n";
        assert_eq!(field_bytes(text, "VmRSS"), Some(1624 * 1024));
        for name in ["Rss", "RSS", "VmSwap"] {
            assert_eq!(field_bytes(text, name), None, "{name}");
        }
    }

    #[test]
    fn this_process_is_seen_to_work_and_to_hold_memory() {
        let process = Process::find(std::process::id()).unwrap();
        let before = process.cpu_time().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while process.cpu_time().unwrap() < before + Duration::from_millis(20) {
            assert!(Instant::now() < deadline, "a busy process uses CPU time");
        }
        let before = process.memory().unwrap();
        let held = vec![1_u8; 64 << 20];
        let after = process.memory().unwrap();
        assert!(
            after.anonymous_bytes > before.anonymous_bytes + (60 << 20),
            "{before:?} {after:?}"
        );
        assert!(held.iter().all(|byte| *byte == 1));
    }

    #[test]
    fn a_thread_is_told_from_the_others_by_its_name() {
        let process = Process::own();
        let is_over = Arc::new(AtomicBool::new(false));
        let busy = {
            let is_over = Arc::clone(&is_over);
            let spin = move || {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            };
            thread::Builder::new().name("busy-for-a-test".to_owned()).spawn(spin).unwrap()
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while process.thread_cpu_time("busy-for-a-test").unwrap() < Duration::from_millis(20) {
            assert!(Instant::now() < deadline, "a busy thread uses CPU time");
            thread::yield_now();
        }
        assert_eq!(process.thread_cpu_time("busy").unwrap(), Duration::ZERO, "a part of a name");
        is_over.store(true, Ordering::Relaxed);
        busy.join().unwrap();
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Process::find(u32::MAX).is_err());
    }
}
