//! The child process: started, fed, listened to, started again.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mainstay_server::session::Payload;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};

use super::delay::delay;
use super::exec::{Job, Message};
use super::line::{read_answer, write_cancel};

/// The program's task.
pub(super) struct Program {
    words: Vec<String>,
    line_bytes_max: usize,
    /// Requests that the program has at one time.
    open_count_max: usize,
    /// `None` until it is started again.
    child: Option<Running>,
    start_at: Instant,
    /// Requests that the program has.
    open: HashMap<u64, oneshot::Sender<Result<Payload, String>>>,
    /// Requests that wait until it has fewer, or runs again.
    waiting: VecDeque<Job>,
    /// Requests that it has and nobody wants any more, of which it is still to be told.
    cancelled: VecDeque<u64>,
    /// Starts since one lived for a while.
    failure_count: u32,
}

/// A child and its pipes.
struct Running {
    child: Child,
    since: Instant,
    /// Lines for its stdin, which a task of its own writes: a program that does not read holds up
    /// nobody, and few lines wait for it.
    lines: mpsc::Sender<Vec<u8>>,
    answers: BufReader<ChildStdout>,
    /// What has arrived of its next line.
    line: Vec<u8>,
}

/// What happened.
enum Event {
    Message(Option<Message>),
    Line(io::Result<Option<Vec<u8>>>),
    /// The program's stdin has room for a line.
    Room,
    StartIsDue,
}

impl Program {
    pub(super) fn start(
        words: Vec<String>,
        line_bytes_max: usize,
        open_count_max: usize,
    ) -> io::Result<Program> {
        let child = Some(start_child(&words)?);
        Ok(Program {
            words,
            line_bytes_max,
            open_count_max,
            child,
            start_at: Instant::now(),
            open: HashMap::new(),
            waiting: VecDeque::new(),
            cancelled: VecDeque::new(),
            failure_count: 0,
        })
    }

    /// Serves requests until it is told to stop.
    pub(super) async fn serve(mut self, mut inbox: mpsc::UnboundedReceiver<Message>) {
        loop {
            match self.next_event(&mut inbox).await {
                Event::Message(Some(Message::Run(job))) => self.waiting.push_back(job),
                Event::Message(Some(Message::Cancel(id))) => self.cancel(id),
                Event::Message(Some(Message::Stop) | None) => return self.end().await,
                Event::Line(Ok(Some(line))) => match read_answer(&line) {
                    Ok(answer) => {
                        // One that nobody waits for any more was cancelled.
                        if let Some(waiting) = self.open.remove(&answer.id) {
                            let _ = waiting.send(answer.result);
                        }
                    }
                    Err(what) => self.lose(&format!("it wrote what is no answer: {what}")).await,
                },
                Event::Line(Ok(None)) => self.lose("it has ended").await,
                Event::Line(Err(error)) => self.lose(&error.to_string()).await,
                Event::Room => self.feed(),
                Event::StartIsDue => self.start_again(),
            }
        }
    }

    async fn next_event(&mut self, inbox: &mut mpsc::UnboundedReceiver<Message>) -> Event {
        let has_place = self.open.len() + self.cancelled.len() < self.open_count_max;
        let may_have_more = has_place && !self.waiting.is_empty();
        let has_lines = may_have_more || !self.cancelled.is_empty();
        let Some(child) = &mut self.child else {
            return tokio::select! {
                message = inbox.recv() => Event::Message(message),
                () = sleep_until(self.start_at.into()) => Event::StartIsDue,
            };
        };
        let Running { answers, line, lines, .. } = child;
        tokio::select! {
            message = inbox.recv() => Event::Message(message),
            read = read_line(answers, line, self.line_bytes_max) => {
                Event::Line(read.map(|is_line| is_line.then(|| std::mem::take(line))))
            }
            room = lines.reserve(), if has_lines => match room {
                Ok(_) => Event::Room,
                Err(_) => Event::Line(Err(io::Error::other("it has closed its stdin"))),
            },
        }
    }

    /// Gives the program what waits, as far as it may have more and its stdin has room.
    fn feed(&mut self) {
        let Some(child) = &self.child else { return };
        while let Ok(room) = child.lines.try_reserve() {
            if let Some(id) = self.cancelled.pop_front() {
                room.send(write_cancel(id));
            } else if self.open.len() < self.open_count_max
                && let Some(Job { id, line, answer }) = self.waiting.pop_front()
            {
                room.send(line);
                self.open.insert(id, answer);
            } else {
                return;
            }
        }
    }

    /// One that has not been given to the program is forgotten. Of others it is told; those that it
    /// is not told of yet count as its own, so that they stay few.
    fn cancel(&mut self, id: u64) {
        self.waiting.retain(|job| job.id != id);
        if self.open.remove(&id).is_some() {
            self.cancelled.push_back(id);
        }
    }

    /// Fails what the program had, and has it started again, after a while if it keeps ending.
    async fn lose(&mut self, why: &str) {
        for (_, waiting) in self.open.drain() {
            let text = "the handler program ended; the request may have run";
            let _ = waiting.send(Err(text.to_owned()));
        }
        self.cancelled.clear();
        if let Some(mut lost) = self.child.take() {
            let has_settled = lost.since.elapsed() >= SETTLED;
            self.failure_count = if has_settled { 0 } else { self.failure_count + 1 };
            // Fails only if it has ended.
            let _ = lost.child.kill().await;
        }
        let delay = delay(self.failure_count);
        self.start_at = Instant::now() + delay;
        let delay_ms = delay.as_millis() as u64;
        tracing::error!(why, delay_ms, "the handler program is started again");
    }

    fn start_again(&mut self) {
        match start_child(&self.words) {
            Ok(child) => self.child = Some(child),
            Err(error) => {
                tracing::error!(%error, "the handler program cannot be started");
                self.failure_count += 1;
                self.start_at = Instant::now() + delay(self.failure_count);
            }
        }
    }

    async fn end(self) {
        let Some(Running { mut child, lines, .. }) = self.child else { return };
        drop(lines);
        if timeout(END_TIMEOUT, child.wait()).await.is_err() {
            tracing::warn!("the handler program does not end by itself and is killed");
            let _ = child.kill().await;
        }
    }
}

fn start_child(words: &[String]) -> io::Result<Running> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program is named"));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        // Ctrl-C in a terminal is for the server, which lets the program finish first.
        .process_group(0)
        .spawn()?;
    let gone = || io::Error::other("a pipe to the handler program is missing");
    let stdin = child.stdin.take().ok_or_else(gone)?;
    let stdout = child.stdout.take().ok_or_else(gone)?;
    let stderr = child.stderr.take().ok_or_else(gone)?;
    let (lines, outgoing) = mpsc::channel(LINE_COUNT_MAX);
    tokio::spawn(write_lines(stdin, outgoing));
    tokio::spawn(async move {
        let (mut stderr, mut line) = (BufReader::new(stderr), Vec::new());
        loop {
            match read_line(&mut stderr, &mut line, LOGGED_BYTES_MAX).await {
                Ok(true) => {}
                // A long line is logged in parts.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Ok(false) | Err(_) => return,
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            tracing::info!(text, "the handler program says");
            line.clear();
        }
    });
    tracing::debug!(pid = child.id(), "the handler program runs");
    let answers = BufReader::new(stdout);
    Ok(Running { child, since: Instant::now(), lines, answers, line: Vec::new() })
}

async fn write_lines(mut stdin: ChildStdin, mut lines: mpsc::Receiver<Vec<u8>>) {
    while let Some(line) = lines.recv().await {
        if stdin.write_all(&line).await.is_err() {
            return;
        }
    }
}

/// Reads on in a line, and says whether there is one: `false` is the end. May be dropped and called
/// again; what was read stays in `line`.
async fn read_line<R>(reader: &mut BufReader<R>, line: &mut Vec<u8>, max: usize) -> io::Result<bool>
where
    R: tokio::io::AsyncRead + Unpin,
{
    let room = (max + 1).saturating_sub(line.len()) as u64;
    (&mut *reader).take(room).read_until(b'\n', line).await?;
    match line.last() {
        Some(b'\n') => Ok(true),
        Some(_) if line.len() > max => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a line is longer than it may be"))
        }
        // The stream has ended, behind what has no line break perhaps.
        _ => Ok(false),
    }
}

/// Lines that wait for its stdin.
const LINE_COUNT_MAX: usize = 16;
/// Bytes of a line of its stderr that are logged.
const LOGGED_BYTES_MAX: usize = 4096;
/// A program that has lived for so long did not fail to start.
const SETTLED: Duration = Duration::from_secs(10);
/// Time for the program to end once its input is closed.
const END_TIMEOUT: Duration = Duration::from_secs(2);
