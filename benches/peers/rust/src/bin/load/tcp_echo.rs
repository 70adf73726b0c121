//! Bare bytes that come back: the floor of `mainstay bench echo`, in its words.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use mainstay_peers::wire::Wire;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};

use crate::connect::connect;
use crate::connection::SCRATCH_BYTES;
use crate::cost::Stopwatch;
use crate::span::Span;
use crate::{Failure, Outcome};

#[derive(Args)]
pub struct TcpEchoArguments {
    #[arg(long)]
    address: SocketAddr,
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=19_900))]
    connections: u32,
    /// Bytes of each message
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    bytes: u32,
    /// Messages sent at once on each connection; the next ones follow when all are back
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    depth: u32,
    #[command(flatten)]
    span: Span,
}

/// Runs the load and says what came of it.
///
/// # Errors
/// There are no figures.
pub fn run_tcp_echo(arguments: &TcpEchoArguments) -> Result<(Value, Outcome), Failure> {
    let mut exchange = Exchange::start(arguments)?;
    exchange.run_for(arguments.span.warmup_seconds)?;
    exchange.latency_ns.reset();
    let stopwatch = Stopwatch::start(arguments.span.pid)?;
    exchange.run_for(arguments.span.seconds)?;
    let cost = stopwatch.stop()?;
    let latency = &exchange.latency_ns;
    let count = latency.len();
    let us = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
    let per_message_us = |ns: Option<f64>| ns.map(|ns| ns / 1e3);
    let json = json!({
        "what": "tcp-echo",
        "connections": arguments.connections,
        "depth": arguments.depth,
        "seconds": cost.elapsed.as_secs_f64(),
        "messages": count,
        "messages_per_second": count as f64 / cost.elapsed.as_secs_f64(),
        "latency_us": { "p50": us(0.5), "p99": us(0.99) },
        "server_cpu": {
            "us_per_message": per_message_us(cost.server_ns_per(count)),
            "percent": cost.server_percent(),
        },
        "client_cpu": { "percent": cost.load_percent() },
    });
    Ok((json, Outcome::Flawless))
}

struct Exchange {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    connections: Vec<Connection>,
    message_bytes: usize,
    batch: Vec<u8>,
    latency_ns: Histogram<u64>,
}

struct Connection {
    wire: Wire,
    /// Of the batch that is on its way.
    received_bytes: usize,
    sent_at: Instant,
}

impl Exchange {
    fn start(arguments: &TcpEchoArguments) -> Result<Exchange, Failure> {
        let message_bytes = arguments.bytes as usize;
        let mut exchange = Exchange {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            scratch: vec![0; SCRATCH_BYTES],
            connections: Vec::new(),
            message_bytes,
            batch: vec![b'x'; message_bytes * arguments.depth as usize],
            latency_ns: Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)?,
        };
        for index in 0..arguments.connections as usize {
            let mut wire = Wire::new(connect(arguments.address, index)?);
            let interest = Interest::READABLE | Interest::WRITABLE;
            exchange.poll.registry().register(wire.stream(), Token(index), interest)?;
            wire.send(&exchange.batch)?;
            let sent_at = Instant::now();
            exchange.connections.push(Connection { wire, received_bytes: 0, sent_at });
        }
        Ok(exchange)
    }

    fn run_for(&mut self, seconds: f64) -> Result<(), Failure> {
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < seconds {
            match self.poll.poll(&mut self.events, Some(Duration::from_millis(10))) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            for event in &self.events {
                let Some(connection) = self.connections.get_mut(event.token().0) else { continue };
                connection.wire.send_more()?;
                while let Some(input) = connection.wire.read(&mut self.scratch)? {
                    let count = input.len();
                    let before = connection.received_bytes;
                    connection.received_bytes += count;
                    let message_count = connection.received_bytes / self.message_bytes
                        - before / self.message_bytes;
                    let now = Instant::now();
                    let latency = now.duration_since(connection.sent_at).as_nanos() as u64;
                    self.latency_ns.saturating_record_n(latency, message_count as u64);
                    if connection.received_bytes > self.batch.len() {
                        return Err("more came back than was sent".into());
                    }
                    if connection.received_bytes == self.batch.len() {
                        (connection.received_bytes, connection.sent_at) = (0, now);
                        connection.wire.send(&self.batch)?;
                    }
                    if count < SCRATCH_BYTES {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A minute.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
