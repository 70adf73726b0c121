//! When to dial again, and when not to: pure logic with a seed, no clock and no I/O.

use std::time::{Duration, Instant};

use mainstay_wire::handshake::{DialError, RetryAfter};
use mainstay_wire::{Advice, End, EndReason};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::ConnectError;

/// How long to wait before dialling again.
///
/// The wait before retry n (counted from 0) is random, even between 0 and
/// `min(delay_max, delay_base · 2ⁿ)`. The jitter comes after the cap: were it the other way round,
/// every client of a server that is gone for long would end up with one and the same wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconnectPolicy {
    /// The range of the first wait. Default 500 ms: after a cut cable or a crashed server the
    /// first retry is quick. Much lower, and a server that refuses at once is hammered.
    pub delay_base: Duration,
    /// The largest range. Default 20 s: the most that an outage is prolonged by (10 s on average).
    /// Raise it where very many clients share one server.
    pub delay_max: Duration,
    /// The range of the first wait when the server closed the connection with a Close frame, as it
    /// does to all of its clients at once when it restarts. Default 5 s.
    pub server_close_window: Duration,
    /// A connection that lived at least this long counts as a success, after which the waits begin
    /// anew from `delay_base`. Default 5 s: a server that accepts and then drops everybody would
    /// otherwise be dialled at the shortest wait for ever.
    pub lifetime_min: Duration,
    /// The longest wait that a server can ask for with `Retry-After`. Default 120 s: a mistaken
    /// header must not keep a client away for a day.
    pub retry_after_max: Duration,
}

impl Default for ReconnectPolicy {
    fn default() -> ReconnectPolicy {
        ReconnectPolicy {
            delay_base: Duration::from_millis(500),
            delay_max: Duration::from_secs(20),
            server_close_window: Duration::from_secs(5),
            lifetime_min: Duration::from_secs(5),
            retry_after_max: Duration::from_secs(120),
        }
    }
}

/// What to do after a connection was lost or could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Dial again after the delay.
    Retry {
        /// The number of the coming attempt since the last success, from 1.
        attempt: u32,
        /// How long to wait first.
        delay: Duration,
    },
    /// Dialling again would bring the same answer: stop.
    Stop,
}

/// The memory between attempts. Times are timestamps and nothing counts ticks, so a process that
/// was stopped for an hour decides as if it had not been.
#[derive(Debug)]
pub struct Reconnect {
    policy: ReconnectPolicy,
    /// Retries since a connection last lived long enough.
    retry_count: u32,
    opened_at: Option<Instant>,
    random: ChaCha12Rng,
}

impl Reconnect {
    /// Starts without a connection. Clients that restart together need different seeds.
    pub fn new(policy: ReconnectPolicy, seed: [u8; 32]) -> Reconnect {
        let random = ChaCha12Rng::from_seed(seed);
        Reconnect { policy, retry_count: 0, opened_at: None, random }
    }

    /// A connection is open.
    pub fn handle_open(&mut self, now: Instant) {
        self.opened_at = Some(now);
    }

    /// The open connection ended, not by our own wish.
    pub fn handle_lost(&mut self, now: Instant, end: &End) -> Decision {
        let lifetime = self.opened_at.take().map(|at| now.saturating_duration_since(at));
        if lifetime.is_some_and(|lifetime| lifetime >= self.policy.lifetime_min) {
            self.retry_count = 0;
        }
        let server_closed = end.reason == EndReason::PeerClosed;
        // Only the server's word counts: a code of our own is no advice.
        let advice = match end.code {
            Some(code) if server_closed => Advice::of_close_code(code),
            _ => Advice::Resume,
        };
        if advice == Advice::Stop {
            return Decision::Stop;
        }
        let first_range = match server_closed {
            true => self.policy.server_close_window,
            false => self.policy.delay_base,
        };
        self.retry(first_range, Duration::ZERO)
    }

    /// An attempt to connect failed.
    pub fn handle_failed(&mut self, error: &ConnectError) -> Decision {
        let wait = match Verdict::of(error) {
            Verdict::Stop => return Decision::Stop,
            Verdict::Retry => Duration::ZERO,
            Verdict::RetryAfter(wait) => wait.min(self.policy.retry_after_max),
        };
        self.retry(self.policy.delay_base, wait)
    }

    /// `wait` comes before the random delay: everybody who was refused was told the same time.
    fn retry(&mut self, first_range: Duration, wait: Duration) -> Decision {
        let range = match self.retry_count {
            0 => first_range,
            count => self.range(count),
        };
        self.retry_count = self.retry_count.saturating_add(1);
        Decision::Retry { attempt: self.retry_count, delay: wait + self.random_below(range) }
    }

    fn range(&self, retry_count: u32) -> Duration {
        let factor = 1u32.checked_shl(retry_count).unwrap_or(u32::MAX);
        self.policy.delay_base.saturating_mul(factor).min(self.policy.delay_max)
    }

    fn random_below(&mut self, range: Duration) -> Duration {
        // 53 bits are what a float holds exactly.
        let fraction = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        range.mul_f64(fraction)
    }
}

enum Verdict {
    Retry,
    RetryAfter(Duration),
    Stop,
}

impl Verdict {
    fn of(error: &ConnectError) -> Verdict {
        match error {
            ConnectError::Url(_) | ConnectError::Options(_) | ConnectError::Dialect { .. } => {
                Verdict::Stop
            }
            // A missing credential, a missing permission, a wrong path and a server that speaks
            // another protocol do not mend themselves.
            ConnectError::Handshake(DialError::Refused {
                status: 401 | 403 | 404 | 426, ..
            }) => Verdict::Stop,
            ConnectError::Handshake(DialError::Refused {
                status: 429 | 503,
                retry_after: Some(RetryAfter::Delay(wait)),
            }) => Verdict::RetryAfter(*wait),
            // A date cannot be compared with a clock that may be wrong by hours; the usual waits
            // are bounded anyway.
            _ => Verdict::Retry,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeded(number: u8) -> Reconnect {
        Reconnect::new(ReconnectPolicy::default(), [number; 32])
    }

    fn closed(code: u16) -> End {
        End { reason: EndReason::PeerClosed, code: Some(code), detail: String::new() }
    }

    fn eof() -> End {
        End::new(EndReason::PeerEof, "")
    }

    fn refused(status: u16, retry_after: Option<u64>) -> ConnectError {
        let retry_after = retry_after.map(|s| RetryAfter::Delay(Duration::from_secs(s)));
        ConnectError::Handshake(DialError::Refused { status, retry_after })
    }

    fn delay(decision: Decision) -> Duration {
        match decision {
            Decision::Retry { delay, .. } => delay,
            Decision::Stop => panic!("stopped"),
        }
    }

    fn attempt(decision: Decision) -> u32 {
        match decision {
            Decision::Retry { attempt, .. } => attempt,
            Decision::Stop => panic!("stopped"),
        }
    }

    /// The delays of the n-th decision over many seeds.
    fn delays(decide: impl Fn(&mut Reconnect) -> Decision) -> Vec<Duration> {
        let mut delays: Vec<_> = (0..=255).map(|seed| delay(decide(&mut seeded(seed)))).collect();
        delays.sort();
        delays
    }

    #[track_caller]
    fn assert_spread(delays: &[Duration], from: Duration, to: Duration) {
        let (first, last) = (delays[0], delays[delays.len() - 1]);
        let range = to - from;
        assert!(first >= from && last <= to, "{first:?}..{last:?} is not in {from:?}..{to:?}");
        assert!(first < from + range / 20 && last > to - range / 20, "{first:?}..{last:?}");
        // Even, not merely wide: each tenth of the range holds something near a tenth.
        for tenth in 0..10 {
            let bounds = from + range * tenth / 10..from + range * (tenth + 1) / 10;
            let count = delays.iter().filter(|delay| bounds.contains(delay)).count();
            assert!((8..=48).contains(&count), "{count} of 256 in {bounds:?}");
        }
    }

    #[test]
    fn the_range_doubles_up_to_the_cap_and_the_jitter_comes_after_it() {
        let unreachable = ConnectError::TimedOut { after: Duration::from_secs(10) };
        let ranges_ms = [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000, 20_000];
        for (index, range_ms) in ranges_ms.into_iter().enumerate() {
            let delays = delays(|reconnect| {
                (0..index).for_each(|_| {
                    reconnect.handle_failed(&unreachable);
                });
                reconnect.handle_failed(&unreachable)
            });
            assert_spread(&delays, Duration::ZERO, Duration::from_millis(range_ms));
        }
    }

    #[test]
    fn no_number_of_failures_overflows_or_ends_it() {
        let unreachable = ConnectError::TimedOut { after: Duration::from_secs(10) };
        let mut reconnect = seeded(1);
        for count in 1..=10_000 {
            let decision = reconnect.handle_failed(&unreachable);
            assert_eq!(attempt(decision), count);
            assert!(delay(decision) <= Duration::from_secs(20));
        }
    }

    #[test]
    fn one_seed_gives_one_course() {
        let course = |seed| {
            let mut reconnect = seeded(seed);
            let now = Instant::now();
            (0..20).map(|_| delay(reconnect.handle_lost(now, &eof()))).collect::<Vec<_>>()
        };
        assert_eq!(course(7), course(7));
        assert_ne!(course(7), course(8));
    }

    #[test]
    fn a_server_that_closes_finds_its_clients_spread_over_the_window() {
        let now = Instant::now();
        let lived = |reconnect: &mut Reconnect, end: &End| {
            reconnect.handle_open(now);
            reconnect.handle_lost(now + Duration::from_secs(3600), end)
        };
        for code in [1000, 1001, 1011, 1012, 1013, 4000, 4199, 4300] {
            let delays = delays(|reconnect| lived(reconnect, &closed(code)));
            assert_spread(&delays, Duration::ZERO, Duration::from_secs(5));
        }
        let silent = End { code: None, ..closed(1000) };
        let after_close = delays(|reconnect| lived(reconnect, &silent));
        assert_spread(&after_close, Duration::ZERO, Duration::from_secs(5));
        let after_eof = delays(|reconnect| lived(reconnect, &eof()));
        assert_spread(&after_eof, Duration::ZERO, Duration::from_millis(500));
    }

    #[test]
    fn the_waits_begin_anew_only_after_a_connection_that_lived() {
        let mut now = Instant::now();
        let mut reconnect = seeded(3);
        for count in 1..=9 {
            reconnect.handle_open(now);
            now += Duration::from_millis(4999);
            assert_eq!(attempt(reconnect.handle_lost(now, &eof())), count);
        }
        reconnect.handle_open(now);
        now += Duration::from_secs(5);
        assert_eq!(attempt(reconnect.handle_lost(now, &eof())), 1);
        // A failed attempt in between is no connection that lived.
        now += Duration::from_secs(100);
        let unreachable = ConnectError::TimedOut { after: Duration::from_secs(10) };
        assert_eq!(attempt(reconnect.handle_failed(&unreachable)), 2);
        // An hour in which the process was stopped counts as lived, whatever the ticks.
        reconnect.handle_open(now);
        assert_eq!(attempt(reconnect.handle_lost(now + Duration::from_secs(3600), &eof())), 1);
    }

    #[test]
    fn what_says_stop_stops() {
        let now = Instant::now();
        for code in [1008, 4200, 4250, 4299] {
            assert_eq!(seeded(0).handle_lost(now, &closed(code)), Decision::Stop, "{code}");
        }
        // Our own code of that number would be no word of the server's.
        let ours = End { reason: EndReason::ProtocolError, ..closed(1008) };
        assert_ne!(seeded(0).handle_lost(now, &ours), Decision::Stop);
        for status in [401, 403, 404, 426] {
            assert_eq!(seeded(0).handle_failed(&refused(status, None)), Decision::Stop, "{status}");
        }
        for status in [200, 301, 400, 429, 500, 502, 503, 504] {
            assert_ne!(seeded(0).handle_failed(&refused(status, None)), Decision::Stop, "{status}");
        }
    }

    #[test]
    fn retry_after_is_kept_to_within_its_bound_and_jittered() {
        for (status, asked, from) in [(503, 30, 30), (429, 7, 7), (503, 86_400, 120)] {
            let delays = delays(|reconnect| reconnect.handle_failed(&refused(status, Some(asked))));
            let from = Duration::from_secs(from);
            assert_spread(&delays, from, from + Duration::from_millis(500));
        }
        let elsewhere = delays(|reconnect| reconnect.handle_failed(&refused(500, Some(30))));
        assert_spread(&elsewhere, Duration::ZERO, Duration::from_millis(500));
    }
}
