//! A web service: each request is posted to one URL, over connections that are kept.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Response, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mainstay_server::session::{ErrorCode, Payload};
use mainstay_server::{CommandError, Request, Router};
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout_at};
use url::Url;

use super::delay::delay;
use super::{Options, line};
use crate::settings::HandlerRetry;

/// A web service that commands are posted to.
pub(in crate::server) struct Webhook {
    poster: Arc<Poster>,
    /// Connections belong to one runtime, whichever shard's handler uses them.
    runtime: Handle,
}

struct Poster {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
    permits: Semaphore,
    options: Options,
    /// Whether the last attempt found it, so that an outage is logged once.
    is_reached: AtomicBool,
}

/// One request, as it is posted however often.
struct Post {
    command: String,
    body: Bytes,
    /// All but the time that is left.
    headers: HeaderMap,
    has_key: bool,
    deadline: Instant,
    /// Later nothing is begun: it would be stopped before it could be told how it stands.
    give_up_at: Instant,
}

/// Why an attempt has no outcome.
enum Missed {
    /// The service has not had a byte of it.
    Unsent(String),
    /// It may have run.
    Unclear { problem: String, told: String },
}

impl Webhook {
    /// Nothing is connected yet. Must be called inside a runtime, which serves the connections.
    ///
    /// # Errors
    /// If the URL is none for HTTP, which no URL is that was checked.
    pub(super) fn new(url: &Url, options: Options) -> io::Result<Webhook> {
        let uri = Uri::try_from(url.as_str()).map_err(io::Error::other)?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // Neither follows redirects nor knows of proxies.
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(options.concurrency_max)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(connector);
        // A query may hold a secret.
        let at = &url[..url::Position::AfterPath];
        tracing::info!(url = at, "commands are posted to a web service");
        let permits = Semaphore::new(options.concurrency_max);
        let is_reached = AtomicBool::new(true);
        let poster = Arc::new(Poster { client, uri, permits, options, is_reached });
        Ok(Webhook { poster, runtime: Handle::current() })
    }

    /// A router that posts every command.
    pub(super) fn router(&self) -> Router {
        let (poster, runtime) = (self.poster.clone(), self.runtime.clone());
        Router::new().payload_fallback(move |request| {
            let post = Post::of(&request);
            let poster = poster.clone();
            Task(runtime.spawn(async move { poster.post(&post?).await }))
        })
    }
}

impl Poster {
    /// Posts until there is an outcome, or until once more is not allowed or not worth it.
    async fn post(&self, post: &Post) -> Result<Payload, CommandError> {
        let permit = timeout_at(post.give_up_at.into(), self.permits.acquire()).await;
        let Ok(Ok(_permit)) = permit else { return Err(never_ran(BUSY)) };
        let mut failure_count = 0;
        // What is told of the last attempt that may have run.
        let mut unclear = None;
        loop {
            let (problem, may_retry) = match self.post_once(post).await {
                Ok(outcome) => return outcome,
                Err(Missed::Unsent(problem)) => {
                    (problem, self.options.retry != HandlerRetry::Never)
                }
                Err(Missed::Unclear { problem, told }) => {
                    unclear = Some(told);
                    (problem, self.options.retry == HandlerRetry::Idempotent && post.has_key)
                }
            };
            // The last attempt is made when no later one could be told of.
            let left = post.give_up_at.saturating_duration_since(Instant::now());
            let wait = delay(failure_count).min(left);
            let is_again = may_retry && !left.is_zero();
            let command = post.command.as_str();
            if !is_again {
                return Err(match unclear {
                    Some(told) => {
                        tracing::warn!(command, problem, "the web service did not answer well");
                        CommandError::new(told)
                    }
                    None => never_ran(UNREACHABLE),
                });
            }
            tracing::debug!(command, problem, "the web service is asked again");
            sleep(wait).await;
            failure_count += 1;
        }
    }

    async fn post_once(&self, post: &Post) -> Result<Result<Payload, CommandError>, Missed> {
        let mut request = http::Request::post(self.uri.clone());
        if let Some(headers) = request.headers_mut() {
            *headers = post.headers.clone();
            let left = post.deadline.saturating_duration_since(Instant::now());
            headers.insert(DEADLINE, HeaderValue::from(left.as_millis() as u64));
        }
        let request = request.body(Full::new(post.body.clone()));
        let request = match request {
            Ok(request) => request,
            Err(error) => return Ok(Err(error.into())),
        };
        let answered = self.client.request(request).await;
        self.note_reached(answered.as_ref().err());
        let response = answered.map_err(|error| {
            let problem = full_text(&error);
            // There was no connection, and nothing is sent before there is one.
            match error.is_connect() {
                true => Missed::Unsent(problem),
                false => Missed::Unclear { problem, told: LOST.to_owned() },
            }
        })?;
        self.read(&post.command, response).await
    }

    /// What an answer means.
    async fn read(
        &self,
        command: &str,
        response: Response<Incoming>,
    ) -> Result<Result<Payload, CommandError>, Missed> {
        let (head, body) = response.into_parts();
        let status = head.status;
        if status.is_server_error() {
            // Its text is for those who run the service.
            let text = beginning(body).await;
            let problem = format!("it answered {status}: {}", String::from_utf8_lossy(&text));
            let told = format!("the handler failed with {status}; the request may have run");
            return Err(Missed::Unclear { problem, told });
        }
        if status.is_client_error() {
            return Ok(Err(CommandError::new(refusal(status, &head.headers, body).await)));
        }
        if !status.is_success() {
            tracing::warn!(command, %status, "the web service answered neither yes nor no");
            return Ok(Err(CommandError::new(format!("the handler answered {status}"))));
        }
        let bytes_max = self.options.message_bytes_max;
        let announced = body.size_hint().lower();
        if announced > bytes_max as u64 {
            return Ok(Err(too_big(&format!("{announced} bytes, over"), bytes_max)));
        }
        match Limited::new(body, bytes_max).collect().await {
            Ok(collected) => Ok(result(&head.headers, collected.to_bytes()).inspect_err(|error| {
                tracing::warn!(command, %error, "the web service answered wrongly");
            })),
            Err(error) if error.is::<LengthLimitError>() => {
                Ok(Err(too_big("more bytes than", bytes_max)))
            }
            Err(error) => {
                let problem = full_text(error.as_ref());
                Err(Missed::Unclear { problem, told: LOST.to_owned() })
            }
        }
    }

    /// Logs when the service is lost and found, and not for each request in between.
    fn note_reached(&self, error: Option<&ClientError>) {
        let unreached = error.filter(|error| error.is_connect());
        let was_reached = self.is_reached.swap(unreached.is_none(), Ordering::Relaxed);
        match unreached {
            Some(error) if was_reached => {
                tracing::warn!(problem = full_text(error), "the web service cannot be reached");
            }
            None if !was_reached => tracing::info!("the web service is reached again"),
            _ => {}
        }
    }
}

impl Post {
    fn of(request: &Request) -> Result<Post, CommandError> {
        let key = request.idempotency_key();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(session) = &request.session {
            headers.insert(SESSION, HeaderValue::try_from(session.session.to_string())?);
            if let Some(principal) = &session.principal {
                headers.insert(PRINCIPAL, HeaderValue::from_str(principal.as_str())?);
            }
        }
        if let Some(key) = &key {
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(key)?);
        }
        let deadline = Instant::now() + request.timeout;
        Ok(Post {
            command: request.command.clone(),
            body: line::request_object(None, request).into(),
            headers,
            has_key: key.is_some(),
            deadline,
            give_up_at: deadline - (request.timeout / 10).min(GIVE_UP_MARGIN),
        })
    }
}

/// The result that a good answer holds.
fn result(headers: &HeaderMap, bytes: Bytes) -> Result<Payload, CommandError> {
    if media_type(headers).eq_ignore_ascii_case(OCTETS) {
        return Ok(Payload::binary(bytes));
    }
    if bytes.is_empty() {
        return Ok(Payload::NULL);
    }
    match serde_json::from_slice::<&RawValue>(&bytes) {
        Ok(json) => Ok(Payload::from_json_bytes(json.get().to_owned())),
        Err(_) => Err(CommandError::new("it ran, and the handler's result is not JSON")),
    }
}

/// Why the service says no: its own text if it is one for people, and otherwise its status. A page that
/// something on the way has made up is nothing for a client.
async fn refusal(status: StatusCode, headers: &HeaderMap, body: Incoming) -> String {
    let bytes = beginning(body).await;
    let media_type = media_type(headers);
    let text = if media_type.eq_ignore_ascii_case("text/plain") {
        String::from_utf8_lossy(&bytes).trim().to_owned()
    } else if media_type.eq_ignore_ascii_case(JSON) || media_type.ends_with("+json") {
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let fields = ["message", "error", "detail"];
        let text = fields.iter().find_map(|field| json.get(field).and_then(|text| text.as_str()));
        text.unwrap_or_default().to_owned()
    } else {
        String::new()
    };
    if text.is_empty() {
        return format!("the handler answered {status}");
    }
    let end = text.floor_char_boundary(REFUSAL_BYTES_MAX);
    text.get(..end).unwrap_or_default().to_owned()
}

/// As much of a text as anybody reads.
async fn beginning(mut body: Incoming) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < REFUSAL_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        bytes.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default());
    }
    bytes.truncate(REFUSAL_BYTES_MAX);
    bytes
}

fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.split(';').next()).unwrap_or_default().trim()
}

fn too_big(bytes: &str, bytes_max: usize) -> CommandError {
    let text = format!("it ran, and its result has {bytes} the limit of {bytes_max}");
    CommandError::with_code(ErrorCode::TooBig, text)
}

fn never_ran(text: &str) -> CommandError {
    CommandError::with_code(ErrorCode::NeverRan, text)
}

/// An error with all its causes: the outermost alone says nothing.
fn full_text(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A task that ends when nobody waits for it any more: its connection goes with it, which is how the
/// service is told.
struct Task(JoinHandle<Result<Payload, CommandError>>);

impl Future for Task {
    type Output = Result<Payload, CommandError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|joined| joined?)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

const JSON: &str = "application/json";
const OCTETS: &str = "application/octet-stream";
const AGENT: &str = concat!("mainstay/", env!("CARGO_PKG_VERSION"));
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const SESSION: HeaderName = HeaderName::from_static("mainstay-session");
const PRINCIPAL: HeaderName = HeaderName::from_static("mainstay-principal");
/// How long the answer is wanted, in milliseconds from now.
const DEADLINE: HeaderName = HeaderName::from_static("mainstay-deadline-ms");

const BUSY: &str = "the handler has as many requests as it may; this one has not run";
const UNREACHABLE: &str = "the handler cannot be reached; the request has not run";
const LOST: &str = "the handler's answer was lost; the request may have run";

/// Services stand close by.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than common servers keep a silent connection: so that nothing is sent into one that the other
/// side is about to close.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// So long before the deadline, or a tenth of all the time, it is better to say how things stand.
const GIVE_UP_MARGIN: Duration = Duration::from_millis(100);
/// Of an answer's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Of a refusal's text.
const REFUSAL_BYTES_MAX: usize = 1024;
