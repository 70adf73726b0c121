//! Looking at sessions, asking their clients, and ending them.

use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mainstay_server::session::{
    Delivery, ErrorCode, Outcome, PayloadKind, PresenceMode, Principal,
};
use mainstay_server::{
    Answer, Call, ConnectionId, SessionQuery, SessionStanding, SessionView, SubscriptionView,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::body;
use crate::extract::{Path, Query};
use crate::page::{LIST_COUNT_MAX, limit, parameter};
use crate::problem::{Problem, ProblemBody};
use crate::publish::session_id;
use crate::routes::Api;

/// A session.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SessionBody {
    #[schema(example = "8f3a61c07d9e4b25a1f0c2d3e4b5a697")]
    pub(crate) session: String,
    /// Who it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) principal: Option<String>,
    /// `connected` or `away`.
    #[schema(example = "connected")]
    pub(crate) state: String,
    /// The connection, while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connection: Option<String>,
    /// When it expires unless it comes back, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at_ms: Option<u64>,
    /// What the client calls itself.
    pub(crate) client: String,
    /// How many connections it has had.
    pub(crate) generation: u64,
    /// When it began, in milliseconds since 1970.
    pub(crate) since_ms: u64,
    /// The highest request number that was accepted.
    pub(crate) accepted: u64,
    /// Outcomes that are kept for it.
    pub(crate) reply_count: usize,
    /// Commands sent to it that have no reply yet.
    pub(crate) command_count: usize,
    /// What it listens to.
    pub(crate) subscriptions: Vec<SubscriptionBody>,
    /// Whether it has not acknowledged all events of these, or has been reading on from the log for some
    /// time because it is slow.
    pub(crate) behind: bool,
    /// How often it went on over a new connection.
    pub(crate) resumes: u64,
    /// How its last connection ended; absent if none did since the server started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_end: Option<LastEndBody>,
}

/// How a connection ended.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LastEndBody {
    /// A word of PROTOCOL.md, "Ends".
    #[schema(example = "ping_timeout")]
    pub(crate) reason: String,
    /// When, in milliseconds since 1970.
    pub(crate) at_ms: u64,
}

/// What a session listens to.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SubscriptionBody {
    pub(crate) channel: String,
    /// `every` or `latest`.
    pub(crate) delivery: String,
    /// `none`, `join`, `watch` or `join_and_watch`.
    pub(crate) presence: String,
    /// The last event that the client has acknowledged.
    pub(crate) acknowledged: u64,
    /// How many it has not.
    pub(crate) lag: u64,
}

/// Sessions by id.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SessionList {
    pub(crate) sessions: Vec<SessionBody>,
    /// The `after` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// A command for a client.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestBody {
    /// Which of its handlers.
    pub(crate) command: String,
    /// Any JSON value; passed on as it is written.
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) payload: Option<Box<RawValue>>,
    /// Base64, instead of `payload`, for what is not JSON.
    pub(crate) data: Option<String>,
    /// How long the reply is waited for, up to 300000; 30000 if not given.
    pub(crate) deadline_ms: Option<u64>,
}

/// What became of a command, as in the session dialect.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct OutcomeBody {
    /// `done`, `published`, `failed` or `indeterminate`.
    #[schema(example = "done")]
    pub(crate) status: String,
    /// What the client replied.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) payload: Option<Box<RawValue>>,
    /// What the client replied, in base64, if it is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) epoch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) offset: Option<u64>,
    /// Why it failed: a word of PROTOCOL.md, "Words of failure".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only sessions whose ids begin so: up to 32 hexadecimal digits.
    #[param(example = "8f3a")]
    prefix: Option<String>,
    /// Only sessions with a connection, or without one.
    #[param(inline)]
    state: Option<Standing>,
    /// Only sessions of this principal, who is written in full.
    #[param(example = "ann@example.org")]
    principal: Option<String>,
    /// Only sessions that are behind, or only those that are not: whether some event of a subscription is
    /// not acknowledged, or the client has been slow for some time.
    behind: Option<bool>,
    /// From behind this one on: the `next` of the page before.
    after: Option<String>,
    /// At most so many, up to 1000; 100 if not given.
    limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Standing {
    Connected,
    Away,
}

/// List sessions
///
/// In the order of their ids: those to which everything applies that is asked for. Some thousand sessions
/// are looked at for one answer and no more, so that a page may have fewer than `limit`, or none, although
/// more follow: ask on until `next` is absent. With `principal` nobody else's are looked at.
#[utoipa::path(
    get,
    path = "/v1/sessions",
    tag = "sessions",
    params(ListQuery),
    responses(
        (status = 200, description = "A page", body = SessionList),
        (status = 400, description = "Malformed", body = ProblemBody),
    )
)]
pub(crate) async fn list(
    State(api): State<Api>,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let after = query.after.as_deref().map(session_id).transpose()?;
    let count_max = limit(query.limit, LIST_COUNT_MAX)?;
    let query = SessionQuery {
        prefix: parameter("prefix", query.prefix.as_deref(), str::parse)?,
        principal: parameter("principal", query.principal.as_deref(), Principal::parse)?,
        is_connected: query.state.map(|state| state == Standing::Connected),
        is_behind: query.behind,
        after,
        count_max,
    };
    let Answer::Sessions { sessions, next } = api.call(Call::Sessions(query)).await? else {
        return Err(Problem::mismatch());
    };
    let sessions = sessions.into_iter().map(SessionBody::from).collect();
    Ok(body::json(&SessionList { sessions, next: next.map(|next| next.to_string()) }))
}

/// Look at one session
#[utoipa::path(
    get,
    path = "/v1/sessions/{id}",
    tag = "sessions",
    params(("id" = String, Path, description = "32 hexadecimal digits")),
    responses(
        (status = 200, description = "The session", body = SessionBody),
        (status = 400, description = "No session's id", body = ProblemBody),
        (status = 404, description = "There is no such session", body = ProblemBody),
    )
)]
pub(crate) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    match api.call(Call::Session { session: session_id(&id)? }).await? {
        Answer::Session(view) => Ok(body::json(&SessionBody::from(*view))),
        _ => Err(Problem::mismatch()),
    }
}

/// End a session
///
/// Its connection is closed and the client does not come back to it.
#[utoipa::path(
    delete,
    path = "/v1/sessions/{id}",
    tag = "sessions",
    params(("id" = String, Path, description = "32 hexadecimal digits")),
    responses(
        (status = 200, description = "It is done", body = serde_json::Value, example = json!({})),
        (status = 400, description = "No session's id", body = ProblemBody),
        (status = 404, description = "There is no such session", body = ProblemBody),
    )
)]
pub(crate) async fn end(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    match api.call(Call::End { session: session_id(&id)? }).await? {
        Answer::Done => Ok(body::json(&json!({}))),
        _ => Err(Problem::mismatch()),
    }
}

/// Have a client run a command
///
/// Answered when the client has replied, across reconnects. A reply that says that the command
/// failed is an outcome, too, and no error of this route; so is `never_ran`, where the client has no
/// such handler or was not there in time.
#[utoipa::path(
    post,
    path = "/v1/sessions/{id}/request",
    tag = "sessions",
    params(("id" = String, Path, description = "32 hexadecimal digits")),
    request_body(
        content = RequestBody,
        example = json!({"command": "reload", "payload": {"what": "prices"}, "deadline_ms": 5000})
    ),
    responses(
        (status = 200, description = "What became of it", body = OutcomeBody),
        (status = 400, description = "Malformed", body = ProblemBody),
        (status = 404, description = "There is no such session", body = ProblemBody),
        (status = 413, description = "Too big", body = ProblemBody),
        (status = 503, description = "Too many commands wait for it, or stopping", body = ProblemBody),
        (status = 504, description = "No reply came in time; it may have run", body = ProblemBody),
    )
)]
pub(crate) async fn request(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let to = session_id(&id)?;
    let read = body::read(request.into_body(), api.body_bytes_max()).await?;
    let RequestBody { command, payload, data, deadline_ms } = body::parse(&read)?;
    let payload = body::payload(payload, data, api.options.message_bytes_max)?;
    let deadline_ms = deadline_ms.unwrap_or(DEADLINE_MS_DEFAULT);
    if !(1..=DEADLINE_MS_MAX).contains(&deadline_ms) {
        return Err(Problem::malformed(format!("deadline_ms is 1 to {DEADLINE_MS_MAX}")));
    }
    match api.call(Call::Command { to, command, payload, deadline_ms }).await? {
        // Whoever's deadline it was: for HTTP that is a gateway that waited in vain.
        Answer::Outcome(Outcome::Failed(failure))
            if failure.code == ErrorCode::DeadlineExceeded =>
        {
            Err(Problem::new(failure.code, failure.message))
        }
        Answer::Outcome(outcome) => Ok(body::json(&OutcomeBody::of(outcome)?)),
        _ => Err(Problem::mismatch()),
    }
}

impl OutcomeBody {
    fn of(outcome: Outcome) -> Result<OutcomeBody, Problem> {
        let mut body = OutcomeBody {
            status: "indeterminate".to_owned(),
            payload: None,
            data: None,
            epoch: None,
            offset: None,
            error: None,
            message: None,
        };
        match outcome {
            Outcome::Done(payload) => {
                body.status = "done".to_owned();
                match payload.kind {
                    PayloadKind::Json => body.payload = Some(body::parse(&payload.bytes)?),
                    PayloadKind::Binary => body.data = Some(STANDARD.encode(payload.bytes)),
                }
            }
            Outcome::Published { epoch, offset } => {
                body.status = "published".to_owned();
                (body.epoch, body.offset) = (Some(epoch.to_string()), Some(offset.0));
            }
            Outcome::Failed(failure) => {
                body.status = "failed".to_owned();
                body.error = Some(failure.code.word().to_owned());
                body.message = Some(failure.message);
            }
            Outcome::Indeterminate => {}
        }
        Ok(body)
    }
}

impl From<SessionView> for SessionBody {
    fn from(view: SessionView) -> SessionBody {
        let (state, connection, expires_at_ms) = match view.standing {
            SessionStanding::Connected(key) => {
                ("connected", Some(ConnectionId::from(key).to_string()), None)
            }
            SessionStanding::Away { expires_at_ms } => ("away", None, Some(expires_at_ms)),
        };
        SessionBody {
            session: view.session.to_string(),
            principal: view.principal.map(|principal| principal.to_string()),
            state: state.to_owned(),
            connection,
            expires_at_ms,
            client: view.client,
            generation: view.generation,
            since_ms: view.since_ms,
            accepted: view.accepted,
            reply_count: view.reply_count,
            command_count: view.command_count,
            subscriptions: view.subscriptions.into_iter().map(SubscriptionBody::from).collect(),
            behind: view.is_behind,
            // Each connection raises it, and the first was no resume.
            resumes: view.generation.saturating_sub(1),
            last_end: view
                .last_end
                .map(|end| LastEndBody { reason: end.reason.word().to_owned(), at_ms: end.at_ms }),
        }
    }
}

impl From<SubscriptionView> for SubscriptionBody {
    fn from(view: SubscriptionView) -> SubscriptionBody {
        let delivery = match view.delivery {
            Delivery::Every => "every",
            Delivery::Latest => "latest",
        };
        let presence = match view.presence {
            PresenceMode::None => "none",
            PresenceMode::Join => "join",
            PresenceMode::Watch => "watch",
            PresenceMode::JoinAndWatch => "join_and_watch",
        };
        SubscriptionBody {
            channel: view.channel.to_string(),
            delivery: delivery.to_owned(),
            presence: presence.to_owned(),
            acknowledged: view.acknowledged.0,
            lag: view.lag,
        }
    }
}

/// As long as a server waits for its own handlers.
const DEADLINE_MS_DEFAULT: u64 = 30_000;
/// A request over HTTP that hangs for longer is cut by something on the way.
const DEADLINE_MS_MAX: u64 = 300_000;
