//! The last minutes of the counters and gauges.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::Response;
use mainstay_server::{EndReason, StatsSnapshot};
use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;
use utoipa::{IntoParams, ToSchema};

use crate::body;
use crate::extract::Query;
use crate::problem::{Problem, ProblemBody};
use crate::routes::Api;

/// Samples of the counters and gauges, one each second for a quarter of an hour. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct History {
    samples: Arc<Mutex<VecDeque<Sample>>>,
}

#[derive(Debug)]
struct Sample {
    at_ms: u64,
    stats: StatsSnapshot,
}

impl History {
    /// Takes a sample each second until dropped.
    pub async fn keep(self, stats: Arc<dyn Fn() -> StatsSnapshot + Send + Sync>) {
        let mut ticks = tokio::time::interval(INTERVAL);
        // A machine that slept has a hole in its history and no burst of samples.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.add(now.as_millis() as u64, stats());
        }
    }

    pub(crate) fn add(&self, at_ms: u64, stats: StatsSnapshot) {
        let mut samples = self.lock();
        // The machine's clock may be set back; moments in here only go on.
        let at_ms = samples.back().map_or(at_ms, |last| at_ms.max(last.at_ms + 1));
        if samples.len() >= SAMPLE_COUNT_MAX {
            samples.pop_front();
        }
        samples.push_back(Sample { at_ms, stats });
    }

    fn columns(&self, after_ms: u64) -> HistoryBody {
        let samples = self.lock();
        let wanted = samples.partition_point(|sample| sample.at_ms <= after_ms);
        let wanted = || samples.range(wanted..);
        let column = |get: fn(&StatsSnapshot) -> u64| -> Vec<u64> {
            wanted().map(|sample| get(&sample.stats)).collect()
        };
        let columns = |table: &[Column]| {
            table.iter().map(|(name, get)| ((*name).to_owned(), column(*get))).collect()
        };
        // A reason that occurred once is in every later sample.
        let reasons = samples.back().map_or(&[][..], |sample| &sample.stats.ends);
        let ends_for = |reason: EndReason| {
            wanted().map(|sample| sample.stats.ends_for(reason)).collect::<Vec<u64>>()
        };
        HistoryBody {
            interval_ms: INTERVAL.as_millis() as u64,
            at_ms: wanted().map(|sample| sample.at_ms).collect(),
            counters: columns(COUNTERS),
            gauges: columns(GAUGES),
            ends: reasons.iter().map(|(r, _)| (r.word().to_owned(), ends_for(*r))).collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Samples by columns, the oldest first. All columns are as long as `at_ms`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct HistoryBody {
    /// Time between two samples.
    #[schema(example = 1000)]
    pub(crate) interval_ms: u64,
    /// When each was taken, in milliseconds since 1970.
    pub(crate) at_ms: Vec<u64>,
    /// Totals since the start, as in `/v1/stats`: take differences.
    pub(crate) counters: BTreeMap<String, Vec<u64>>,
    /// How much there was.
    pub(crate) gauges: BTreeMap<String, Vec<u64>>,
    /// Totals of ended connections for each reason that has occurred.
    pub(crate) ends: BTreeMap<String, Vec<u64>>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// Only samples taken after this moment, in milliseconds since 1970.
    pub(crate) after: Option<u64>,
}

/// Counters and gauges of the last 15 minutes
#[utoipa::path(
    get,
    path = "/v1/stats/history",
    tag = "server",
    params(HistoryQuery),
    responses(
        (status = 200, description = "One sample for each second", body = HistoryBody),
        (status = 400, description = "Malformed", body = ProblemBody),
    )
)]
pub(crate) async fn history(
    State(api): State<Api>,
    Query(query): Query<HistoryQuery>,
) -> Result<Response, Problem> {
    Ok(body::json(&api.options.history.columns(query.after.unwrap_or(0))))
}

type Column = (&'static str, fn(&StatsSnapshot) -> u64);

const COUNTERS: &[Column] = &[
    ("accepted", |stats| stats.accepted),
    ("opened", |stats| stats.opened),
    ("commands", |stats| stats.commands),
    ("published", |stats| stats.published),
    ("events_delivered", |stats| stats.events_delivered),
    ("messages_in", |stats| stats.messages_in),
    ("messages_out", |stats| stats.messages_out),
    ("bytes_in", |stats| stats.bytes_in),
    ("bytes_out", |stats| stats.bytes_out),
    ("handler_failures", |stats| stats.handler_failures),
    ("handler_panics", |stats| stats.handler_panics),
    ("handler_timeouts", |stats| stats.handler_timeouts),
];

const GAUGES: &[Column] = &[
    ("connections", |stats| stats.connections),
    ("sessions_connected", |stats| stats.sessions_connected),
    ("sessions_away", |stats| stats.sessions_away),
    ("channels", |stats| stats.channels),
    ("outbox_bytes", |stats| stats.outbox_bytes),
    ("behind", |stats| stats.behind),
];

/// Fine enough for a graph that moves.
const INTERVAL: Duration = Duration::from_secs(1);
/// A quarter of an hour, some 300 bytes each.
const SAMPLE_COUNT_MAX: usize = 15 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_go_on_and_the_oldest_are_forgotten() {
        let history = History::default();
        history.add(5_000, StatsSnapshot::default());
        history.add(3_000, StatsSnapshot::default());
        assert_eq!(history.columns(0).at_ms, [5_000, 5_001], "a clock that is set back");
        for second in 6..6 + SAMPLE_COUNT_MAX as u64 {
            history.add(second * 1_000, StatsSnapshot::default());
        }
        let at_ms = history.columns(0).at_ms;
        assert_eq!((at_ms.len(), at_ms[0]), (SAMPLE_COUNT_MAX, 6_000));
        assert_eq!(
            history.columns(at_ms[SAMPLE_COUNT_MAX - 3]).at_ms,
            at_ms[SAMPLE_COUNT_MAX - 2..]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_sample_is_taken_each_second() {
        let history = History::default();
        let keeping = history.clone().keep(Arc::new(StatsSnapshot::default));
        let _ = tokio::time::timeout(Duration::from_millis(4_500), keeping).await;
        assert_eq!(history.lock().len(), 5, "at once, and behind each of four seconds");
    }
}
