//! A program in any language: one long-lived child, JSON lines both ways.
//!
//! A request is given to the child once. If the child ends while it has it, the request fails and the
//! client is told that it may have run; it is never given to the next child.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mainstay_server::session::Payload;
use mainstay_server::{CommandError, Request, Router};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::program::Program;
use super::{Options, line};

/// A handler program that runs, and is started again whenever it ends.
pub(in crate::server) struct Exec {
    desk: Desk,
    task: JoinHandle<()>,
}

/// Where requests are put for the program. Cheap to clone.
#[derive(Clone)]
struct Desk {
    messages: mpsc::UnboundedSender<Message>,
    last_id: Arc<AtomicU64>,
}

/// What the program's task is told. Requests are bounded by the server: each connection and each session
/// has one at a time.
pub(super) enum Message {
    Run(Job),
    /// Nobody wants the answer any more.
    Cancel(u64),
    Stop,
}

/// A request on its way to the program.
pub(super) struct Job {
    pub(super) id: u64,
    /// The request as a line.
    pub(super) line: Vec<u8>,
    pub(super) answer: oneshot::Sender<Result<Payload, String>>,
}

impl Exec {
    /// Starts the program. Must be called inside a runtime, which serves its pipes.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn start(words: &[String], options: Options) -> io::Result<Exec> {
        let line_bytes_max = options.message_bytes_max + LINE_BYTES_RESERVE;
        let program = Program::start(words.to_vec(), line_bytes_max, options.concurrency_max)?;
        let (messages, inbox) = mpsc::unbounded_channel();
        let task = tokio::spawn(program.serve(inbox));
        Ok(Exec { desk: Desk { messages, last_id: Arc::default() }, task })
    }

    /// A router that gives every command to the program.
    pub(super) fn router(&self) -> Router {
        let desk = self.desk.clone();
        Router::new().payload_fallback(move |request| {
            let desk = desk.clone();
            async move { desk.run(request).await }
        })
    }

    /// Lets the program end: its input is closed, and if it has not ended in time it is killed.
    pub(super) async fn stop(self) {
        let _ = self.desk.messages.send(Message::Stop);
        // A task that panicked has dropped the child, which kills it.
        let _ = self.task.await;
    }
}

impl Desk {
    async fn run(&self, request: Request) -> Result<Payload, CommandError> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let (answer, answered) = oneshot::channel();
        let line = line::write_request(id, &request);
        let job = Job { id, line, answer };
        let stopped = || CommandError::new("the handler program has stopped");
        self.messages.send(Message::Run(job)).map_err(|_| stopped())?;
        // The server drops this future at the request's deadline and when it is cancelled.
        let mut guard = CancelOnDrop { desk: Some(self), id };
        let answer = answered.await;
        guard.desk = None;
        match answer {
            Ok(answer) => answer.map_err(CommandError::new),
            Err(_) => Err(stopped()),
        }
    }
}

struct CancelOnDrop<'a> {
    desk: Option<&'a Desk>,
    id: u64,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(desk) = self.desk {
            let _ = desk.messages.send(Message::Cancel(self.id));
        }
    }
}

/// Bytes of a handler program's line beyond what a message may have. An answer that is too big fails its
/// own request; only one that is far too big costs the program, and everybody whose request it has.
const LINE_BYTES_RESERVE: usize = 1024 * 1024;
