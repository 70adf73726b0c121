//! Messages become commands, handlers run, replies go out.

use std::any::Any;
use std::borrow::Cow;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use mainstay_node::Input;
use mainstay_wire::Message;
use mainstay_wire::command::{CommandMessage, Malformed};
use mainstay_wire::deflate::DEFLATE_BYTES_MIN;
use mainstay_wire::frame::{Compression, Opcode};
use mainstay_wire::session::{ErrorCode, Failure, Outcome, Principal, SessionId};

use super::Shard;
use super::peer::{Open, Stage, Waiting};
use crate::inbox::Order;
use crate::router::Answer;
use crate::router::{Running as HandlerFuture, SessionRequest, built_in_answer, payload_text};
use crate::{CommandError, ConnectionId, Dialect, Request};

/// A handler that took longer than one look has come to its end.
#[derive(Debug)]
pub(crate) struct Completion {
    ticket: Ticket<'static>,
    end: HandlerEnd,
}

/// A ticket that outlives the message it came with.
pub(crate) type HandlerTicket = Ticket<'static>;

/// Which command of which connection a handler runs for.
#[derive(Clone, Debug)]
pub(crate) struct Ticket<'a> {
    connection: ConnectionId,
    request_id: i64,
    command: Cow<'a, str>,
    opcode: Opcode,
}

#[derive(Debug)]
pub(crate) enum HandlerEnd {
    Done(Result<Answer, CommandError>),
    Panicked(String),
    TimedOut,
    /// The runtime that it ran on is gone.
    Lost,
}

impl HandlerEnd {
    /// Looks at a handler again until it is done. A panic stays in here.
    async fn of(future: HandlerFuture) -> HandlerEnd {
        match AssertUnwindSafe(future).catch_unwind().await {
            Ok(outcome) => HandlerEnd::Done(outcome),
            Err(panic) => HandlerEnd::Panicked(panic_text(panic.as_ref())),
        }
    }

    /// What a session is told.
    fn into_outcome(self) -> Outcome {
        let failed = |code, message: String| Outcome::Failed(Failure { code, message });
        match self {
            HandlerEnd::Done(Ok(answer)) => Outcome::Done(answer.into_payload()),
            HandlerEnd::Done(Err(error)) => failed(error.code(), error.message().to_owned()),
            HandlerEnd::Panicked(_) | HandlerEnd::Lost => {
                failed(ErrorCode::Internal, PANICKED.to_owned())
            }
            HandlerEnd::TimedOut => failed(ErrorCode::DeadlineExceeded, String::new()),
        }
    }
}

impl Shard {
    pub(super) fn handle_message(
        &mut self,
        now: Instant,
        id: ConnectionId,
        open: &mut Open,
        message: Message<'_>,
    ) {
        let (opcode, payload) = match &message {
            Message::Text(text) => (Opcode::Text, text.as_bytes()),
            Message::Binary(bytes) => (Opcode::Binary, bytes.as_ref()),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return,
        };
        if open.session.is_some() {
            return self.handle_frame(now, id, open, opcode, payload);
        }
        match (self.shared.config.dialect, &mut open.running) {
            (Dialect::Echo, _) => self.send(open, opcode, payload),
            (Dialect::Command, Some(running)) => {
                running.waiting.push_back(Waiting { opcode, payload: payload.to_vec() });
            }
            (Dialect::Command, None) => {
                let parsed = match &message {
                    Message::Text(text) => CommandMessage::parse_text(text),
                    _ => CommandMessage::parse(payload),
                };
                self.run_command(id, open, opcode, parsed);
            }
        }
    }

    /// Runs the handler of one command. Most handlers are done at the first look, and their reply
    /// goes out without a task or an allocation more; the others become a task.
    fn run_command(
        &mut self,
        id: ConnectionId,
        open: &mut Open,
        opcode: Opcode,
        parsed: Result<CommandMessage<'_>, Malformed>,
    ) {
        let message = match parsed {
            Ok(message) => message,
            Err(malformed) => {
                let text = malformed.to_string();
                return self.reply(open, opcode, malformed.request_id, "", Err(&text));
            }
        };
        self.stats().count_command();
        let Some(handler) = self.shared.router.find(&message.command) else {
            let answer = built_in_answer(&message.command);
            return self.reply(open, opcode, message.request_id, &message.command, Ok(&answer));
        };
        let request = Request {
            connection: id,
            request_id: message.request_id,
            command: message.command.clone().into_owned(),
            payload: message.some_other_thing.into_owned(),
            session: None,
            timeout: self.shared.config.handler_timeout,
            hub: self.hub.clone(),
        };
        let CommandMessage { request_id, command, .. } = message;
        let ticket = Ticket { connection: id, request_id, command, opcode };
        match look_once(|| handler(request)) {
            Look::Done(end) => self.reply_end(&ticket, open, end),
            Look::Pending(future) => {
                open.running = Some(Box::default());
                let command = Cow::Owned(ticket.command.into_owned());
                self.run_on(Ticket { command, ..ticket }, future);
            }
        }
    }

    /// Has a handler run on beside the shard.
    fn run_on(&self, ticket: Ticket<'static>, future: HandlerFuture) {
        let limit = self.shared.config.handler_timeout;
        let ended = |ticket, end| Order::Complete(Completion { ticket, end });
        let mut report = self.report(ended(ticket.clone(), HandlerEnd::Lost));
        self.spawn(async move {
            let end = tokio::time::timeout(limit, HandlerEnd::of(future)).await;
            report.set(ended(ticket, end.unwrap_or(HandlerEnd::TimedOut)));
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
                let parsed = CommandMessage::parse(&payload);
                self.run_command(ticket.connection, open, opcode, parsed);
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
            HandlerEnd::Done(Ok(answer)) => Ok(answer.text()),
            HandlerEnd::Done(Err(error)) => Err(error.message()),
            HandlerEnd::Panicked(_) | HandlerEnd::Lost => Err(PANICKED),
            HandlerEnd::TimedOut => Err("the handler took too long"),
        };
        let result = result.as_ref().map(|text| text.as_ref()).map_err(|problem| *problem);
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
        let bytes_max = self.shared.config.limits.message_bytes_max;
        if json.len() > bytes_max
            && let Some(too_big) = too_big(&reply, bytes_max)
        {
            json.clear();
            too_big.write(&mut json);
        }
        self.send(open, opcode, &json);
        self.json = json;
    }

    /// Queues a message of this connection's own.
    pub(super) fn send(&mut self, open: &mut Open, opcode: Opcode, payload: &[u8]) {
        self.stats().count_message_sent();
        open.connection.outbox_mut().lend_buffer(&mut self.spare_buffers);
        match open.deflate {
            Some(deflate) if payload.len() >= DEFLATE_BYTES_MIN => {
                let deflated = self.deflater.deflate(payload, deflate.outgoing_window_bits);
                open.connection.send(opcode, Compression::Deflate, &deflated);
            }
            _ => open.connection.send(opcode, Compression::Plain, payload),
        }
    }

    /// Runs the handler of a session's request. Its outcome goes to the keeper, whatever has become
    /// of the connection by then.
    pub(super) fn run_for_session(
        &mut self,
        connection: ConnectionId,
        session: SessionId,
        principal: Option<Principal>,
        request: mainstay_wire::session::Request,
    ) {
        self.stats().count_command();
        let number = request.number;
        let command = request.command.clone();
        let timeout = match request.deadline_ms {
            Some(deadline_ms) => Duration::from_millis(deadline_ms),
            None => self.shared.config.handler_timeout,
        };
        let request = Request {
            connection,
            request_id: i64::try_from(number).unwrap_or(i64::MAX),
            command: request.command,
            payload: payload_text(&request.payload).into_owned(),
            session: Some(SessionRequest { session, principal, payload: request.payload }),
            timeout,
            hub: self.hub.clone(),
        };
        let ticket = Ticket {
            connection,
            request_id: request.request_id,
            command: command.into(),
            opcode: Opcode::Text,
        };
        match look_once(|| self.shared.router.call(request)) {
            Look::Done(end) => {
                self.note_handler_end(&ticket, &end);
                self.inputs.push(Input::Ran { session, number, outcome: end.into_outcome() });
            }
            Look::Pending(future) => {
                let ended = move |ticket, end| Order::Ran { ticket, session, number, end };
                let ticket = Box::new(ticket);
                let mut report = self.report(ended(ticket.clone(), HandlerEnd::Lost));
                let task = self.spawn(async move {
                    report.set(ended(ticket, HandlerEnd::of(future).await));
                });
                self.handlers.insert((session, number), task);
            }
        }
    }

    /// The handler of a session's request is done.
    pub(super) fn ran_for_session(
        &mut self,
        ticket: &Ticket<'_>,
        session: SessionId,
        number: u64,
        end: HandlerEnd,
    ) {
        // One that was stopped has had its outcome already.
        if self.handlers.remove(&(session, number)).is_none() {
            return;
        }
        self.note_handler_end(ticket, &end);
        self.inputs.push(Input::Ran { session, number, outcome: end.into_outcome() });
    }

    /// Stops a handler that is late, or whose outcome is no longer wanted.
    pub(super) fn stop_handler(&mut self, session: SessionId, number: u64, is_late: bool) {
        let Some(task) = self.handlers.remove(&(session, number)) else { return };
        task.abort();
        if is_late {
            self.stats().count_handler_timeout();
            tracing::warn!(%session, number, "a handler took too long");
        }
    }

    /// Counts and logs what the client is not told in full.
    fn note_handler_end(&self, ticket: &Ticket<'_>, end: &HandlerEnd) {
        let (connection, command) = (ticket.connection, ticket.command.as_ref());
        match end {
            HandlerEnd::Done(Ok(_)) => {}
            HandlerEnd::Done(Err(error)) => {
                self.stats().count_handler_failure();
                match error.cause() {
                    Some(cause) => tracing::warn!(%connection, command, %cause, "a handler failed"),
                    None => tracing::debug!(%connection, command, %error, "a handler refused"),
                }
            }
            HandlerEnd::Panicked(panic) => {
                self.stats().count_handler_panic();
                tracing::error!(%connection, command, panic = panic.as_str(), "a handler panicked");
            }
            HandlerEnd::TimedOut => {
                self.stats().count_handler_timeout();
                tracing::warn!(%connection, command, "a handler took too long");
            }
            HandlerEnd::Lost => {
                self.stats().count_handler_failure();
                tracing::error!(
                    %connection,
                    command,
                    "a handler ended with the runtime that the server was started on"
                );
            }
        }
    }
}

/// What is said in place of a reply that is over the limit without the command that it repeats: that
/// is the client's own, who knows how long it is.
fn too_big<'a>(reply: &CommandMessage<'a>, bytes_max: usize) -> Option<CommandMessage<'a>> {
    let mut json = Vec::new();
    CommandMessage { command: "".into(), ..reply.clone() }.write(&mut json);
    let bytes = json.len();
    let text = format!("the reply makes a message of {bytes} bytes, over the limit of {bytes_max}");
    (bytes > bytes_max).then(|| CommandMessage {
        some_other_thing: text.into(),
        success: false,
        ..reply.clone()
    })
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

/// What a client is told of a panic.
const PANICKED: &str = "the handler failed unexpectedly";
