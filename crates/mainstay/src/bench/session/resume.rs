//! Sessions that come back: `bench resume`.

use std::iter::repeat_n;
use std::time::{Duration, Instant};

use mainstay_wire::session::Offset;

use super::fleet::{FleetError, Watch};
use super::report::SessionReport;
use super::{PATIENCE, Stage, channel, payload};

pub(super) struct Resume {
    pub(super) session_count: usize,
    /// Events that each session has missed.
    pub(super) missed_count: usize,
    pub(super) payload_bytes: usize,
}

#[derive(Default)]
struct Seen {
    ready_count: usize,
    stored_count: usize,
    delivered_count: usize,
    delivered_at: Option<Instant>,
}

impl Watch for Seen {
    fn ready(&mut self, _line: usize, _now: Instant) {
        self.ready_count += 1;
    }

    fn event(&mut self, _line: usize, _offset: Offset, now: Instant) {
        self.delivered_count += 1;
        self.delivered_at = Some(now);
    }

    fn stored(&mut self, _line: usize, _latency: Duration) {
        self.stored_count += 1;
    }
}

/// Cuts every session's connection, publishes, and lets one session after the other come back.
///
/// # Errors
/// There are no figures.
pub(super) fn run(stage: &mut Stage, resume: &Resume) -> Result<SessionReport, FleetError> {
    let Resume { session_count, missed_count, payload_bytes } = *resume;
    let (channel, payload) = (channel(0), payload(payload_bytes));
    let publisher = stage.fleet.add([]);
    let lines: Vec<usize> =
        (0..session_count).map(|_| stage.fleet.add([channel.clone()])).collect();
    let mut seen = Seen::default();
    let all = session_count + 1;
    stage.fleet.turn_until("opening", PATIENCE, &mut seen, |seen| seen.ready_count >= all)?;
    for line in &lines {
        stage.fleet.cut(*line);
    }
    for first in (0..missed_count).step_by(BATCH) {
        let count = BATCH.min(missed_count - first);
        stage.fleet.publish(publisher, repeat_n(&channel, count), &payload, Instant::now());
        let stored = |seen: &Seen| seen.stored_count >= first + count;
        stage.fleet.turn_until("publishing", PATIENCE, &mut seen, stored)?;
    }

    let (start, cpu_before) = (Instant::now(), stage.cpu_time()?);
    for line in &lines {
        seen = Seen::default();
        let since = Instant::now();
        stage.fleet.come_back(*line);
        stage.fleet.turn_until("a resume", PATIENCE, &mut seen, |seen| {
            seen.ready_count > 0 && seen.delivered_count >= missed_count
        })?;
        let at = seen.delivered_at.unwrap_or_else(Instant::now);
        stage.fleet.tally().add_replies(1, at.saturating_duration_since(since));
    }
    let (elapsed, cpu) = (start.elapsed(), stage.cpu_since(cpu_before)?);
    let title = format!(
        "{session_count} sessions one after the other, {missed_count} events of {payload_bytes} \
         bytes missed, {}",
        stage.encoding.subprotocol()
    );
    let mut report = SessionReport::new("resume", title, stage.take_tally());
    report.rate("resumes", session_count as u64, elapsed, cpu);
    report.figure("missed", missed_count);
    let histogram = report.tally.latency_ns.clone();
    report.latency("to the last", &histogram);
    Ok(report)
}

/// Fewer than a session may have without an outcome.
const BATCH: usize = 64;
