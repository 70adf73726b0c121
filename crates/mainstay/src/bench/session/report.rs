//! What a run with sessions came to.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::super::process::Memory;
use super::super::report::{
    flaws_json, grouped, latencies, latency_json, ratio, row, time, write_flaws,
};
use super::super::tally::Tally;
use super::ServerCpu;

/// Figures, for people and as JSON alike.
pub(in super::super) struct SessionReport {
    title: String,
    rows: Vec<(&'static str, String)>,
    json: Map<String, Value>,
    pub(in super::super) tally: Tally,
}

impl SessionReport {
    pub(super) fn new(what: &'static str, title: String, tally: Tally) -> SessionReport {
        let json = Map::from_iter([("what".to_owned(), json!(what))]);
        SessionReport { title: format!("{what}: {title}"), rows: Vec::new(), json, tally }
    }

    /// A figure for programs alone.
    pub(super) fn figure(&mut self, key: &str, value: impl Into<Value>) {
        self.json.insert(key.to_owned(), value.into());
    }

    /// How many, how many a second, and what each cost the server.
    pub(super) fn rate(
        &mut self,
        name: &'static str,
        count: u64,
        elapsed: Duration,
        cpu: Option<ServerCpu>,
    ) {
        let per_second = ratio(count as f64, elapsed.as_secs_f64());
        let text = format!("{}/s ({} in all)", grouped(per_second.round() as u64), grouped(count));
        self.rows.push((name, text));
        self.figure(name, count);
        self.figure(&format!("{name}_per_second"), per_second);
        self.figure("seconds", elapsed.as_secs_f64());
        let Some(cpu) = cpu else { return };
        let each = |time: Duration| ratio(time.as_secs_f64() * 1e9, count as f64);
        let percent = 100.0 * ratio(cpu.total.as_secs_f64(), elapsed.as_secs_f64());
        let (total, keeper) = (each(cpu.total), each(cpu.keeper));
        let text = format!(
            "{total:.0} ns each ({keeper:.0} ns of it the keeper's), {percent:.0} % of one CPU"
        );
        self.rows.push(("server CPU", text));
        self.figure("server_cpu_ns_each", total);
        self.figure("keeper_cpu_ns_each", keeper);
        self.figure("server_cpu_percent", percent);
    }

    pub(super) fn latency(&mut self, name: &'static str, histogram: &Histogram<u64>) {
        self.rows.push((name, latencies(histogram)));
        self.figure("latency_us", latency_json(histogram));
    }

    pub(super) fn duration(&mut self, name: &'static str, key: &str, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.rows.push((name, time(ns)));
        self.figure(key, duration.as_secs_f64());
    }

    pub(super) fn memory(&mut self, name: &'static str, key: &str, bytes: u64) {
        self.rows.push((name, format!("{} KiB resident", grouped(bytes / 1024))));
        self.figure(key, bytes);
    }

    pub(super) fn text(&mut self, name: &'static str, text: impl Into<String>) {
        self.rows.push((name, text.into()));
    }

    /// What memory grew by, for each of `count`.
    pub(super) fn growth(&mut self, before: Memory, after: Memory, count: usize) {
        let resident = ("resident", "bytes_each", before.rss_bytes, after.rss_bytes);
        let (from, to) = (before.anonymous_bytes, after.anonymous_bytes);
        for (name, key, before, after) in
            [resident, ("anonymous", "anonymous_bytes_each", from, to)]
        {
            let each = ratio(after as f64 - before as f64, count as f64);
            let (before, after) = (grouped(before / 1024), grouped(after / 1024));
            let text = format!("{before} KiB before, {after} KiB after: {each:.0} bytes each");
            self.rows.push((name, text));
            self.figure(key, each);
        }
    }

    pub(in super::super) fn json(&self) -> Value {
        let mut json = self.json.clone();
        json.insert("flaws".to_owned(), flaws_json(&self.tally));
        Value::Object(json)
    }
}

impl fmt::Display for SessionReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.title)?;
        for (name, text) in &self.rows {
            row(out, name, text)?;
        }
        write_flaws(out, &self.tally)
    }
}
