//! Messages become commands, handlers run, replies go out.

use std::any::Any;
use std::borrow::Cow;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use mainstay_wire::Message;
use mainstay_wire::command::CommandMessage;
use mainstay_wire::deflate::DEFLATE_BYTES_MIN;
use mainstay_wire::frame::{Compression, Opcode};

use super::Shard;
use super::peer::{Open, Stage, Waiting};
use crate::inbox::Order;
use crate::router::Running as HandlerFuture;
use crate::{ConnectionId, Dialect, Outcome, Request};

/// A handler that took longer than one look has come to its end.
#[derive(Debug)]
pub(crate) struct Completion {
    ticket: Ticket<'static>,
    end: HandlerEnd,
}

/// Which command of which connection a handler runs for.
#[derive(Clone, Debug)]
struct Ticket<'a> {
    connection: ConnectionId,
    request_id: i64,
    command: Cow<'a, str>,
    opcode: Opcode,
}

#[derive(Debug)]
enum HandlerEnd {
    Done(Outcome),
    Panicked(String),
    TimedOut,
}

impl Shard {
    pub(super) fn handle_message(
        &mut self,
        id: ConnectionId,
        open: &mut Open,
        message: Message<'_>,
    ) {
        let (opcode, payload) = match &message {
            Message::Text(text) => (Opcode::Text, text.as_bytes()),
            Message::Binary(bytes) => (Opcode::Binary, bytes.as_ref()),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return,
        };
        match (self.shared.config.dialect, &mut open.running) {
            (Dialect::Echo, _) => self.send(open, opcode, payload),
            (Dialect::Command, Some(running)) => {
                running.waiting.push_back(Waiting { opcode, payload: payload.to_vec() });
            }
            (Dialect::Command, None) => self.run_command(id, open, opcode, payload),
        }
    }

    /// Runs the handler of one command. Most handlers are done at the first look, and their reply
    /// goes out without a task or an allocation more; the others become a task.
    fn run_command(&mut self, id: ConnectionId, open: &mut Open, opcode: Opcode, json: &[u8]) {
        let message = match CommandMessage::parse(json) {
            Ok(message) => message,
            Err(malformed) => {
                let text = malformed.to_string();
                return self.reply(open, opcode, malformed.request_id, "", Err(&text));
            }
        };
        self.stats().count_command();
        let request = Request {
            connection: id,
            request_id: message.request_id,
            command: message.command.clone().into_owned(),
            payload: message.some_other_thing.into_owned(),
            hub: self.hub.clone(),
        };
        let CommandMessage { request_id, command, .. } = message;
        let ticket = Ticket { connection: id, request_id, command, opcode };
        match look_once(|| self.shared.router.call(request)) {
            Look::Done(end) => self.reply_end(&ticket, open, end),
            Look::Pending(future) => {
                open.running = Some(Box::default());
                let command = Cow::Owned(ticket.command.into_owned());
                self.spawn(Ticket { command, ..ticket }, future);
            }
        }
    }

    fn spawn(&self, ticket: Ticket<'static>, future: HandlerFuture) {
        let shared = self.shared.clone();
        let index = self.index;
        let limit = shared.config.handler_timeout;
        tokio::spawn(async move {
            let task = tokio::spawn(future);
            let abort = task.abort_handle();
            let end = match tokio::time::timeout(limit, task).await {
                Ok(Ok(outcome)) => HandlerEnd::Done(outcome),
                Ok(Err(stopped)) => HandlerEnd::Panicked(match stopped.try_into_panic() {
                    Ok(panic) => panic_text(panic.as_ref()),
                    Err(stopped) => stopped.to_string(),
                }),
                Err(_) => {
                    abort.abort();
                    HandlerEnd::TimedOut
                }
            };
            if let Some(inbox) = shared.inboxes.get(index) {
                inbox.order(Order::Complete(Completion { ticket, end }));
            }
        });
    }

    /// A handler is done: replies, and goes on with the commands that waited behind it.
    pub(super) fn complete(&mut self, now: Instant, completion: Completion) {
        let Completion { ticket, end } = completion;
        let Some(mut peer) = self.take_peer(ticket.connection) else {
            return self.note_handler_end(&ticket, &end);
        };
        if let Stage::Open(open) = &mut peer.stage {
            let running = open.running.take();
            self.reply_end(&ticket, open, end);
            let mut waiting = running.map(|running| running.waiting).unwrap_or_default();
            while open.running.is_none()
                && let Some(Waiting { opcode, payload }) = waiting.pop_front()
            {
                self.run_command(ticket.connection, open, opcode, &payload);
            }
            match &mut open.running {
                Some(running) => running.waiting = waiting,
                None if open.is_draining => self.close_for_drain(now, open),
                None => {}
            }
        }
        self.settle(now, peer);
    }

    fn reply_end(&mut self, ticket: &Ticket<'_>, open: &mut Open, end: HandlerEnd) {
        self.note_handler_end(ticket, &end);
        let result = match &end {
            HandlerEnd::Done(Ok(text)) => Ok(text.as_str()),
            HandlerEnd::Done(Err(error)) => Err(error.message()),
            HandlerEnd::Panicked(_) => Err("the handler failed unexpectedly"),
            HandlerEnd::TimedOut => Err("the handler took too long"),
        };
        self.reply(open, ticket.opcode, ticket.request_id, &ticket.command, result);
    }

    fn reply(
        &mut self,
        open: &mut Open,
        opcode: Opcode,
        request_id: i64,
        command: &str,
        result: Result<&str, &str>,
    ) {
        let reply = CommandMessage {
            request_id,
            command: command.into(),
            some_other_thing: result.unwrap_or_else(|problem| problem).into(),
            success: result.is_ok(),
        };
        let mut json = mem::take(&mut self.json);
        json.clear();
        reply.write(&mut json);
        self.send(open, opcode, &json);
        self.json = json;
    }

    /// Queues a message of this connection's own.
    fn send(&mut self, open: &mut Open, opcode: Opcode, payload: &[u8]) {
        open.connection.outbox_mut().lend_buffer(&mut self.spare_buffers);
        match open.deflate {
            Some(deflate) if payload.len() >= DEFLATE_BYTES_MIN => {
                let deflated = self.deflater.deflate(payload, deflate.outgoing_window_bits);
                open.connection.send(opcode, Compression::Deflate, &deflated);
            }
            _ => open.connection.send(opcode, Compression::Plain, payload),
        }
    }

    /// Counts and logs what the client is not told in full.
    fn note_handler_end(&self, ticket: &Ticket<'_>, end: &HandlerEnd) {
        let (connection, command) = (ticket.connection, ticket.command.as_ref());
        match end {
            HandlerEnd::Done(Ok(_)) => {}
            HandlerEnd::Done(Err(error)) => match error.cause() {
                Some(cause) => tracing::warn!(%connection, command, %cause, "a handler failed"),
                None => tracing::debug!(%connection, command, %error, "a handler refused"),
            },
            HandlerEnd::Panicked(panic) => {
                self.stats().count_handler_panic();
                tracing::error!(%connection, command, panic = panic.as_str(), "a handler panicked");
            }
            HandlerEnd::TimedOut => {
                self.stats().count_handler_timeout();
                tracing::warn!(%connection, command, "a handler took too long");
            }
        }
    }
}

/// What a first look at a handler found.
enum Look {
    Done(HandlerEnd),
    Pending(HandlerFuture),
}

/// Starts a handler and looks at it once. A panic stays in here.
fn look_once(start: impl FnOnce() -> HandlerFuture) -> Look {
    // What the handler has touched is its own: the shard shares nothing with it that a panic could
    // leave half done.
    let looked = catch_unwind(AssertUnwindSafe(|| {
        let mut future = start();
        // Whatever waker it keeps from this look, the task that goes on with it looks again at once.
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Look::Done(HandlerEnd::Done(outcome)),
            Poll::Pending => Look::Pending(future),
        }
    }));
    looked.unwrap_or_else(|panic| Look::Done(HandlerEnd::Panicked(panic_text(panic.as_ref()))))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a text").to_owned()
}
