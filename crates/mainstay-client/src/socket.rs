//! One WebSocket: the state machine of `mainstay-wire` on a stream.

use std::fmt;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use mainstay_wire::deflate::{DEFLATE_BYTES_MIN, Deflater, Inflater};
use mainstay_wire::frame::{Compression, Opcode};
use mainstay_wire::{Connection, Disposition, End, EndReason, Role, SLICE_COUNT_MAX};
use tokio::io::Interest;
use tokio::task::coop::consume_budget;
use tokio::time::sleep_until;

use crate::dial::{ConnectError, ConnectOptions, Opened, open};
use crate::endpoint::Endpoint;
use crate::seed::random_bytes;
use crate::stream::Stream;

/// A message received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
}

/// One WebSocket connection, without requests or reconnecting; [`Client`](crate::Client) is built
/// on it.
///
/// It has no task of its own: [`receive`](Socket::receive) is what writes, answers pings, sends
/// heartbeats and notices the end, so keep calling it. Dropping a socket cuts the connection; for
/// an orderly end, [`close`](Socket::close) it and receive until `None`.
pub struct Socket {
    stream: Stream,
    connection: Connection,
    inflater: Inflater,
    compressor: Option<Compressor>,
    subprotocol: Option<String>,
    scratch: Box<[u8]>,
    /// What of the scratch buffer is read but not parsed.
    unread: Range<usize>,
    /// Bytes that the system has taken, over the connection's life.
    written_bytes: u64,
    /// Kept back until everything that came before it has been read.
    write_error: Option<io::Error>,
    is_paused: bool,
}

struct Compressor {
    deflater: Deflater,
    window_bits: u8,
}

/// Whether messages are wanted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Whatever waits to be written: two sides that both read only while they can write would wait
    /// for each other.
    Wanted,
    /// As long as the outbox has room, for what is received may be answered.
    WithRoom,
    Paused,
}

impl Socket {
    /// Connects to a `ws://` or `wss://` URL.
    ///
    /// # Errors
    /// [`ConnectError`] says at which stage it failed, and whose fault that is.
    pub async fn connect(url: &str, options: &ConnectOptions) -> Result<Socket, ConnectError> {
        Socket::open(&Endpoint::parse(url)?, options).await
    }

    pub(crate) async fn open(
        endpoint: &Endpoint,
        options: &ConnectOptions,
    ) -> Result<Socket, ConnectError> {
        let Opened { stream, dialed, scratch, unread_bytes } = open(endpoint, options).await?;
        let compression = match dialed.deflate {
            Some(_) => Compression::Deflate,
            None => Compression::Plain,
        };
        let connection = Connection::new(
            now(),
            Role::Client,
            compression,
            Arc::new(options.limits.clone()),
            Arc::new(options.timing.clone()),
            random_bytes()?,
        );
        Ok(Socket {
            stream,
            connection,
            inflater: Inflater::default(),
            compressor: dialed.deflate.map(|agreed| Compressor {
                deflater: Deflater::default(),
                window_bits: agreed.outgoing_window_bits,
            }),
            subprotocol: dialed.subprotocol,
            scratch,
            unread: 0..unread_bytes,
            written_bytes: 0,
            write_error: None,
            is_paused: false,
        })
    }

    /// The next text or binary message; `None` when the connection has ended, and
    /// [`end`](Socket::end) says why. May be dropped and called again without losing anything.
    ///
    /// While the outbox is full, nothing is read: a peer that sends without reading has to wait.
    pub async fn receive(&mut self) -> Option<Message> {
        self.next(Reading::WithRoom).await
    }

    /// Queues a text message, which [`receive`](Socket::receive) or [`flush`](Socket::flush)
    /// writes. Does nothing on a connection that is closing.
    pub fn send_text(&mut self, text: &str) {
        self.send(Opcode::Text, text.as_bytes());
    }

    /// Queues a binary message, like [`send_text`](Socket::send_text).
    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.send(Opcode::Binary, bytes);
    }

    /// Whether the outbox is below its limit. Queueing more is possible and costs memory.
    pub fn has_room(&self) -> bool {
        self.connection.has_room()
    }

    /// Writes until the outbox is empty or the connection has ended. Reads nothing meanwhile, so
    /// two sides that only flush can wait for each other until a write stalls for too long.
    pub async fn flush(&mut self) {
        while self.has_unsent() {
            match self.advance(Reading::Paused) {
                Advance::Blocked if !self.has_unsent() => return,
                Advance::Blocked => self.wait().await,
                Advance::Ended => return,
                // Nothing is received while reading is paused.
                Advance::Progress | Advance::Received(_) => consume_budget().await,
            }
        }
    }

    /// Begins an orderly end: what is queued goes out, then a Close frame with code 1000 and this
    /// reason (cut after 123 bytes). [`receive`](Socket::receive) until `None` finishes it, within
    /// the close timeout.
    pub fn close(&mut self, reason: &str) {
        self.connection.close(now(), EndReason::LocalClose, reason);
    }

    /// Why the connection ended, or is ending.
    pub fn end(&self) -> Option<&End> {
        self.connection.end()
    }

    /// The subprotocol that the server chose.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Like [`receive`](Socket::receive); with [`Reading::Paused`] it only writes and minds the
    /// time, and gives `None` at the connection's end.
    pub(crate) async fn next(&mut self, reading: Reading) -> Option<Message> {
        loop {
            match self.advance(reading) {
                Advance::Received(message) => return Some(message),
                Advance::Ended => return None,
                // Whatever comes in, other tasks of this thread have their turns.
                Advance::Progress => consume_budget().await,
                Advance::Blocked => self.wait().await,
            }
        }
    }

    /// Like [`next`](Socket::next), and tells when an outbox that was full has room again.
    pub(crate) async fn next_or_room(&mut self, reading: Reading) -> Next {
        let was_full = !self.has_room();
        loop {
            match self.advance(reading) {
                Advance::Received(message) => return Next::Received(message),
                Advance::Ended => return Next::Ended,
                Advance::Progress => consume_budget().await,
                Advance::Blocked if was_full && self.has_room() => return Next::Room,
                Advance::Blocked => self.wait().await,
            }
        }
    }

    /// Begins an orderly end for another reason than the application's wish.
    pub(crate) fn close_for(&mut self, reason: EndReason, detail: &str) {
        self.connection.close(now(), reason, detail);
    }

    pub(crate) fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        match &mut self.compressor {
            Some(compressor) if payload.len() >= DEFLATE_BYTES_MIN => {
                let deflated = compressor.deflater.deflate(payload, compressor.window_bits);
                self.connection.send(opcode, Compression::Deflate, &deflated);
            }
            _ => self.connection.send(opcode, Compression::Plain, payload),
        }
    }

    pub(crate) fn raise_message_bytes_max(&mut self, bytes_max: usize) {
        self.connection.raise_message_bytes_max(bytes_max);
    }

    /// Bytes that the system has taken.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Bytes that it will have taken once all that is queued now is written.
    pub(crate) fn queued_bytes(&self) -> u64 {
        self.written_bytes + self.connection.outbox().bytes() as u64
    }

    /// Does everything that can be done without waiting, up to one message.
    fn advance(&mut self, reading: Reading) -> Advance {
        let now = now();
        self.choose_pause(reading);
        if !self.is_paused
            && let Some(message) = self.parse(now)
        {
            return Advance::Received(message);
        }
        self.write(now);
        match self.connection.disposition() {
            // Only a server ends TCP first (RFC 6455 §7.1.1).
            Disposition::Keep | Disposition::ShutdownWrite => {}
            Disposition::Drop => return Advance::Ended,
        }
        if !self.is_paused && self.read(now) {
            return Advance::Progress;
        }
        // Nothing of what the peer said before is left to read, its Close frame included.
        if let Some(error) = self.write_error.take() {
            self.connection.handle_io_error(now, &error);
            return Advance::Progress;
        }
        // Only now: a process that was stopped past a deadline finds here what came meanwhile.
        if self.connection.next_timeout().is_some_and(|at| now >= at) {
            self.connection.handle_timeout(now);
            return Advance::Progress;
        }
        Advance::Blocked
    }

    /// Reading pauses when messages are not wanted; never once the connection is closing, for the
    /// peer's Close frame is to be seen.
    fn choose_pause(&mut self, reading: Reading) {
        let is_wanted = match reading {
            Reading::Wanted => true,
            Reading::WithRoom => self.connection.has_room(),
            Reading::Paused => false,
        };
        let pauses = self.connection.is_open() && !is_wanted;
        if pauses != self.is_paused {
            self.is_paused = pauses;
            match pauses {
                true => self.connection.pause_reading(),
                false => self.connection.resume_reading(),
            }
        }
    }

    fn parse(&mut self, now: Instant) -> Option<Message> {
        let mut input = self.scratch.get_mut(self.unread.clone()).unwrap_or_default();
        let received = self.connection.receive(now, &mut input, &mut self.inflater);
        let message = received.and_then(|message| match message {
            mainstay_wire::Message::Text(text) => Some(Message::Text(text.into_owned())),
            mainstay_wire::Message::Binary(bytes) => Some(Message::Binary(bytes.into_owned())),
            // The state machine keeps control frames to itself.
            _ => None,
        });
        let had_input = !self.unread.is_empty();
        self.unread.start = self.unread.end - input.len();
        if had_input && message.is_none() {
            // A peer that never lets us come to rest must not escape its deadlines.
            self.connection.handle_timeout(now);
        }
        message
    }

    /// Whether the connection's state changed.
    fn read(&mut self, now: Instant) -> bool {
        match self.stream.try_read(&mut self.scratch) {
            Ok(0) => self.connection.handle_eof(now),
            Ok(count) => self.unread = 0..count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => self.connection.handle_io_error(now, &error),
        }
        true
    }

    fn write(&mut self, now: Instant) {
        while self.write_error.is_none() && !self.connection.outbox().is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICE_COUNT_MAX];
            let count = self.connection.outbox().slices(&mut slices);
            match self.stream.try_write_vectored(slices.get(..count).unwrap_or_default()) {
                Ok(count) => {
                    self.written_bytes += count as u64;
                    self.connection.handle_written(now, count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.connection.handle_written(now, 0);
                    return;
                }
                Err(error) => self.write_error = Some(error),
            }
        }
        if self.write_error.is_none() {
            self.write_error = self.stream.try_flush().err();
        }
    }

    /// Whether anything waits for the system to take it.
    fn has_unsent(&self) -> bool {
        !self.connection.outbox().is_empty() || self.stream.has_unsent()
    }

    /// Waits until there is something to do.
    async fn wait(&mut self) {
        let interest = match (self.is_paused, self.has_unsent()) {
            (false, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, true) => Some(Interest::WRITABLE),
            (true, false) => None,
        };
        let ready = async {
            match interest {
                Some(interest) => self.stream.ready(interest).await,
                None => std::future::pending().await,
            }
        };
        let timeout = self.connection.next_timeout();
        let timed_out = async {
            match timeout {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let outcome = tokio::select! {
            outcome = ready => outcome,
            () = timed_out => Ok(()),
        };
        if let Err(error) = outcome {
            self.connection.handle_io_error(now(), &error);
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Socket")
            .field("peer", &self.stream.peer_address())
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}

/// What [`Socket::next_or_room`] waited for.
pub(crate) enum Next {
    Received(Message),
    Room,
    Ended,
}

/// How far [`Socket::advance`] came.
enum Advance {
    Received(Message),
    /// Something changed; advance again.
    Progress,
    /// Nothing can be done before the socket or the clock says so.
    Blocked,
    Ended,
}

/// The runtime's clock, which tests can stop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
