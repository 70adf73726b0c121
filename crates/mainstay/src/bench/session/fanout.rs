//! Bursts of events to many subscribers: `bench fanout`.

use std::time::{Duration, Instant};

use mainstay_wire::session::Offset;

use super::fleet::{FleetError, Watch};
use super::report::SessionReport;
use super::{PATIENCE, Stage, channel, payload};

pub(super) struct Fanout {
    pub(super) subscriber_count: usize,
    /// Events published at once.
    pub(super) burst: usize,
    pub(super) event_count: usize,
    pub(super) payload_bytes: usize,
}

struct Seen {
    ready_count: usize,
    stored_count: usize,
    delivered_count: usize,
    last_at: Instant,
}

impl Watch for Seen {
    fn ready(&mut self, _line: usize, _now: Instant) {
        self.ready_count += 1;
    }

    fn event(&mut self, _line: usize, _offset: Offset, now: Instant) {
        self.delivered_count += 1;
        self.last_at = now;
    }

    fn stored(&mut self, _line: usize, _latency: Duration) {
        self.stored_count += 1;
    }
}

/// Publishes a burst, waits until every subscriber has all of it, and publishes the next.
///
/// # Errors
/// There are no figures.
pub(super) fn run(stage: &mut Stage, fanout: &Fanout) -> Result<SessionReport, FleetError> {
    let Fanout { subscriber_count, burst, event_count, payload_bytes } = *fanout;
    let (channel, payload) = (channel(0), payload(payload_bytes));
    let publisher = stage.fleet.add([]);
    for _ in 0..subscriber_count {
        stage.fleet.add([channel.clone()]);
    }
    let last_at = Instant::now();
    let mut seen = Seen { ready_count: 0, stored_count: 0, delivered_count: 0, last_at };
    let all = subscriber_count + 1;
    stage.fleet.turn_until("opening", PATIENCE, &mut seen, |seen| seen.ready_count >= all)?;

    let bursts = std::iter::repeat_n(burst, WARM_UP_COUNT);
    let measured = (0..event_count).step_by(burst).map(|first| burst.min(event_count - first));
    let mut start = None;
    for (index, count) in bursts.chain(measured).enumerate() {
        if index == WARM_UP_COUNT {
            start = Some((Instant::now(), stage.cpu_time()?));
        }
        (seen.delivered_count, seen.stored_count) = (0, 0);
        let since = Instant::now();
        stage.fleet.publish(publisher, &channel, &payload, count, since);
        stage.fleet.turn_until("a burst", PATIENCE, &mut seen, |seen| {
            seen.delivered_count >= count * subscriber_count && seen.stored_count >= count
        })?;
        if start.is_some() {
            let latency = seen.last_at.saturating_duration_since(since);
            stage.fleet.tally().add_replies(1, latency);
        }
    }
    let (start, cpu_before) = start.unwrap_or((Instant::now(), None));
    let (elapsed, cpu) = (start.elapsed(), stage.cpu_since(cpu_before)?);
    let delivery_count = (event_count * subscriber_count) as u64;
    let title = format!(
        "{subscriber_count} subscribers, bursts of {burst}, {payload_bytes} bytes, {}",
        stage.encoding.subprotocol()
    );
    let mut report = SessionReport::new("fanout", title, stage.take_tally());
    report.rate("deliveries", delivery_count, elapsed, cpu);
    let histogram = report.tally.latency_ns.clone();
    report.latency("to the last", &histogram);
    Ok(report)
}

/// Bursts before it counts.
const WARM_UP_COUNT: usize = 20;
