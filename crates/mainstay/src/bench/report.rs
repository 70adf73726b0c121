//! What is printed in the end: for people, or as JSON.

use std::fmt::{self, Write as _};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::process::Memory;
use super::schedule::Rate;
use super::tally::Tally;

/// What a time of load came to.
pub(super) struct LoadReport {
    pub(super) what: &'static str,
    pub(super) url: String,
    pub(super) connections: usize,
    pub(super) threads: usize,
    pub(super) depth: usize,
    /// Of an open loop.
    pub(super) rate: Option<Rate>,
    pub(super) elapsed: Duration,
    pub(super) is_interrupted: bool,
    pub(super) server: Option<CpuUse>,
    pub(super) client: CpuUse,
    pub(super) tally: Tally,
}

/// CPU time of one process.
#[derive(Clone, Copy, Debug)]
pub(super) struct CpuUse {
    /// For each message and its reply; `None` without messages.
    pub(super) us_per_message: Option<f64>,
    /// Of one CPU.
    pub(super) percent: f64,
}

impl CpuUse {
    pub(super) fn new(time: Duration, elapsed: Duration, message_count: u64) -> CpuUse {
        let us = time.as_secs_f64() * 1e6;
        // Of a moment, the reading of the clocks is the greater part.
        let elapsed = if elapsed < MOMENT { Duration::ZERO } else { elapsed };
        CpuUse {
            us_per_message: (message_count > 0).then(|| us / message_count as f64),
            percent: 100.0 * ratio(time.as_secs_f64(), elapsed.as_secs_f64()),
        }
    }

    fn json(self) -> Value {
        json!({ "us_per_message": self.us_per_message, "percent": self.percent })
    }
}

impl LoadReport {
    pub(super) fn json(&self) -> Value {
        let tally = &self.tally;
        json!({
            "what": self.what,
            "url": self.url,
            "connections": self.connections,
            "threads": self.threads,
            "depth": self.depth,
            "rate": self.rate.map(|rate| self.rate_json(rate)),
            "seconds": self.elapsed.as_secs_f64(),
            "interrupted": self.is_interrupted,
            "messages": tally.latency_ns.len(),
            "messages_per_second": self.per_second(tally.latency_ns.len()),
            "sent_megabytes_per_second": self.per_second(tally.sent_bytes) / 1e6,
            "received_megabytes_per_second": self.per_second(tally.received_bytes) / 1e6,
            "latency_us": latency_json(&tally.latency_ns),
            "server_cpu": self.server.map(CpuUse::json),
            "client_cpu": self.client.json(),
            "flaws": flaws_json(tally),
        })
    }

    fn rate_json(&self, Rate(wanted): Rate) -> Value {
        let tally = &self.tally;
        json!({
            "wanted_per_second": wanted,
            "sent_per_second": self.per_second(tally.late_ns.len()),
            "unsent": tally.unsent_count,
            "late_us": latency_json(&tally.late_ns),
            "kept": self.keeps_rate(),
        })
    }

    /// Whether the load sent what it was to, and in time: if not, its own waiting is in the latency.
    fn keeps_rate(&self) -> bool {
        let Tally { late_ns, unsent_count, .. } = &self.tally;
        let is_prompt = u128::from(late_ns.value_at_quantile(0.99)) <= LATE_MAX.as_nanos();
        *unsent_count == 0 && is_prompt && !late_ns.is_empty()
    }

    fn per_second(&self, count: u64) -> f64 {
        ratio(count as f64, self.elapsed.as_secs_f64())
    }

    fn write_rate(&self, out: &mut fmt::Formatter<'_>, Rate(wanted): Rate) -> fmt::Result {
        let tally = &self.tally;
        let sent = grouped(self.per_second(tally.late_ns.len()).round() as u64);
        row(out, "rate", &format!("{}/s wanted, {sent}/s sent", grouped(wanted.into())))?;
        row(out, "sent late", &latencies(&tally.late_ns))?;
        if !self.keeps_rate() {
            let unsent = grouped(tally.unsent_count);
            let text = format!("NOT KEPT: the load fell behind ({unsent} messages were not sent),");
            row(out, "", &text)?;
            row(out, "", "so its own delay is in the latency; take a lower --rate, or --threads")?;
        }
        Ok(())
    }

    fn write_latency(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(out, "latency", &latencies(&self.tally.latency_ns))?;
        let [first, second] = match self.rate {
            None => [
                "(closed loop: a connection sends again once all of its batch is answered,",
                "so waiting behind a slow server is not in these figures)",
            ],
            Some(_) => [
                "(open loop: since the moment at which each message was to be sent,",
                "so waiting behind a slow server is in these figures)",
            ],
        };
        row(out, "", first)?;
        row(out, "", second)
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LoadReport { what, url, connections, threads, depth, .. } = self;
        writeln!(out, "{what} {url}: {connections} connections, depth {depth}, threads {threads}")?;
        let interrupted = if self.is_interrupted { " (interrupted)" } else { "" };
        row(out, "measured", &format!("{:.2} s{interrupted}", self.elapsed.as_secs_f64()))?;
        let count = self.tally.latency_ns.len();
        let rate = grouped(self.per_second(count).round() as u64);
        row(out, "messages", &format!("{rate}/s ({} in all)", grouped(count)))?;
        let (sent, received) =
            (self.per_second(self.tally.sent_bytes), self.per_second(self.tally.received_bytes));
        let (sent, received) = (sent / 1e6, received / 1e6);
        row(out, "on the wire", &format!("{sent:.1} MB/s sent, {received:.1} MB/s received"))?;
        if let Some(rate) = self.rate {
            self.write_rate(out, rate)?;
        }
        if count > 0 {
            self.write_latency(out)?;
        }
        for (name, cpu) in [("server CPU", self.server), ("client CPU", Some(self.client))] {
            let Some(cpu) = cpu else { continue };
            let per_message = cpu.us_per_message.map(|us| format!("{us:.2} µs per message, "));
            let per_message = per_message.unwrap_or_default();
            row(out, name, &format!("{per_message}{:.0} % of one CPU", cpu.percent))?;
        }
        // An open loop looks at the clock all the time.
        if self.rate.is_none() && self.client.percent > BUSY_PERCENT * self.threads as f64 {
            row(out, "", "(the client was busy all the time: the server may be able to do more)")?;
        }
        write_flaws(out, &self.tally)
    }
}

/// What idle connections cost.
pub(super) struct IdleReport {
    pub(super) url: String,
    pub(super) connections: usize,
    pub(super) opening: Opened,
    pub(super) before: Memory,
    pub(super) after: Memory,
    pub(super) tally: Tally,
}

/// What it took to open all connections, one handshake each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opened {
    pub(super) elapsed: Duration,
    /// Of the server.
    pub(super) cpu: Duration,
}

impl IdleReport {
    pub(super) fn json(&self) -> Value {
        let side = |memory: &Memory| {
            json!({
                "rss_bytes": memory.rss_bytes,
                "status_rss_bytes": memory.status_rss_bytes,
                "anonymous_bytes": memory.anonymous_bytes,
            })
        };
        json!({
            "what": "idle",
            "url": self.url,
            "connections": self.connections,
            "opening": {
                "seconds": self.opening.elapsed.as_secs_f64(),
                "server_cpu_seconds": self.opening.cpu.as_secs_f64(),
                "server_cpu_us_per_connection": self.opening_us(),
            },
            "before": side(&self.before),
            "after": side(&self.after),
            "bytes_per_connection": self.per_connection(|memory| memory.rss_bytes),
            "status_bytes_per_connection": self.per_connection(|memory| memory.status_rss_bytes),
            "anonymous_bytes_per_connection": self.per_connection(|memory| memory.anonymous_bytes),
            "flaws": flaws_json(&self.tally),
        })
    }

    /// CPU time of the server for each connection.
    fn opening_us(&self) -> f64 {
        ratio(self.opening.cpu.as_secs_f64() * 1e6, self.connections as f64)
    }

    fn per_connection(&self, part: impl Fn(&Memory) -> u64) -> f64 {
        // It may shrink: a garbage collector has its own time.
        ratio(part(&self.after) as f64 - part(&self.before) as f64, self.connections as f64)
    }
}

impl fmt::Display for IdleReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "idle {}: {} connections", self.url, self.connections)?;
        let Opened { elapsed, cpu } = self.opening;
        let (elapsed, cpu) = (elapsed.as_secs_f64(), cpu.as_secs_f64());
        let each = self.opening_us();
        let text = format!("{elapsed:.2} s, server CPU {cpu:.2} s: {each:.1} µs per connection");
        row(out, "opening", &text)?;
        let mut memory_row = |name, part: fn(&Memory) -> u64| {
            let (before, after) = (part(&self.before) / 1024, part(&self.after) / 1024);
            let each = self.per_connection(part);
            let sides = format!("{} KiB before, {} KiB after", grouped(before), grouped(after));
            row(out, name, &format!("{sides}: {each:.0} bytes per connection"))
        };
        memory_row("resident", |memory| memory.rss_bytes)?;
        memory_row("VmRSS", |memory| memory.status_rss_bytes)?;
        memory_row("anonymous", |memory| memory.anonymous_bytes)?;
        row(out, "", "(memory of the server in user space; the kernel's sockets are not in it)")?;
        write_flaws(out, &self.tally)
    }
}

pub(super) fn row(out: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    writeln!(out, "  {name:<12} {text}")
}

pub(super) fn write_flaws(out: &mut fmt::Formatter<'_>, tally: &Tally) -> fmt::Result {
    if tally.wrong_count > 0 {
        let examples = tally.wrong_examples.join("; ");
        row(out, "WRONG", &format!("{} replies: {examples}", grouped(tally.wrong_count)))?;
    }
    if tally.unanswered_count > 0 {
        row(out, "UNANSWERED", &format!("{} requests", grouped(tally.unanswered_count)))?;
    }
    for (end, count) in &tally.ends {
        row(out, "ENDED", &format!("{} connections by the server: {end}", grouped(*count)))?;
    }
    Ok(())
}

pub(super) fn flaws_json(tally: &Tally) -> Value {
    json!({
        "wrong": tally.wrong_count,
        "wrong_examples": tally.wrong_examples,
        "unanswered": tally.unanswered_count,
        "ended_by_server": tally.ends,
    })
}

pub(super) fn latencies(histogram: &Histogram<u64>) -> String {
    let mut text = String::new();
    for (name, quantile) in QUANTILES {
        let value = histogram.value_at_quantile(quantile);
        // Writing to a string does not fail.
        let _ = write!(text, "{name} {}  ", time(value));
    }
    let _ = write!(text, "max {}", time(histogram.max()));
    text
}

pub(super) fn latency_json(histogram: &Histogram<u64>) -> Value {
    let mut fields = serde_json::Map::new();
    let us = |ns: u64| json!(ns as f64 / 1e3);
    for (name, quantile) in QUANTILES {
        fields.insert(name.to_owned(), us(histogram.value_at_quantile(quantile)));
    }
    fields.insert("max".to_owned(), us(histogram.max()));
    Value::Object(fields)
}

/// Three digits and a unit.
pub(super) fn time(ns: u64) -> String {
    let us = ns as f64 / 1e3;
    let (value, unit) = match us {
        us if us < 1e3 => (us, "µs"),
        us if us < 1e6 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    match value {
        value if value < 10.0 => format!("{value:.2} {unit}"),
        value if value < 100.0 => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    }
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Zero where there is nothing to divide by, so that a report of nothing has numbers too.
pub(super) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// Too short to say anything about.
const MOMENT: Duration = Duration::from_millis(10);

/// More than a turn over many busy connections takes.
const LATE_MAX: Duration = Duration::from_millis(1);

/// Of one CPU for each thread: beyond it the client has no time left to be prompt.
const BUSY_PERCENT: f64 = 95.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::traffic::Wrong;

    fn load_report(tally: Tally) -> LoadReport {
        let elapsed = Duration::from_secs(2);
        let count = tally.latency_ns.len();
        LoadReport {
            what: "echo",
            url: "ws://127.0.0.1:1/".to_owned(),
            connections: 3,
            threads: 1,
            depth: 4,
            rate: None,
            elapsed,
            is_interrupted: false,
            server: Some(CpuUse::new(Duration::from_millis(1000), elapsed, count)),
            client: CpuUse::new(Duration::from_millis(500), elapsed, count),
            tally,
        }
    }

    #[test]
    fn a_load_is_told_in_rates_and_quantiles() {
        let mut tally = Tally::new();
        for us in 1..=1000 {
            tally.add_replies(1000, Duration::from_micros(us));
        }
        (tally.sent_bytes, tally.received_bytes) = (4_000_000, 6_000_000);
        let report = load_report(tally);
        let text = report.to_string();
        for part in [
            "3 connections, depth 4",
            "500,000/s (1,000,000 in all)",
            "2.0 MB/s sent, 3.0 MB/s received",
            "p50 500 µs  p90 900 µs  p99 990 µs  p99.9 999 µs  max 1.00 ms",
            "closed loop",
            "1.00 µs per message, 50 % of one CPU",
            "0.50 µs per message, 25 % of one CPU",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        for part in ["WRONG", "ENDED", "UNANSWERED", "busy", "interrupted"] {
            assert!(!text.contains(part), "{part:?} in {text}");
        }
        let json = report.json();
        assert_eq!(json["messages_per_second"], 500_000.0);
        assert_eq!(json["server_cpu"]["us_per_message"], 1.0);
        assert!((json["latency_us"]["p99.9"].as_f64().unwrap() - 999.0).abs() < 1.0);
    }

    #[test]
    fn flaws_are_told() {
        let mut tally = Tally::new();
        tally.add_wrong(Wrong("an echo with other bytes".to_owned()));
        tally.add_end("1001 going away".to_owned());
        tally.unanswered_count = 5;
        let report = load_report(tally);
        let text = report.to_string();
        for part in [
            "WRONG        1 replies: an echo with other bytes",
            "UNANSWERED   5 requests",
            "ENDED        1 connections by the server: 1001 going away",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert_eq!(report.json()["flaws"]["ended_by_server"]["1001 going away"], 1);
    }

    #[test]
    fn an_open_loop_tells_whether_it_kept_its_rate() {
        let report = |late: Duration, unsent_count| {
            let mut tally = Tally::new();
            tally.add_replies(2000, Duration::from_micros(50));
            tally.add_due(2000, Some(late));
            tally.unsent_count = unsent_count;
            let mut report = load_report(tally);
            report.client.percent = 99.0;
            report.rate = Some(Rate(1000));
            report
        };
        let kept = report(Duration::from_micros(20), 0);
        let text = kept.to_string();
        for part in ["1,000/s wanted, 1,000/s sent", "sent late    p50 20.0 µs", "open loop"] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        for part in ["NOT KEPT", "closed loop", "busy"] {
            assert!(!text.contains(part), "{part:?} in {text}");
        }
        let json = kept.json();
        assert_eq!(
            (&json["rate"]["kept"], &json["rate"]["sent_per_second"]),
            (&true.into(), &1000.0.into())
        );
        let mut nothing = report(Duration::ZERO, 0);
        nothing.tally = Tally::new();
        for behind in [report(Duration::from_millis(2), 0), report(Duration::ZERO, 7), nothing] {
            assert!(behind.to_string().contains("NOT KEPT"), "{behind}");
            assert_eq!(behind.json()["rate"]["kept"], false);
        }
        assert!(load_report(Tally::new()).json()["rate"].is_null());
    }

    #[test]
    fn a_client_without_time_left_says_so() {
        let mut report = load_report(Tally::new());
        report.client.percent = 99.0;
        assert!(report.to_string().contains("the client was busy"));
    }

    #[test]
    fn a_report_of_nothing_has_no_made_up_numbers() {
        let mut report = load_report(Tally::new());
        report.elapsed = Duration::ZERO;
        let text = report.to_string();
        assert!(text.contains("0/s (0 in all)") && !text.contains("latency"), "{text}");
        assert!(report.json()["server_cpu"]["us_per_message"].is_null());
    }

    #[test]
    fn idle_memory_is_told_for_each_connection() {
        let memory = |kib: u64| Memory {
            status_rss_bytes: kib * 1024,
            rss_bytes: 2 * kib * 1024,
            anonymous_bytes: 512 * kib,
        };
        let url = "ws://127.0.0.1:1/".to_owned();
        let (before, after) = (memory(1000), memory(11_000));
        let opening =
            Opened { elapsed: Duration::from_millis(1250), cpu: Duration::from_millis(500) };
        let (connections, tally) = (10_000, Tally::new());
        let report = IdleReport { url, connections, opening, before, after, tally };
        let text = report.to_string();
        assert!(text.contains("1.25 s, server CPU 0.50 s: 50.0 µs per connection"), "{text}");
        assert_eq!(report.json()["opening"]["seconds"], 1.25);
        assert_eq!(report.json()["opening"]["server_cpu_us_per_connection"], 50.0);
        assert!(text.contains("2,000 KiB before, 22,000 KiB after: 2048 bytes per"), "{text}");
        assert!(text.contains("500 KiB before, 5,500 KiB after: 512 bytes per"), "{text}");
        assert_eq!(report.json()["bytes_per_connection"], 2048.0);
    }

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let cases = [
            (0, "0.00 µs"),
            (1_234, "1.23 µs"),
            (56_780, "56.8 µs"),
            (999_000, "999 µs"),
            (1_500_000, "1.50 ms"),
            (60_000_000_000, "60.0 s"),
        ];
        for (ns, expected) in cases {
            assert_eq!(time(ns), expected);
        }
        assert_eq!([grouped(0), grouped(999), grouped(1000)], ["0", "999", "1,000"]);
    }
}
