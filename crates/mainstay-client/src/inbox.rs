//! Messages that answer no request, between the connection and the application.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use tokio::sync::Notify;

use crate::limits::{INBOX_BYTES_MAX, INBOX_COUNT_MAX};

/// A message that answers no request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incoming {
    /// A command message whose number is 0 or of no request of ours: an event of a channel, or
    /// whatever else the server has to say.
    Command {
        /// The message's number; 0 on events.
        request_id: i64,
        /// The command; on an event, the channel.
        command: String,
        /// The content (`someOtherThing`).
        payload: String,
        /// The `success` field.
        success: bool,
    },
    /// A text message that is no command message.
    Text(String),
    /// A binary message that is no command message.
    Binary(Vec<u8>),
}

impl Incoming {
    fn bytes(&self) -> usize {
        match self {
            Incoming::Command { command, payload, .. } => command.len() + payload.len(),
            Incoming::Text(text) => text.len(),
            Incoming::Binary(bytes) => bytes.len(),
        }
    }
}

/// The messages that answer no request, in the order in which they came, from one connection after
/// the other. See [`Client::messages`](crate::Client::messages) for what is kept.
///
/// Ends when the client is closed and everything is read. Several of these share one queue: each
/// message goes to one of them.
#[derive(Debug)]
pub struct Messages {
    inbox: Arc<Inbox>,
}

impl Messages {
    /// The next message; `None` when the client is closed. May be dropped and called again without
    /// losing anything.
    pub async fn recv(&mut self) -> Option<Incoming> {
        poll_fn(|context| self.inbox.poll(context)).await
    }
}

impl Stream for Messages {
    type Item = Incoming;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Incoming>> {
        self.inbox.poll(context)
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.inbox.lock().reader_count -= 1;
        // With nobody to read, there is always room.
        self.inbox.room.notify_one();
    }
}

/// The queue behind [`Messages`].
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    /// Told whenever room is made; the driver waits for it.
    room: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Incoming>,
    bytes: usize,
    reader_count: usize,
    is_closed: bool,
    wakers: Vec<Waker>,
}

impl Inbox {
    pub(crate) fn reader(self: &Arc<Inbox>) -> Messages {
        self.lock().reader_count += 1;
        Messages { inbox: Arc::clone(self) }
    }

    /// Whether another message may be read from the socket.
    pub(crate) fn has_room(&self) -> bool {
        let queue = self.lock();
        // A client that only makes requests must not be stalled by events it never asked for, so
        // without a reader old messages make room for new ones.
        queue.reader_count == 0 || !queue.is_full()
    }

    /// Waits until there may be room.
    pub(crate) async fn room(&self) {
        self.room.notified().await;
    }

    pub(crate) fn push(&self, message: Incoming) {
        let wakers = {
            let mut queue = self.lock();
            queue.bytes += message.bytes();
            queue.messages.push_back(message);
            while queue.reader_count == 0 && queue.is_full() && queue.messages.len() > 1 {
                queue.pop();
            }
            mem::take(&mut queue.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// No more messages will come.
    pub(crate) fn close(&self) {
        let wakers = {
            let mut queue = self.lock();
            queue.is_closed = true;
            mem::take(&mut queue.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Incoming>> {
        let mut queue = self.lock();
        if let Some(message) = queue.pop() {
            drop(queue);
            self.room.notify_one();
            return Poll::Ready(Some(message));
        }
        if queue.is_closed {
            return Poll::Ready(None);
        }
        if !queue.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            queue.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while holding it, and the queue would be whole if something did.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn is_full(&self) -> bool {
        self.messages.len() >= INBOX_COUNT_MAX || self.bytes >= INBOX_BYTES_MAX
    }

    fn pop(&mut self) -> Option<Incoming> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.bytes();
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: usize) -> Incoming {
        Incoming::Text(number.to_string())
    }

    #[tokio::test]
    async fn without_a_reader_the_newest_are_kept() {
        let inbox = Arc::new(Inbox::default());
        for number in 0..INBOX_COUNT_MAX * 3 {
            assert!(inbox.has_room());
            inbox.push(text(number));
        }
        let mut messages = inbox.reader();
        inbox.close();
        let mut count = 0;
        let mut last = None;
        while let Some(message) = messages.recv().await {
            (count, last) = (count + 1, Some(message));
        }
        assert!(count < INBOX_COUNT_MAX && count > INBOX_COUNT_MAX / 2, "{count}");
        assert_eq!(last, Some(text(INBOX_COUNT_MAX * 3 - 1)));
    }

    #[tokio::test]
    async fn with_a_reader_there_is_room_up_to_the_limits() {
        let inbox = Arc::new(Inbox::default());
        let mut messages = inbox.reader();
        inbox.push(Incoming::Binary(vec![0; INBOX_BYTES_MAX]));
        assert!(!inbox.has_room());
        assert!(messages.recv().await.is_some());
        inbox.room().await;
        assert!(inbox.has_room());
        (0..INBOX_COUNT_MAX).for_each(|number| inbox.push(text(number)));
        assert!(!inbox.has_room());
        drop(messages);
        inbox.room().await;
        assert!(inbox.has_room(), "nobody reads any more");
    }
}
