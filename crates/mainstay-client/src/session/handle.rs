//! The application's side of a session.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_session::client::{Call, Refused, RequestKey};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Delivery, Outcome, Payload, PresenceMode, Start, Subscribe};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::driver::Wish;
use super::handlers::Handlers;
use super::pending::{read_done, read_published};
use super::queue::{Attention, Queue, QueueKey};
use super::{
    Pending, Published, RequestFailure, Restored, SendError, ServerCommand, SessionBuilder,
    SessionState, Subscription,
};
use crate::States;
use crate::state::Course;

/// A session with a server: a conversation that goes on while connections come and go, and with a
/// state file while programs do.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use mainstay_client::frames::Payload;
/// use mainstay_client::{ChannelName, Session, SubscribeOptions};
///
/// let builder = Session::builder("ws://localhost:8080/server").state_file("app.session");
/// let session = builder.connect().await?;
/// let orders = ChannelName::parse("orders")?;
/// let pending = session.publish(&orders, Payload::text("two coffees")).await?;
/// println!("stored as {}", pending.await?.offset);
///
/// let mut items = session.subscribe(&orders, SubscribeOptions::default()).await?;
/// while let Some(item) = items.recv().await {
///     println!("{item:?}");
/// }
/// # Ok(())
/// # }
/// ```
///
/// Clones are handles of the same session. When the last handle, [`Subscription`] and [`Pending`]
/// are dropped, a session with a state file is left and one without is closed, in the background.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) wishes: mpsc::Sender<Wish>,
    pub(super) course: Arc<Course<SessionState>>,
    pub(super) attention: Arc<Attention>,
    pub(super) handlers: Handlers,
    pub(super) restored: Mutex<Vec<Restored>>,
}

/// How a channel is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Where it begins, unless the session has been listening before. Default: now.
    pub start: Start,
    /// Which events. Default: every one.
    pub delivery: Delivery,
    /// What of the members. Default: nothing.
    pub presence: PresenceMode,
}

impl Default for SubscribeOptions {
    fn default() -> SubscribeOptions {
        SubscribeOptions {
            start: Start::Now,
            delivery: Delivery::Every,
            presence: PresenceMode::None,
        }
    }
}

/// Why a channel cannot be listened to.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeError {
    /// There is a [`Subscription`] to it already.
    #[error("the channel is listened to already")]
    Taken,
    /// There are too many, or the session is over.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The session is over for this program.
    #[error("the session is over")]
    Over,
}

impl Session {
    /// A session with the server at a `ws://` URL.
    pub fn builder(url: &str) -> SessionBuilder {
        SessionBuilder::new(url)
    }

    pub(super) fn new(shared: Shared) -> Session {
        Session { shared: Arc::new(shared) }
    }

    /// Asks for a command to be run. Returns once the session has the request, with a state file
    /// once that is on the disk; from then on it is sent as often as it takes, and runs at most
    /// once. Await the [`Pending`] for the result.
    ///
    /// # Errors
    /// It will never run.
    pub async fn request(
        &self,
        command: &str,
        payload: Payload,
    ) -> Result<Pending<Payload>, SendError> {
        let call = Call::Command { command: command.to_owned(), payload };
        self.send(call, None, read_done).await
    }

    /// The same with a deadline: what could not be sent by then never runs, and the server stops a
    /// handler that takes longer.
    ///
    /// # Errors
    /// It will never run.
    pub async fn request_within(
        &self,
        deadline: Duration,
        command: &str,
        payload: Payload,
    ) -> Result<Pending<Payload>, SendError> {
        let call = Call::Command { command: command.to_owned(), payload };
        self.send(call, Some(deadline), read_done).await
    }

    /// Appends an event to a channel, exactly once. Returns like
    /// [`request`](Session::request); await the [`Pending`] for the event's place.
    ///
    /// # Errors
    /// It will never be stored.
    pub async fn publish(
        &self,
        channel: &ChannelName,
        payload: Payload,
    ) -> Result<Pending<Published>, SendError> {
        self.send(Call::Publish { channel: channel.clone(), payload }, None, read_published).await
    }

    /// Listens to a channel: where the session left it if it has listened before, in this run or
    /// (with a state file) an earlier one, else from `options.start` on. To begin anew,
    /// [`unsubscribe`](Subscription::unsubscribe) first.
    ///
    /// # Errors
    /// There is a subscription already, or no room for one.
    pub async fn subscribe(
        &self,
        channel: &ChannelName,
        options: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError> {
        let SubscribeOptions { start, delivery, presence } = options;
        let subscribe = Subscribe { channel: channel.clone(), start, delivery, presence };
        self.attach(QueueKey::of(channel), Some(subscribe)).await
    }

    /// What is sent to this session, or to its principal, alone.
    ///
    /// # Errors
    /// There is a subscription already.
    pub async fn inbox(&self) -> Result<Subscription, SubscribeError> {
        self.attach(QueueKey::Inboxes, None).await
    }

    /// Runs `handler` for the server's commands of this name, several at once if they come. What
    /// comes before is answered with `never_ran`, so name handlers before connecting
    /// ([`SessionBuilder::handler`]) where that matters.
    pub fn handle<F, R>(&self, command: &str, handler: F)
    where
        F: Fn(ServerCommand) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Payload, String>> + Send + 'static,
    {
        self.shared.handlers.insert(command, handler);
    }

    /// The requests that an earlier run has left without an outcome. They are sent and kept like
    /// any other; each is given once.
    pub fn restored(&self) -> Vec<Restored> {
        let mut restored = self.shared.restored.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *restored)
    }

    /// The states of the session: the present one first, then each that follows.
    pub fn states(&self) -> States<SessionState> {
        self.shared.course.reader()
    }

    /// The state of the session now.
    pub fn state(&self) -> SessionState {
        self.shared.course.newest()
    }

    /// Ends the session for good: the server forgets it, and the state file holds none any more.
    /// Requests without an outcome get one. Returns when that is done.
    pub async fn close(&self) {
        self.finish(Wish::Close).await;
    }

    /// Leaves the session to itself: the server keeps it for its time, and another run with the
    /// same state file goes on with it. Returns when everything is safe and the connection closed.
    pub async fn leave(&self) {
        self.finish(Wish::Leave).await;
    }

    async fn send<T>(
        &self,
        call: Call,
        deadline: Option<Duration>,
        read: fn(Outcome) -> Result<T, RequestFailure>,
    ) -> Result<Pending<T>, SendError> {
        let (kept, key) = oneshot::channel();
        let (settle, outcome) = oneshot::channel();
        let wish = Wish::Call { call, deadline, kept, outcome: settle };
        self.shared.wishes.send(wish).await.map_err(|_| SendError::Over)?;
        let key: RequestKey = key.await.map_err(|_| SendError::Over)??;
        Ok(Pending::new(key, outcome, read, self.shared.wishes.clone()))
    }

    async fn attach(
        &self,
        key: QueueKey,
        subscribe: Option<Subscribe>,
    ) -> Result<Subscription, SubscribeError> {
        let queue = Arc::new(Queue::new(key.clone(), Arc::clone(&self.shared.attention)));
        let (kept, safe) = oneshot::channel();
        let wish = Wish::Attach { key, subscribe, queue: Arc::clone(&queue), kept };
        self.shared.wishes.send(wish).await.map_err(|_| SubscribeError::Over)?;
        safe.await.map_err(|_| SubscribeError::Over)??;
        Ok(Subscription::new(queue, self.shared.wishes.clone()))
    }

    async fn finish(&self, wish: Wish) {
        // Without a driver it is over already.
        let _ = self.shared.wishes.send(wish).await;
        let mut states = self.states();
        while states.recv().await.is_some() {}
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Session").field("state", &self.state()).finish_non_exhaustive()
    }
}
