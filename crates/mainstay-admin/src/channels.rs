//! Looking at channels.

use axum::extract::State;
use axum::response::Response;
use mainstay_server::session::{Offset, ServerFrame};
use mainstay_server::{Answer, Call, ChannelName, ChannelQuery, ChannelView};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::body;
use crate::extract::{Path, Query};
use crate::page::{LIST_COUNT_MAX, limit, parameter};
use crate::problem::{Problem, ProblemBody};
use crate::routes::Api;

/// A channel.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ChannelBody {
    #[schema(example = "news")]
    pub(crate) name: String,
    /// Its incarnation: 16 hexadecimal digits.
    #[schema(example = "5bd1c0aa31f2e877")]
    pub(crate) epoch: String,
    /// The first event that is kept.
    pub(crate) first: u64,
    /// The newest event; 0 if there is none yet.
    pub(crate) head: u64,
    /// Bytes of the payloads that are kept.
    pub(crate) bytes: u64,
    /// Sessions that listen over a connection.
    pub(crate) subscriber_count: usize,
    /// Sessions that are members.
    pub(crate) member_count: usize,
}

impl From<ChannelView> for ChannelBody {
    fn from(view: ChannelView) -> ChannelBody {
        ChannelBody {
            name: view.name.to_string(),
            epoch: view.epoch.to_string(),
            first: view.first.0,
            head: view.head.0,
            bytes: view.bytes,
            subscriber_count: view.subscriber_count,
            member_count: view.member_count,
        }
    }
}

/// Channels by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ChannelList {
    pub(crate) channels: Vec<ChannelBody>,
    /// The `after` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// Events of a channel.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct History {
    pub(crate) channel: ChannelBody,
    /// `event` frames of the session dialect.
    #[schema(value_type = Vec<serde_json::Value>)]
    pub(crate) events: Vec<Box<RawValue>>,
    /// The `after` of the next page; absent at the head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<u64>,
}

/// Who is a member of a channel.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Members {
    pub(crate) members: Vec<MemberBody>,
}

/// A member.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct MemberBody {
    #[schema(example = "8f3a61c07d9e4b25a1f0c2d3e4b5a697")]
    pub(crate) session: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) principal: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only channels whose names begin so: up to 128 bytes of what a name may hold. Those of inboxes begin
    /// with `$session/` or `$principal/`.
    #[param(example = "orders/")]
    prefix: Option<String>,
    /// From behind this one on: the `next` of the page before.
    after: Option<String>,
    /// At most so many, up to 1000; 100 if not given.
    limit: Option<usize>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// Which.
    #[param(example = "news")]
    channel: String,
    /// From behind this offset on; 0, the oldest, if not given.
    after: Option<u64>,
    /// At most so many, up to 250; 100 if not given.
    limit: Option<usize>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PresenceQuery {
    /// Which.
    #[param(example = "news")]
    channel: String,
}

/// List channels
///
/// In the order of the bytes of their names. The inbox of a session is among them from its first message
/// on. A page may have fewer than `limit` although more follow: ask on until `next` is absent.
#[utoipa::path(
    get,
    path = "/v1/channels",
    tag = "channels",
    params(ListQuery),
    responses(
        (status = 200, description = "A page", body = ChannelList),
        (status = 400, description = "Malformed", body = ProblemBody),
    )
)]
pub(crate) async fn list(
    State(api): State<Api>,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let after = query.after.as_deref().map(any_channel).transpose()?;
    let count_max = limit(query.limit, LIST_COUNT_MAX)?;
    let prefix = parameter("prefix", query.prefix.as_deref(), str::parse)?;
    let query = ChannelQuery { prefix, after, count_max };
    let Answer::Channels { channels, next } = api.call(Call::Channels(query)).await? else {
        return Err(Problem::mismatch());
    };
    let channels = channels.into_iter().map(ChannelBody::from).collect();
    Ok(body::json(&ChannelList { channels, next: next.map(|next| next.to_string()) }))
}

/// Look at one channel
///
/// A slash in the name is written `%2F`.
#[utoipa::path(
    get,
    path = "/v1/channels/{name}",
    tag = "channels",
    params(("name" = String, Path, description = "Percent-encoded", example = "news")),
    responses(
        (status = 200, description = "The channel", body = ChannelBody),
        (status = 400, description = "No channel's name", body = ProblemBody),
        (status = 404, description = "Nobody has published or subscribed to it", body = ProblemBody),
    )
)]
pub(crate) async fn show(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let (channel, after) = (any_channel(&name)?, Offset::ZERO);
    match api.call(Call::History { channel, after, count_max: 0 }).await? {
        Answer::History { channel, .. } => Ok(body::json(&ChannelBody::from(channel))),
        _ => Err(Problem::mismatch()),
    }
}

/// Read a channel
#[utoipa::path(
    get,
    path = "/v1/history",
    tag = "channels",
    params(HistoryQuery),
    responses(
        (status = 200, description = "A page", body = History),
        (status = 400, description = "Malformed", body = ProblemBody),
        (status = 404, description = "Nobody has published or subscribed to it", body = ProblemBody),
    )
)]
pub(crate) async fn history(
    State(api): State<Api>,
    Query(query): Query<HistoryQuery>,
) -> Result<Response, Problem> {
    let channel = any_channel(&query.channel)?;
    let after = Offset(query.after.unwrap_or_default());
    let count_max = limit(query.limit, HISTORY_COUNT_MAX)?;
    let call = Call::History { channel, after, count_max };
    let Answer::History { channel, events } = api.call(call).await? else {
        return Err(Problem::mismatch());
    };
    let last = events.last().map(|event| event.offset);
    let next = last.filter(|last| *last < channel.head).map(|last| last.0);
    let frames = events.into_iter().map(|event| body::frame(&ServerFrame::Event(event)));
    let events = frames.collect::<Result<_, _>>()?;
    Ok(body::json(&History { channel: channel.into(), events, next }))
}

/// List a channel's members
#[utoipa::path(
    get,
    path = "/v1/presence",
    tag = "channels",
    params(PresenceQuery),
    responses(
        (status = 200, description = "All of them", body = Members),
        (status = 400, description = "No channel's name", body = ProblemBody),
    )
)]
pub(crate) async fn presence(
    State(api): State<Api>,
    Query(query): Query<PresenceQuery>,
) -> Result<Response, Problem> {
    let channel = any_channel(&query.channel)?;
    let Answer::Members(members) = api.call(Call::Members { channel }).await? else {
        return Err(Problem::mismatch());
    };
    let member = |member: mainstay_server::MemberView| MemberBody {
        session: member.session.to_string(),
        principal: member.principal.map(|principal| principal.to_string()),
    };
    Ok(body::json(&Members { members: members.into_iter().map(member).collect() }))
}

/// A channel or an inbox: an operator may look at both.
fn any_channel(name: &str) -> Result<ChannelName, Problem> {
    Ok(ChannelName::parse_any(name)?)
}

/// Each may have as many bytes as a message, and the answer holds them all.
const HISTORY_COUNT_MAX: usize = 250;
