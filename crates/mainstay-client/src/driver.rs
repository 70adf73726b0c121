//! The one task of a client: dials, serves the connection, waits, dials again.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mainstay_wire::End;
use mainstay_wire::EndReason;
use mainstay_wire::command::CommandMessage;
use mainstay_wire::frame::Opcode;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::sleep;

use crate::endpoint::Endpoint;
use crate::inbox::Inbox;
use crate::request::{Outgoing, Table};
use crate::socket::{Reading, now};
use crate::state::Course;
use crate::{
    ClosedCause, ConnectOptions, Decision, Incoming, Message, NotSentReason, Reconnect,
    RequestError, Socket, State,
};

/// What becomes of a first attempt that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstConnect {
    FailFast,
    Retry,
}

pub(crate) struct Driver {
    pub(crate) target: Arc<(Endpoint, ConnectOptions)>,
    pub(crate) reconnect: Reconnect,
    pub(crate) first_connect: FirstConnect,
    pub(crate) requests: mpsc::Receiver<Outgoing>,
    pub(crate) close_asked: watch::Receiver<bool>,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) course: Arc<Course>,
}

/// Everything that can wake the task while a connection is open.
enum Event {
    /// `None`: the connection has ended.
    Received(Option<Message>),
    /// The application has taken a message out of the full inbox.
    Room,
    /// `None`: nobody can make requests any more.
    Request(Option<Outgoing>),
    CloseAsked,
}

impl Driver {
    pub(crate) async fn run(mut self) {
        let cause = self.cycle().await;
        self.finish(cause);
    }

    /// One connection after the other, until there shall be no more.
    async fn cycle(&mut self) -> ClosedCause {
        loop {
            let target = Arc::clone(&self.target);
            let dialled = Socket::open(&target.0, &target.1);
            let (decision, state) = match self.unless_closed(dialled).await {
                None => return ClosedCause::Application(None),
                Some(Ok(socket)) => {
                    self.first_connect = FirstConnect::Retry;
                    self.reconnect.handle_open(now());
                    tracing::debug!("connected");
                    self.course.push(State::Open);
                    let (end, outcome) = self.serve(socket).await;
                    if let Served::Closed = outcome {
                        return ClosedCause::Application(Some(end));
                    }
                    match self.reconnect.handle_lost(now(), &end) {
                        Decision::Stop => return ClosedCause::Server(end),
                        Decision::Retry { attempt, delay } => {
                            tracing::debug!(%end, ?delay, attempt, "connection lost");
                            ((attempt, delay), State::Lost { end, attempt, retry_in: delay })
                        }
                    }
                }
                Some(Err(error)) => {
                    let error = Arc::new(error);
                    let decision = match self.first_connect {
                        FirstConnect::FailFast => Decision::Stop,
                        FirstConnect::Retry => self.reconnect.handle_failed(&error),
                    };
                    match decision {
                        Decision::Stop => return ClosedCause::Refused(error),
                        Decision::Retry { attempt, delay } => {
                            tracing::debug!(%error, ?delay, attempt, "cannot connect");
                            ((attempt, delay), State::Failed { error, attempt, retry_in: delay })
                        }
                    }
                }
            };
            self.course.push(state);
            let (attempt, delay) = decision;
            if self.wait(delay).await.is_none() {
                return ClosedCause::Application(None);
            }
            self.course.push(State::Connecting { attempt });
        }
    }

    async fn wait(&mut self, delay: Duration) -> Option<()> {
        self.unless_closed(sleep(delay)).await
    }

    /// Does something that has no connection yet; `None` if the client is closed first. Requests
    /// made meanwhile are refused.
    async fn unless_closed<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                output = &mut future => return Some(output),
                request = self.requests.recv() => match request {
                    Some(request) => request.refuse(NotSentReason::NotConnected),
                    None => return None,
                },
                () = asked(&mut self.close_asked) => return None,
            }
        }
    }

    /// Serves an open connection to its end.
    async fn serve(&mut self, mut socket: Socket) -> (Arc<End>, Served) {
        let mut table = Table::default();
        let mut served = Served::Lost;
        loop {
            let is_closing = served == Served::Closed;
            let is_full = !is_closing && !self.inbox.has_room();
            let reading = if is_full { Reading::Paused } else { Reading::Wanted };
            let takes_requests = !is_closing && socket.has_room();
            let event = tokio::select! {
                message = socket.next(reading) => Event::Received(message),
                () = self.inbox.room(), if is_full => Event::Room,
                request = self.requests.recv(), if takes_requests => Event::Request(request),
                () = asked(&mut self.close_asked), if !is_closing => Event::CloseAsked,
            };
            match event {
                Event::Received(Some(message)) => self.deliver(message, &mut table),
                Event::Received(None) => break,
                Event::Room => {}
                Event::Request(Some(request)) => self.send(request, &mut socket, &mut table),
                Event::Request(None) | Event::CloseAsked => {
                    socket.close("");
                    served = Served::Closed;
                }
            }
        }
        let ended = || End::new(EndReason::IoError, "the connection ended");
        let end = Arc::new(socket.end().cloned().unwrap_or_else(ended));
        table.fail(socket.written_bytes(), &end);
        while let Ok(request) = self.requests.try_recv() {
            request.refuse(NotSentReason::ConnectionLost(Arc::clone(&end)));
        }
        (end, served)
    }

    /// Queues a request and those that wait behind it, so that they leave in one write.
    fn send(&mut self, first: Outgoing, socket: &mut Socket, table: &mut Table) {
        let mut next = Some(first);
        while let Some(Outgoing { request_id, json, answer }) = next {
            // An abandoned request need not be sent.
            if !answer.is_closed() {
                socket.send(Opcode::Text, &json);
                table.insert(now(), request_id, answer, socket.queued_bytes());
            }
            next = if socket.has_room() { self.requests.try_recv().ok() } else { None };
        }
    }

    fn deliver(&mut self, message: Message, table: &mut Table) {
        let json = match &message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        };
        let incoming = match CommandMessage::parse(json) {
            Ok(parsed) if table.settle(now(), &parsed) => return,
            Ok(parsed) => Incoming::Command {
                request_id: parsed.request_id,
                command: parsed.command.into_owned(),
                payload: parsed.some_other_thing.into_owned(),
                success: parsed.success,
            },
            Err(_) => match message {
                Message::Text(text) => Incoming::Text(text),
                Message::Binary(bytes) => Incoming::Binary(bytes),
            },
        };
        self.inbox.push(incoming);
    }

    /// Gives everything that still waits its outcome.
    fn finish(&mut self, cause: ClosedCause) {
        self.permits.close();
        self.requests.close();
        while let Ok(request) = self.requests.try_recv() {
            let _ = request.answer.send(Err(RequestError::Closed));
        }
        self.inbox.close();
        tracing::debug!(?cause, "closed");
        self.course.push(State::Closed { cause });
    }
}

impl Drop for Driver {
    /// For a task that did not run to its end: the runtime is shutting down.
    fn drop(&mut self) {
        if !self.course.is_closed() {
            self.finish(ClosedCause::Application(None));
        }
    }
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    /// Not the application.
    Lost,
    /// The application.
    Closed,
}

/// Resolves once the application has asked to close.
async fn asked(close_asked: &mut watch::Receiver<bool>) {
    if close_asked.wait_for(|asked| *asked).await.is_err() {
        // Without handles nobody asks; the queue of requests tells that everybody is gone.
        std::future::pending::<()>().await;
    }
}
