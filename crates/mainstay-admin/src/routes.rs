//! The table of routes, and what they share.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRef, State};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use mainstay_server::session::ErrorCode;
use mainstay_server::{Answer, Call, JournalPage, JournalQuery, OriginPolicy, StatsSnapshot};
use tokio::sync::watch;
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes as declared;

use crate::events::{Events, EventsOptions};
use crate::guard::{Access, guard};
use crate::problem::Problem;
use crate::{
    Endpoint, History, Source, channels, console, events, health, history, journal, publish,
    sessions,
};

/// What the API needs to know besides its source.
#[derive(Clone)]
pub struct Options {
    /// Who may use it.
    pub access: Access,
    /// Bytes of one payload; a body may have 1 KiB more.
    pub message_bytes_max: usize,
    /// The server's counters and gauges now.
    pub stats: Arc<dyn Fn() -> StatsSnapshot + Send + Sync>,
    /// The counters and gauges of the last minutes, which somebody [keeps](History::keep).
    pub history: History,
    /// Where clients connect.
    pub endpoints: Vec<Endpoint>,
    /// Turns true when the server is about to go.
    pub leaving: watch::Receiver<bool>,
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Options").field("access", &self.access).finish_non_exhaustive()
    }
}

/// The API as a router: everything under `/v1`, `/health`, `/events` and `/openapi.json`; and under
/// `/console/` the web console.
pub fn routes(source: Arc<dyn Source>, options: Options) -> Router {
    let (router, document) = declare().split_for_parts();
    let events = Events::new(
        source.clone(),
        EventsOptions {
            origins: OriginPolicy::SameOrigin,
            leaving: options.leaving.clone(),
            stream_count_max: STREAM_COUNT_MAX,
        },
    );
    let access = options.access.clone();
    let text = document.to_json().unwrap_or_default();
    let api = Api { source, events, options, document: text.into() };
    router
        .merge(console::routes())
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(from_fn_with_state(access, guard))
        .with_state(api)
}

/// The API's description in OpenAPI 3.1, which `/openapi.json` serves.
pub fn document() -> OpenApi {
    declare().into_openapi()
}

fn declare() -> OpenApiRouter<Api> {
    let info = InfoBuilder::new()
        .title("Mainstay")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("What operators and the programs behind a server may ask of it."))
        .build();
    OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info).build())
        .routes(declared!(publish::publish))
        .routes(declared!(publish::send))
        .routes(declared!(channels::list))
        .routes(declared!(channels::show))
        .routes(declared!(channels::history))
        .routes(declared!(channels::presence))
        .routes(declared!(sessions::list))
        .routes(declared!(sessions::show, sessions::end))
        .routes(declared!(sessions::request))
        .routes(declared!(events::listen))
        .routes(declared!(health::health))
        .routes(declared!(health::stats))
        .routes(declared!(history::history))
        .routes(declared!(journal::journal))
        .routes(declared!(health::server))
        .routes(declared!(openapi))
}

/// What every route can reach.
#[derive(Clone)]
pub(crate) struct Api {
    source: Arc<dyn Source>,
    events: Events,
    pub(crate) options: Options,
    document: Arc<str>,
}

impl Api {
    pub(crate) async fn call(&self, call: Call) -> Result<Answer, Problem> {
        Ok(self.source.call(call).await?)
    }

    pub(crate) fn journal(&self, query: &JournalQuery) -> JournalPage {
        self.source.journal(query)
    }

    /// An envelope, and not only the payload in it, must fit.
    pub(crate) fn body_bytes_max(&self) -> usize {
        self.options.message_bytes_max + ENVELOPE_BYTES
    }
}

impl FromRef<Api> for Events {
    fn from_ref(api: &Api) -> Events {
        api.events.clone()
    }
}

/// This document
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "server",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
async fn openapi(State(api): State<Api>) -> Response {
    let text = api.document.to_string();
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn unknown_route() -> Problem {
    Problem::new(ErrorCode::Unreachable, "there is no such route; /openapi.json lists them")
}

async fn unknown_method() -> Problem {
    Problem::malformed("this route does not have this method; /openapi.json lists them")
        .with_status(StatusCode::METHOD_NOT_ALLOWED)
}

/// Names and keys around a payload.
const ENVELOPE_BYTES: usize = 1024;

/// Event streams on the listener of the API, which leaves some connections to everything else.
const STREAM_COUNT_MAX: usize = 900;
