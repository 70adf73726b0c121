//! One open WebSocket, from the end of its handshake to the end of its socket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::deflate::Inflater;
use crate::frame::{Compression, Opcode};
use crate::heartbeat::{Beat, Heartbeat};
use crate::limits::CONTROL_BURST_SECONDS;
use crate::message::CloseFrame;
use crate::session::{ClientFrame, Encoding, ServerFrame};
use crate::{End, EndReason, Limits, Message, Outbox, Reader, Timing, Violation};

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The side that dialled; it masks its frames (RFC 6455 §5.1).
    Client,
    /// The side that accepted.
    Server,
}

/// The state machine of one open WebSocket. It does no I/O.
///
/// The driver feeds what it reads to [`receive`](Connection::receive) until that gives `None`,
/// queues messages with the `send` methods, writes what [`outbox`](Connection::outbox) holds and
/// says so with [`handle_written`](Connection::handle_written), and calls
/// [`handle_timeout`](Connection::handle_timeout) when [`next_timeout`](Connection::next_timeout)
/// has come. After each of these, [`disposition`](Connection::disposition) says what to do with the
/// socket. When that is [`Disposition::Drop`], [`end`](Connection::end) says why.
///
/// Pings are answered, heartbeats sent, limits kept and the closing handshake done in here, the same
/// way for both roles.
pub struct Connection {
    role: Role,
    phase: Phase,
    reader: Reader,
    outbox: Outbox,
    limits: Arc<Limits>,
    timing: Arc<Timing>,
    heartbeat: Heartbeat,
    control_budget: ControlBudget,
    /// When the message that is arriving began.
    message_began_at: Option<Instant>,
    /// When the socket last took a byte, while bytes wait.
    stalled_since: Option<Instant>,
    end: Option<Box<End>>,
    /// How the heartbeat is written, in the session dialect.
    beat_encoding: Option<Encoding>,
    /// Source of masking keys; a server needs none.
    mask_keys: Option<Box<ChaCha12Rng>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Both sides may speak.
    Open,
    /// Our Close is queued or sent; the peer's is awaited until the deadline.
    AwaitingClose { deadline: Instant },
    /// Nothing more is said or listened to: what is queued goes out, input is discarded until the
    /// end of the peer's stream. Dropping a socket with unread input would make the kernel reset
    /// the connection and destroy our last frames on their way.
    Lingering { deadline: Instant, write_is_shut: bool },
    /// The socket is of no further use.
    Finished,
}

/// What the driver does with the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Keep reading, writing and minding timeouts.
    Keep,
    /// Shut the sending direction down, once, and keep reading.
    ShutdownWrite,
    /// Drop the socket.
    Drop,
}

impl Connection {
    /// A connection whose handshake agreed on `compression`. `seed` is secret randomness: masking
    /// keys must not be predictable (RFC 6455 §10.3), and it spreads the first heartbeat.
    pub fn new(
        now: Instant,
        role: Role,
        compression: Compression,
        limits: Arc<Limits>,
        timing: Arc<Timing>,
        seed: [u8; 32],
    ) -> Connection {
        let (sender, mask_keys) = match role {
            Role::Client => (Role::Server, Some(Box::new(ChaCha12Rng::from_seed(seed)))),
            Role::Server => (Role::Client, None),
        };
        let phase = f64::from(seed[0]) / f64::from(u8::MAX);
        Connection {
            role,
            phase: Phase::Open,
            reader: Reader::new(sender, compression),
            outbox: Outbox::default(),
            heartbeat: Heartbeat::new(now, &timing, phase),
            control_budget: ControlBudget::new(now, &limits),
            limits,
            timing,
            message_began_at: None,
            stalled_since: None,
            end: None,
            beat_encoding: None,
            mask_keys,
        }
    }

    /// Takes the next text or binary message off the front of `input`; `None` when the input is used
    /// up. Everything else that arrives is dealt with in here.
    pub fn receive<'a>(
        &mut self,
        now: Instant,
        input: &mut &'a mut [u8],
        inflater: &mut Inflater,
    ) -> Option<Message<'a>> {
        if !input.is_empty() {
            self.heartbeat.handle_received(now);
        }
        // What comes nearly always goes through as few hands as it can.
        if self.is_open()
            && let Some(whole) = self.reader.take_whole(input, &self.limits)
        {
            match whole {
                Ok(message) => {
                    self.message_began_at = None;
                    return Some(message);
                }
                Err(violation) => self.refuse(now, violation),
            }
        }
        self.receive_any(now, input, inflater)
    }

    /// The same, whatever comes.
    #[inline(never)]
    fn receive_any<'a>(
        &mut self,
        now: Instant,
        input: &mut &'a mut [u8],
        inflater: &mut Inflater,
    ) -> Option<Message<'a>> {
        loop {
            if !matches!(self.phase, Phase::Open | Phase::AwaitingClose { .. }) {
                *input = &mut [];
                return None;
            }
            let outcome = self.reader.read(input, &self.limits, inflater);
            match outcome.and_then(|message| self.sift(now, message)) {
                Ok(Sifted::Data(message)) => {
                    self.message_began_at = None;
                    return Some(message);
                }
                Ok(Sifted::Handled) => {
                    // What is behind a control frame that took its time has its own.
                    if !self.reader.is_in_message() {
                        self.message_began_at = None;
                    }
                }
                Ok(Sifted::Nothing) => {
                    self.note_message_progress(now);
                    return None;
                }
                Err(violation) => self.refuse(now, violation),
            }
        }
    }

    /// Queues a text or binary message, unless the connection is closing.
    pub fn send(&mut self, opcode: Opcode, compression: Compression, payload: &[u8]) {
        if self.is_open() {
            let mask = self.next_mask();
            self.outbox.push_frame(opcode, compression, mask, payload);
        }
    }

    /// Queues whole frames that many connections share (server only, for they are not masked). If
    /// they do not fit into the outbox, the connection ends with `slow_consumer`.
    pub fn send_shared(&mut self, now: Instant, frames: Bytes) {
        if !self.is_open() {
            return;
        }
        if self.outbox.bytes() + frames.len() > self.limits.outbox_bytes_max {
            let detail = format!("{} bytes wait", self.outbox.bytes());
            self.outbox.clear_unsent();
            self.fail(now, End::new(EndReason::SlowConsumer, detail));
            return;
        }
        self.outbox.push_shared(frames);
    }

    /// Queues whole frames that many connections share, as much as it may be: for a driver that
    /// keeps to the outbox's limit itself.
    pub fn push_shared(&mut self, frames: Bytes) {
        if self.is_open() {
            self.outbox.push_shared(frames);
        }
    }

    /// Takes messages of so many bytes from now on, if it took shorter ones only: the peer has said how long
    /// its own may be.
    pub fn raise_message_bytes_max(&mut self, bytes_max: usize) {
        if bytes_max > self.limits.message_bytes_max {
            let limits = Limits { message_bytes_max: bytes_max, ..Limits::clone(&self.limits) };
            self.limits = Arc::new(limits);
        }
    }

    /// Has the heartbeat be a `ping` frame of the session dialect from now on, for browsers show
    /// their pages no ping of RFC 6455.
    pub fn beat_with(&mut self, encoding: Encoding) {
        self.beat_encoding = Some(encoding);
    }

    /// Begins the closing handshake: what is queued goes out first. `reason` is what the peer and
    /// the log are told.
    pub fn close(&mut self, now: Instant, reason: EndReason, detail: &str) {
        if !self.is_open() {
            return;
        }
        let end = End::new(reason, detail);
        self.push_close(end.code, detail);
        self.end = Some(Box::new(end));
        self.phase = Phase::AwaitingClose { deadline: now + self.timing.close_timeout };
    }

    /// The peer's stream ended.
    pub fn handle_eof(&mut self, now: Instant) {
        match self.phase {
            Phase::Open => {
                let reason = if self.is_idle_cut(now) {
                    EndReason::IdleCut
                } else if self.reader.is_in_message() {
                    EndReason::PeerEofInMessage
                } else {
                    EndReason::PeerEof
                };
                self.end = Some(Box::new(End::new(reason, self.silence_detail(now))));
            }
            Phase::AwaitingClose { .. } => {
                if let Some(end) = &mut self.end {
                    end.detail.push_str("; the peer's stream ended without an answer");
                }
            }
            Phase::Lingering { .. } | Phase::Finished => {}
        }
        self.phase = Phase::Finished;
    }

    /// Reading or writing failed.
    pub fn handle_io_error(&mut self, now: Instant, error: &std::io::Error) {
        if self.end.is_none() {
            use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
            let was_cut = matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset);
            let reason = match was_cut {
                true if self.is_idle_cut(now) => EndReason::IdleCut,
                true => EndReason::PeerReset,
                false => EndReason::IoError,
            };
            let detail = format!("{error}; {}", self.silence_detail(now));
            self.end = Some(Box::new(End::new(reason, detail)));
        }
        self.phase = Phase::Finished;
    }

    /// What waits to be written.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The same, for lending and reclaiming its buffer.
    pub fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// The socket took `count` bytes of the outbox (0 when it would block).
    pub fn handle_written(&mut self, now: Instant, count: usize) {
        self.outbox.advance(count);
        // A session's heartbeat is not put off by what else is sent: that may be pongs, which a peer
        // that waits for frames does not see.
        if count > 0 && self.beat_encoding.is_none() {
            self.heartbeat.handle_sent(now);
        }
        if self.outbox.is_empty() {
            self.stalled_since = None;
        } else if count > 0 || self.stalled_since.is_none() {
            self.stalled_since = Some(now);
        }
    }

    /// What to do with the socket now. Ask after every change, when nothing more can be written.
    pub fn disposition(&mut self) -> Disposition {
        match self.phase {
            Phase::Open | Phase::AwaitingClose { .. } => Disposition::Keep,
            Phase::Finished => Disposition::Drop,
            Phase::Lingering { deadline, write_is_shut: false } if self.outbox.is_empty() => {
                // RFC 6455 §7.1.1: the server ends TCP first, so that it does not hold TIME_WAIT
                // on the client's account; a client waits for that.
                self.phase = Phase::Lingering { deadline, write_is_shut: true };
                match self.role {
                    Role::Server => Disposition::ShutdownWrite,
                    Role::Client => Disposition::Keep,
                }
            }
            Phase::Lingering { .. } => Disposition::Keep,
        }
    }

    /// When [`handle_timeout`](Connection::handle_timeout) is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open => {
                let message = self.message_began_at.map(|at| at + self.timing.message_timeout);
                let stall = self.stalled_since.map(|at| at + self.timing.write_stall_timeout);
                let beat = self.heartbeat.next_timeout(&self.timing);
                [message, stall, beat].into_iter().flatten().min()
            }
            Phase::AwaitingClose { deadline } | Phase::Lingering { deadline, .. } => Some(deadline),
            Phase::Finished => None,
        }
    }

    /// Does what is due at `now`; early and repeated calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due =
            |began: Option<Instant>, limit: Duration| began.is_some_and(|at| now >= at + limit);
        match self.phase {
            Phase::Open if due(self.stalled_since, self.timing.write_stall_timeout) => {
                let detail = format!("{} bytes wait", self.outbox.bytes());
                self.outbox.clear_unsent();
                self.fail(now, End::new(EndReason::WriteStalled, detail));
            }
            Phase::Open if due(self.message_began_at, self.timing.message_timeout) => {
                self.fail(now, End::new(EndReason::MessageTimeout, "a message never ended"));
            }
            Phase::Open => match self.heartbeat.handle_timeout(now, &self.timing) {
                Beat::Rest => {}
                Beat::Ping => self.beat(),
                Beat::Dead => {
                    let detail = self.silence_detail(now);
                    self.fail(now, End::new(EndReason::PingTimeout, detail));
                }
            },
            Phase::AwaitingClose { deadline } if now >= deadline => {
                let detail = "no answer to our Close frame";
                self.end = Some(Box::new(End::new(EndReason::CloseTimeout, detail)));
                self.phase = Phase::Finished;
            }
            Phase::Lingering { deadline, .. } if now >= deadline => self.phase = Phase::Finished,
            _ => {}
        }
    }

    fn beat(&mut self) {
        let mask = self.next_mask();
        let Some(encoding) = self.beat_encoding else {
            return self.outbox.push_frame(Opcode::Ping, Compression::Plain, mask, b"");
        };
        let mut ping = Vec::new();
        match self.role {
            Role::Server => encoding.encode_server(&ServerFrame::Ping, &mut ping),
            Role::Client => encoding.encode_client(&ClientFrame::Ping, &mut ping),
        }
        self.outbox.push_frame(encoding.opcode(), Compression::Plain, mask, &ping);
    }

    /// Tells the connection that the driver stops reading, so that silence is not taken for death.
    pub fn pause_reading(&mut self) {
        self.heartbeat.pause_listening();
        self.message_began_at = None;
    }

    /// Tells the connection that the driver reads again.
    pub fn resume_reading(&mut self) {
        self.heartbeat.resume_listening();
    }

    /// Whether messages can still be sent.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether the outbox holds less than its limit, so that replies may be produced.
    pub fn has_room(&self) -> bool {
        self.outbox.bytes() < self.limits.outbox_bytes_max
    }

    /// Why the connection ended, once it has begun to.
    pub fn end(&self) -> Option<&End> {
        self.end.as_deref()
    }

    /// Deals with control frames; gives data back.
    fn sift<'a>(
        &mut self,
        now: Instant,
        message: Option<Message<'a>>,
    ) -> Result<Sifted<'a>, Violation> {
        let Some(message) = message else { return Ok(Sifted::Nothing) };
        match message {
            Message::Text(_) | Message::Binary(_) if self.is_open() => Ok(Sifted::Data(message)),
            // RFC 6455 §1.4: what comes after our Close is read and discarded.
            Message::Text(_) | Message::Binary(_) => Ok(Sifted::Handled),
            Message::Ping(payload) => {
                self.control_budget.take(now, &self.limits)?;
                if self.is_open() {
                    let mask = self.next_mask();
                    self.outbox.push_pong(mask, &payload);
                }
                Ok(Sifted::Handled)
            }
            Message::Pong(_) => {
                self.control_budget.take(now, &self.limits)?;
                Ok(Sifted::Handled)
            }
            Message::Close(frame) => {
                self.handle_close(now, frame);
                Ok(Sifted::Handled)
            }
        }
    }

    fn handle_close(&mut self, now: Instant, frame: Option<CloseFrame<'_>>) {
        if self.is_open() {
            let code = frame.as_ref().map(|frame| frame.code);
            // RFC 6455 §5.5.1: the answer typically echoes the code.
            self.push_close(code, "");
            let detail = frame.map_or(String::new(), |frame| frame.reason.into_owned());
            self.end = Some(Box::new(End { reason: EndReason::PeerClosed, code, detail }));
        }
        self.linger(now);
    }

    fn refuse(&mut self, now: Instant, violation: Violation) {
        self.fail(now, End::new(violation.end_reason(), violation.to_string()));
    }

    /// Ends the connection for a reason that leaves nothing to agree on: tells the peer, then waits
    /// only for the socket.
    fn fail(&mut self, now: Instant, end: End) {
        if self.is_open() {
            self.push_close(end.code, &end.detail);
        }
        if self.end.is_none() {
            self.end = Some(Box::new(end));
        }
        self.linger(now);
    }

    fn linger(&mut self, now: Instant) {
        let deadline = match self.phase {
            // The time counts from our Close, whatever the peer does in it.
            Phase::AwaitingClose { deadline } => deadline,
            _ => now + self.timing.close_timeout,
        };
        self.phase = Phase::Lingering { deadline, write_is_shut: false };
    }

    fn push_close(&mut self, code: Option<u16>, reason: &str) {
        let payload = code.map(|code| CloseFrame::encode(code, reason)).unwrap_or_default();
        let mask = self.next_mask();
        self.outbox.push_frame(Opcode::Close, Compression::Plain, mask, &payload);
    }

    fn next_mask(&mut self) -> Option<[u8; 4]> {
        self.mask_keys.as_mut().map(|keys| keys.next_u32().to_ne_bytes())
    }

    fn note_message_progress(&mut self, now: Instant) {
        if !self.reader.is_in_message() {
            self.message_began_at = None;
        } else if self.message_began_at.is_none() {
            self.message_began_at = Some(now);
        }
    }

    /// Proxies cut what is silent both ways for longer than their idle timeout; the shortest in
    /// common use is 30 s. With shorter pings nothing is ever silent for that long.
    fn is_idle_cut(&self, now: Instant) -> bool {
        self.heartbeat.silence(now) >= IDLE_CUT_SILENCE_MIN
    }

    fn silence_detail(&self, now: Instant) -> String {
        let heard = self.heartbeat.peer_silence(now).as_secs_f64();
        let silent = self.heartbeat.silence(now).as_secs_f64();
        format!("peer silent for {heard:.1} s, both sides for {silent:.1} s")
    }
}

/// What became of one thing that was read.
enum Sifted<'a> {
    Data(Message<'a>),
    Handled,
    Nothing,
}

/// A token bucket over control frames.
#[derive(Debug)]
struct ControlBudget {
    tokens: f32,
    filled_at: Instant,
}

impl ControlBudget {
    fn new(now: Instant, limits: &Limits) -> ControlBudget {
        ControlBudget { tokens: Self::burst(limits), filled_at: now }
    }

    fn take(&mut self, now: Instant, limits: &Limits) -> Result<(), Violation> {
        let per_second_max = limits.control_frames_per_second_max;
        let elapsed = now.saturating_duration_since(self.filled_at).as_secs_f32();
        self.filled_at = now;
        self.tokens = (self.tokens + elapsed * per_second_max as f32).min(Self::burst(limits));
        if self.tokens < 1.0 {
            return Err(Violation::ControlFlood { per_second_max });
        }
        self.tokens -= 1.0;
        Ok(())
    }

    fn burst(limits: &Limits) -> f32 {
        limits.control_frames_per_second_max as f32 * CONTROL_BURST_SECONDS as f32
    }
}

/// Silence after which a cut is put down to a proxy.
const IDLE_CUT_SILENCE_MIN: Duration = Duration::from_secs(28);

#[cfg(test)]
mod tests;
