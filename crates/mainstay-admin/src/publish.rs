//! Publishing to channels and sending to somebody's inbox.

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use mainstay_server::session::{Epoch, Offset, Payload, Principal, SessionId};
use mainstay_server::{Answer, Call, ChannelName, ConnectionId, Target};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::body;
use crate::problem::{Problem, ProblemBody};
use crate::routes::Api;

/// An event for one channel, or for several at once.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishBody {
    /// Where to.
    pub(crate) channel: Option<String>,
    /// Where to, instead of `channel`: all of them or none.
    pub(crate) channels: Option<Vec<String>>,
    /// Any JSON value; passed on as it is written.
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) payload: Option<Box<RawValue>>,
    /// Base64, instead of `payload`, for what is not JSON.
    pub(crate) data: Option<String>,
}

/// A message for the inbox of one session or principal. Exactly one of the three says whose.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendBody {
    /// One session.
    pub(crate) session: Option<String>,
    /// All sessions of a principal, now and later.
    pub(crate) principal: Option<String>,
    /// The session behind a connection.
    pub(crate) connection: Option<String>,
    /// Any JSON value; passed on as it is written.
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) payload: Option<Box<RawValue>>,
    /// Base64, instead of `payload`, for what is not JSON.
    pub(crate) data: Option<String>,
}

/// Where events went, in the order of the channels.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Published {
    pub(crate) places: Vec<PlaceBody>,
}

/// The place of an event.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PlaceBody {
    #[schema(example = "news")]
    pub(crate) channel: String,
    /// The channel's incarnation: 16 hexadecimal digits.
    #[schema(example = "5bd1c0aa31f2e877")]
    pub(crate) epoch: String,
    /// The position in it.
    #[schema(example = 42)]
    pub(crate) offset: u64,
}

/// Publish an event
///
/// Answered when the event is stored. The body is an object, or with `?channel=NAME` the payload
/// itself: JSON if the content type says so, bytes otherwise. With an `Idempotency-Key` the same
/// request within five minutes publishes nothing and gets the same answer, and another one is refused.
#[utoipa::path(
    post,
    path = "/v1/publish",
    tag = "channels",
    params(
        ("channel" = Option<Vec<String>>, Query, description = "The body is the payload for these"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible characters"),
    ),
    request_body(
        content = PublishBody,
        example = json!({"channel": "news", "payload": {"headline": "it works"}})
    ),
    responses(
        (status = 200, description = "Stored", body = Published),
        (status = 400, description = "Malformed, or no channel's name", body = ProblemBody),
        (status = 413, description = "Too big", body = ProblemBody),
        (status = 422, description = "The key was used for something else", body = ProblemBody),
        (status = 429, description = "Too many channels", body = ProblemBody),
        (status = 503, description = "Busy, or stopping", body = ProblemBody),
        (status = 507, description = "The store is full or failed", body = ProblemBody),
    )
)]
pub(crate) async fn publish(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let (head, sent) = request.into_parts();
    let key = idempotency_key(&head.headers, "publish")?;
    let named = named_channels(head.uri.query().unwrap_or_default())?;
    let body = body::read(sent, api.body_bytes_max()).await?;
    let (names, payload) = if named.is_empty() {
        let body: PublishBody = body::parse(&body)?;
        let names = match (body.channel, body.channels) {
            (Some(name), None) => vec![name],
            (None, Some(names)) => names,
            _ => return Err(Problem::malformed("say channel or channels")),
        };
        let payload = body::payload(body.payload, body.data, api.options.message_bytes_max)?;
        (names, payload)
    } else {
        let kind = head.headers.get(CONTENT_TYPE);
        (named, body::raw_payload(body, kind, api.options.message_bytes_max)?)
    };
    if names.is_empty() || names.len() > CHANNEL_COUNT_MAX {
        let message = format!("an event goes to 1 to {CHANNEL_COUNT_MAX} channels");
        return Err(Problem::malformed(message));
    }
    let channels = names.iter().map(|name| ChannelName::parse(name)).collect::<Result<_, _>>()?;
    published(api.call(Call::Publish { channels, payload, key }).await?)
}

/// Send to a session or a principal
///
/// The message lies in the inbox until the client has read it. Answered when it is stored.
#[utoipa::path(
    post,
    path = "/v1/send",
    tag = "sessions",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible characters"),
    ),
    request_body(
        content = SendBody,
        example = json!({"principal": "ann@example.org", "payload": "your order has left"})
    ),
    responses(
        (status = 200, description = "Stored", body = Published),
        (status = 400, description = "Malformed", body = ProblemBody),
        (status = 404, description = "There is nobody of that name", body = ProblemBody),
        (status = 413, description = "Too big", body = ProblemBody),
        (status = 422, description = "The key was used for something else", body = ProblemBody),
        (status = 429, description = "The inbox is full", body = ProblemBody),
        (status = 503, description = "Busy, or stopping", body = ProblemBody),
        (status = 507, description = "The store is full or failed", body = ProblemBody),
    )
)]
pub(crate) async fn send(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let (head, sent) = request.into_parts();
    let key = idempotency_key(&head.headers, "send")?;
    let body: SendBody = body::parse(&body::read(sent, api.body_bytes_max()).await?)?;
    let to = target(body.session, body.principal, body.connection)?;
    let payload: Payload = body::payload(body.payload, body.data, api.options.message_bytes_max)?;
    published(api.call(Call::Send { to, payload, key }).await?)
}

fn target(
    session: Option<String>,
    principal: Option<String>,
    connection: Option<String>,
) -> Result<Target, Problem> {
    match (session, principal, connection) {
        (Some(session), None, None) => Ok(Target::Session(session_id(&session)?)),
        (None, Some(name), None) => {
            Principal::parse(&name).map(Target::Principal).map_err(Problem::malformed)
        }
        (None, None, Some(connection)) => {
            let id = connection.parse::<ConnectionId>();
            let id = id.map_err(|_| Problem::malformed("a connection is 16 hexadecimal digits"))?;
            Ok(Target::Connection(id.into()))
        }
        _ => Err(Problem::malformed("say one of session, principal and connection")),
    }
}

pub(crate) fn session_id(text: &str) -> Result<SessionId, Problem> {
    text.parse().map_err(Problem::malformed)
}

fn published(answer: Answer) -> Result<Response, Problem> {
    let Answer::Published(places) = answer else { return Err(Problem::mismatch()) };
    let place = |(channel, epoch, offset): (ChannelName, Epoch, Offset)| PlaceBody {
        channel: channel.to_string(),
        epoch: epoch.to_string(),
        offset: offset.0,
    };
    Ok(body::json(&Published { places: places.into_iter().map(place).collect() }))
}

/// The names in `?channel=NAME&channel=NAME`.
fn named_channels(query: &str) -> Result<Vec<String>, Problem> {
    let mut names = Vec::new();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "channel" => names.push(value.into_owned()),
            _ => return Err(Problem::malformed(format!("the query has no {key:?}"))),
        }
    }
    Ok(names)
}

/// The client's key, kept apart from those of other routes.
fn idempotency_key(headers: &HeaderMap, route: &str) -> Result<Option<Bytes>, Problem> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = key.as_bytes();
    let is_right =
        (1..=KEY_BYTES_MAX).contains(&key.len()) && key.iter().all(|byte| byte.is_ascii_graphic());
    if !is_right {
        let message = "an Idempotency-Key has 1 to 128 visible characters of ASCII";
        return Err(Problem::malformed(message));
    }
    Ok(Some([route.as_bytes(), b" ", key].concat().into()))
}

const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// A UUID, a hash or a name with a number.
const KEY_BYTES_MAX: usize = 128;
/// Each is an append of its own, and all are one commit.
const CHANNEL_COUNT_MAX: usize = 100;
