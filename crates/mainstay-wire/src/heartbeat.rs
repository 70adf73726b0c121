//! Whether the peer still lives.

use std::time::{Duration, Instant};

use crate::Timing;

/// Pings after a time without sending, and expects any byte within a time of the ping.
///
/// Everything is a timestamp and nothing counts ticks: a process that was stopped for an hour does
/// not take its own pause for the peer's death, because it pings before it judges.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    sent_at: Instant,
    received_at: Instant,
    /// When the peer must have said something, while a ping is out.
    deadline: Option<Instant>,
    /// While we do not read, nothing can be concluded from hearing nothing.
    is_listening: bool,
}

/// What time has brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Nothing yet.
    Rest,
    /// Send a ping.
    Ping,
    /// The peer is gone.
    Dead,
}

impl Heartbeat {
    /// `phase` within 0..=1 shortens the first interval by up to half, so that connections that
    /// opened together do not ping together.
    pub(crate) fn new(now: Instant, timing: &Timing, phase: f64) -> Heartbeat {
        let head_start =
            timing.ping_interval.unwrap_or_default().mul_f64(phase.clamp(0.0, 1.0) / 2.0);
        Heartbeat {
            sent_at: now.checked_sub(head_start).unwrap_or(now),
            received_at: now,
            deadline: None,
            is_listening: true,
        }
    }

    pub(crate) fn handle_sent(&mut self, now: Instant) {
        self.sent_at = now;
    }

    pub(crate) fn handle_received(&mut self, now: Instant) {
        self.received_at = now;
        self.deadline = None;
    }

    pub(crate) fn pause_listening(&mut self) {
        self.is_listening = false;
        self.deadline = None;
    }

    pub(crate) fn resume_listening(&mut self) {
        self.is_listening = true;
    }

    pub(crate) fn next_timeout(&self, timing: &Timing) -> Option<Instant> {
        let ping_at = timing.ping_interval.map(|interval| self.sent_at + interval);
        match (self.deadline, ping_at) {
            (Some(deadline), Some(ping_at)) => Some(deadline.min(ping_at)),
            (deadline, ping_at) => deadline.or(ping_at),
        }
    }

    /// After `Beat::Ping` the caller queues a ping.
    pub(crate) fn handle_timeout(&mut self, now: Instant, timing: &Timing) -> Beat {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Beat::Dead;
        }
        let Some(interval) = timing.ping_interval else { return Beat::Rest };
        if now < self.sent_at + interval {
            return Beat::Rest;
        }
        // A ping counts as sent when it is queued: a stalled socket has its own deadline.
        self.sent_at = now;
        if self.is_listening && self.deadline.is_none() {
            self.deadline = Some(now + timing.pong_timeout);
        }
        Beat::Ping
    }

    /// How long nothing has passed in either direction.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.sent_at.max(self.received_at))
    }

    /// How long the peer has been silent.
    pub(crate) fn peer_silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.received_at)
    }
}
