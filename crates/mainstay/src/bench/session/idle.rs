//! Memory of sessions that do nothing: `bench sessions`.

use super::fleet::FleetError;
use super::herd::Ready;
use super::report::SessionReport;
use super::{PATIENCE, Stage, channel, channels_of};

pub(super) struct Idle {
    pub(super) session_count: usize,
    pub(super) subscription_count: usize,
    pub(super) channel_count: usize,
}

/// Opens the sessions, and reads the server's memory before and after, each time once it has come to
/// rest.
///
/// # Errors
/// There are no figures.
pub(super) fn run(stage: &mut Stage, idle: &Idle) -> Result<SessionReport, FleetError> {
    let Idle { session_count, subscription_count, channel_count } = *idle;
    // The channels themselves, and what a server sets up at its first connections, belong to no
    // session.
    let mut first_count = 0;
    for first in (0..channel_count).step_by(CHANNELS_OF_FIRST) {
        let last = channel_count.min(first + CHANNELS_OF_FIRST);
        stage.fleet.add((first..last).map(channel));
        first_count += 1;
    }
    let mut ready = Ready::default();
    stage.fleet.turn_until("opening", PATIENCE, &mut ready, |ready| ready.count >= first_count)?;
    let before = stage.quiet_memory()?;
    for index in 0..session_count {
        stage.fleet.add(channels_of(index, subscription_count, channel_count));
    }
    let all = first_count + session_count;
    stage.fleet.turn_until("opening", PATIENCE, &mut ready, |ready| ready.count >= all)?;
    let after = stage.quiet_memory()?;
    let title = format!(
        "{session_count} idle sessions with {subscription_count} subscriptions, {}",
        stage.encoding.subprotocol()
    );
    let mut report = SessionReport::new("sessions", title, stage.take_tally());
    report.figure("sessions", session_count);
    report.growth(before, after, session_count);
    report.text("", "(memory of the server in user space; the kernel's sockets are not in it)");
    Ok(report)
}

/// No more than a session may listen to.
const CHANNELS_OF_FIRST: usize = 64;
