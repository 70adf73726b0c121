//! The routes against a double, and streams against a scripted log.

mod api;
mod console;
mod streams;
mod watching;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use mainstay_server::{OriginPolicy, StatsSnapshot};
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::double::Double;
use crate::{Access, Endpoint, EventsOptions, History, Options, Source};

/// A double behind both routers.
struct Bench {
    double: Arc<Double>,
    history: History,
    leaving: watch::Sender<bool>,
}

impl Bench {
    fn new() -> Bench {
        let leaving = watch::Sender::new(false);
        Bench { double: Arc::default(), history: History::default(), leaving }
    }

    fn source(&self) -> Arc<dyn Source> {
        self.double.clone()
    }

    fn routes_for(&self, access: Access) -> Router {
        let leaving = self.leaving.subscribe();
        let stats = Arc::new(|| {
            let mut stats = StatsSnapshot::default();
            stats.opened = 3;
            stats.ends = vec![(mainstay_server::EndReason::PeerEof, 2)];
            stats.handler_failures = 5;
            stats.handler_timeouts = 6;
            stats.handler_panics = 7;
            stats.sessions_away = 4;
            stats
        });
        let history = self.history.clone();
        let endpoints = vec![Endpoint { path: "/server".to_owned(), port: 8080, is_tls: false }];
        let message_bytes_max = 1000;
        let options = Options { access, message_bytes_max, stats, history, endpoints, leaving };
        crate::routes(self.source(), options)
    }

    fn routes(&self) -> Router {
        self.routes_for(Access::Loopback { host: "127.0.0.1".to_owned() })
    }

    fn events(&self, origins: OriginPolicy, stream_count_max: usize) -> Router {
        let leaving = self.leaving.subscribe();
        crate::events(self.source(), EventsOptions { origins, leaving, stream_count_max })
    }

    /// Status and body of an answer.
    async fn ask(&self, request: Request<Body>) -> (u16, Value) {
        let answer = self.routes().oneshot(request).await.expect("never fails");
        read(answer).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(request("GET", path, "")).await
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        self.ask(request("POST", path, body)).await
    }
}

fn request(method: &str, path: &str, body: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header("host", "localhost:8081");
    request.body(Body::from(body.to_owned())).expect("a request")
}

async fn read(answer: Response<Body>) -> (u16, Value) {
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}
