//! All sessions of a load, and the one loop that turns them.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mainstay_wire::deflate::Inflater;
use mainstay_wire::frame::{Compression, Opcode, encode_frame};
use mainstay_wire::session::{ClientFrame, Encoding, Offset, Payload, ServerFrame};
use mainstay_wire::{ChannelName, Limits, Message, Reader, Role};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::super::link::{of_close, of_socket};
use super::super::opening::{Opening, OpeningError, connect};
use super::super::tally::Tally;
use super::super::target::Target;
use super::super::traffic::Wrong;
use super::line::{Meaning, Session};

/// Sessions on one thread, each with at most one connection.
pub(super) struct Fleet {
    poll: Poll,
    target: Target,
    source_count: u32,
    lines: Vec<Line>,
    /// Sessions that are to connect, as soon as few enough are connecting.
    waiting: VecDeque<usize>,
    opening_count: usize,
    desk: Desk,
    interrupted: Arc<AtomicBool>,
    seeds: RandomState,
}

struct Line {
    session: Session,
    socket: Option<Socket>,
}

struct Socket {
    stream: TcpStream,
    /// Until the WebSocket is open.
    opening: Option<Box<Opening>>,
    reader: Reader,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
}

/// What all lines share.
struct Desk {
    encoding: Encoding,
    limits: Limits,
    inflater: Inflater,
    memo: Memo,
    tally: Tally,
    scratch: Vec<u8>,
    message: Vec<u8>,
    out: Vec<u8>,
    answers: Vec<ClientFrame>,
}

/// What a run wants to know of. Lines are told by their numbers.
pub(super) trait Watch {
    /// A session is welcomed and hears its channels.
    fn ready(&mut self, _line: usize, _now: Instant) {}
    /// An event reached a session.
    fn event(&mut self, _line: usize, _offset: Offset, _now: Instant) {}
    /// A publish is stored.
    fn stored(&mut self, _line: usize, _latency: Duration) {}
}

impl Watch for () {}

impl Fleet {
    /// # Errors
    /// The system gives no poll.
    pub(super) fn new(
        target: Target,
        source_count: u32,
        encoding: Encoding,
        interrupted: Arc<AtomicBool>,
    ) -> Result<Fleet, FleetError> {
        Ok(Fleet {
            poll: Poll::new()?,
            target,
            source_count,
            lines: Vec::new(),
            waiting: VecDeque::new(),
            opening_count: 0,
            desk: Desk {
                encoding,
                limits: Limits { message_bytes_max: MESSAGE_BYTES_MAX, ..Limits::default() },
                inflater: Inflater::default(),
                memo: Memo::default(),
                tally: Tally::new(),
                scratch: vec![0; SCRATCH_BYTES],
                message: Vec::new(),
                out: Vec::new(),
                answers: Vec::new(),
            },
            interrupted,
            seeds: RandomState::new(),
        })
    }

    /// A further session, which connects in one of the next turns. Gives its number.
    pub(super) fn add(&mut self, channels: impl IntoIterator<Item = ChannelName>) -> usize {
        let line = self.lines.len();
        self.lines.push(Line { session: Session::new(channels), socket: None });
        self.waiting.push_back(line);
        line
    }

    /// Lets a session that has no connection come back.
    pub(super) fn come_back(&mut self, line: usize) {
        self.waiting.push_back(line);
    }

    /// Cuts a session's connection, without a word.
    pub(super) fn cut(&mut self, line: usize) {
        if let Some(line) = self.lines.get_mut(line) {
            // Closing the socket takes it out of the poll.
            line.socket = None;
        }
    }

    /// The server is somewhere else from now on.
    pub(super) fn redirect(&mut self, target: Target) {
        self.target = target;
    }

    pub(super) fn tally(&mut self) -> &mut Tally {
        &mut self.desk.tally
    }

    pub(super) fn waiting_count(&self, line: usize) -> usize {
        self.lines.get(line).map_or(0, |line| line.session.waiting_count())
    }

    /// Publishes to each of these channels with one write. The events have waited since `since`.
    pub(super) fn publish<'a>(
        &mut self,
        line: usize,
        channels: impl IntoIterator<Item = &'a ChannelName>,
        payload: &Payload,
        since: Instant,
    ) {
        let Some(Line { session, socket: Some(socket) }) = self.lines.get_mut(line) else { return };
        self.desk.out.clear();
        for channel in channels {
            let frame = session.publish(channel, payload, since);
            self.desk.encode(&frame);
        }
        socket.send(&self.desk.out);
    }

    /// Turns until `is_done`.
    ///
    /// # Errors
    /// Something did not go as it should, or it took longer than `timeout`.
    pub(super) fn turn_until<W: Watch>(
        &mut self,
        what: &'static str,
        timeout: Duration,
        watch: &mut W,
        is_done: impl Fn(&W) -> bool,
    ) -> Result<(), FleetError> {
        let start = Instant::now();
        while !is_done(watch) {
            if start.elapsed() > timeout {
                return Err(FleetError::Stuck(what));
            }
            self.turn(TURN_MAX, watch)?;
        }
        Ok(())
    }

    /// Turns for a time.
    ///
    /// # Errors
    /// As [`turn`](Fleet::turn).
    pub(super) fn turn_for(&mut self, time: Duration) -> Result<(), FleetError> {
        let start = Instant::now();
        while let Some(left) = time.checked_sub(start.elapsed()) {
            self.turn(left.min(TURN_MAX), &mut ())?;
        }
        Ok(())
    }

    /// Opens what is to be opened, waits until something comes, and takes it in.
    ///
    /// # Errors
    /// A connection did not open or was ended by the server, or Ctrl-C.
    pub(super) fn turn(
        &mut self,
        timeout: Duration,
        watch: &mut impl Watch,
    ) -> Result<(), FleetError> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(FleetError::Interrupted);
        }
        self.open_more()?;
        let mut events = Events::with_capacity(EVENT_COUNT_MAX);
        match self.poll.poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            self.handle(event, watch)?;
        }
        Ok(())
    }

    fn open_more(&mut self) -> Result<(), FleetError> {
        while self.opening_count < OPENING_COUNT_MAX {
            let Some(number) = self.waiting.pop_front() else { break };
            let Some(line) = self.lines.get_mut(number) else { continue };
            let mut key = [0; 16];
            for (half, word) in key.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                *word = self.seeds.hash_one((number, half, Instant::now())).to_ne_bytes();
            }
            let opening = Opening::new(&self.target, key)?;
            let source = self.target.source(number, self.source_count);
            let mut stream =
                connect(self.target.address, source).map_err(OpeningError::of_socket)?;
            // Without it, the system would hold frames back until earlier ones are acknowledged.
            let _ = stream.set_nodelay(true);
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(number), interest)?;
            line.socket = Some(Socket {
                stream,
                opening: Some(Box::new(opening)),
                reader: Reader::new(Role::Server, Compression::Plain),
                unsent: Vec::new(),
            });
            self.opening_count += 1;
        }
        Ok(())
    }

    fn handle(
        &mut self,
        event: &mio::event::Event,
        watch: &mut impl Watch,
    ) -> Result<(), FleetError> {
        let number = event.token().0;
        let Some(line) = self.lines.get_mut(number) else { return Ok(()) };
        let Some(socket) = &mut line.socket else { return Ok(()) };
        if let Some(opening) = &mut socket.opening {
            let Some(mut rest) = opening.advance(&mut socket.stream)? else { return Ok(()) };
            socket.opening = None;
            self.opening_count -= 1;
            self.desk.out.clear();
            self.desk.encode(&line.session.hello());
            socket.send(&self.desk.out);
            take_input(number, line, &mut rest, &mut self.desk, watch)?;
        } else if event.is_writable() && !socket.unsent.is_empty() {
            let unsent = mem::take(&mut socket.unsent);
            socket.send(&unsent);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            // Nothing will announce a second time that the stream is at its end.
            let is_closed = event.is_read_closed() || event.is_error();
            return read(number, line, is_closed, &mut self.desk, watch);
        }
        Ok(())
    }
}

fn read(
    number: usize,
    line: &mut Line,
    is_closed: bool,
    desk: &mut Desk,
    watch: &mut impl Watch,
) -> Result<(), FleetError> {
    let mut scratch = mem::take(&mut desk.scratch);
    let result = loop {
        let Some(socket) = &mut line.socket else { break Ok(()) };
        let count = match socket.stream.read(&mut scratch) {
            Ok(0) => break Err(FleetError::Ended("end of stream without a close".to_owned())),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
            Err(error) => break Err(FleetError::Ended(of_socket(&error))),
        };
        let (input, _) = scratch.split_at_mut(count);
        let taken = take_input(number, line, input, desk, watch);
        if taken.is_err() || (count < SCRATCH_BYTES && !is_closed) {
            break taken;
        }
    };
    desk.scratch = scratch;
    result
}

/// Takes in what came, and answers it with one write.
fn take_input(
    number: usize,
    line: &mut Line,
    mut input: &mut [u8],
    desk: &mut Desk,
    watch: &mut impl Watch,
) -> Result<(), FleetError> {
    let Line { session, socket: Some(socket) } = line else { return Ok(()) };
    let now = Instant::now();
    desk.tally.received_bytes += input.len() as u64;
    desk.out.clear();
    loop {
        let message = socket.reader.read(&mut input, &desk.limits, &mut desk.inflater);
        let message = message.map_err(|v| FleetError::Ended(format!("violation: {v}")))?;
        let bytes = match &message {
            None => break,
            Some(Message::Text(text)) => text.as_bytes(),
            Some(Message::Binary(bytes)) => bytes,
            Some(Message::Ping(payload)) => {
                encode_frame(Opcode::Pong, Compression::Plain, Some(MASK), payload, &mut desk.out);
                continue;
            }
            Some(Message::Pong(_)) => continue,
            Some(Message::Close(frame)) => return Err(FleetError::Ended(of_close(frame.as_ref()))),
        };
        let frame = match desk.memo.read(desk.encoding, bytes) {
            Ok(frame) => frame,
            Err(wrong) => {
                desk.tally.add_wrong(wrong);
                continue;
            }
        };
        match session.hear(frame, &mut desk.answers) {
            Ok(Meaning::Nothing) => {}
            Ok(Meaning::Ready) => watch.ready(number, now),
            Ok(Meaning::Event(offset)) => watch.event(number, offset, now),
            Ok(Meaning::Stored(since)) => {
                watch.stored(number, now.saturating_duration_since(since));
            }
            Err(wrong) => desk.tally.add_wrong(wrong),
        }
        if !desk.answers.is_empty() {
            for answer in mem::take(&mut desk.answers) {
                desk.encode(&answer);
            }
        }
    }
    socket.send(&desk.out);
    Ok(())
}

impl Desk {
    /// Appends a frame to what goes out next.
    fn encode(&mut self, frame: &ClientFrame) {
        self.message.clear();
        self.encoding.encode_client(frame, &mut self.message);
        let opcode = self.encoding.opcode();
        encode_frame(opcode, Compression::Plain, Some(MASK), &self.message, &mut self.out);
    }
}

impl Socket {
    /// Writes behind what still waits; what the socket does not take waits too. That nothing can be
    /// written any more is learnt by reading.
    fn send(&mut self, mut bytes: &[u8]) {
        while self.unsent.is_empty() && !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return,
            }
        }
        self.unsent.extend_from_slice(bytes);
    }
}

/// The events that were read last: a fan-out brings every subscriber the same bytes, and reading
/// them once leaves the processor to the server.
#[derive(Default)]
struct Memo {
    events: Vec<(Vec<u8>, ServerFrame)>,
    next: usize,
    other: Option<ServerFrame>,
}

impl Memo {
    fn read(&mut self, encoding: Encoding, bytes: &[u8]) -> Result<&ServerFrame, Wrong> {
        let is_it = |entry: Option<&(Vec<u8>, ServerFrame)>| {
            entry.is_some_and(|(known, _)| known.as_slice() == bytes)
        };
        let found = match is_it(self.events.get(self.next)) {
            true => Some(self.next),
            false => self.events.iter().position(|entry| is_it(Some(entry))),
        };
        let index = match found {
            Some(index) => index,
            None => {
                let frame = encoding.decode_server(bytes).map_err(|e| Wrong(e.to_string()))?;
                if !matches!(frame, ServerFrame::Event(_)) {
                    return Ok(self.other.insert(frame));
                }
                self.keep(bytes, frame)
            }
        };
        self.next = (index + 1) % MEMO_COUNT;
        self.events.get(index).map(|(_, frame)| frame).ok_or_else(|| Wrong("no event".to_owned()))
    }

    fn keep(&mut self, bytes: &[u8], frame: ServerFrame) -> usize {
        let entry = (bytes.to_vec(), frame);
        let index = self.next.min(self.events.len());
        match self.events.get_mut(index) {
            Some(place) => *place = entry,
            None => self.events.push(entry),
        }
        index
    }
}

/// Why a run has no figures.
#[derive(Debug)]
pub(super) enum FleetError {
    /// A connection did not open.
    Opening(OpeningError),
    /// The system failed us, or the server's process cannot be looked at.
    System(io::Error),
    /// The server ended a connection.
    Ended(String),
    /// It took too long.
    Stuck(&'static str),
    /// The server did not start.
    Server(String),
    /// Ctrl-C.
    Interrupted,
}

impl fmt::Display for FleetError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FleetError::Opening(error) => error.fmt(formatter),
            FleetError::System(error) => error.fmt(formatter),
            FleetError::Ended(end) => write!(formatter, "the server ended a connection: {end}"),
            FleetError::Stuck(what) => write!(formatter, "{what} took too long"),
            FleetError::Server(problem) => write!(formatter, "the server: {problem}"),
            FleetError::Interrupted => formatter.write_str("interrupted before it was measured"),
        }
    }
}

impl From<OpeningError> for FleetError {
    fn from(error: OpeningError) -> FleetError {
        FleetError::Opening(error)
    }
}

impl From<io::Error> for FleetError {
    fn from(error: io::Error) -> FleetError {
        FleetError::System(error)
    }
}

/// As much as a connection's outbox usually holds.
const SCRATCH_BYTES: usize = 256 * 1024;
/// Larger than any payload of ours.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Events of the two largest bursts.
const MEMO_COUNT: usize = 256;
/// As a server bounds the handshakes that it has under way; the rest follows as soon as these are
/// through.
const OPENING_COUNT_MAX: usize = 1000;
/// How late Ctrl-C may be noticed.
const TURN_MAX: Duration = Duration::from_millis(10);
const EVENT_COUNT_MAX: usize = 1024;
/// Fixed for the reason that traffic's mask is.
const MASK: [u8; 4] = [0x4d, 0x61, 0x69, 0x6e];

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_wire::session::Event;

    #[test]
    fn an_event_is_read_once_for_all_and_never_taken_for_another() {
        let encoding = Encoding::Json;
        let event = |offset| {
            let channel = ChannelName::parse("news").unwrap();
            let payload = Payload::NULL;
            let event = Event { channel, offset: Offset(offset), at_ms: 0, payload };
            let mut bytes = Vec::new();
            encoding.encode_server(&ServerFrame::Event(event), &mut bytes);
            bytes
        };
        let mut memo = Memo::default();
        let count = MEMO_COUNT as u64 + 50;
        for offsets in [0..count, 0..count, 30..60] {
            for offset in offsets {
                let frame = memo.read(encoding, &event(offset)).unwrap();
                assert!(
                    matches!(frame, ServerFrame::Event(e) if e.offset.0 == offset),
                    "{frame:?}"
                );
            }
            let pong = memo.read(encoding, br#"{"type":"pong"}"#);
            assert_eq!(pong, Ok(&ServerFrame::Pong));
        }
        assert_eq!(memo.events.len(), MEMO_COUNT);
        assert!(memo.read(encoding, b"{").is_err());
    }
}
