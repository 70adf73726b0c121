use super::*;
use std::collections::VecDeque;
use std::io::IoSlice;

use crate::outbox::{PONG_COUNT_MAX, SLICE_COUNT_MAX};

/// A client and a server joined by two byte streams, in virtual time.
struct Pair {
    now: Instant,
    client: Side,
    server: Side,
}

struct Side {
    connection: Connection,
    inflater: Inflater,
    /// Bytes on their way to this side.
    wire: VecDeque<u8>,
    received: Vec<String>,
    write_is_shut: bool,
    is_dropped: bool,
}

impl Side {
    fn new(now: Instant, role: Role, limits: Limits, timing: Timing) -> Side {
        let (limits, timing) = (Arc::new(limits), Arc::new(timing));
        Side {
            connection: Connection::new(now, role, Compression::Plain, limits, timing, [0; 32]),
            inflater: Inflater::default(),
            wire: VecDeque::new(),
            received: Vec::new(),
            write_is_shut: false,
            is_dropped: false,
        }
    }

    fn send(&mut self, text: &str) {
        self.connection.send(Opcode::Text, Compression::Plain, text.as_bytes());
    }

    fn end(&self) -> &End {
        self.connection.end().expect("the connection has ended")
    }

    /// Takes everything out of the outbox, as a socket with room would.
    fn write(&mut self, now: Instant) -> Vec<u8> {
        let mut out = Vec::new();
        while !self.connection.outbox().is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICE_COUNT_MAX];
            let count = self.connection.outbox().slices(&mut slices);
            let before = out.len();
            slices[..count].iter().for_each(|slice| out.extend_from_slice(slice));
            self.connection.handle_written(now, out.len() - before);
        }
        out
    }

    fn read(&mut self, now: Instant) {
        let mut bytes: Vec<u8> = self.wire.drain(..).collect();
        let mut input = bytes.as_mut_slice();
        while let Some(message) = self.connection.receive(now, &mut input, &mut self.inflater) {
            match message {
                Message::Text(text) => self.received.push(text.into_owned()),
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

impl Pair {
    fn new() -> Pair {
        Pair::with(Limits::default(), Timing::default())
    }

    /// `limits` and `timing` are the server's.
    fn with(limits: Limits, timing: Timing) -> Pair {
        let now = Instant::now();
        let quiet = Timing { ping_interval: None, ..Timing::default() };
        Pair {
            now,
            client: Side::new(now, Role::Client, Limits::default(), quiet),
            server: Side::new(now, Role::Server, limits, timing),
        }
    }

    /// Lets both sides read and write until nothing moves.
    fn settle(&mut self) {
        loop {
            let to_server = self.client.write(self.now);
            let to_client = self.server.write(self.now);
            let is_still = to_server.is_empty() && to_client.is_empty();
            self.server.wire.extend(to_server);
            self.client.wire.extend(to_client);
            self.server.read(self.now);
            self.client.read(self.now);
            let eof_moved = Self::settle_sockets(self.now, &mut self.client, &mut self.server)
                | Self::settle_sockets(self.now, &mut self.server, &mut self.client);
            let all_sent =
                [&self.client, &self.server].iter().all(|side| side.connection.outbox().is_empty());
            if is_still && all_sent && !eof_moved {
                return;
            }
        }
    }

    fn settle_sockets(now: Instant, side: &mut Side, peer: &mut Side) -> bool {
        if side.is_dropped {
            return false;
        }
        match side.connection.disposition() {
            Disposition::Keep => return false,
            Disposition::ShutdownWrite => side.write_is_shut = true,
            Disposition::Drop => side.is_dropped = true,
        }
        if !peer.is_dropped {
            peer.connection.handle_eof(now);
        }
        true
    }

    fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let due = [&self.client, &self.server]
                .into_iter()
                .filter_map(|side| side.connection.next_timeout())
                .min();
            match due {
                Some(due) if due <= end => self.now = due.max(self.now),
                _ => break,
            }
            self.client.connection.handle_timeout(self.now);
            self.server.connection.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }
}

#[test]
fn messages_pass_both_ways_for_days() {
    let mut pair = Pair::new();
    for day in 0..3 {
        pair.client.send(&format!("question {day}"));
        pair.server.send(&format!("answer {day}"));
        pair.settle();
        pair.advance(Duration::from_secs(86_400));
    }
    assert_eq!(pair.server.received, ["question 0", "question 1", "question 2"]);
    assert_eq!(pair.client.received, ["answer 0", "answer 1", "answer 2"]);
    assert!(pair.server.connection.is_open() && pair.client.connection.is_open());
}

#[test]
fn a_close_is_answered_and_both_sides_know_why() {
    let mut pair = Pair::new();
    pair.client.send("last words");
    pair.client.connection.close(pair.now, EndReason::LocalClose, "done");
    pair.settle();
    assert_eq!(pair.server.received, ["last words"], "what was queued goes out first");
    assert_eq!(pair.client.end(), &End::new(EndReason::LocalClose, "done"));
    let expected = End { reason: EndReason::PeerClosed, code: Some(1000), detail: "done".into() };
    assert_eq!(pair.server.end(), &expected);
    assert!(pair.server.write_is_shut, "the server ends TCP first");
    assert!(pair.client.is_dropped && pair.server.is_dropped);
}

#[test]
fn both_sides_may_close_at_once() {
    let mut pair = Pair::new();
    pair.client.connection.close(pair.now, EndReason::LocalClose, "");
    pair.server.connection.close(pair.now, EndReason::Drain, "");
    pair.settle();
    assert_eq!(pair.client.end().reason, EndReason::LocalClose);
    assert_eq!(pair.server.end().reason, EndReason::Drain);
    assert!(pair.client.is_dropped && pair.server.is_dropped);
}

#[test]
fn nothing_is_sent_after_a_close() {
    let mut pair = Pair::new();
    pair.server.connection.close(pair.now, EndReason::Drain, "");
    pair.server.send("too late");
    pair.settle();
    assert!(pair.client.received.is_empty());
}

#[test]
fn a_peer_that_never_answers_a_close_is_dropped_in_time() {
    let mut pair = Pair::new();
    pair.server.connection.close(pair.now, EndReason::Drain, "");
    pair.server.write(pair.now);
    let deadline = pair.now + Timing::default().close_timeout;
    assert_eq!(pair.server.connection.next_timeout(), Some(deadline));
    pair.server.connection.handle_timeout(deadline);
    assert_eq!(pair.server.connection.disposition(), Disposition::Drop);
    assert_eq!(pair.server.end().reason, EndReason::CloseTimeout);
}

#[test]
fn closing_has_one_deadline_and_keeps_its_reason() {
    let mut pair = Pair::new();
    pair.server.connection.close(pair.now, EndReason::Drain, "moving");
    pair.server.write(pair.now);
    let deadline = pair.now + Timing::default().close_timeout;
    let late = pair.now + Duration::from_secs(4);
    let mut answer = Vec::new();
    crate::frame::encode_frame(Opcode::Close, Compression::Plain, Some([0; 4]), b"", &mut answer);
    let mut input = answer.as_mut_slice();
    assert!(pair.server.connection.receive(late, &mut input, &mut pair.server.inflater).is_none());
    assert_eq!(pair.server.connection.next_timeout(), Some(deadline), "not 5 s from the answer");

    let mut pair = Pair::new();
    pair.server.connection.close(pair.now, EndReason::Drain, "moving");
    pair.server.connection.handle_eof(pair.now);
    assert_eq!(pair.server.end().reason, EndReason::Drain);
    assert!(pair.server.end().detail.starts_with("moving; the peer's stream ended"));
}

#[test]
fn a_violation_is_told_with_its_code_and_the_rest_is_discarded() {
    let mut pair = Pair::new();
    pair.server.wire.extend([0x81, 0x05]); // not masked
    pair.server.wire.extend(b"hello and whatever comes behind it");
    pair.settle();
    assert!(pair.server.received.is_empty());
    assert_eq!(pair.server.end().reason, EndReason::ProtocolError);
    assert_eq!(pair.client.end().code, Some(1002));
    assert_eq!(pair.client.end().detail, "a client's frame is not masked");
    assert!(pair.server.is_dropped);
}

#[test]
fn a_silent_peer_is_pinged_and_then_given_up() {
    let timing = Timing::default();
    let mut pair = Pair::new();
    let began = pair.now;
    // The client is gone without a word: nothing is delivered any more.
    let mut pinged_at = None;
    while pair.server.connection.is_open() {
        let due = pair.server.connection.next_timeout().expect("an open connection has timeouts");
        pair.server.connection.handle_timeout(due);
        if !pair.server.write(due).is_empty() && pinged_at.is_none() {
            pinged_at = Some(due);
        }
        pair.now = due;
    }
    assert_eq!(pair.server.end().reason, EndReason::PingTimeout);
    assert_eq!(pinged_at.map(|at| at - began), timing.ping_interval);
    assert!(pair.now - began <= Duration::from_secs(35), "known within 35 s");
}

#[test]
fn any_byte_counts_as_life() {
    let mut pair = Pair::new();
    for _ in 0..100 {
        pair.advance(Duration::from_secs(9));
        // A fragment of a frame is neither a pong nor a message, and still a sign of life.
        pair.server.wire.push_back(0x89);
        pair.server.wire.extend([0x80, 0, 0, 0, 0]);
        pair.server.read(pair.now);
    }
    assert!(pair.server.connection.is_open());
}

#[test]
fn the_first_ping_comes_within_half_an_interval_of_the_interval() {
    let now = Instant::now();
    let timing = Arc::new(Timing::default());
    for phase in [0, 100, 255] {
        let connection = Connection::new(
            now,
            Role::Server,
            Compression::Plain,
            Arc::default(),
            timing.clone(),
            [phase; 32],
        );
        let first = connection.next_timeout().expect("a ping is due") - now;
        assert!(first >= Duration::from_millis(12_500) && first <= Duration::from_secs(25));
        assert_eq!(phase == 0, first == Duration::from_secs(25));
    }
}

#[test]
fn a_session_hears_a_ping_in_every_interval_whatever_else_it_is_sent() {
    let mut pair = Pair::new();
    pair.server.connection.beat_with(Encoding::Json);
    for _ in 0..100 {
        // Answered with a pong, which a browser's page would not see.
        pair.client.connection.outbox_mut().push_frame(
            Opcode::Ping,
            Compression::Plain,
            Some([0; 4]),
            b"",
        );
        pair.advance(Duration::from_secs(1));
    }
    assert_eq!(pair.client.received, ["{\"type\":\"ping\"}"; 4]);
}

#[test]
fn silence_proves_nothing_while_reading_is_paused() {
    let mut pair = Pair::new();
    pair.server.connection.pause_reading();
    for _ in 0..20 {
        pair.now += Duration::from_secs(20);
        pair.server.connection.handle_timeout(pair.now);
        pair.server.write(pair.now);
    }
    assert!(pair.server.connection.is_open());
    pair.server.connection.resume_reading();
    for _ in 0..3 {
        pair.now += Duration::from_secs(26);
        pair.server.connection.handle_timeout(pair.now);
        pair.server.write(pair.now);
    }
    assert_eq!(pair.server.end().reason, EndReason::PingTimeout);
}

#[test]
fn a_socket_that_takes_nothing_is_given_up() {
    let mut pair =
        Pair::with(Limits::default(), Timing { ping_interval: None, ..Timing::default() });
    pair.server.send("stuck");
    pair.server.connection.handle_written(pair.now, 0);
    let deadline = pair.now + Timing::default().write_stall_timeout;
    pair.server.connection.handle_timeout(deadline - Duration::from_millis(1));
    assert!(pair.server.connection.is_open());
    // One byte of progress starts the time anew.
    pair.server.connection.handle_written(deadline - Duration::from_millis(1), 1);
    pair.server.connection.handle_timeout(deadline);
    assert!(pair.server.connection.is_open());
    pair.server.connection.handle_timeout(deadline + Timing::default().write_stall_timeout);
    assert_eq!(pair.server.end().reason, EndReason::WriteStalled);
}

#[test]
fn a_message_must_end_in_time() {
    let mut pair =
        Pair::with(Limits::default(), Timing { ping_interval: None, ..Timing::default() });
    let mut drip = Vec::new();
    crate::frame::encode_frame(
        Opcode::Text,
        Compression::Plain,
        Some([0; 4]),
        &[b'a'; 99],
        &mut drip,
    );
    for byte in drip {
        pair.server.wire.push_back(byte);
        pair.settle();
        pair.advance(Duration::from_secs(1));
    }
    assert_eq!(pair.server.end().reason, EndReason::MessageTimeout);
    assert_eq!(pair.client.end().code, Some(4003));
}

#[test]
fn a_ping_in_two_parts_takes_no_time_from_the_message_behind_it() {
    let mut pair =
        Pair::with(Limits::default(), Timing { ping_interval: None, ..Timing::default() });
    pair.server.wire.extend([0x89, 0x80, 0]);
    pair.settle();
    pair.advance(Duration::from_secs(20));
    // The rest of the ping, and a message's head.
    pair.server.wire.extend([0, 0, 0, 0x81, 0x82, 0, 0, 0, 0]);
    pair.settle();
    pair.advance(Duration::from_secs(20));
    pair.server.wire.extend(b"ok");
    pair.settle();
    assert_eq!(pair.server.received, ["ok"]);
}

#[test]
fn an_event_that_does_not_fit_ends_the_connection_as_slow() {
    let limits = Limits { outbox_bytes_max: 1000, ..Limits::default() };
    let mut pair = Pair::with(limits, Timing::default());
    let event = crate::frame::shared_frame(Opcode::Text, Compression::Plain, &[b'e'; 400]);
    pair.server.connection.send_shared(pair.now, event.clone());
    pair.server.connection.handle_written(pair.now, 10);
    pair.server.connection.send_shared(pair.now, event.clone());
    assert!(pair.server.connection.is_open());
    pair.server.connection.send_shared(pair.now, event);
    assert_eq!(pair.server.end().reason, EndReason::SlowConsumer);
    assert!(
        pair.server.connection.outbox().bytes() < 450,
        "only the begun event and the Close stay"
    );
    assert!(!pair.server.connection.is_open());
}

#[test]
fn a_flood_of_control_frames_ends_the_connection() {
    let mut pair = Pair::new();
    let budget = 50 * CONTROL_BURST_SECONDS;
    let ping = [0x89, 0x80, 0, 0, 0, 0];
    for _ in 0..budget {
        pair.server.wire.extend(ping);
        pair.server.read(pair.now);
    }
    assert!(pair.server.connection.is_open());
    assert_eq!(pair.server.connection.outbox().bytes(), 2 * PONG_COUNT_MAX, "few pongs wait");
    pair.server.wire.extend(ping);
    pair.server.read(pair.now);
    assert_eq!(pair.server.end().reason, EndReason::ControlFlood);
}

#[test]
fn honest_pings_are_answered_for_ever() {
    let mut pair = Pair::new();
    for _ in 0..10_000 {
        pair.server.wire.extend([0x89, 0x81, 0, 0, 0, 0, b'x']);
        pair.server.read(pair.now);
        assert_eq!(pair.server.write(pair.now), [0x8a, 1, b'x']);
        pair.now += Duration::from_millis(25);
    }
}

#[test]
fn an_end_of_stream_is_named_by_where_it_comes() {
    let reason_after = |bytes: &[u8], silence: u64| {
        let mut pair =
            Pair::with(Limits::default(), Timing { ping_interval: None, ..Timing::default() });
        pair.server.wire.extend(bytes);
        pair.server.read(pair.now);
        pair.now += Duration::from_secs(silence);
        pair.server.connection.handle_eof(pair.now);
        pair.server.end().reason
    };
    assert_eq!(reason_after(b"", 1), EndReason::PeerEof);
    assert_eq!(reason_after(&[0x81, 0x85, 0], 1), EndReason::PeerEofInMessage);
    assert_eq!(reason_after(b"", 60), EndReason::IdleCut);
}

#[test]
fn a_reset_is_named_and_other_errors_are_too() {
    use std::io::{Error, ErrorKind};
    let reason_of = |kind: ErrorKind| {
        let mut pair = Pair::new();
        pair.server.connection.handle_io_error(pair.now, &Error::from(kind));
        pair.server.end().reason
    };
    assert_eq!(reason_of(ErrorKind::ConnectionReset), EndReason::PeerReset);
    assert_eq!(reason_of(ErrorKind::BrokenPipe), EndReason::PeerReset);
    assert_eq!(reason_of(ErrorKind::TimedOut), EndReason::IoError);
}
