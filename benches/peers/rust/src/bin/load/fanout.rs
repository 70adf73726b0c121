//! A closed loop: a burst is published, and the next one when every subscriber has all of it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};

use crate::connect::{OPENING_COUNT_MAX, split_url};
use crate::connection::{Connection, SCRATCH_BYTES};
use crate::cost::{Cost, Stopwatch};
use crate::dialect::{Dialect, Part};
use crate::span::Span;
use crate::{Failure, Outcome};

#[derive(Args)]
pub struct FanoutArguments {
    /// The server, as ws://127.0.0.1:PORT/PATH
    #[arg(long)]
    url: String,
    /// What it speaks
    #[arg(long, value_enum)]
    speaks: Dialect,
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=19_900))]
    subscribers: u32,
    /// Events published by one write
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=128))]
    burst: u32,
    #[command(flatten)]
    span: Span,
    /// How long nothing may come before what is missing is given up
    #[arg(long, default_value_t = 10.0)]
    patience_seconds: f64,
}

/// Runs the load and says what came of it.
///
/// # Errors
/// There are no figures.
pub fn run_fanout(arguments: &FanoutArguments) -> Result<(Value, Outcome), Failure> {
    let mut fanout = Fanout::new(arguments)?;
    fanout.open()?;
    fanout.settle()?;
    let mut is_sound = fanout.run_for(arguments.span.warmup_seconds, &mut Vec::new())?;
    let published_before = fanout.published_count;
    let mut to_last = Vec::new();
    let stopwatch = Stopwatch::start(arguments.span.pid)?;
    if is_sound {
        is_sound = fanout.run_for(arguments.span.seconds, &mut to_last)?;
    }
    let cost = stopwatch.stop()?;
    fanout.wait_until_quiet()?;
    let (missing, extra) = fanout.flaws();
    let event_count = fanout.published_count - published_before;
    let json = report(arguments, &cost, event_count, &mut to_last, (missing, extra));
    let is_flawless = is_sound && missing == 0 && extra == 0;
    Ok((json, if is_flawless { Outcome::Flawless } else { Outcome::Flawed }))
}

struct Fanout<'a> {
    arguments: &'a FanoutArguments,
    address: SocketAddr,
    path: &'a str,
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    /// The subscribers, and behind them the publisher.
    connections: Vec<Connection>,
    open_count: usize,
    /// Events published since counting began, by which it is told what is missing.
    published_count: u64,
    /// Of the publisher's whole life.
    next_number: u64,
    /// Subscribers that have all that was published.
    complete_count: usize,
    /// Somebody has more than was published.
    has_extra: bool,
    last_event_at: Instant,
}

impl<'a> Fanout<'a> {
    fn new(arguments: &'a FanoutArguments) -> Result<Fanout<'a>, Failure> {
        let (address, path) = split_url(&arguments.url)?;
        Ok(Fanout {
            arguments,
            address,
            path,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            scratch: vec![0; SCRATCH_BYTES],
            connections: Vec::with_capacity(arguments.subscribers as usize + 1),
            open_count: 0,
            published_count: 0,
            next_number: 1,
            complete_count: 0,
            has_extra: false,
            last_event_at: Instant::now(),
        })
    }

    fn subscriber_count(&self) -> usize {
        self.arguments.subscribers as usize
    }

    /// Opens all subscribers, and then the publisher.
    fn open(&mut self) -> Result<(), Failure> {
        let all = self.subscriber_count() + 1;
        let mut last_opened = (0, Instant::now());
        while self.open_count < all {
            let opening_max = if self.open_count < all - 1 { all - 1 } else { all };
            while self.connections.len() < opening_max
                && self.connections.len() - self.open_count < OPENING_COUNT_MAX
            {
                self.open_one()?;
            }
            self.turn(GLANCE)?;
            if self.open_count > last_opened.0 {
                last_opened = (self.open_count, Instant::now());
            }
            if last_opened.1.elapsed() > OPENING_PATIENCE {
                let count = self.open_count;
                return Err(format!("nothing opened for 10 s, after {count} of {all}").into());
            }
        }
        Ok(())
    }

    fn open_one(&mut self) -> Result<(), Failure> {
        let index = self.connections.len();
        let dialect = self.arguments.speaks;
        let is_publisher = index == self.subscriber_count();
        let part = if is_publisher { Part::Publisher } else { Part::Subscriber };
        let target = dialect.target(part, self.path);
        let mut connection = Connection::open(self.address, index, &target, dialect, part)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(connection.wire.stream(), Token(index), interest)?;
        self.connections.push(connection);
        Ok(())
    }

    /// Publishes until an event has reached everybody: some servers subscribe a connection a moment
    /// after they have let it in.
    fn settle(&mut self) -> Result<(), Failure> {
        for _ in 0..SETTLING_COUNT_MAX {
            let is_complete = self.burst(1, Duration::from_secs(1))?.is_some();
            self.wait_until_quiet()?;
            self.connections.iter_mut().for_each(Connection::forget);
            (self.published_count, self.has_extra) = (0, false);
            if is_complete {
                return Ok(());
            }
        }
        Err("not every subscriber comes to hear what is published".into())
    }

    /// Publishes burst after burst. Gives false once one did not arrive as it should.
    fn run_for(&mut self, seconds: f64, to_last: &mut Vec<Duration>) -> Result<bool, Failure> {
        let patience = Duration::from_secs_f64(self.arguments.patience_seconds);
        let start = Instant::now();
        for index in 0.. {
            if start.elapsed().as_secs_f64() >= seconds && index >= BURST_COUNT_MIN {
                break;
            }
            match self.burst(self.arguments.burst as usize, patience)? {
                Some(time) => to_last.push(time),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Publishes and waits until everybody has everything; gives the time that it took to the last.
    /// `None` if something did not come, or more came.
    fn burst(&mut self, count: usize, patience: Duration) -> Result<Option<Duration>, Failure> {
        let frames = self.arguments.speaks.burst(count, self.next_number);
        self.published_count += count as u64;
        self.next_number += count as u64;
        self.complete_count = 0;
        let start = Instant::now();
        self.last_event_at = start;
        if let Some(publisher) = self.connections.last_mut() {
            publisher.wire.send(&frames)?;
        }
        let mut to_last = None;
        while to_last.is_none() || !self.is_stored() {
            self.turn(GLANCE)?;
            if self.has_extra || self.last_event_at.elapsed() > patience {
                return Ok(None);
            }
            if to_last.is_none() && self.complete_count == self.subscriber_count() {
                to_last = Some(self.last_event_at.duration_since(start));
            }
        }
        Ok(to_last)
    }

    /// Whether a publisher that is told what became of its events was told of all.
    fn is_stored(&self) -> bool {
        let hears_outcomes = self.arguments.speaks.is_session(Part::Publisher);
        let stored_count = self.connections.last().map_or(0, |publisher| publisher.received_count);
        !hears_outcomes || stored_count >= self.published_count
    }

    /// Takes in what has come, or comes within the time.
    fn turn(&mut self, timeout: Duration) -> Result<(), Failure> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        let subscriber_count = self.arguments.subscribers as usize;
        for event in &self.events {
            let index = event.token().0;
            let Some(connection) = self.connections.get_mut(index) else { continue };
            let (was_open, before) = (connection.is_open(), connection.received_count);
            connection
                .read(self.arguments.speaks, &mut self.scratch)
                .map_err(|error| format!("connection {index}: {error}"))?;
            if !was_open && connection.is_open() {
                self.open_count += 1;
            }
            let after = connection.received_count;
            if after != before && index < subscriber_count {
                self.last_event_at = Instant::now();
                let wanted = self.published_count;
                self.complete_count += usize::from(before < wanted && after >= wanted);
                self.has_extra |= after > wanted;
            }
            if event.is_read_closed() {
                return Err(format!("connection {index}: the server ended it").into());
            }
        }
        Ok(())
    }

    /// Waits until what is still on its way has come.
    fn wait_until_quiet(&mut self) -> Result<(), Failure> {
        self.last_event_at = Instant::now();
        while self.last_event_at.elapsed() < QUIET {
            self.turn(GLANCE)?;
        }
        Ok(())
    }

    /// Deliveries that are missing, and that are too many.
    fn flaws(&self) -> (u64, u64) {
        let counts = self.connections.iter().take(self.subscriber_count());
        counts.fold((0, 0), |(missing, extra), subscriber| {
            let (wanted, received) = (self.published_count, subscriber.received_count);
            (missing + wanted.saturating_sub(received), extra + received.saturating_sub(wanted))
        })
    }
}

fn report(
    arguments: &FanoutArguments,
    cost: &Cost,
    event_count: u64,
    to_last: &mut [Duration],
    (missing, extra): (u64, u64),
) -> Value {
    let delivery_count = (event_count * u64::from(arguments.subscribers)).saturating_sub(missing);
    to_last.sort_unstable();
    let quantile = |share: f64| {
        let index = (to_last.len() as f64 * share).ceil() as usize;
        to_last.get(index.saturating_sub(1)).map(|time| time.as_nanos() as f64 / 1e3)
    };
    json!({
        "deliveries": delivery_count,
        "seconds": cost.elapsed.as_secs_f64(),
        "deliveries_per_second": delivery_count as f64 / cost.elapsed.as_secs_f64(),
        "server_cpu_ns_per_delivery": cost.server_ns_per(delivery_count),
        "server_cpu_percent": cost.server_percent(),
        "load_cpu_percent": cost.load_percent(),
        "to_last_us": { "p50": quantile(0.5), "p99": quantile(0.99) },
        "bursts": to_last.len(),
        "missing": missing,
        "extra": extra,
    })
}

const OPENING_PATIENCE: Duration = Duration::from_secs(10);
/// How late it is noticed that nothing comes.
const GLANCE: Duration = Duration::from_millis(50);
/// What is on its way over loopback comes within this time.
const QUIET: Duration = Duration::from_millis(200);
const SETTLING_COUNT_MAX: usize = 10;
/// Fewer bursts would be chance.
const BURST_COUNT_MIN: u32 = 3;
