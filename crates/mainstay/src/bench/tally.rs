//! What one thread counts, and the sum over all threads.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::traffic::Wrong;

/// What happened on the connections of one thread.
#[derive(Debug)]
pub(super) struct Tally {
    /// From the writing of a batch, or in an open loop from when it was to be written, to the reading
    /// of each reply, in nanoseconds. Only right replies to what was sent in the measured time are in
    /// it, so its length is their count.
    pub(super) latency_ns: Histogram<u64>,
    /// In an open loop, how much later than it was to each message of the measured time was sent, in
    /// nanoseconds.
    pub(super) late_ns: Histogram<u64>,
    /// In an open loop, messages of the measured time that the load did not come to send.
    pub(super) unsent_count: u64,
    /// Bytes written as frames in the measured time.
    pub(super) sent_bytes: u64,
    /// Bytes read in the measured time.
    pub(super) received_bytes: u64,
    /// Wrong replies, whenever they came.
    pub(super) wrong_count: u64,
    /// The first of them, in words.
    pub(super) wrong_examples: Vec<String>,
    /// Requests without a reply when the run was over.
    pub(super) unanswered_count: u64,
    /// How connections ended that the server ended.
    pub(super) ends: BTreeMap<String, u64>,
}

impl Tally {
    /// Nothing yet.
    pub(super) fn new() -> Tally {
        Tally {
            latency_ns: histogram(),
            late_ns: histogram(),
            unsent_count: 0,
            sent_bytes: 0,
            received_bytes: 0,
            wrong_count: 0,
            wrong_examples: Vec::new(),
            unanswered_count: 0,
            ends: BTreeMap::new(),
        }
    }

    /// Counts right replies that took `latency`.
    pub(super) fn add_replies(&mut self, count: u64, latency: Duration) {
        let latency_ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency_ns.saturating_record_n(latency_ns, count);
    }

    /// Counts messages of an open loop that were sent so late, or not at all.
    pub(super) fn add_due(&mut self, count: u64, late: Option<Duration>) {
        match late {
            Some(late) => {
                let late_ns = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
                self.late_ns.saturating_record_n(late_ns, count);
            }
            None => self.unsent_count += count,
        }
    }

    /// Counts a wrong reply and keeps the first few.
    pub(super) fn add_wrong(&mut self, wrong: Wrong) {
        self.wrong_count += 1;
        if self.wrong_examples.len() < EXAMPLE_COUNT_MAX {
            self.wrong_examples.push(wrong.0);
        }
    }

    /// Counts a connection that the server ended.
    pub(super) fn add_end(&mut self, end: String) {
        // Close reasons are the server's to invent, so their number is bounded.
        let is_known = self.ends.contains_key(&end) || self.ends.len() < END_COUNT_MAX;
        *self.ends.entry(if is_known { end } else { "other".to_owned() }).or_default() += 1;
    }

    /// Adds what another thread counted.
    pub(super) fn add(&mut self, other: Tally) {
        // Every histogram has the same bounds, so every value fits.
        self.latency_ns += other.latency_ns;
        self.late_ns += other.late_ns;
        self.unsent_count += other.unsent_count;
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        self.wrong_count += other.wrong_count;
        self.wrong_examples.extend(other.wrong_examples);
        self.wrong_examples.truncate(EXAMPLE_COUNT_MAX);
        self.unanswered_count += other.unanswered_count;
        for (end, count) in other.ends {
            *self.ends.entry(end).or_default() += count;
        }
    }

    /// Whether all that was asked was answered, rightly, on connections that lasted.
    pub(super) fn is_flawless(&self) -> bool {
        self.wrong_count == 0 && self.unanswered_count == 0 && self.ends.is_empty()
    }
}

fn histogram() -> Histogram<u64> {
    match Histogram::new_with_bounds(1, LATENCY_NS_MAX, LATENCY_DIGITS) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("the bounds are constant and valid: {error}"),
    }
}

/// One minute: a reply that takes longer is as late as one of a minute.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Three digits, as they are printed.
const LATENCY_DIGITS: u8 = 3;
/// Enough to see what is wrong.
const EXAMPLE_COUNT_MAX: usize = 3;
/// More kinds of ends than anyone reads.
const END_COUNT_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up() {
        let mut sum = Tally::new();
        for thread in 1..=4_u64 {
            let mut tally = Tally::new();
            tally.add_replies(10 * thread, Duration::from_micros(thread));
            tally.add_due(thread, Some(Duration::from_micros(1)));
            tally.add_due(1, None);
            tally.add_wrong(Wrong(format!("wrong {thread}")));
            tally.add_end("1001 going away".to_owned());
            tally.sent_bytes = thread;
            sum.add(tally);
        }
        assert_eq!((sum.latency_ns.len(), sum.sent_bytes, sum.wrong_count), (100, 10, 4));
        assert_eq!((sum.late_ns.len(), sum.unsent_count), (10, 4));
        assert_eq!(sum.latency_ns.value_at_quantile(0.6) / 100, 30);
        assert_eq!(sum.wrong_examples, ["wrong 1", "wrong 2", "wrong 3"]);
        assert_eq!(sum.ends["1001 going away"], 4);
        assert!(!sum.is_flawless());
    }

    #[test]
    fn anything_amiss_is_a_flaw() {
        assert!(Tally::new().is_flawless());
        let flawed: [fn(&mut Tally); 3] = [
            |tally| tally.add_wrong(Wrong(String::new())),
            |tally| tally.add_end("reset".to_owned()),
            |tally| tally.unanswered_count = 1,
        ];
        for flaw in flawed {
            let mut tally = Tally::new();
            flaw(&mut tally);
            assert!(!tally.is_flawless(), "{tally:?}");
        }
    }

    #[test]
    fn latencies_beyond_the_bounds_are_kept_at_the_bounds() {
        let mut tally = Tally::new();
        tally.add_replies(1, Duration::from_secs(3600));
        tally.add_replies(1, Duration::ZERO);
        assert_eq!(tally.latency_ns.len(), 2);
        assert!(tally.latency_ns.max() >= LATENCY_NS_MAX);
    }

    #[test]
    fn reasons_cannot_fill_the_memory() {
        let mut tally = Tally::new();
        for index in 0..1000 {
            tally.add_end(format!("4000 {index}"));
        }
        assert_eq!(tally.ends.len(), END_COUNT_MAX + 1);
        assert_eq!(tally.ends.values().sum::<u64>(), 1000);
    }
}
