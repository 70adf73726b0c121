//! How the server is.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use mainstay_server::Call;
use mainstay_server::session::ErrorCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::body;
use crate::problem::{Problem, ProblemBody};
use crate::routes::Api;

/// The counters since the start.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct StatsBody {
    /// TCP connections accepted.
    pub(crate) accepted: u64,
    /// WebSockets opened.
    pub(crate) opened: u64,
    /// Commands handed to a handler.
    pub(crate) commands: u64,
    /// Events put into an outbox, one for each subscriber.
    pub(crate) events_delivered: u64,
    /// Handlers that panicked.
    pub(crate) handler_panics: u64,
    /// Handlers that took longer than the handler timeout.
    pub(crate) handler_timeouts: u64,
    /// How often connections ended for each reason of PROTOCOL.md, "Ends".
    pub(crate) ends: BTreeMap<String, u64>,
}

/// Whether the server works
///
/// For whoever decides whether it gets connections. Needs no token.
#[utoipa::path(
    get,
    path = "/health",
    tag = "server",
    responses(
        (status = 200, description = "It works", body = serde_json::Value, example = json!({"status": "ok"})),
        (status = 503, description = "It is stopping, or does not answer", body = ProblemBody),
    )
)]
pub(crate) async fn health(State(api): State<Api>) -> Result<Response, Problem> {
    if *api.options.leaving.borrow() {
        return Err(Problem::new(ErrorCode::Busy, "the server is shutting down"));
    }
    // A question that costs next to nothing and goes the way of all others.
    let call = api.call(Call::Channels { after: None, count_max: 1 });
    match tokio::time::timeout(ANSWER_TIMEOUT, call).await {
        Ok(answer) => answer.map(|_| body::json(&json!({"status": "ok"}))),
        Err(_) => Err(Problem::new(ErrorCode::Busy, "the server does not answer")),
    }
}

/// Counters since the start
#[utoipa::path(
    get,
    path = "/v1/stats",
    tag = "server",
    responses((status = 200, description = "All of them", body = StatsBody))
)]
pub(crate) async fn stats(State(api): State<Api>) -> Response {
    let stats = (api.options.stats)();
    let ends = stats.ends.iter().map(|(reason, count)| (reason.word().to_owned(), *count));
    body::json(&StatsBody {
        accepted: stats.accepted,
        opened: stats.opened,
        commands: stats.commands,
        events_delivered: stats.events_delivered,
        handler_panics: stats.handler_panics,
        handler_timeouts: stats.handler_timeouts,
        ends: ends.collect(),
    })
}

/// Those who ask mostly wait no longer either.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
