//! Bursts of events to many subscribers: `bench fanout`.

use std::time::{Duration, Instant};

use mainstay_wire::ChannelName;
use mainstay_wire::session::Offset;

use super::fleet::{FleetError, Watch};
use super::report::SessionReport;
use super::{PATIENCE, Stage, channel, payload};

pub(super) struct Fanout {
    pub(super) subscriber_count: usize,
    /// Channels that the subscribers share, and that events go to in turn.
    pub(super) channel_count: usize,
    /// Events published at once.
    pub(super) burst: usize,
    pub(super) event_count: usize,
    pub(super) payload_bytes: usize,
}

impl Fanout {
    /// Which subscriber listens to which channel: each to one at least, and each is listened to.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let (subscriber_count, channel_count) = (self.subscriber_count, self.channel_count);
        let count = subscriber_count.max(channel_count);
        (0..count).map(move |index| (index % subscriber_count, index % channel_count))
    }
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
    let Fanout { subscriber_count, channel_count, burst, event_count, payload_bytes } = *fanout;
    let channels: Vec<ChannelName> = (0..channel_count).map(channel).collect();
    let mut listener_counts = vec![0; channel_count];
    let mut heard = vec![Vec::new(); subscriber_count];
    for (subscriber, channel) in fanout.pairs() {
        listener_counts[channel] += 1;
        heard[subscriber].push(channels[channel].clone());
    }
    let payload = payload(payload_bytes);
    let publisher = stage.fleet.add([]);
    for channels in heard {
        stage.fleet.add(channels);
    }
    let last_at = Instant::now();
    let mut seen = Seen { ready_count: 0, stored_count: 0, delivered_count: 0, last_at };
    let all = subscriber_count + 1;
    stage.fleet.turn_until("opening", PATIENCE, &mut seen, |seen| seen.ready_count >= all)?;

    let bursts = std::iter::repeat_n(burst, WARM_UP_COUNT);
    let measured = (0..event_count).step_by(burst).map(|first| burst.min(event_count - first));
    let mut start = None;
    let mut turns = channels.iter().zip(listener_counts).cycle();
    let mut delivery_count = 0;
    for (index, count) in bursts.chain(measured).enumerate() {
        if index == WARM_UP_COUNT {
            start = Some((Instant::now(), stage.cpu_time()?));
            delivery_count = 0;
        }
        (seen.delivered_count, seen.stored_count) = (0, 0);
        let since = Instant::now();
        let mut expected_count = 0;
        let burst = turns.by_ref().take(count);
        let burst = burst.inspect(|(_, listener_count)| expected_count += listener_count);
        stage.fleet.publish(publisher, burst.map(|(channel, _)| channel), &payload, since);
        stage.fleet.turn_until("a burst", PATIENCE, &mut seen, |seen| {
            seen.delivered_count >= expected_count && seen.stored_count >= count
        })?;
        delivery_count += expected_count;
        if start.is_some() {
            let latency = seen.last_at.saturating_duration_since(since);
            stage.fleet.tally().add_replies(1, latency);
        }
    }
    let (start, cpu_before) = start.unwrap_or((Instant::now(), None));
    let (elapsed, cpu) = (start.elapsed(), stage.cpu_since(cpu_before)?);
    let channels = match channel_count {
        1 => String::new(),
        count => format!("{count} channels, "),
    };
    let title = format!(
        "{subscriber_count} subscribers, {channels}bursts of {burst}, {payload_bytes} bytes, {}",
        stage.encoding.subprotocol()
    );
    let mut report = SessionReport::new("fanout", title, stage.take_tally());
    report.rate("deliveries", delivery_count as u64, elapsed, cpu);
    let histogram = report.tally.latency_ns.clone();
    report.latency("to the last", &histogram);
    Ok(report)
}

/// Bursts before it counts.
const WARM_UP_COUNT: usize = 20;
