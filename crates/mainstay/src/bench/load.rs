//! Steady load for a time: `bench echo` and `bench commands`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::crew::{Control, Crew, CrewError, Phase, Spread, Waited};
use super::process::Process;
use super::report::{CpuUse, LoadReport};
use super::target::Target;
use super::traffic::Traffic;

/// What is to be measured.
pub(super) struct Load<'a> {
    pub(super) what: &'static str,
    pub(super) target: &'a Target,
    pub(super) spread: Spread,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
    pub(super) depth: usize,
    pub(super) server: Option<Process>,
    pub(super) bar: ProgressBar,
    pub(super) interrupted: Arc<AtomicBool>,
}

/// Runs the load and says what came of it, also when Ctrl-C or the server ended it early.
///
/// # Errors
/// Nothing could be measured.
pub(super) fn run(load: &Load<'_>, traffic: impl Fn() -> Traffic) -> Result<LoadReport, LoadError> {
    let crew = Crew::start(load.target, &load.spread, &load.interrupted, traffic)?;
    let mut waited = open(&crew, load);
    let mut measured = Measured::default();
    if waited == Waited::Through {
        crew.enter(Phase::WarmUp);
        load.bar.set_message("warming up");
        waited = crew.wait(load.warm_up, |_| {});
    }
    if waited == Waited::Through {
        (waited, measured) = measure(&crew, load)?;
    }
    load.bar.finish_and_clear();
    let tally = crew.leave()?;
    let Measured { elapsed, server, client } = measured;
    Ok(LoadReport {
        what: load.what,
        url: format!("ws://{}{}", load.target.host, load.target.path),
        connections: load.spread.connection_count,
        threads: load.spread.thread_count,
        depth: load.depth,
        rate: load.spread.rate,
        elapsed,
        is_interrupted: waited == Waited::Interrupted,
        server: server.map(|time| CpuUse::new(time, elapsed, tally.latency_ns.len())),
        client: CpuUse::new(client, elapsed, tally.latency_ns.len()),
        tally,
    })
}

fn open(crew: &Crew, load: &Load<'_>) -> Waited {
    load.bar.set_length(load.spread.connection_count as u64);
    load.bar.set_style(style("{msg} [{bar:40}] {pos}/{len}"));
    load.bar.set_message("opening");
    crew.wait_opened(|control| load.bar.set_position(control.opened_count() as u64))
}

/// The measured time and the CPU time used in it.
#[derive(Default)]
struct Measured {
    elapsed: Duration,
    server: Option<Duration>,
    client: Duration,
}

fn measure(crew: &Crew, load: &Load<'_>) -> io::Result<(Waited, Measured)> {
    let milliseconds = u64::try_from(load.duration.as_millis()).unwrap_or(u64::MAX);
    load.bar.set_length(milliseconds);
    load.bar.set_style(style("{msg} [{bar:40}] {eta} left"));
    let client = Process::own();
    let cpu_times = || -> io::Result<_> {
        Ok((load.server.as_ref().map(Process::cpu_time).transpose()?, client.cpu_time()?))
    };
    let (server_before, client_before) = cpu_times()?;
    let start = Instant::now();
    crew.enter(Phase::Measure);
    let waited = crew.wait(load.duration, |control: &Control| {
        let elapsed = start.elapsed();
        load.bar.set_position(elapsed.as_millis() as u64);
        let rate = control.reply_count() as f64 / elapsed.as_secs_f64().max(0.001);
        load.bar.set_message(format!("measuring: {rate:.0} messages/s"));
    });
    let elapsed = start.elapsed();
    // A server that died has no CPU time to tell, and the rest is still worth telling.
    let server_after = load.server.as_ref().and_then(|server| server.cpu_time().ok());
    let client_after = client.cpu_time()?;
    let server =
        server_after.zip(server_before).map(|(after, before)| after.saturating_sub(before));
    Ok((waited, Measured { elapsed, server, client: client_after.saturating_sub(client_before) }))
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; a plain bar would do as well.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Nothing could be measured.
#[derive(Debug)]
pub(super) enum LoadError {
    /// Not every connection opened.
    Crew(CrewError),
    /// The system failed us.
    System(io::Error),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoadError::Crew(error) => error.fmt(formatter),
            LoadError::System(error) => error.fmt(formatter),
        }
    }
}

impl From<CrewError> for LoadError {
    fn from(error: CrewError) -> LoadError {
        LoadError::Crew(error)
    }
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> LoadError {
        LoadError::System(error)
    }
}
