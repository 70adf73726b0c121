//! What other threads, handlers and other shards want of a shard.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use mainstay_wire::ChannelName;
use mainstay_wire::frame::Opcode;
use tokio::sync::Notify;

use crate::ConnectionId;
use crate::shard::{Adopted, Completion};

/// A shard's letter box: bounded in bytes, emptied once per turn.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    queues: Mutex<Queues>,
    pub(crate) wake: Notify,
}

/// What was in the box.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    /// Events that this shard puts in order, and passes on.
    pub(crate) publishes: Vec<Publish>,
    /// Events that have their place in the order: for this shard's own connections.
    pub(crate) deliveries: Vec<Publish>,
    pub(crate) orders: Vec<Order>,
    event_bytes: usize,
}

/// An event on its way.
#[derive(Clone, Debug)]
pub(crate) struct Publish {
    /// `None` is for everybody.
    pub(crate) channel: Option<ChannelName>,
    pub(crate) event: Event,
}

/// An event as the frame that every plain subscriber gets, encoded once.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) frame: Bytes,
    pub(crate) opcode: Opcode,
    /// The payload's share of the frame.
    pub(crate) payload: Bytes,
}

/// Everything else.
#[derive(Debug)]
pub(crate) enum Order {
    Send {
        to: ConnectionId,
        event: Event,
    },
    Close {
        connection: ConnectionId,
        detail: String,
    },
    Adopt(Box<Adopted>),
    Complete(Completion),
    /// A connection that went on as plain HTTP is done.
    HttpDone,
    Drain,
    Stop,
}

impl Inbox {
    /// Puts an event in for ordering; gives it back if the box is full.
    pub(crate) fn publish(&self, publish: Publish, bytes_max: usize) -> Result<(), Publish> {
        let mut queues = self.lock();
        if queues.event_bytes >= bytes_max {
            return Err(publish);
        }
        queues.event_bytes += publish.event.frame.len();
        queues.publishes.push(publish);
        drop(queues);
        self.wake.notify_one();
        Ok(())
    }

    /// Puts in events that have been ordered. Their owner shard looks at
    /// [`is_full`](Inbox::is_full) first, so that a slow shard slows publishers down and loses
    /// nothing. Deliveries are never put back, so two shards cannot wait for each other.
    pub(crate) fn deliver(&self, deliveries: &[Publish]) {
        let mut queues = self.lock();
        queues.event_bytes += deliveries.iter().map(|d| d.event.frame.len()).sum::<usize>();
        queues.deliveries.extend_from_slice(deliveries);
        drop(queues);
        self.wake.notify_one();
    }

    pub(crate) fn is_full(&self, bytes_max: usize) -> bool {
        self.lock().event_bytes >= bytes_max
    }

    pub(crate) fn order(&self, order: Order) {
        self.lock().orders.push(order);
        self.wake.notify_one();
    }

    /// Sends to one connection; gives the event back if the box is full.
    pub(crate) fn send(
        &self,
        to: ConnectionId,
        event: Event,
        bytes_max: usize,
    ) -> Result<(), Event> {
        let mut queues = self.lock();
        if queues.event_bytes >= bytes_max {
            return Err(event);
        }
        queues.event_bytes += event.frame.len();
        queues.orders.push(Order::Send { to, event });
        drop(queues);
        self.wake.notify_one();
        Ok(())
    }

    /// Empties the box.
    pub(crate) fn take(&self) -> Queues {
        mem::take(&mut *self.lock())
    }

    /// Puts back what cannot be passed on yet, before what came meanwhile.
    pub(crate) fn put_back(&self, mut publishes: Vec<Publish>) {
        let mut queues = self.lock();
        queues.event_bytes += publishes.iter().map(|p| p.event.frame.len()).sum::<usize>();
        publishes.append(&mut queues.publishes);
        queues.publishes = publishes;
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        // Pushing and taking leave the queues whole, so a poisoned lock guards nothing broken.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(text: &'static str) -> Publish {
        let frame = Bytes::from(text);
        let event = Event { frame: frame.clone(), opcode: Opcode::Text, payload: frame };
        Publish { channel: None, event }
    }

    fn frames(publishes: &[Publish]) -> Vec<&[u8]> {
        publishes.iter().map(|publish| publish.event.frame.as_ref()).collect()
    }

    #[test]
    fn what_is_put_back_keeps_its_place_and_its_weight() {
        let inbox = Inbox::default();
        inbox.publish(publish("one"), 100).expect("room");
        let taken = inbox.take();
        assert!(!inbox.is_full(1), "an empty box weighs nothing");
        inbox.publish(publish("two"), 100).expect("room");
        inbox.put_back(taken.publishes);
        assert!(inbox.is_full(6) && !inbox.is_full(7));
        assert_eq!(frames(&inbox.take().publishes), [b"one", b"two"]);
    }
}
