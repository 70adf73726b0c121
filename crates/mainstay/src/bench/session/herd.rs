//! Everybody comes back at once to a server that was lost: `bench resume --herd`.

use std::time::{Duration, Instant};

use super::fleet::{FleetError, Watch};
use super::report::SessionReport;
use super::{PATIENCE, Stage, channels_of};

pub(super) struct Herd {
    pub(super) session_count: usize,
    pub(super) subscription_count: usize,
    pub(super) channel_count: usize,
}

#[derive(Default)]
pub(super) struct Ready {
    pub(super) count: usize,
    since: Option<Instant>,
    latencies: Vec<Duration>,
}

impl Watch for Ready {
    fn ready(&mut self, _line: usize, now: Instant) {
        self.count += 1;
        self.latencies.extend(self.since.map(|since| now.saturating_duration_since(since)));
    }
}

/// Opens sessions, kills the server, starts it again, and lets all come back.
///
/// # Errors
/// There are no figures.
pub(super) fn run(stage: &mut Stage, herd: &Herd) -> Result<SessionReport, FleetError> {
    let Herd { session_count, subscription_count, channel_count } = *herd;
    let lines: Vec<usize> = (0..session_count)
        .map(|index| stage.fleet.add(channels_of(index, subscription_count, channel_count)))
        .collect();
    let mut ready = Ready::default();
    let all = |ready: &Ready| ready.count >= session_count;
    stage.fleet.turn_until("opening", PATIENCE, &mut ready, all)?;
    let steady = stage.quiet_memory()?.rss_bytes;

    for line in &lines {
        stage.fleet.cut(*line);
    }
    let began = Instant::now();
    stage.restart()?;
    let restarted = began.elapsed();
    let loaded = stage.process()?.memory()?.rss_bytes;
    let cpu_before = stage.cpu_time()?;
    let since = Instant::now();
    let mut ready = Ready { since: Some(since), ..Ready::default() };
    for line in &lines {
        stage.fleet.come_back(*line);
    }
    stage.fleet.turn_until("coming back", PATIENCE, &mut ready, all)?;
    let elapsed = since.elapsed();
    let cpu = stage.cpu_since(cpu_before)?;
    let peak = stage.process()?.peak_bytes()?;
    let after = stage.quiet_memory()?.rss_bytes;
    for latency in ready.latencies {
        stage.fleet.tally().add_replies(1, latency);
    }
    let title = format!(
        "{session_count} sessions with {subscription_count} subscriptions at once, {}",
        stage.encoding.subprotocol()
    );
    let mut report = SessionReport::new("herd", title, stage.take_tally());
    report.duration("restarted", "restart_seconds", restarted);
    report.duration("all back", "back_seconds", elapsed);
    report.rate("resumes", session_count as u64, elapsed, cpu);
    let histogram = report.tally.latency_ns.clone();
    report.latency("each", &histogram);
    report.memory("steady", "steady_bytes", steady);
    report.memory("restarted", "loaded_bytes", loaded);
    report.memory("peak", "peak_bytes", peak);
    report.memory("after", "after_bytes", after);
    let ratio = peak as f64 / steady as f64;
    report.text("peak/steady", format!("{ratio:.2}"));
    report.figure("peak_to_steady", ratio);
    Ok(report)
}
