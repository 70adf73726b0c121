//! CPU time of a process, as Linux tells it in `/proc`.

use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

/// A running process.
#[derive(Clone, Debug)]
pub struct Process {
    tasks: PathBuf,
}

impl Process {
    /// The process with this id.
    pub fn of(pid: u32) -> Process {
        Process { tasks: format!("/proc/{pid}/task").into() }
    }

    /// This process.
    pub fn own() -> Process {
        Process { tasks: "/proc/self/task".into() }
    }

    /// CPU time of all its threads so far, user and kernel. Of threads that have ended nothing is
    /// known: the difference of two readings is exact while the same threads live.
    ///
    /// # Errors
    /// The process is gone, or the kernel does not keep these figures.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        let mut total = Duration::ZERO;
        for thread in fs::read_dir(&self.tasks)? {
            // A thread may end between being listed and being read.
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            let ns = text.split_ascii_whitespace().next().and_then(|field| field.parse().ok());
            total += Duration::from_nanos(ns.ok_or(io::ErrorKind::InvalidData)?);
        }
        Ok(total)
    }
}
