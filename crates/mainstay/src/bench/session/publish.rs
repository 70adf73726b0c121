//! Publishes and their acknowledgements: `bench publish`.

use std::collections::VecDeque;
use std::iter::repeat_n;
use std::time::{Duration, Instant};

use mainstay_wire::ChannelName;

use super::fleet::{FleetError, Watch};
use super::report::SessionReport;
use super::{PATIENCE, Stage, channel, payload};

pub(super) struct Publishing {
    pub(super) connection_count: usize,
    pub(super) channel_count: usize,
    pub(super) payload_bytes: usize,
    pub(super) rate: Rate,
    /// Publishes without an outcome on one connection.
    pub(super) depth: usize,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
}

/// How fast to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    /// The next one follows as soon as an earlier one is stored.
    Max,
    /// So many a second, whether earlier ones are stored or not.
    PerSecond(u32),
}

struct Seen {
    ready_count: usize,
    latencies: Vec<Duration>,
    /// Connections that have room again, once for each outcome.
    roomy: Vec<usize>,
}

impl Watch for Seen {
    fn ready(&mut self, _line: usize, _now: Instant) {
        self.ready_count += 1;
    }

    fn stored(&mut self, line: usize, latency: Duration) {
        self.latencies.push(latency);
        self.roomy.push(line);
    }
}

/// Publishes for a time.
///
/// # Errors
/// There are no figures.
pub(super) fn run(stage: &mut Stage, what: &Publishing) -> Result<SessionReport, FleetError> {
    let mut seen = Seen { ready_count: 0, latencies: Vec::new(), roomy: Vec::new() };
    for _ in 0..what.connection_count {
        stage.fleet.add([]);
    }
    let all = what.connection_count;
    stage.fleet.turn_until("opening", PATIENCE, &mut seen, |seen| seen.ready_count >= all)?;
    let mut source = Source::new(what);
    source.run_for(stage, &mut seen, what.warm_up)?;
    seen.latencies.clear();

    let (start, cpu_before) = (Instant::now(), stage.cpu_time()?);
    source.run_for(stage, &mut seen, what.duration)?;
    let (elapsed, cpu) = (start.elapsed(), stage.cpu_since(cpu_before)?);
    let count = seen.latencies.len() as u64;
    for latency in std::mem::take(&mut seen.latencies) {
        stage.fleet.tally().add_replies(1, latency);
    }
    // What is on its way gets its outcome too, or the next run on this server would hear of it.
    source.drain(stage, &mut seen)?;
    let rate = match what.rate {
        Rate::Max => format!("as fast as acknowledged, depth {}", what.depth),
        Rate::PerSecond(rate) => format!("{rate}/s"),
    };
    let (connections, bytes) = (what.connection_count, what.payload_bytes);
    let title = format!(
        "{connections} connections, {bytes} bytes, {rate}, {}",
        stage.encoding.subprotocol()
    );
    let mut report = SessionReport::new("publish", title, stage.take_tally());
    report.rate("publishes", count, elapsed, cpu);
    let histogram = report.tally.latency_ns.clone();
    report.latency("acknowledged", &histogram);
    if what.rate != Rate::Max {
        report.text("", "(since the moment at which each was due, also where it had to wait)");
    }
    Ok(report)
}

/// When which connection publishes.
struct Source<'a> {
    what: &'a Publishing,
    channels: Vec<ChannelName>,
    payload: mainstay_wire::session::Payload,
    began: Instant,
    due_count: u64,
    /// Publishes that are due on a connection that has no room.
    late: Vec<VecDeque<Instant>>,
    is_begun: bool,
}

impl Source<'_> {
    fn new(what: &Publishing) -> Source<'_> {
        Source {
            what,
            channels: (0..what.channel_count).map(channel).collect(),
            payload: payload(what.payload_bytes),
            began: Instant::now(),
            due_count: 0,
            late: vec![VecDeque::new(); what.connection_count],
            is_begun: false,
        }
    }

    fn run_for(
        &mut self,
        stage: &mut Stage,
        seen: &mut Seen,
        time: Duration,
    ) -> Result<(), FleetError> {
        if !std::mem::replace(&mut self.is_begun, true) {
            self.began = Instant::now();
            if self.what.rate == Rate::Max {
                for line in 0..self.what.connection_count {
                    self.publish(stage, line, self.what.depth, Instant::now());
                }
            }
        }
        let start = Instant::now();
        while let Some(left) = time.checked_sub(start.elapsed()) {
            let wait = match self.what.rate {
                Rate::Max => left,
                Rate::PerSecond(rate) => {
                    self.publish_due(stage, rate);
                    let next = self.due_at(rate).saturating_duration_since(Instant::now());
                    // The poll counts in milliseconds: shorter waits would be rounded up to one.
                    left.min(if next < SHORT { Duration::ZERO } else { next })
                }
            };
            stage.fleet.turn(wait.min(TURN_MAX), seen)?;
            self.refill(stage, seen);
        }
        Ok(())
    }

    /// Lets those publish again who have room.
    fn refill(&mut self, stage: &mut Stage, seen: &mut Seen) {
        seen.roomy.sort_unstable();
        let roomy = std::mem::take(&mut seen.roomy);
        for lines in roomy.chunk_by(|one, other| one == other) {
            let Some(&line) = lines.first() else { continue };
            if self.what.rate == Rate::Max {
                self.publish(stage, line, lines.len(), Instant::now());
                continue;
            }
            for _ in lines {
                let late = self.late.get_mut(line).and_then(VecDeque::pop_front);
                if let Some(since) = late {
                    self.publish(stage, line, 1, since);
                }
            }
        }
    }

    fn publish_due(&mut self, stage: &mut Stage, rate: u32) {
        let now = Instant::now();
        while self.due_at(rate) <= now {
            let since = self.due_at(rate);
            let line = (self.due_count % self.what.connection_count as u64) as usize;
            self.due_count += 1;
            match stage.fleet.waiting_count(line) < self.what.depth {
                true => self.publish(stage, line, 1, since),
                false => {
                    if let Some(late) = self.late.get_mut(line) {
                        late.push_back(since);
                    }
                }
            }
        }
    }

    fn due_at(&self, rate: u32) -> Instant {
        self.began + Duration::from_nanos(self.due_count * 1_000_000_000 / u64::from(rate.max(1)))
    }

    fn publish(&self, stage: &mut Stage, line: usize, count: usize, since: Instant) {
        if let Some(channel) = self.channels.get(line % self.channels.len().max(1)) {
            stage.fleet.publish(line, repeat_n(channel, count), &self.payload, since);
        }
    }

    fn drain(&self, stage: &mut Stage, seen: &mut Seen) -> Result<(), FleetError> {
        let start = Instant::now();
        let waits = |stage: &Stage| {
            (0..self.what.connection_count).any(|line| stage.fleet.waiting_count(line) > 0)
        };
        while waits(stage) {
            if start.elapsed() > PATIENCE {
                return Err(FleetError::Stuck("the last outcomes"));
            }
            stage.fleet.turn(TURN_MAX, seen)?;
        }
        Ok(())
    }
}

const TURN_MAX: Duration = Duration::from_millis(10);
const SHORT: Duration = Duration::from_millis(1);
