//! One thread of the load: an event loop over its share of the connections.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use super::crew::{Control, Phase};
use super::link::{Desk, Fate, Link, Pace, Until};
use super::opening::{Opening, OpeningError, connect};
use super::schedule::Schedule;
use super::tally::Tally;
use super::target::Target;
use super::traffic::Traffic;

/// One thread's connections.
pub(super) struct Worker {
    poll: Poll,
    target: Target,
    source_count: u32,
    control: Arc<Control>,
    /// By token; `None` is over.
    links: Vec<Option<Link>>,
    /// The numbers, among those of all threads, that are not connected yet.
    waiting: Range<usize>,
    /// Connecting or shaking hands.
    opening_count: usize,
    live_count: usize,
    desk: Desk,
    /// In an open loop.
    schedule: Option<Schedule>,
    /// What the last turn added to the histogram is told to the others.
    published_count: u64,
    last_opened_at: Instant,
    seeds: RandomState,
}

impl Worker {
    /// A thread for the connections `share` of all.
    ///
    /// # Errors
    /// The system gives no poll.
    pub(super) fn new(
        target: Target,
        source_count: u32,
        share: Range<usize>,
        traffic: Traffic,
        schedule: Option<Schedule>,
        control: Arc<Control>,
    ) -> io::Result<Worker> {
        let pace = if schedule.is_some() { Pace::Scheduled } else { Pace::Answered };
        Ok(Worker {
            poll: Poll::new()?,
            target,
            source_count,
            control,
            links: Vec::with_capacity(share.len()),
            waiting: share,
            opening_count: 0,
            live_count: 0,
            desk: Desk::new(traffic, pace),
            schedule,
            published_count: 0,
            last_opened_at: Instant::now(),
            seeds: RandomState::new(),
        })
    }

    /// Runs until the crew is told to leave and every connection is closed.
    ///
    /// # Errors
    /// The first connection that does not open ends the run: load that was not asked for would be
    /// measured.
    pub(super) fn run(mut self) -> Result<Tally, OpeningError> {
        let mut events = Events::with_capacity(EVENT_COUNT_MAX);
        let mut leaving_since = None;
        self.last_opened_at = Instant::now();
        loop {
            self.follow(self.control.phase());
            self.open_more()?;
            let wait = self.send_due();
            match self.poll.poll(&mut events, Some(wait.min(TURN_MAX))) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(OpeningError::Socket(error));
                }
                _ => {}
            }
            for event in &events {
                self.handle(event)?;
            }
            self.publish();
            if self.desk.phase == Phase::Leave {
                let since = *leaving_since.get_or_insert_with(Instant::now);
                if self.live_count == 0 || since.elapsed() > LEAVING_TIMEOUT {
                    return Ok(self.finish());
                }
            }
        }
    }

    /// Opens connections as long as no more than a few are being opened at a time.
    fn open_more(&mut self) -> Result<(), OpeningError> {
        if self.desk.phase != Phase::Open {
            return Ok(());
        }
        while self.opening_count < OPENING_COUNT_MAX {
            let Some(number) = self.waiting.next() else { break };
            let mut key = [0; 16];
            for (half, word) in key.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                *word = self.seeds.hash_one((number, half)).to_ne_bytes();
            }
            let opening = Opening::new(&self.target, key)?;
            let source = self.target.source(number, self.source_count);
            let stream = connect(self.target.address, source).map_err(OpeningError::of_socket)?;
            let mut link = Link::new(stream, opening);
            let token = Token(self.links.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registered = self.poll.registry().register(link.stream(), token, interest);
            registered.map_err(OpeningError::Socket)?;
            self.links.push(Some(link));
            self.opening_count += 1;
            self.live_count += 1;
        }
        if self.opening_count > 0 && self.last_opened_at.elapsed() > OPENING_TIMEOUT {
            let openings = self.links.iter().flatten().filter_map(Link::opening);
            let told = openings.map(|opening| opening.give_up(OpeningError::Timeout));
            let refusal = |error: &OpeningError| !matches!(error, OpeningError::Timeout);
            return Err(told.into_iter().find(refusal).unwrap_or(OpeningError::Timeout));
        }
        Ok(())
    }

    fn handle(&mut self, event: &mio::event::Event) -> Result<(), OpeningError> {
        let index = event.token().0;
        let Some(Some(link)) = self.links.get_mut(index) else { return Ok(()) };
        let mut fate = link.handle_ready(event, &mut self.desk)?;
        if fate == Fate::Opened {
            self.opening_count -= 1;
            self.last_opened_at = Instant::now();
            self.control.add_opened();
            // More than the answer may have come, and nothing will announce it again.
            fate = link.read(&mut self.desk, Until::Empty);
        }
        self.settle(index, fate);
        Ok(())
    }

    /// Sends what is to be sent by now in an open loop, and tells how long nothing more is.
    fn send_due(&mut self) -> Duration {
        if !matches!(self.desk.phase, Phase::WarmUp | Phase::Measure) {
            return TURN_MAX;
        }
        let now = Instant::now();
        // What the load is behind with must not keep it from reading.
        for _ in 0..SENT_COUNT_MAX {
            let Some((index, due)) = self.take_due(now) else { break };
            let depth = self.desk.traffic.depth() as u64;
            let late = due.elapsed();
            let link = self.links.get_mut(index).and_then(Option::as_mut);
            let fate = link.and_then(|link| link.send_due(&mut self.desk, due));
            if self.desk.phase == Phase::Measure {
                self.desk.tally.add_due(depth, fate.map(|_| late));
            }
            self.settle(index, fate.unwrap_or(Fate::Lives));
        }
        match self.schedule.as_ref().map(|schedule| schedule.wait(Instant::now())) {
            // The poll counts in milliseconds: a shorter wait would be rounded up to one.
            Some(wait) if wait < SHORT => Duration::ZERO,
            Some(wait) => wait,
            None => TURN_MAX,
        }
    }

    fn take_due(&mut self, now: Instant) -> Option<(usize, Instant)> {
        self.schedule.as_mut()?.take_due(now)
    }

    /// What was to be sent and is not, as the measured time is over. Of the last moment it would not
    /// have been late yet.
    fn give_up_due(&mut self) {
        let depth = self.desk.traffic.depth() as u64;
        let now = Instant::now();
        while let Some((_, due)) = self.take_due(now) {
            if now.saturating_duration_since(due) > SHORT {
                self.desk.tally.add_due(depth, None);
            }
        }
    }

    /// Does in a new phase what it asks of every connection.
    fn follow(&mut self, phase: Phase) {
        if phase == self.desk.phase {
            return;
        }
        if self.desk.phase == Phase::Measure {
            self.give_up_due();
        }
        self.desk.phase = phase;
        if let (Phase::WarmUp | Phase::Measure, Some(schedule)) = (phase, &mut self.schedule) {
            schedule.begin(Instant::now());
        }
        for index in 0..self.links.len() {
            let Some(Some(link)) = self.links.get_mut(index) else { continue };
            let fate = match phase {
                Phase::Open => Fate::Lives,
                Phase::Exchange | Phase::WarmUp | Phase::Measure => link.begin(&mut self.desk),
                Phase::Leave => link.close(&mut self.desk),
            };
            self.settle(index, fate);
        }
    }

    fn settle(&mut self, index: usize, mut fate: Fate) {
        let Some(slot) = self.links.get_mut(index) else { return };
        if fate == Fate::Rests {
            self.control.add_rested();
            if let (Some(link), Phase::Leave) = (&mut *slot, self.desk.phase) {
                fate = link.close(&mut self.desk);
            }
        }
        if fate == Fate::Ended {
            // Closing the socket takes it out of the poll.
            *slot = None;
            self.live_count -= 1;
            self.control.add_ended();
        }
    }

    /// Tells how many replies there are so far, for the progress bar.
    fn publish(&mut self) {
        let count = self.desk.tally.latency_ns.len();
        self.control.add_replies(count - self.published_count);
        self.published_count = count;
    }

    fn finish(mut self) -> Tally {
        let unanswered = self.links.iter().flatten().map(Link::unanswered_count);
        self.desk.tally.unanswered_count += unanswered.sum::<usize>() as u64;
        self.desk.tally
    }
}

/// How long the opening may go without a single success.
pub(super) const OPENING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long replies and close frames are waited for at the end.
const LEAVING_TIMEOUT: Duration = Duration::from_secs(2);
/// Half of the backlog that `listen` usually gets: more would be dropped and retried after a
/// second.
const OPENING_COUNT_MAX: usize = 64;
/// How late a new phase may be noticed when nothing happens.
const TURN_MAX: Duration = Duration::from_millis(10);
const SENT_COUNT_MAX: usize = 1024;
const SHORT: Duration = Duration::from_millis(1);
/// Enough for one turn over many busy connections.
const EVENT_COUNT_MAX: usize = 1024;
