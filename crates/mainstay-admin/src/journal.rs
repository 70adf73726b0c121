//! What happened lately to sessions and connections.

use axum::extract::State;
use axum::response::Response;
use mainstay_server::{ConnectionId, JournalEntry, JournalPage, JournalQuery};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::body;
use crate::extract::Query;
use crate::page::{LIST_COUNT_MAX, limit};
use crate::problem::{Problem, ProblemBody};
use crate::publish::session_id;
use crate::routes::Api;

/// Something that happened.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct EntryBody {
    /// 1 for the first since the server started.
    pub(crate) seq: u64,
    /// When, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connection: Option<String>,
    /// To a session: `opened`, `resumed`, `superseded` (its connection gave way to another), `lost` (its
    /// connection is gone), `ended`, `expired`, `subscribed`, `unsubscribed`, `behind` (it has been slow
    /// for more than a second), `caught_up`, `gap`. To a connection without a session: `connected`,
    /// `closed`. To either: `refused`.
    #[schema(example = "lost")]
    pub(crate) what: String,
    /// A word of PROTOCOL.md, "Ends"; of a gap, its reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "ping_timeout")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) channel: Option<String>,
    /// More about it, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

/// A part of the journal, the oldest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct JournalBody {
    pub(crate) entries: Vec<EntryBody>,
    /// The `after` (or `before`) of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<u64>,
    /// The last entry that is not kept any more; 0 if all are.
    pub(crate) forgotten_up_to: u64,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JournalRouteQuery {
    /// Only what concerns this session and its connections.
    pub(crate) session: Option<String>,
    /// The oldest entries behind this one. A number that was not reached yet is of an earlier start of
    /// the server, and counts as none.
    pub(crate) after: Option<u64>,
    /// Instead of `after`: the newest entries before this one.
    pub(crate) before: Option<u64>,
    /// At most so many, up to 1000; 100 if not given.
    pub(crate) limit: Option<usize>,
}

/// What happened lately to sessions and connections
///
/// Kept in memory only, the latest `journal_count_max` entries.
#[utoipa::path(
    get,
    path = "/v1/journal",
    tag = "sessions",
    params(JournalRouteQuery),
    responses(
        (status = 200, description = "A page", body = JournalBody),
        (status = 400, description = "Malformed", body = ProblemBody),
    )
)]
pub(crate) async fn journal(
    State(api): State<Api>,
    Query(query): Query<JournalRouteQuery>,
) -> Result<Response, Problem> {
    if query.after.is_some() && query.before.is_some() {
        return Err(Problem::malformed("give after or before"));
    }
    let page = api.journal(&JournalQuery {
        session: query.session.as_deref().map(session_id).transpose()?,
        after: query.after.unwrap_or(0),
        before: query.before,
        count_max: limit(query.limit, LIST_COUNT_MAX)?,
    });
    let JournalPage { entries, has_more, forgotten_up_to } = page;
    let edge = if query.before.is_some() { entries.first() } else { entries.last() };
    let next = edge.filter(|_| has_more).map(|entry| entry.seq);
    let entries = entries.into_iter().map(EntryBody::from).collect();
    Ok(body::json(&JournalBody { entries, next, forgotten_up_to }))
}

impl From<JournalEntry> for EntryBody {
    fn from(entry: JournalEntry) -> EntryBody {
        let JournalEntry { seq, at_ms, note } = entry;
        EntryBody {
            seq,
            at_ms,
            session: note.session.map(|session| session.to_string()),
            connection: note.connection.map(|key| ConnectionId::from(key).to_string()),
            what: note.happening.word().to_owned(),
            reason: note.reason.map(str::to_owned),
            channel: note.channel.map(|channel| channel.to_string()),
            detail: Some(note.detail.into()).filter(|detail: &String| !detail.is_empty()),
        }
    }
}
