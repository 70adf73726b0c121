//! What other threads, handlers and the keeper want of a shard.

use std::io;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use mainstay_node::{Effect, Page};
use mainstay_wire::frame::Opcode;
use mainstay_wire::session::{Event, Request, ServerFrame, SessionId};
use mio::{Registry, Token, Waker};

use crate::ConnectionId;
use crate::keeper::outcome_weight;
use crate::shard::{Adopted, Completion, HandlerEnd, HandlerTicket};

/// A shard's letter box: bounded in bytes, emptied once per turn. What is put in by one thread comes
/// out in the order in which it was put in.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Queue {
    orders: Vec<Order>,
    bytes: usize,
    /// Whether the shard waits in its poll, and must be woken for what comes.
    is_awaited: bool,
    /// Whether the shard has ended: what is put in then is for nobody.
    is_closed: bool,
}

/// A message for plain connections, as the frame that each of them gets, encoded once.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) frame: Bytes,
    pub(crate) opcode: Opcode,
    /// The payload's share of the frame.
    pub(crate) payload: Bytes,
}

/// Something for a shard to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// What the keeper decided.
    Effect(Effect),
    /// A message for every plain connection.
    Broadcast(Notice),
    /// A message for one plain connection.
    Send {
        to: ConnectionId,
        notice: Notice,
    },
    Close {
        connection: ConnectionId,
        detail: String,
    },
    Adopt(Box<Adopted>),
    Complete(Completion),
    /// The handler of a session's request is done.
    Ran {
        ticket: Box<HandlerTicket>,
        session: SessionId,
        number: u64,
        end: HandlerEnd,
    },
    /// A connection that went on as plain HTTP is done.
    HttpDone,
    /// The log has failed: every connection that rests on it ends.
    StoreFailed,
    /// Write down how much there is.
    Gauge,
    Drain,
    Stop,
}

impl Inbox {
    /// For the shard whose poll has this registry, which is woken by an event of this token.
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Inbox> {
        Ok(Inbox { queue: Mutex::default(), waker: Waker::new(registry, token)? })
    }

    /// Puts in something small.
    pub(crate) fn order(&self, order: Order) {
        let mut queue = self.lock();
        if !queue.is_closed {
            queue.orders.push(order);
            self.wake(queue);
        }
    }

    /// Puts in all of `orders`. Whoever may wait looks at [`is_full`](Inbox::is_full) first.
    pub(crate) fn put(&self, mut orders: Vec<Order>) {
        let mut queue = self.lock();
        if queue.is_closed {
            return;
        }
        queue.bytes += orders.iter().map(weight).sum::<usize>();
        queue.orders.append(&mut orders);
        self.wake(queue);
    }

    /// Puts in something that may be refused.
    pub(crate) fn offer(&self, order: Order, bytes_max: usize) -> Result<(), InboxFull> {
        let mut queue = self.lock();
        if queue.bytes >= bytes_max {
            return Err(InboxFull);
        }
        if queue.is_closed {
            return Ok(());
        }
        queue.bytes += weight(&order);
        queue.orders.push(order);
        self.wake(queue);
        Ok(())
    }

    pub(crate) fn is_full(&self, bytes_max: usize) -> bool {
        self.lock().bytes >= bytes_max
    }

    /// The shard has ended: nothing is kept for it, and nobody waits for it.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.is_closed = true;
        queue.bytes = 0;
        queue.orders.clear();
    }

    /// Empties the box.
    pub(crate) fn take(&self) -> Vec<Order> {
        let mut queue = self.lock();
        queue.bytes = 0;
        queue.is_awaited = false;
        mem::take(&mut queue.orders)
    }

    /// Whether the shard may wait: the box is empty, and whatever is put in from now on wakes it.
    pub(crate) fn may_wait(&self) -> bool {
        let mut queue = self.lock();
        queue.is_awaited = queue.orders.is_empty();
        queue.is_awaited
    }

    /// Wakes the shard if it waits. Waking costs a call to the kernel, and a shard that turns looks
    /// into its box anyway.
    fn wake(&self, mut queue: MutexGuard<'_, Queue>) {
        let must_wake = mem::take(&mut queue.is_awaited);
        drop(queue);
        if must_wake && let Err(error) = self.waker.wake() {
            tracing::error!(%error, "a shard cannot be woken, and goes on at its next deadline");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Pushing and taking leave the queue whole, so a poisoned lock guards nothing broken.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many bytes wait already that nothing was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InboxFull;

/// What an order holds in memory, roughly.
fn weight(order: &Order) -> usize {
    match order {
        Order::Effect(effect) => match effect {
            Effect::Deliver { events, .. } | Effect::Page(Page { events, .. }) => {
                events.iter().map(event_weight).sum()
            }
            Effect::Send { frame, .. } => EVENT_BYTES + frame_weight(frame),
            Effect::Run { request, .. } => EVENT_BYTES + request_weight(request),
            _ => EVENT_BYTES,
        },
        Order::Broadcast(notice) | Order::Send { notice, .. } => notice.frame.len(),
        _ => 0,
    }
}

fn frame_weight(frame: &ServerFrame) -> usize {
    match frame {
        ServerFrame::Reply(reply) => outcome_weight(&reply.outcome),
        ServerFrame::Request(request) => request_weight(request),
        ServerFrame::Presence(presence) => {
            (presence.joined.len() + presence.left.len()) * MEMBER_BYTES
        }
        _ => 0,
    }
}

fn request_weight(request: &Request) -> usize {
    request.command.len() + request.payload.bytes.len()
}

fn event_weight(event: &Event) -> usize {
    EVENT_BYTES + event.payload.bytes.len()
}

/// An event without its payload, or a frame without what it carries.
const EVENT_BYTES: usize = 64;
/// A member in a frame: its id and, perhaps, its principal.
const MEMBER_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll};

    use super::*;

    fn notice(text: &'static str) -> Notice {
        let frame = Bytes::from(text);
        Notice { frame: frame.clone(), opcode: Opcode::Text, payload: frame }
    }

    #[test]
    fn a_full_box_refuses_what_is_offered_and_takes_what_must_get_in() {
        let poll = Poll::new().expect("a poll");
        let inbox = Inbox::new(poll.registry(), Token(0)).expect("a waker");
        inbox.offer(Order::Broadcast(notice("one")), 3).expect("room");
        assert_eq!(inbox.offer(Order::Broadcast(notice("two")), 3), Err(InboxFull));
        inbox.order(Order::HttpDone);
        inbox.put(vec![Order::Broadcast(notice("three"))]);
        assert!(inbox.is_full(8) && !inbox.is_full(9));
        let taken = inbox.take();
        assert!(matches!(
            &taken[..],
            [Order::Broadcast(one), Order::HttpDone, Order::Broadcast(three)]
                if one.frame == "one" && three.frame == "three"
        ));
        assert!(!inbox.is_full(1), "an empty box weighs nothing");
        inbox.close();
        inbox.put(vec![Order::Broadcast(notice("four"))]);
        assert!(!inbox.is_full(1), "nothing gathers for a shard that has ended");
    }

    #[test]
    fn frames_weigh_what_they_carry() {
        use mainstay_node::ConnectionKey;
        use mainstay_wire::ChannelName;
        use mainstay_wire::session::{Member, Outcome, Payload, Presence, Reply};
        let member = Member { session: SessionId::from_bytes([1; 16]), principal: None };
        let presence = Presence {
            channel: ChannelName::parse("room").expect("a name"),
            joined: vec![member; 100],
            left: Vec::new(),
            member_count: 100,
        };
        let payload = Payload::binary(vec![0; 5_000]);
        let outcome = Outcome::Done(payload.clone());
        let request = Request { number: 1, command: "show".to_owned(), payload, deadline_ms: None };
        for frame in [
            ServerFrame::Presence(presence),
            ServerFrame::Request(request),
            ServerFrame::Reply(Reply { number: 1, outcome }),
        ] {
            let connection = ConnectionKey(1);
            let order = Order::Effect(Effect::Send { connection, frame });
            assert!(weight(&order) >= 5_000, "{order:?}");
        }
        let connection = ConnectionKey(1);
        let small = Order::Effect(Effect::Send { connection, frame: ServerFrame::Pong });
        assert!(weight(&small) > 0, "many small ones weigh something");
    }

    #[test]
    fn a_shard_that_waits_is_woken_once_and_one_that_turns_is_not() {
        let mut poll = Poll::new().expect("a poll");
        let inbox = Inbox::new(poll.registry(), Token(7)).expect("a waker");
        let mut wakes = || {
            let mut events = Events::with_capacity(8);
            poll.poll(&mut events, Some(Duration::ZERO)).expect("polled");
            events.iter().filter(|event| event.token() == Token(7)).count()
        };
        inbox.order(Order::HttpDone);
        assert_eq!(wakes(), 0, "a shard that turns looks by itself");
        assert!(!inbox.may_wait(), "something is there already");
        inbox.put(vec![Order::HttpDone]);
        assert_eq!(wakes(), 0);
        assert_eq!(inbox.take().len(), 2);
        assert!(inbox.may_wait());
        inbox.order(Order::HttpDone);
        assert_eq!(wakes(), 1);
        inbox.order(Order::HttpDone);
        assert_eq!(wakes(), 0, "it has been woken already");
        assert!(inbox.take().len() == 2 && inbox.may_wait());
        assert_eq!(inbox.take().len(), 0, "something else woke it");
        inbox.offer(Order::HttpDone, 1).expect("room");
        assert_eq!(wakes(), 0);
    }
}
