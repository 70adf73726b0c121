//! What waits for the application to take it, channel by channel.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use mainstay_session::client::Place;
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Epoch, Event, Failure, Gap, Presence};
use tokio::sync::{Notify, mpsc, oneshot};

use super::driver::Wish;
use crate::limits::{SUBSCRIPTION_BYTES_MAX, SUBSCRIPTION_COUNT_MAX};

/// Something of a channel.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ChannelItem {
    /// An event.
    Event {
        /// The incarnation that its offset belongs to.
        epoch: Epoch,
        /// The event.
        event: Event,
    },
    /// Events that cannot be delivered.
    Gap(Gap),
    /// Members that came and went.
    Presence(Presence),
}

/// Why nothing more comes of a channel.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SubscriptionEnd {
    /// The application unsubscribed.
    Unsubscribed,
    /// The server refused it, or ended it.
    Refused(Failure),
    /// The session is over for this program; its states say why.
    SessionOver,
}

/// What a session hears of one channel, or of its inboxes: a stream of [`ChannelItem`]s, in order,
/// each once, with a gap wherever something is missing.
///
/// When the next item is asked for, the one before counts as **consumed**: the session's cursor
/// moves behind it, and it does not come again. [`consumed`](Subscription::consumed) says so at
/// once. A state file has the cursor within a second; a program that is killed before gets what it
/// consumed since then again, unless it has waited for
/// [`keep_place`](Subscription::keep_place).
///
/// While it is not read, [`SUBSCRIPTION_COUNT_MAX`](crate::SUBSCRIPTION_COUNT_MAX) items (or
/// [`SUBSCRIPTION_BYTES_MAX`](crate::SUBSCRIPTION_BYTES_MAX) bytes) wait, then reading from the
/// socket pauses for the whole session, and a server that hears nothing for long enough cuts the
/// connection. So read on, or drop it: the session then lets go of the channel and keeps its place,
/// and the next subscription to it goes on there.
#[derive(Debug)]
pub struct Subscription {
    queue: Arc<Queue>,
    /// What was given to the application last.
    given: Option<(ChannelName, Place)>,
    wishes: mpsc::Sender<Wish>,
}

impl Subscription {
    pub(super) fn new(queue: Arc<Queue>, wishes: mpsc::Sender<Wish>) -> Subscription {
        Subscription { queue, given: None, wishes }
    }

    /// The next item; `None` when nothing more comes, and [`end`](Subscription::end) says why. May
    /// be dropped and called again without losing anything.
    pub async fn recv(&mut self) -> Option<ChannelItem> {
        poll_fn(|context| self.poll(context)).await
    }

    /// The last item is done with.
    pub fn consumed(&mut self) {
        if let Some((channel, place)) = self.given.take() {
            self.queue.lock().consumed.insert(channel, place);
            self.queue.call_attention();
        }
    }

    /// The same, and returns when the state file has it: after a kill the item does not come again.
    /// Costs a write to the disk. Without a state file there is nothing to wait for.
    pub async fn keep_place(&mut self) {
        self.consumed();
        let (kept, safe) = oneshot::channel();
        // Without a driver it is safe already, or never will be.
        if self.wishes.send(Wish::KeepPlaces { kept }).await.is_ok() {
            let _ = safe.await;
        }
    }

    /// Why nothing more comes.
    pub fn end(&self) -> Option<SubscriptionEnd> {
        self.queue.lock().end.clone()
    }

    /// Listens no longer and forgets the place, also for later runs. Returns when that is safe.
    pub async fn unsubscribe(self) {
        if let QueueKey::Channel(channel) = self.queue.key.clone() {
            let (kept, safe) = oneshot::channel();
            if self.wishes.send(Wish::Unsubscribe { channel, kept }).await.is_ok() {
                let _ = safe.await;
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<ChannelItem>> {
        self.consumed();
        let mut inner = self.queue.lock();
        if let Some(item) = inner.items.pop_front() {
            inner.bytes -= bytes_of(&item);
            let had_called = std::mem::replace(&mut inner.was_full, false);
            drop(inner);
            if had_called {
                self.queue.call_attention();
            }
            self.given = place_behind(&item);
            return Poll::Ready(Some(item));
        }
        if inner.end.is_some() {
            return Poll::Ready(None);
        }
        inner.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Stream for Subscription {
    type Item = ChannelItem;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ChannelItem>> {
        self.poll(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.queue.lock().is_abandoned = true;
        self.queue.call_attention();
    }
}

/// Which queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum QueueKey {
    Channel(ChannelName),
    Inboxes,
}

impl QueueKey {
    /// Where what comes of a channel goes.
    pub(super) fn of(channel: &ChannelName) -> QueueKey {
        match channel.is_inbox() {
            true => QueueKey::Inboxes,
            false => QueueKey::Channel(channel.clone()),
        }
    }
}

/// Queues that the driver is to look at.
#[derive(Debug, Default)]
pub(super) struct Attention {
    notify: Notify,
    keys: Mutex<Vec<QueueKey>>,
}

impl Attention {
    /// Waits until there may be one.
    pub(super) async fn called(&self) {
        self.notify.notified().await;
    }

    pub(super) fn take(&self) -> Vec<QueueKey> {
        std::mem::take(&mut self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The queue behind a [`Subscription`].
#[derive(Debug)]
pub(super) struct Queue {
    key: QueueKey,
    attention: Arc<Attention>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    items: VecDeque<ChannelItem>,
    bytes: usize,
    consumed: BTreeMap<ChannelName, Place>,
    end: Option<SubscriptionEnd>,
    waker: Option<Waker>,
    /// The driver waits for room.
    was_full: bool,
    /// Nobody reads any more.
    is_abandoned: bool,
    /// The driver knows that it is to look here.
    is_noted: bool,
}

impl Queue {
    pub(super) fn new(key: QueueKey, attention: Arc<Attention>) -> Queue {
        Queue { key, attention, inner: Mutex::default() }
    }

    /// Adds an item; whether there is room for more.
    pub(super) fn push(&self, item: ChannelItem) -> bool {
        let mut inner = self.lock();
        inner.bytes += bytes_of(&item);
        inner.items.push_back(item);
        let waker = inner.waker.take();
        let has_room = inner.look_for_room();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        has_room
    }

    /// Whether there is room; if not, attention is called when there may be.
    pub(super) fn has_room(&self) -> bool {
        self.lock().look_for_room()
    }

    /// Nothing more comes.
    pub(super) fn end(&self, end: SubscriptionEnd) {
        let mut inner = self.lock();
        inner.end.get_or_insert(end);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What the driver is to know.
    pub(super) fn take_consumed(&self) -> BTreeMap<ChannelName, Place> {
        let mut inner = self.lock();
        inner.is_noted = false;
        std::mem::take(&mut inner.consumed)
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.lock().is_abandoned
    }

    fn call_attention(&self) {
        if std::mem::replace(&mut self.lock().is_noted, true) {
            return;
        }
        let mut keys = self.attention.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.push(self.key.clone());
        drop(keys);
        self.attention.notify.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while holding it, and the queue would be whole if something did.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn look_for_room(&mut self) -> bool {
        let is_full =
            self.items.len() >= SUBSCRIPTION_COUNT_MAX || self.bytes >= SUBSCRIPTION_BYTES_MAX;
        self.was_full |= is_full;
        !is_full
    }
}

fn bytes_of(item: &ChannelItem) -> usize {
    match item {
        ChannelItem::Event { event, .. } => event.payload.bytes.len(),
        ChannelItem::Gap(_) => 0,
        ChannelItem::Presence(presence) => (presence.joined.len() + presence.left.len()) * 128,
    }
}

/// Where the cursor stands when an item is consumed.
fn place_behind(item: &ChannelItem) -> Option<(ChannelName, Place)> {
    match item {
        ChannelItem::Event { epoch, event } => {
            let place = Place { epoch: *epoch, offset: event.offset };
            Some((event.channel.clone(), place))
        }
        ChannelItem::Gap(gap) => {
            Some((gap.channel.clone(), Place { epoch: gap.epoch, offset: gap.offset }))
        }
        ChannelItem::Presence(_) => None,
    }
}
