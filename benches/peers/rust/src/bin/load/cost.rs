//! CPU time of both sides over a time.

use std::io;
use std::time::{Duration, Instant};

use mainstay_peers::process::Process;

/// The start of a measurement.
pub struct Stopwatch {
    server: Option<Process>,
    start: Instant,
    before: (Option<Duration>, Duration),
}

/// What it came to.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub elapsed: Duration,
    server: Option<Duration>,
    load: Duration,
}

impl Stopwatch {
    /// # Errors
    /// A process cannot be looked at.
    pub fn start(pid: Option<u32>) -> io::Result<Stopwatch> {
        let server = pid.map(Process::of);
        let before = cpu_times(server.as_ref())?;
        Ok(Stopwatch { server, start: Instant::now(), before })
    }

    /// # Errors
    /// A process cannot be looked at.
    pub fn stop(self) -> io::Result<Cost> {
        let elapsed = self.start.elapsed();
        let (server, load) = cpu_times(self.server.as_ref())?;
        let server = server.zip(self.before.0).map(|(after, before)| after.saturating_sub(before));
        Ok(Cost { elapsed, server, load: load.saturating_sub(self.before.1) })
    }
}

impl Cost {
    /// CPU time of the server for each of `count`, in nanoseconds.
    pub fn server_ns_per(&self, count: u64) -> Option<f64> {
        Some(self.server?.as_nanos() as f64 / count.max(1) as f64)
    }

    /// Of one CPU.
    pub fn server_percent(&self) -> Option<f64> {
        Some(100.0 * self.server?.as_secs_f64() / self.elapsed.as_secs_f64())
    }

    /// Of one CPU.
    pub fn load_percent(&self) -> f64 {
        100.0 * self.load.as_secs_f64() / self.elapsed.as_secs_f64()
    }
}

fn cpu_times(server: Option<&Process>) -> io::Result<(Option<Duration>, Duration)> {
    Ok((server.map(Process::cpu_time).transpose()?, Process::own().cpu_time()?))
}
