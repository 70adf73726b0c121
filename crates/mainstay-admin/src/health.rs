//! How the server is.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use mainstay_server::session::ErrorCode;
use mainstay_server::{Call, ChannelQuery};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::body;
use crate::problem::{Problem, ProblemBody};
use crate::routes::Api;

/// Counters since the start, and how much there is now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct StatsBody {
    /// When the server started, in milliseconds since 1970.
    pub(crate) started_at_ms: u64,
    /// The server's version.
    #[schema(example = "0.1.0")]
    pub(crate) version: String,
    /// TCP connections accepted.
    pub(crate) accepted: u64,
    /// WebSockets opened.
    pub(crate) opened: u64,
    /// Commands handed to a handler.
    pub(crate) commands: u64,
    /// Events stored in channels, inboxes among them.
    pub(crate) published: u64,
    /// Events put into an outbox, one for each subscriber.
    pub(crate) events_delivered: u64,
    /// Messages that came over WebSockets; pings, pongs and Close frames are none.
    pub(crate) messages_in: u64,
    /// Messages put into outboxes, events among them.
    pub(crate) messages_out: u64,
    /// Bytes read from WebSockets, their handshakes left out.
    pub(crate) bytes_in: u64,
    /// Bytes written to WebSockets.
    pub(crate) bytes_out: u64,
    /// Handlers that answered with an error, or whose runtime was gone.
    pub(crate) handler_failures: u64,
    /// Handlers that panicked.
    pub(crate) handler_panics: u64,
    /// Handlers that were stopped because they took longer than they may: the handler timeout, or the
    /// deadline of a session's request.
    pub(crate) handler_timeouts: u64,
    /// How often connections ended for each reason of PROTOCOL.md, "Ends".
    pub(crate) ends: BTreeMap<String, u64>,
    /// WebSockets that are open.
    pub(crate) connections: u64,
    /// Sessions that may go on.
    pub(crate) sessions: SessionCounts,
    /// Channels, inboxes of sessions left out.
    pub(crate) channels: u64,
    /// Bytes that wait to be written; at most about a second old.
    pub(crate) outbox_bytes: u64,
    /// Subscriptions that read on from the log instead of being live; at most about a second old.
    pub(crate) behind: u64,
}

/// Sessions that may go on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SessionCounts {
    /// Those with a connection.
    pub(crate) connected: u64,
    /// Those without one.
    pub(crate) away: u64,
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
    let call = api.call(Call::Channels(ChannelQuery { count_max: 1, ..Default::default() }));
    match tokio::time::timeout(ANSWER_TIMEOUT, call).await {
        Ok(answer) => answer.map(|_| body::json(&json!({"status": "ok"}))),
        Err(_) => Err(Problem::new(ErrorCode::Busy, "the server does not answer")),
    }
}

/// Counters since the start, and how much there is now
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
        started_at_ms: stats.started_at_ms,
        version: VERSION.to_owned(),
        accepted: stats.accepted,
        opened: stats.opened,
        commands: stats.commands,
        published: stats.published,
        events_delivered: stats.events_delivered,
        messages_in: stats.messages_in,
        messages_out: stats.messages_out,
        bytes_in: stats.bytes_in,
        bytes_out: stats.bytes_out,
        handler_failures: stats.handler_failures,
        handler_panics: stats.handler_panics,
        handler_timeouts: stats.handler_timeouts,
        ends: ends.collect(),
        connections: stats.connections,
        sessions: SessionCounts { connected: stats.sessions_connected, away: stats.sessions_away },
        channels: stats.channels,
        outbox_bytes: stats.outbox_bytes,
        behind: stats.behind,
    })
}

/// What answers, and where clients connect
///
/// An endpoint without a host is on the host that this was asked of.
#[utoipa::path(
    get,
    path = "/v1/server",
    tag = "server",
    responses((status = 200, description = "The server", body = ServerBody))
)]
pub(crate) async fn server(State(api): State<Api>) -> Response {
    let endpoints = api.options.endpoints.clone();
    body::json(&ServerBody { version: VERSION.to_owned(), endpoints })
}

/// A server.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ServerBody {
    #[schema(example = "0.1.0")]
    pub(crate) version: String,
    /// Where WebSockets are opened.
    pub(crate) endpoints: Vec<Endpoint>,
}

/// A place where WebSockets are opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// The URL's path.
    #[schema(example = "/server")]
    pub path: String,
    /// The TCP port.
    #[schema(example = 8080)]
    pub port: u16,
    /// Whether it is `wss`.
    pub is_tls: bool,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Those who ask mostly wait no longer either.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
