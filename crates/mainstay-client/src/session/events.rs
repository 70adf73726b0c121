//! What the session tells, the server says and the application wants, each to its place.

use std::sync::Arc;
use std::time::Duration;

use mainstay_session::client::{
    ClientEvent, ClientSession, CloseReason, CommandKey, Ending, RequestKey,
};
use mainstay_wire::session::{Failure, Outcome, Request, ServerFrame};
use mainstay_wire::{ChannelName, End, EndReason};

use super::driver::{Driver, Kept, Outage, Wish, now_ms};
use super::line::Line;
use super::queue::QueueKey;
use super::{
    ChannelItem, Greeting, ServerCommand, SessionEnd, SessionState, SubscribeError, SubscriptionEnd,
};
use crate::driver::FirstConnect;
use crate::socket::now;
use crate::{ConnectError, Decision, Message, Socket};

impl Driver {
    pub(super) fn handle_wish(&mut self, wish: Option<Wish>) {
        let now_ms = now_ms();
        match wish {
            None => {
                self.is_orphaned = true;
                match self.keeper.has_file() {
                    true => self.session.leave(now_ms),
                    false => self.session.close(now_ms),
                }
            }
            Some(Wish::Call { call, deadline, kept, outcome }) => {
                let deadline_ms = deadline
                    .map(|deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX));
                let deadline_at_ms = deadline_ms.map(|ms| now_ms.saturating_add(ms));
                match self.session.call(now_ms, call, deadline_at_ms) {
                    Ok(key) => {
                        self.outcomes.insert(key, outcome);
                        self.kept.push(Kept::Call(kept, key));
                    }
                    Err(refused) => {
                        let _ = kept.send(Err(refused));
                    }
                }
            }
            Some(Wish::Cancel(key)) => self.session.cancel(now_ms, key),
            Some(Wish::Attach { key, subscribe, queue, kept }) => {
                if self.queues.contains_key(&key) {
                    let _ = kept.send(Err(SubscribeError::Taken));
                    return;
                }
                let attached = match subscribe {
                    Some(subscribe) => self.session.attach(now_ms, subscribe),
                    None => self.attach_inboxes(),
                };
                match attached {
                    Ok(()) => {
                        self.queues.insert(key.clone(), queue);
                        self.kept.push(Kept::Attach(kept, key));
                    }
                    Err(refused) => {
                        let _ = kept.send(Err(refused.into()));
                    }
                }
            }
            Some(Wish::Unsubscribe { channel, kept }) => {
                self.session.unsubscribe(now_ms, &channel);
                self.kept.push(Kept::Change(kept));
            }
            // The queues have been looked at before this wish.
            Some(Wish::KeepPlaces { kept }) => self.kept.push(Kept::Change(kept)),
            Some(Wish::Answer { key, outcome }) => {
                self.running.remove(&key);
                self.session.answer(now_ms, key, outcome);
            }
            Some(Wish::Close) => self.session.close(now_ms),
            Some(Wish::Leave) => self.session.leave(now_ms),
        }
    }

    pub(super) fn handle_dialled(&mut self, dialled: Result<Box<Socket>, ConnectError>) {
        let wanted = self.encoding.subprotocol();
        let dialled = dialled.and_then(|socket| match socket.subprotocol() {
            Some(chosen) if chosen == wanted => Ok(socket),
            _ => Err(ConnectError::Dialect { wanted }),
        });
        match dialled {
            Ok(socket) => {
                self.first_connect = FirstConnect::Retry;
                self.reconnect.handle_open(now());
                self.line = Line::Open(socket);
                self.session.handle_open(now_ms());
            }
            Err(error) => {
                let decision = match self.first_connect {
                    FirstConnect::FailFast => Decision::Stop,
                    FirstConnect::Retry => self.reconnect.handle_failed(&error),
                };
                tracing::debug!(%error, ?decision, "cannot connect");
                self.retry(decision, Outage::Failed(Arc::new(error)));
            }
        }
    }

    pub(super) fn handle_message(&mut self, message: &Message) {
        let bytes = match message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        };
        match self.encoding.decode_server(bytes) {
            Ok(frame) => {
                let is_welcome = matches!(frame, ServerFrame::Welcome(_));
                self.session.handle_frame(now_ms(), frame);
                if is_welcome {
                    self.take_longer_messages();
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the server sent no frame");
                self.session.handle_violation(now_ms());
            }
        }
    }

    /// A server may be set to longer messages than a client takes by itself, and says so.
    fn take_longer_messages(&mut self) {
        if let (Line::Open(socket), Some(bytes_max)) =
            (&mut self.line, self.session.received_bytes_max())
        {
            socket.raise_message_bytes_max(bytes_max);
        }
    }

    pub(super) fn handle_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Opening | ClientEvent::Offline => {}
            ClientEvent::Welcomed { standing, session, generation, principal, server } => {
                tracing::debug!(%session, ?standing, generation, "session open");
                let greeting = Greeting { standing, session, generation, principal, server };
                self.course.push(SessionState::Open(greeting));
            }
            ClientEvent::Outcome { key, outcome } => self.settle(key, outcome),
            ClientEvent::GivenUp { key, failure } => self.settle(key, Outcome::Failed(failure)),
            ClientEvent::Subscribed(subscribed) => self.handle_subscribed(&subscribed.channel),
            ClientEvent::Unsubscribed { channel, failure } => {
                self.handle_unsubscribed(&channel, failure);
            }
            ClientEvent::Event { epoch, event } => {
                let key = QueueKey::of(&event.channel);
                self.deliver(key, ChannelItem::Event { epoch, event });
            }
            ClientEvent::Gap(gap) => {
                self.deliver(QueueKey::of(&gap.channel), ChannelItem::Gap(gap));
            }
            ClientEvent::Presence(presence) => {
                let key = QueueKey::of(&presence.channel);
                self.deliver(key, ChannelItem::Presence(presence));
            }
            ClientEvent::Command { key, deadline_at_ms, request } => {
                self.start_command(key, deadline_at_ms, request);
            }
            ClientEvent::CommandCancelled { key } => {
                if let Some(running) = self.running.remove(&key) {
                    running.abort();
                }
            }
            ClientEvent::Problem(problem) => {
                let (code, channel) = (problem.failure.code, problem.channel);
                let message = problem.failure.message;
                tracing::warn!(%code, ?channel, message, "the server has a problem with us");
            }
            ClientEvent::Goaway(goaway) => {
                tracing::debug!(window_ms = goaway.window_ms, reason = goaway.reason, "told to go");
            }
            ClientEvent::Ended(ending) => self.handle_ending(ending),
        }
    }

    pub(super) fn close_connection(&mut self, reason: CloseReason) {
        let Line::Open(mut socket) = std::mem::replace(&mut self.line, Line::Idle) else { return };
        let end = match reason {
            // Nobody is there to shake hands with.
            CloseReason::Silent => End::new(EndReason::PingTimeout, "no frame came in time"),
            CloseReason::NoWelcome => End::new(EndReason::PingTimeout, "no welcome came in time"),
            CloseReason::Fault(what) => {
                socket.close_for(EndReason::ProtocolError, what);
                self.let_go(socket);
                End::new(EndReason::ProtocolError, what)
            }
            CloseReason::Goaway => {
                socket.close("moving");
                self.let_go(socket);
                End::new(EndReason::Drain, "the server asked us to move")
            }
            _ => {
                socket.close("");
                self.let_go(socket);
                return;
            }
        };
        tracing::debug!(%end, "connection given up");
        let decision = self.reconnect.handle_lost(now(), &end);
        self.retry(decision, Outage::Lost(Arc::new(end)));
    }

    /// Ends a connection in good order while the session goes on; within the close timeout.
    fn let_go(&mut self, mut socket: Box<Socket>) {
        self.leaving = Some(tokio::spawn(async move { while socket.receive().await.is_some() {} }));
    }

    fn handle_ending(&mut self, ending: Ending) {
        let stopped = |code| {
            Arc::new(End { reason: EndReason::PeerClosed, code: Some(code), detail: String::new() })
        };
        self.cause.get_or_insert(match ending {
            Ending::Closed => SessionEnd::Closed,
            Ending::Left => SessionEnd::Left,
            Ending::Superseded => SessionEnd::Superseded,
            Ending::Stopped { code } => {
                SessionEnd::Server(self.last_end.take().unwrap_or_else(|| stopped(code)))
            }
            _ => SessionEnd::Closed,
        });
    }

    fn settle(&mut self, key: RequestKey, outcome: Outcome) {
        if let Some(waiting) = self.outcomes.remove(&key) {
            // Nobody may be waiting any more.
            let _ = waiting.send(outcome);
        }
    }

    fn handle_subscribed(&mut self, channel: &ChannelName) {
        // An inbox that nobody reads must not fill up; its place is kept.
        if channel.is_inbox() && !self.queues.contains_key(&QueueKey::Inboxes) {
            self.session.detach(now_ms(), channel);
        }
    }

    fn handle_unsubscribed(&mut self, channel: &ChannelName, failure: Option<Failure>) {
        let key = QueueKey::of(channel);
        if key != QueueKey::Inboxes
            && let Some(queue) = self.queues.remove(&key)
        {
            self.full.remove(&key);
            queue.end(match failure {
                Some(failure) => SubscriptionEnd::Refused(failure),
                None => SubscriptionEnd::Unsubscribed,
            });
        }
    }

    fn deliver(&mut self, key: QueueKey, item: ChannelItem) {
        // Without a queue, the channel is about to be let go of, and its cursor stays.
        if let Some(queue) = self.queues.get(&key)
            && !queue.push(item)
        {
            self.full.insert(key);
        }
    }

    fn attach_inboxes(&mut self) -> Result<(), mainstay_session::client::Refused> {
        for channel in self.inboxes() {
            self.session.attach_known(now_ms(), &channel)?;
        }
        Ok(())
    }

    fn start_command(&mut self, key: CommandKey, deadline_at_ms: Option<u64>, request: Request) {
        let Request { number, command, payload, .. } = request;
        let deadline =
            deadline_at_ms.map(|at_ms| Duration::from_millis(at_ms.saturating_sub(now_ms())));
        let Some(wishes) = self.self_wishes.upgrade() else { return };
        let name = command.clone();
        let command = ServerCommand { number, command, payload, deadline };
        match self.handlers.start(key, command, wishes) {
            Some(running) => {
                self.running.insert(key, running);
            }
            None => self.session.answer(now_ms(), key, ClientSession::no_handler(&name)),
        }
    }
}
