//! The application's side of a client.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use mainstay_wire::command::CommandMessage;
use mainstay_wire::{End, EndReason};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::inbox::Inbox;
use crate::request::Outgoing;
use crate::state::Course;
use crate::{Builder, ConnectError, Messages, NotSentReason, Reply, RequestError, State, States};

/// A connection that comes back: one WebSocket at a time, dialled again whenever it is lost.
///
/// Clones are handles of the same connection and may be used from any task or thread at once. The
/// client is closed by [`close`](Client::close), or when the last handle and the last pending
/// [`Request`] are dropped; the closing handshake then goes on in the background for a moment.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) queue: mpsc::Sender<Outgoing>,
    /// One permit for each request without an outcome.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) course: Arc<Course>,
    pub(crate) close: watch::Sender<bool>,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) request_bytes_max: usize,
    pub(crate) last_request_id: AtomicI64,
}

impl Client {
    /// Connects to a `ws://` URL with the default options.
    ///
    /// # Errors
    /// The first attempt failed; see [`Builder::retry_first_connect`] for another way.
    pub async fn connect(url: &str) -> Result<Client, ConnectError> {
        Client::builder(url).connect().await
    }

    /// A client with other options than the default ones.
    pub fn builder(url: &str) -> Builder {
        Builder::new(url)
    }

    pub(crate) fn new(shared: Shared) -> Client {
        Client { shared: Arc::new(shared) }
    }

    /// Sends a command with a payload and gives its reply. The number of the request is taken now
    /// (1, 2, 3 … in the order of the calls); nothing is sent before the result is awaited.
    ///
    /// A request without connection is refused, not kept for later. At most
    /// [`REQUEST_COUNT_MAX`](crate::REQUEST_COUNT_MAX) wait for their replies; more wait for room.
    /// Dropping the [`Request`] abandons it: if it was sent, its reply is discarded.
    ///
    /// # Errors
    /// [`RequestError`] says whether the command can have run.
    pub fn request(&self, command: &str, payload: &str) -> Request {
        let shared = Arc::clone(&self.shared);
        let request_id = shared.last_request_id.fetch_add(1, Ordering::Relaxed) + 1;
        let mut json = Vec::with_capacity(command.len() + payload.len() + 80);
        let message = CommandMessage {
            request_id,
            command: command.into(),
            some_other_thing: payload.into(),
            success: false,
        };
        message.write(&mut json);
        Request { request_id, outcome: Box::pin(shared.request(request_id, json)) }
    }

    /// The messages that answer no request, events of channels above all.
    ///
    /// From the first call on nothing is dropped: while a [`Messages`] exists and is not read,
    /// [`INBOX_COUNT_MAX`](crate::INBOX_COUNT_MAX) messages (or
    /// [`INBOX_BYTES_MAX`](crate::INBOX_BYTES_MAX) bytes) wait, then reading from the socket pauses
    /// and the server has to wait. Replies to requests wait behind them, so read on or drop it.
    /// While there is none, the newest messages up to that bound are kept and older ones dropped.
    pub fn messages(&self) -> Messages {
        self.shared.inbox.reader()
    }

    /// The states of the connection: the present one first, then each that follows.
    pub fn states(&self) -> States {
        self.shared.course.reader()
    }

    /// The state of the connection now.
    pub fn state(&self) -> State {
        self.shared.course.newest()
    }

    /// Closes the connection with the closing handshake, or stops dialling, and waits for it (for
    /// the close timeout at most). Afterwards every request has its outcome; those without a reply
    /// are [`Indeterminate`](RequestError::Indeterminate). Closing again does nothing.
    pub async fn close(&self) {
        self.shared.close.send_replace(true);
        let mut states = self.states();
        while states.recv().await.is_some() {}
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// A request, to be awaited.
#[must_use = "a request is sent when it is awaited"]
pub struct Request {
    request_id: i64,
    outcome: Pin<Box<dyn Future<Output = Result<Reply, RequestError>> + Send>>,
}

impl Request {
    /// The request's number.
    pub fn request_id(&self) -> i64 {
        self.request_id
    }
}

impl Future for Request {
    type Output = Result<Reply, RequestError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.outcome.as_mut().poll(context)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Request")
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

impl Shared {
    async fn request(
        self: Arc<Shared>,
        request_id: i64,
        json: Vec<u8>,
    ) -> Result<Reply, RequestError> {
        let (bytes, bytes_max) = (json.len(), self.request_bytes_max);
        if bytes > bytes_max {
            return Err(not_sent(NotSentReason::TooLarge { bytes, bytes_max }));
        }
        let mut is_queued = false;
        let outcome = self.send(request_id, json, &mut is_queued);
        let Some(after) = self.request_timeout else { return outcome.await };
        match timeout(after, outcome).await {
            Ok(outcome) => outcome,
            Err(_) if is_queued => Err(RequestError::TimedOut { after }),
            Err(_) => Err(not_sent(NotSentReason::NoRoom)),
        }
    }

    async fn send(
        &self,
        request_id: i64,
        json: Vec<u8>,
        is_queued: &mut bool,
    ) -> Result<Reply, RequestError> {
        // Released when the request has its outcome or is abandoned.
        let _permit = self.permits.acquire().await.map_err(|_| RequestError::Closed)?;
        // After the wait, for the connection may have gone meanwhile.
        if self.course.is_closed() || *self.close.borrow() {
            return Err(RequestError::Closed);
        }
        if !self.course.is_open() {
            return Err(not_sent(NotSentReason::NotConnected));
        }
        let (answer, outcome) = oneshot::channel();
        let outgoing = Outgoing { request_id, json, answer };
        self.queue.send(outgoing).await.map_err(|_| RequestError::Closed)?;
        *is_queued = true;
        outcome.await.unwrap_or_else(|_| {
            // The runtime is shutting down and took the connection's task with it.
            let end = End::new(EndReason::LocalClose, "the client's task was stopped");
            Err(RequestError::Indeterminate { end: Arc::new(end) })
        })
    }
}

fn not_sent(reason: NotSentReason) -> RequestError {
    RequestError::NotSent { reason }
}
