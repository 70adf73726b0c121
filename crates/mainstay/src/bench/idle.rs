//! Memory of connections that do nothing: `bench idle`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{fmt, io};

use indicatif::ProgressBar;

use super::crew::{Crew, CrewError, Phase, Spread, Waited};
use super::process::{Memory, Process};
use super::report::{IdleReport, Opened};
use super::target::Target;
use super::traffic::Traffic;

/// What is to be measured.
pub(super) struct Idle<'a> {
    pub(super) target: &'a Target,
    pub(super) spread: Spread,
    pub(super) server: Process,
    pub(super) bar: ProgressBar,
    pub(super) interrupted: Arc<AtomicBool>,
}

/// Opens the connections, has one message answered on each, and reads the server's memory before
/// and after, each time once it has come to rest.
///
/// # Errors
/// Not every connection opened and was answered, or the server cannot be looked at.
pub(super) fn run(idle: &Idle<'_>, traffic: impl Fn() -> Traffic) -> Result<IdleReport, IdleError> {
    // What a server sets up at its very first connections belongs to none of them.
    idle.bar.set_message("warming up");
    let few = Spread { connection_count: FIRST_COUNT, thread_count: 1, ..idle.spread.clone() };
    let crew = Crew::start(idle.target, &few, &idle.interrupted, &traffic)?;
    let waited = exchange(&crew, idle, || Ok(()))?;
    check(waited, crew.leave()?.is_flawless())?;
    wait_quiet(idle)?;
    let before = idle.server.memory()?;

    let (start, cpu_before) = (Instant::now(), idle.server.cpu_time()?);
    let crew = Crew::start(idle.target, &idle.spread, &idle.interrupted, &traffic)?;
    let (mut after, mut opening) = (None, Opened::default());
    let opened = || {
        let cpu = idle.server.cpu_time()?.saturating_sub(cpu_before);
        opening = Opened { elapsed: start.elapsed(), cpu };
        Ok(())
    };
    let waited = match exchange(&crew, idle, opened)? {
        Waited::Through => wait_quiet(idle).and_then(|()| {
            after = Some(idle.server.memory()?);
            Ok(Waited::Through)
        }),
        other => Ok(other),
    };
    idle.bar.finish_and_clear();
    let tally = crew.leave()?;
    let waited = waited?;
    let Some(after) = after else {
        check(waited, false)?;
        return Err(IdleError::Broken);
    };
    Ok(IdleReport {
        url: format!("ws://{}{}", idle.target.host, idle.target.path),
        connections: idle.spread.connection_count,
        opening,
        before,
        after,
        tally,
    })
}

fn exchange(
    crew: &Crew,
    idle: &Idle<'_>,
    opened: impl FnOnce() -> io::Result<()>,
) -> io::Result<Waited> {
    idle.bar.set_message("opening");
    let waited = crew.wait_opened(|control| {
        let count = control.opened_count();
        idle.bar.set_message(format!("opening: {count} connections"));
    });
    if waited != Waited::Through {
        return Ok(waited);
    }
    opened()?;
    crew.enter(Phase::Exchange);
    idle.bar.set_message("exchanging a message on each connection");
    Ok(crew.wait_rested(EXCHANGE_TIMEOUT))
}

fn check(waited: Waited, is_flawless: bool) -> Result<(), IdleError> {
    match waited {
        Waited::Interrupted => Err(IdleError::Interrupted),
        Waited::Through if is_flawless => Ok(()),
        _ => Err(IdleError::Broken),
    }
}

fn wait_quiet(idle: &Idle<'_>) -> Result<(), IdleError> {
    idle.bar.set_message("waiting for the server to come to rest");
    wait_until_quiet(&idle.server, |interval| {
        thread::sleep(interval);
        match idle.interrupted.load(Ordering::Relaxed) {
            true => Err(IdleError::Interrupted),
            false => Ok(()),
        }
    })
}

/// Waits until a server has nothing left to do: until it has used next to no CPU for a while and
/// its memory has stopped changing. A server that never rests is measured as it is.
pub(super) fn wait_until_quiet<E: From<io::Error>>(
    server: &Process,
    mut pause: impl FnMut(Duration) -> Result<(), E>,
) -> Result<(), E> {
    let start = Instant::now();
    let mut last: Option<(Duration, Memory)> = None;
    while start.elapsed() < QUIET_TIMEOUT {
        let now = (server.cpu_time()?, server.memory()?);
        if let Some((cpu_time, memory)) = last {
            let is_calm = now.0.saturating_sub(cpu_time) < QUIET_INTERVAL / QUIET_SHARE;
            if is_calm && now.1.rss_bytes.abs_diff(memory.rss_bytes) < QUIET_BYTES {
                return Ok(());
            }
        }
        last = Some(now);
        pause(QUIET_INTERVAL)?;
    }
    Ok(())
}

/// Nothing could be measured.
#[derive(Debug)]
pub(super) enum IdleError {
    /// Not every connection opened.
    Crew(CrewError),
    /// The system failed us, or the server's process cannot be looked at.
    System(io::Error),
    /// The server ended connections or did not answer.
    Broken,
    /// Ctrl-C.
    Interrupted,
}

impl fmt::Display for IdleError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdleError::Crew(error) => error.fmt(formatter),
            IdleError::System(error) => error.fmt(formatter),
            IdleError::Broken => formatter.write_str(
                "not every connection had its message answered rightly; \
                 does --message fit what the server speaks?",
            ),
            IdleError::Interrupted => formatter.write_str("interrupted before it was measured"),
        }
    }
}

impl From<CrewError> for IdleError {
    fn from(error: CrewError) -> IdleError {
        IdleError::Crew(error)
    }
}

impl From<io::Error> for IdleError {
    fn from(error: io::Error) -> IdleError {
        IdleError::System(error)
    }
}

/// Enough to touch every part of a server once, too few to be seen beside thousands.
const FIRST_COUNT: usize = 8;
/// For one small message on each of many connections.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// A garbage collector may need seconds to come to rest.
const QUIET_TIMEOUT: Duration = Duration::from_secs(15);
const QUIET_INTERVAL: Duration = Duration::from_millis(500);
/// At rest a server uses less than this fraction of a CPU: heartbeats of 10,000 connections do.
const QUIET_SHARE: u32 = 50;
/// Less than one page for each of some 16 connections.
const QUIET_BYTES: u64 = 64 * 1024;
