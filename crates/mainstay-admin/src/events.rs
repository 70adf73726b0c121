//! `GET /events`: channels as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use futures_util::stream::unfold;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use mainstay_server::session::{Epoch, ErrorCode, Offset};
use mainstay_server::{Authority, ChannelName, OriginPolicy};
use tokio::sync::{Semaphore, watch};

use crate::Source;
use crate::follow::{Beginning, Follower};
use crate::problem::{Problem, ProblemBody};

/// How event streams are offered.
#[derive(Clone, Debug)]
pub struct EventsOptions {
    /// Which pages of the web may listen: the rule of the WebSocket endpoint. A page that may and is
    /// of another origin is let in by CORS.
    pub origins: OriginPolicy,
    /// Turns true when the server is about to go: streams end, and their clients come back within
    /// some seconds, spread out.
    pub leaving: watch::Receiver<bool>,
    /// Streams at one time; past it a request is answered 503. Each holds a page of events at most.
    pub stream_count_max: usize,
}

/// A router with the one route `/events`, for the public side of a server.
///
/// `?channel=NAME` (up to 16 of them) says what to listen to. Each message has the JSON of an `event`
/// or `gap` frame of the session dialect as its data, and an id that is the place behind it:
/// `EPOCH:OFFSET`, for several channels `NAME=EPOCH:OFFSET,…`, with `-` for the epoch of a channel
/// that does not exist yet. A `gap` has the event type `gap`. With `Last-Event-ID`, as `EventSource`
/// sends it by itself, or `?last_event_id=`, the stream goes on exactly behind that place; without,
/// it begins now, or as `?from=start` or `?last=N` say.
pub fn events(source: Arc<dyn Source>, options: EventsOptions) -> Router {
    Router::new().route("/events", get(listen)).with_state(Events::new(source, options))
}

#[derive(Clone)]
pub(crate) struct Events {
    source: Arc<dyn Source>,
    options: EventsOptions,
    places: Arc<Semaphore>,
    count: Arc<AtomicU64>,
}

impl Events {
    pub(crate) fn new(source: Arc<dyn Source>, options: EventsOptions) -> Events {
        let places = Arc::new(Semaphore::new(options.stream_count_max));
        Events { source, options, places, count: Arc::default() }
    }
}

/// Listen to channels as server-sent events
///
/// The data of each message is the JSON of an `event` or `gap` frame of the session dialect, its id
/// the place behind it.
#[utoipa::path(
    get,
    path = "/events",
    tag = "channels",
    params(
        ("channel" = Vec<String>, Query, description = "What to listen to; up to 16", example = "news"),
        ("from" = Option<String>, Query, description = "`now` or `start`"),
        ("last" = Option<u64>, Query, description = "Begin with the last so many"),
        ("last_event_id" = Option<String>, Query, description = "As the header of that name"),
        ("Last-Event-ID" = Option<String>, Header, description = "Goes on behind this id"),
    ),
    responses(
        (status = 200, description = "The stream", content_type = "text/event-stream", body = String,
         example = "id: 5bd1c0aa31f2e877:42\ndata: {\"type\":\"event\",\"channel\":\"news\",\"offset\":42,\"at_ms\":1780000000000,\"payload\":1}\n\n"),
        (status = 400, description = "No channel, or not one", body = ProblemBody),
        (status = 403, description = "Not for pages of this origin", body = ProblemBody),
        (status = 503, description = "Too many streams, or stopping", body = ProblemBody),
    )
)]
pub(crate) async fn listen(
    State(events): State<Events>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let origin = admitted_origin(&events.options.origins, &headers)?;
    let channels = Wish::parse(query.as_deref().unwrap_or_default(), &headers)?.beginnings()?;
    let permit = events.places.clone().try_acquire_owned().map_err(|_| {
        Problem::new(ErrorCode::Busy, "as many streams are open as the server allows")
    })?;
    let leaving = events.options.leaving.clone();
    // Not all at one moment, and no later than a second client would wait for.
    let count = events.count.fetch_add(1, Ordering::Relaxed);
    let retry_ms = RETRY_MS + count.wrapping_mul(RETRY_STEP_MS) % RETRY_SPREAD_MS;
    let source = events.source.clone();
    let mut told = leaving.clone();
    let follower = tokio::select! {
        biased;
        Ok(_) = told.wait_for(|is_leaving| *is_leaving) => {
            return Err(Problem::new(ErrorCode::Busy, "the server is shutting down"));
        }
        begun = Follower::begin(source, channels, leaving, permit, retry_ms) => begun?,
    };
    let pieces = unfold(follower, |mut follower| async move {
        let piece = follower.next().await?;
        Some((Ok::<_, Infallible>(piece), follower))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    for (name, value) in STREAM_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    Ok(response)
}

/// The page's origin, if it is a page that asks and it may.
fn admitted_origin(
    policy: &OriginPolicy,
    headers: &HeaderMap,
) -> Result<Option<HeaderValue>, Problem> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(None) };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| Authority::parse(host).ok());
    let host = host.ok_or_else(|| Problem::malformed("there is no valid Host header"))?;
    let refuse = |error| Problem::new(ErrorCode::NotPermitted, format!("{error}"));
    policy.check(origin.as_bytes(), &host).map_err(refuse)?;
    Ok(Some(origin.clone()))
}

/// What a request asks for.
struct Wish {
    channels: Vec<ChannelName>,
    beginning: Beginning,
    last_event_id: Option<String>,
}

impl Wish {
    fn parse(query: &str, headers: &HeaderMap) -> Result<Wish, Problem> {
        let mut wish =
            Wish { channels: Vec::new(), beginning: Beginning::Now, last_event_id: None };
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match (&*key, &*value) {
                ("channel", name) => {
                    let channel = ChannelName::parse(name)?;
                    if !wish.channels.contains(&channel) {
                        wish.channels.push(channel);
                    }
                }
                ("from", "now") => wish.beginning = Beginning::Now,
                ("from", "start") => wish.beginning = Beginning::Start,
                ("from", _) => return Err(Problem::malformed("from is now or start")),
                ("last", count) => {
                    let count =
                        count.parse().map_err(|_| Problem::malformed("last is a number"))?;
                    wish.beginning = Beginning::Last(count);
                }
                ("last_event_id", id) if !id.is_empty() => {
                    wish.last_event_id = Some(id.to_owned());
                }
                // Some clients add keys of their own against caches.
                _ => {}
            }
        }
        // The header is the client's newest word: the URL is the same at each of its attempts.
        if let Some(id) = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty()) {
            let id = id.to_str().map_err(|_| bad_id())?;
            wish.last_event_id = Some(id.to_owned());
        }
        match wish.channels.len() {
            0 => Err(Problem::malformed("name a channel: /events?channel=NAME")),
            1..=CHANNEL_COUNT_MAX => Ok(wish),
            _ => Err(Problem::malformed(format!("at most {CHANNEL_COUNT_MAX} channels"))),
        }
    }

    /// Where to begin in each channel. A channel that the id does not name begins as one that was
    /// never listened to.
    fn beginnings(self) -> Result<Vec<(ChannelName, Beginning)>, Problem> {
        let mut places = Vec::new();
        if let Some(id) = &self.last_event_id {
            for part in id.split(',') {
                places.push(match (part.split_once('='), self.channels.as_slice()) {
                    (Some((name, place)), _) => (name, parse_place(place)?),
                    (None, [only]) => (only.as_str(), parse_place(part)?),
                    (None, _) => return Err(bad_id()),
                });
            }
        }
        let place_of = |channel: &ChannelName| {
            let found = places.iter().find(|(name, _)| *name == channel.as_str());
            found.map_or(self.beginning, |(_, place)| *place)
        };
        let begin = |channel: &ChannelName| (channel.clone(), place_of(channel));
        Ok(self.channels.iter().map(begin).collect())
    }
}

/// Reads `EPOCH:OFFSET`, or `-:0`.
fn parse_place(text: &str) -> Result<Beginning, Problem> {
    let (epoch, offset) = text.split_once(':').ok_or_else(bad_id)?;
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let offset = Some(offset).filter(|text| is_digits(text)).and_then(|text| text.parse().ok());
    let offset = Offset(offset.ok_or_else(bad_id)?);
    if epoch == "-" {
        return match offset {
            Offset::ZERO => Ok(Beginning::Behind(None, offset)),
            _ => Err(bad_id()),
        };
    }
    let is_epoch = epoch.len() == 16 && epoch.bytes().all(|byte| byte.is_ascii_hexdigit());
    let epoch = is_epoch.then(|| epoch.parse::<Epoch>().ok()).flatten().ok_or_else(bad_id)?;
    Ok(Beginning::Behind(Some(epoch), offset))
}

fn bad_id() -> Problem {
    Problem::malformed("the last event's id is none of this stream's")
}

const LAST_EVENT_ID: &str = "last-event-id";

const STREAM_HEADERS: [(HeaderName, &str); 4] = [
    (CONTENT_TYPE, "text/event-stream"),
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // nginx gathers an answer before it passes it on, unless told not to.
    (HeaderName::from_static("x-accel-buffering"), "no"),
];

/// As many as one connection of the command dialect may name, by default.
const CHANNEL_COUNT_MAX: usize = 16;

/// The shortest wait before a client comes back to a server that is gone; browsers take 3 s.
const RETRY_MS: u64 = 1_000;
/// Over how long clients come back.
const RETRY_SPREAD_MS: u64 = 4_000;
/// A prime, so that streams that opened one after the other are far apart.
const RETRY_STEP_MS: u64 = 1_237;

#[cfg(test)]
mod tests {
    use super::*;

    fn beginnings(query: &str, header: Option<&str>) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        if let Some(id) = header {
            headers.insert(LAST_EVENT_ID, HeaderValue::from_str(id).expect("visible"));
        }
        let wish = Wish::parse(query, &headers).and_then(Wish::beginnings);
        let short = |(name, beginning)| match beginning {
            Beginning::Behind(Some(epoch), offset) => format!("{name} {:x}:{offset}", epoch.0),
            other => format!("{name} {other:?}"),
        };
        let all = wish.map(|all| all.into_iter().map(short).collect::<Vec<_>>().join(", "));
        all.map_err(|problem| format!("{problem:?}"))
    }

    #[track_caller]
    fn begins(query: &str, header: Option<&str>, expected: &str) {
        assert_eq!(beginnings(query, header).as_deref(), Ok(expected));
    }

    #[test]
    fn a_stream_begins_where_the_request_says() {
        begins("channel=a", None, "a Now");
        begins("channel=a&from=now", None, "a Now");
        begins("channel=a&from=start&_=17", None, "a Start");
        begins("channel=a&last=5", None, "a Last(5)");
        begins("channel=a&channel=b&channel=a", None, "a Now, b Now");
        begins("channel=a&last=5", Some("00000000000000ff:7"), "a ff:7");
        begins("channel=a&last_event_id=00000000000000ff:7", None, "a ff:7");
        let header = Some("00000000000000fe:9");
        begins("channel=a&last_event_id=00000000000000ff:7", header, "a fe:9");
        begins("channel=a", Some("-:0"), "a Behind(None, Offset(0))");
        begins("channel=a&from=start", Some(""), "a Start");
        let header = Some("b=0000000000000001:3,x:y/z=0000000000000002:4");
        begins("channel=x:y/z&channel=b&channel=c", header, "x:y/z 2:4, b 1:3, c Now");
    }

    #[test]
    fn a_request_that_is_none_is_refused() {
        let many: String = (0..17).map(|n| format!("channel=c{n}&")).collect();
        for (query, header) in [
            ("", None),
            ("channel=", None),
            ("channel=a%20b", None),
            ("channel=$session/ab", None),
            ("channel=a&from=then", None),
            ("channel=a&last=-1", None),
            (&*many, None),
            ("channel=a", Some("7")),
            ("channel=a", Some("ff:7")),
            ("channel=a", Some("00000000000000ff:+7")),
            ("channel=a", Some("00000000000000ff:")),
            ("channel=a", Some("-:7")),
            ("channel=a&channel=b", Some("00000000000000ff:7")),
        ] {
            assert!(beginnings(query, header).is_err(), "{query} {header:?}");
        }
    }
}
