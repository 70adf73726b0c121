//! The client's requests: one count, one queue, one handler at a time.

use mainstay_wire::ChannelName;
use mainstay_wire::session::{Failure, Payload, Request};

use super::{Session, Violation};

/// What a client may have waiting.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Requests without an outcome.
    pub count_max: u32,
    /// Bytes of requests that wait behind a running handler.
    pub bytes_max: usize,
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// A handler is to run.
    Run {
        /// Which.
        command: String,
        /// What it gets.
        payload: Payload,
        /// When its outcome is no longer wanted, in milliseconds since 1970.
        deadline_at_ms: Option<u64>,
    },
    /// It cannot be acted on: that is its outcome.
    Fail(Failure),
    /// An event is to be appended.
    Publish {
        /// Where to.
        channel: ChannelName,
        /// What.
        payload: Payload,
    },
}

impl Work {
    fn bytes(&self) -> usize {
        match self {
            Work::Run { command, payload, .. } => command.len() + payload.bytes.len(),
            Work::Fail(failure) => failure.message.len(),
            Work::Publish { channel, payload } => channel.as_str().len() + payload.bytes.len(),
        }
    }
}

/// What became of a number that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is the next one, and waits for its turn.
    Queued,
    /// It was accepted before and has an outcome.
    Known,
    /// It was accepted before, or waits, and has no outcome yet.
    Pending,
    /// The client has said before that it has the outcome.
    Forgotten,
}

/// A request whose turn has come. The record, which counts it, is to be stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    /// Start the handler. The deadline in the request is what is left of it.
    Run(Request),
    /// Append an event; there is an outcome at once.
    Publish {
        /// The number.
        number: u64,
        /// Where to.
        channel: ChannelName,
        /// What.
        payload: Payload,
    },
    /// It cannot be acted on: that is its outcome.
    Failed {
        /// The number.
        number: u64,
        /// The outcome.
        failure: Failure,
    },
    /// It was cancelled in the queue: that is its outcome.
    Cancelled {
        /// The number.
        number: u64,
    },
    /// Its deadline passed in the queue: that is its outcome.
    Late {
        /// The number.
        number: u64,
    },
}

/// What a cancellation met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// A running handler: it is to be stopped, and the outcome is the caller's to store.
    Running,
    /// A waiting request: it gets its outcome when its turn comes, so that numbers have no holes.
    Queued,
    /// Nothing that could be cancelled.
    Nothing,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    number: u64,
    deadline_at_ms: u64,
}

#[derive(Debug)]
pub(super) enum Queued {
    Work(Work),
    Cancelled,
}

impl Session {
    /// A request has arrived.
    ///
    /// # Errors
    /// If its number is beyond the next, or it is more than the client may have waiting.
    pub fn receive(
        &mut self,
        number: u64,
        work: Work,
        limits: RequestLimits,
    ) -> Result<Received, Violation> {
        let waiting = self.queue.len() as u64;
        let next = self.record.accepted.saturating_add(waiting).saturating_add(1);
        if number > next || number == 0 {
            return Err(Violation::Hole { number, next });
        }
        if number < self.unanswered_from {
            return Ok(Received::Forgotten);
        }
        if number < next {
            let is_known = number <= self.record.accepted && !self.is_running(number);
            return Ok(if is_known { Received::Known } else { Received::Pending });
        }
        let count_max = limits.count_max;
        let pending = waiting + u64::from(self.running.is_some());
        let held = next - self.unanswered_from;
        if pending >= u64::from(count_max)
            || held >= u64::from(count_max) + UNACKNOWLEDGED_COUNT_MAX
        {
            return Err(Violation::TooManyRequests { count_max });
        }
        let bytes = work.bytes();
        // What starts at once does not wait.
        if self.running.is_some() && self.queue_bytes + bytes > limits.bytes_max {
            return Err(Violation::TooManyBytes { bytes_max: limits.bytes_max });
        }
        self.queue_bytes += bytes;
        self.queue.push_back(Queued::Work(work));
        Ok(Received::Queued)
    }

    /// Accepts the next request if no handler runs. Called again and again until it gives nothing.
    pub fn accept(&mut self, now_ms: u64, handler_timeout_ms: u64) -> Option<Accepted> {
        if self.running.is_some() {
            return None;
        }
        let queued = self.queue.pop_front()?;
        self.record.accepted += 1;
        let number = self.record.accepted;
        let Queued::Work(work) = queued else { return Some(Accepted::Cancelled { number }) };
        self.queue_bytes -= work.bytes();
        let (command, payload, deadline_at_ms) = match work {
            Work::Fail(failure) => return Some(Accepted::Failed { number, failure }),
            Work::Publish { channel, payload } => {
                return Some(Accepted::Publish { number, channel, payload });
            }
            Work::Run { command, payload, deadline_at_ms } => (command, payload, deadline_at_ms),
        };
        let latest_ms = now_ms.saturating_add(handler_timeout_ms);
        let deadline_at_ms = deadline_at_ms.unwrap_or(latest_ms).min(latest_ms);
        if deadline_at_ms <= now_ms {
            return Some(Accepted::Late { number });
        }
        self.record.is_started = true;
        self.running = Some(Running { number, deadline_at_ms });
        let deadline_ms = Some(deadline_at_ms - now_ms);
        Some(Accepted::Run(Request { number, command, payload, deadline_ms }))
    }

    /// The handler that runs: its request's number, and when it is to be stopped, in milliseconds
    /// since 1970.
    pub fn running(&self) -> Option<(u64, u64)> {
        self.running.map(|running| (running.number, running.deadline_at_ms))
    }

    /// The request whose handler was started by a server that was lost before there was an outcome.
    pub fn interrupted(&self) -> Option<u64> {
        (self.record.is_started && self.running.is_none()).then_some(self.record.accepted)
    }

    /// The handler of a request that counts as [`interrupted`](Session::interrupted) still runs.
    pub fn keep_running(&mut self, number: u64, deadline_at_ms: u64) {
        if self.interrupted() == Some(number) {
            self.running = Some(Running { number, deadline_at_ms });
        }
    }

    /// The handler of a request has an outcome, which is to be stored with the record. `false` if it
    /// is not the one that runs: then the outcome is not wanted.
    pub fn finish(&mut self, number: u64) -> bool {
        if !self.is_running(number) && self.interrupted() != Some(number) {
            return false;
        }
        self.running = None;
        self.record.is_started = false;
        true
    }

    /// The client no longer wants an outcome.
    pub fn cancel(&mut self, number: u64) -> Cancelled {
        if self.is_running(number) {
            return Cancelled::Running;
        }
        let index = number.checked_sub(self.record.accepted.saturating_add(1));
        let index = index.and_then(|index| usize::try_from(index).ok());
        let Some(queued) = index.and_then(|index| self.queue.get_mut(index)) else {
            return Cancelled::Nothing;
        };
        if let Queued::Work(work) = std::mem::replace(queued, Queued::Cancelled) {
            self.queue_bytes -= work.bytes();
        }
        Cancelled::Queued
    }

    fn is_running(&self, number: u64) -> bool {
        self.running.is_some_and(|running| running.number == number)
    }
}

/// Outcomes that a client may leave unacknowledged (PROTOCOL.md, "Acknowledgements"): they come on
/// top of the requests that have none.
const UNACKNOWLEDGED_COUNT_MAX: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_wire::session::{SessionId, Token};

    const LIMITS: RequestLimits = RequestLimits { count_max: 4, bytes_max: 100 };

    fn session() -> Session {
        let token = Token::from_bytes([1; 32]);
        Session::begin(SessionId::from_bytes([1; 16]), None, String::new(), &token, 0)
    }

    fn run(deadline_at_ms: Option<u64>) -> Work {
        Work::Run { command: "go".to_owned(), payload: Payload::NULL, deadline_at_ms }
    }

    fn publish() -> Work {
        Work::Publish { channel: ChannelName::parse("news").unwrap(), payload: Payload::NULL }
    }

    fn started(accepted: Option<Accepted>) -> u64 {
        match accepted {
            Some(Accepted::Run(request)) => request.number,
            other => panic!("no handler starts: {other:?}"),
        }
    }

    #[test]
    fn handlers_run_one_at_a_time_and_in_order() {
        let mut session = session();
        for number in 1..=3 {
            assert_eq!(session.receive(number, run(None), LIMITS), Ok(Received::Queued));
        }
        assert_eq!(started(session.accept(0, 10)), 1);
        assert_eq!(session.accept(0, 10), None, "the first still runs");
        assert_eq!(session.record().accepted, 1, "what waits is not accepted");
        assert!(!session.finish(2) && session.finish(1) && !session.finish(1));
        assert_eq!(started(session.accept(0, 10)), 2);
    }

    #[test]
    fn a_publish_waits_behind_a_running_handler() {
        let mut session = session();
        assert_eq!(session.receive(1, run(None), LIMITS), Ok(Received::Queued));
        assert_eq!(session.receive(2, publish(), LIMITS), Ok(Received::Queued));
        assert_eq!(started(session.accept(0, 10)), 1);
        assert_eq!(session.accept(0, 10), None);
        assert!(session.finish(1));
        assert!(matches!(session.accept(0, 10), Some(Accepted::Publish { number: 2, .. })));
    }

    #[test]
    fn a_number_is_taken_once() {
        let mut session = session();
        assert_eq!(session.receive(1, run(None), LIMITS), Ok(Received::Queued));
        assert_eq!(session.receive(1, run(None), LIMITS), Ok(Received::Pending));
        assert_eq!(started(session.accept(0, 10)), 1);
        assert_eq!(session.receive(1, run(None), LIMITS), Ok(Received::Pending));
        assert!(session.finish(1));
        assert_eq!(session.receive(1, run(None), LIMITS), Ok(Received::Known));
        assert_eq!(session.acknowledge(2), Ok(Some(2)));
        assert_eq!(session.receive(1, run(None), LIMITS), Ok(Received::Forgotten));
    }

    #[test]
    fn a_hole_is_a_violation() {
        let mut session = session();
        for number in [0, 2, u64::MAX] {
            let hole = Err(Violation::Hole { number, next: 1 });
            assert_eq!(session.receive(number, run(None), LIMITS), hole);
        }
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut session = session();
        for number in 1..=4 {
            assert_eq!(session.receive(number, run(None), LIMITS), Ok(Received::Queued));
            let _ = session.accept(0, 10);
        }
        let past = session.receive(5, run(None), LIMITS);
        assert_eq!(past, Err(Violation::TooManyRequests { count_max: 4 }));
        let mut session = self::session();
        assert_eq!(session.receive(1, run(None), LIMITS), Ok(Received::Queued));
        assert_eq!(started(session.accept(0, 10)), 1);
        let work =
            Work::Run { command: "x".repeat(101), payload: Payload::NULL, deadline_at_ms: None };
        let past = session.receive(2, work, LIMITS);
        assert_eq!(past, Err(Violation::TooManyBytes { bytes_max: 100 }));
    }

    #[test]
    fn outcomes_that_nobody_acknowledges_are_bounded() {
        let mut session = session();
        for number in 1..=68 {
            assert_eq!(session.receive(number, publish(), LIMITS), Ok(Received::Queued));
            assert!(session.accept(0, 10).is_some());
        }
        let past = session.receive(69, publish(), LIMITS);
        assert_eq!(past, Err(Violation::TooManyRequests { count_max: 4 }));
        assert_eq!(session.acknowledge(2), Ok(Some(2)));
        assert_eq!(session.receive(69, publish(), LIMITS), Ok(Received::Queued));
    }

    #[test]
    fn a_cancelled_request_keeps_its_number() {
        let mut session = session();
        for number in 1..=3 {
            assert_eq!(session.receive(number, run(None), LIMITS), Ok(Received::Queued));
        }
        assert_eq!(started(session.accept(0, 10)), 1);
        assert_eq!(session.cancel(2), Cancelled::Queued);
        assert_eq!(session.cancel(1), Cancelled::Running);
        assert_eq!(session.cancel(9), Cancelled::Nothing);
        assert!(session.finish(1));
        assert_eq!(session.cancel(1), Cancelled::Nothing, "an outcome stays");
        assert_eq!(session.accept(0, 10), Some(Accepted::Cancelled { number: 2 }));
        assert_eq!(started(session.accept(0, 10)), 3);
        assert!(session.queue.is_empty() && session.queue_bytes == 0);
    }

    #[test]
    fn the_nearer_deadline_holds() {
        let mut session = session();
        for (number, deadline_at_ms) in [(1, Some(105)), (2, Some(500)), (3, None), (4, Some(100))]
        {
            let received = session.receive(number, run(deadline_at_ms), LIMITS);
            assert_eq!(received, Ok(Received::Queued));
        }
        for (number, until_ms) in [(1, 105), (2, 110), (3, 110)] {
            let Some(Accepted::Run(request)) = session.accept(100, 10) else {
                panic!("it starts");
            };
            assert_eq!((request.number, request.deadline_ms), (number, Some(until_ms - 100)));
            assert_eq!(session.running(), Some((number, until_ms)));
            assert!(session.finish(number));
        }
        assert_eq!(session.accept(100, 10), Some(Accepted::Late { number: 4 }));
    }

    #[test]
    fn an_outcome_that_is_not_there_cannot_be_acknowledged() {
        let mut session = session();
        assert_eq!(session.receive(1, run(None), LIMITS), Ok(Received::Queued));
        assert_eq!(started(session.accept(0, 10)), 1);
        assert!(session.acknowledge(2).is_err(), "it still runs");
        assert!(session.finish(1));
        assert_eq!(session.acknowledge(2), Ok(Some(2)));
        assert_eq!(session.acknowledge(1), Ok(None), "going back changes nothing");
        assert_eq!(session.outcomes(), 2..2);
    }

    #[test]
    fn a_handler_that_was_lost_with_its_server_is_known() {
        let mut session = session();
        assert_eq!(session.receive(1, run(None), LIMITS), Ok(Received::Queued));
        assert_eq!(started(session.accept(0, 10)), 1);
        assert_eq!(session.interrupted(), None);
        let mut loaded = Session::load(session.id(), session.record().clone(), &[]);
        assert_eq!(loaded.interrupted(), Some(1));
        assert_eq!(loaded.outcomes(), 1..1);
        assert!(loaded.finish(1));
        assert_eq!((loaded.interrupted(), loaded.outcomes()), (None, 1..2));
    }
}
