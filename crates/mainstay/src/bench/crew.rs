//! The threads of one load, led through its phases together.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::opening::OpeningError;
use super::schedule::{Rate, Schedule};
use super::tally::Tally;
use super::target::Target;
use super::traffic::Traffic;
use super::worker::Worker;

/// What all connections are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Open, and wait for the others.
    Open,
    /// Send one batch and have it answered.
    Exchange,
    /// Send batch after batch.
    WarmUp,
    /// The same, and it counts.
    Measure,
    /// Have the last batch answered and close.
    Leave,
}

/// What the threads of a crew tell each other.
#[derive(Debug, Default)]
pub(super) struct Control {
    phase: AtomicU8,
    opened_count: AtomicUsize,
    rested_count: AtomicUsize,
    ended_count: AtomicUsize,
    reply_count: AtomicU64,
}

// Nothing but the numbers themselves passes between the threads, so no order is needed.
impl Control {
    pub(super) fn phase(&self) -> Phase {
        const PHASES: [Phase; 4] = [Phase::Open, Phase::Exchange, Phase::WarmUp, Phase::Measure];
        let index = usize::from(self.phase.load(Ordering::Relaxed));
        PHASES.get(index).copied().unwrap_or(Phase::Leave)
    }

    pub(super) fn add_opened(&self) {
        self.opened_count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_rested(&self) {
        self.rested_count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_ended(&self) {
        self.ended_count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_replies(&self, count: u64) {
        self.reply_count.fetch_add(count, Ordering::Relaxed);
    }

    /// Connections that opened.
    pub(super) fn opened_count(&self) -> usize {
        self.opened_count.load(Ordering::Relaxed)
    }

    /// Connections that had their one batch answered.
    pub(super) fn rested_count(&self) -> usize {
        self.rested_count.load(Ordering::Relaxed)
    }

    /// Connections that are over.
    pub(super) fn ended_count(&self) -> usize {
        self.ended_count.load(Ordering::Relaxed)
    }

    /// Right replies in the measured time.
    pub(super) fn reply_count(&self) -> u64 {
        self.reply_count.load(Ordering::Relaxed)
    }
}

/// How a load is spread.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    pub(super) connection_count: usize,
    pub(super) thread_count: usize,
    pub(super) source_count: u32,
    /// In an open loop.
    pub(super) rate: Option<Rate>,
}

/// Threads under load.
pub(super) struct Crew {
    control: Arc<Control>,
    workers: Vec<JoinHandle<Result<Tally, OpeningError>>>,
    connection_count: usize,
    interrupted: Arc<AtomicBool>,
}

/// Why waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// What was waited for has come, or its time is over.
    Through,
    /// Every connection has ended, or a thread has failed.
    Broken,
    /// Ctrl-C.
    Interrupted,
}

impl Crew {
    /// Starts the threads, which begin to open connections.
    ///
    /// # Errors
    /// The system gives no thread or no poll.
    pub(super) fn start(
        target: &Target,
        spread: &Spread,
        interrupted: &Arc<AtomicBool>,
        traffic: impl Fn() -> Traffic,
    ) -> io::Result<Crew> {
        let control = Arc::new(Control::default());
        let connection_count = spread.connection_count;
        // A thread without connections would have nothing to do.
        let thread_count = spread.thread_count.min(connection_count).max(1);
        let mut workers = Vec::new();
        for index in 0..thread_count {
            let bound = |index| connection_count * index / thread_count;
            let share = bound(index)..bound(index + 1);
            let (target, control) = (target.clone(), Arc::clone(&control));
            let traffic = traffic();
            let schedule = spread
                .rate
                .map(|rate| Schedule::new(rate, traffic.depth(), connection_count, share.clone()));
            let sources = spread.source_count;
            let worker = Worker::new(target, sources, share, traffic, schedule, control)?;
            let thread = thread::Builder::new().name(format!("load-{index}"));
            workers.push(thread.spawn(move || worker.run())?);
        }
        Ok(Crew { control, workers, connection_count, interrupted: Arc::clone(interrupted) })
    }

    /// Lets the next phase begin.
    pub(super) fn enter(&self, phase: Phase) {
        self.control.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Waits until every connection is open.
    pub(super) fn wait_opened(&self, seen: impl FnMut(&Control)) -> Waited {
        self.wait_until(None, |control| control.opened_count() >= self.connection_count, seen)
    }

    /// Waits until every connection had its one batch answered.
    pub(super) fn wait_rested(&self, timeout: Duration) -> Waited {
        let all = |control: &Control| control.rested_count() >= self.connection_count;
        self.wait_until(Some(timeout), all, |_| {})
    }

    /// Waits for a time.
    pub(super) fn wait(&self, time: Duration, seen: impl FnMut(&Control)) -> Waited {
        self.wait_until(Some(time), |_| false, seen)
    }

    fn wait_until(
        &self,
        timeout: Option<Duration>,
        is_reached: impl Fn(&Control) -> bool,
        mut seen: impl FnMut(&Control),
    ) -> Waited {
        let start = Instant::now();
        loop {
            seen(&self.control);
            let left = timeout.map_or(GLANCE, |timeout| timeout.saturating_sub(start.elapsed()));
            if self.interrupted.load(Ordering::Relaxed) {
                return Waited::Interrupted;
            }
            if is_reached(&self.control) || left.is_zero() {
                return Waited::Through;
            }
            let is_over = self.control.ended_count() >= self.connection_count;
            if is_over || self.workers.iter().any(JoinHandle::is_finished) {
                return Waited::Broken;
            }
            thread::sleep(left.min(GLANCE));
        }
    }

    /// Has everybody close and adds up what they counted.
    ///
    /// # Errors
    /// A connection did not open.
    pub(super) fn leave(self) -> Result<Tally, CrewError> {
        self.enter(Phase::Leave);
        let mut sum = Tally::new();
        let mut failure = None;
        for worker in self.workers {
            match worker.join() {
                Ok(Ok(tally)) => sum.add(tally),
                Ok(Err(error)) => failure = failure.or(Some(error.to_string())),
                Err(_) => failure = failure.or(Some("a thread of the load panicked".to_owned())),
            }
        }
        match failure {
            None => Ok(sum),
            Some(problem) => Err(CrewError {
                problem,
                opened_count: self.control.opened_count(),
                connection_count: self.connection_count,
            }),
        }
    }
}

/// Not every connection could be opened.
#[derive(Debug)]
pub(super) struct CrewError {
    problem: String,
    opened_count: usize,
    connection_count: usize,
}

impl fmt::Display for CrewError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CrewError { problem, opened_count, connection_count } = self;
        formatter.write_str(problem)?;
        match opened_count {
            0 => Ok(()),
            _ => write!(formatter, " (after {opened_count} of {connection_count} connections)"),
        }
    }
}

/// How often the leader looks at its crew: seldom enough to cost the load nothing.
const GLANCE: Duration = Duration::from_millis(20);
