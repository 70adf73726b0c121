//! One connection: its socket, its opening, and its exchange of batches and replies.

use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::time::Instant;

use mainstay_wire::deflate::Inflater;
use mainstay_wire::frame::{Compression, Opcode, encode_frame};
use mainstay_wire::{CloseFrame, Limits, Message, Reader, Role};
use mio::net::TcpStream;

use super::crew::Phase;
use super::opening::{Opening, OpeningError};
use super::round::{Rounds, Since};
use super::tally::Tally;
use super::traffic::Traffic;

/// What the connections of one thread share.
pub(super) struct Desk {
    pub(super) traffic: Traffic,
    pub(super) tally: Tally,
    pub(super) phase: Phase,
    pub(super) pace: Pace,
    /// Filled by every read; messages are read in place.
    scratch: Vec<u8>,
    limits: Limits,
    inflater: Inflater,
}

impl Desk {
    pub(super) fn new(traffic: Traffic, pace: Pace) -> Desk {
        Desk {
            traffic,
            tally: Tally::new(),
            phase: Phase::Open,
            pace,
            scratch: vec![0; SCRATCH_BYTES],
            limits: Limits { message_bytes_max: MESSAGE_BYTES_MAX, ..Limits::default() },
            inflater: Inflater::default(),
        }
    }
}

/// When a connection sends its next batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Once the last one is answered whole.
    Answered,
    /// When it is told to.
    Scheduled,
}

/// One connection.
pub(super) struct Link {
    stream: TcpStream,
    /// Until the WebSocket is open.
    opening: Option<Box<Opening>>,
    reader: Reader,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
    rounds: Rounds,
    /// The socket takes nothing more. What the server still said is to be read, to learn why.
    write_failed: bool,
    close_sent: bool,
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// As before.
    Lives,
    /// It has just opened.
    Opened,
    /// Its batch was just answered whole and no other was sent.
    Rests,
    /// It is over.
    Ended,
}

/// How far to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Until a read does not fill the buffer: the socket is empty then, and what comes later will
    /// be announced. Saves a call that would find nothing.
    Short,
    /// Until the socket says that there is nothing more, or that it is at its end.
    Empty,
}

impl Link {
    pub(super) fn new(stream: TcpStream, opening: Opening) -> Link {
        // Without it, the system would hold a batch back until the last one is acknowledged.
        let _ = stream.set_nodelay(true);
        Link {
            stream,
            opening: Some(Box::new(opening)),
            reader: Reader::new(Role::Server, Compression::Plain),
            unsent: Vec::new(),
            rounds: Rounds::default(),
            write_failed: false,
            close_sent: false,
        }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(super) fn opening(&self) -> Option<&Opening> {
        self.opening.as_deref()
    }

    pub(super) fn unanswered_count(&self) -> usize {
        self.rounds.unanswered_count()
    }

    /// Goes on with whatever the socket is ready for.
    ///
    /// # Errors
    /// Only while opening.
    pub(super) fn handle_ready(
        &mut self,
        event: &mio::event::Event,
        desk: &mut Desk,
    ) -> Result<Fate, OpeningError> {
        if let Some(opening) = &mut self.opening {
            let Some(mut rest) = opening.advance(&mut self.stream)? else { return Ok(Fate::Lives) };
            self.opening = None;
            return match self.take_input(&mut rest, desk, Instant::now()) {
                Some(end) => Err(OpeningError::Ended(end)),
                None => Ok(Fate::Opened),
            };
        }
        if event.is_writable() && !self.unsent.is_empty() {
            let unsent = mem::take(&mut self.unsent);
            self.send(&unsent);
        }
        let is_closed = event.is_read_closed() || event.is_error() || self.write_failed;
        Ok(match (is_closed, event.is_readable()) {
            // Nothing will announce a second time that the stream is at its end.
            (true, _) => self.read(desk, Until::Empty),
            (false, true) => self.read(desk, Until::Short),
            (false, false) => Fate::Lives,
        })
    }

    /// Sends the first batch of a phase, if the last one is over.
    pub(super) fn begin(&mut self, desk: &mut Desk) -> Fate {
        if self.opening.is_some() || !self.rounds.is_over() || desk.pace == Pace::Scheduled {
            return Fate::Lives;
        }
        self.send_batch(desk, Instant::now());
        if self.write_failed { self.read(desk, Until::Empty) } else { Fate::Lives }
    }

    /// Sends a batch that was to be sent at `due`, whatever else is unanswered. `None`: too much is.
    pub(super) fn send_due(&mut self, desk: &mut Desk, due: Instant) -> Option<Fate> {
        if self.write_failed || !self.rounds.has_room() {
            return None;
        }
        self.send_batch(desk, due);
        Some(if self.write_failed { self.read(desk, Until::Empty) } else { Fate::Lives })
    }

    /// Says goodbye once nothing is to be answered any more.
    pub(super) fn close(&mut self, desk: &mut Desk) -> Fate {
        if self.opening.is_some() {
            return Fate::Ended;
        }
        if self.close_sent || !self.rounds.is_over() {
            return Fate::Lives;
        }
        self.close_sent = true;
        self.send_control(Opcode::Close, &CLOSE_NORMAL.to_be_bytes());
        if self.write_failed { self.read(desk, Until::Empty) } else { Fate::Lives }
    }

    /// Takes in what has come.
    pub(super) fn read(&mut self, desk: &mut Desk, until: Until) -> Fate {
        let mut scratch = mem::take(&mut desk.scratch);
        let was_over = self.rounds.is_over();
        let end = loop {
            let count = match self.stream.read(&mut scratch) {
                Ok(0) => break Some("end of stream without a close frame".to_owned()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock && !self.write_failed => {
                    break None;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    break Some("nothing can be written".to_owned());
                }
                Err(error) => break Some(of_socket(&error)),
            };
            let (input, _) = scratch.split_at_mut(count);
            let end = self.take_input(input, desk, Instant::now());
            let is_short = until == Until::Short && count < SCRATCH_BYTES;
            if end.is_some() || (is_short && !self.write_failed) {
                break end;
            }
        };
        desk.scratch = scratch;
        match end {
            Some(end) => self.end(end, desk),
            None if !was_over && self.rounds.is_over() => Fate::Rests,
            None => Fate::Lives,
        }
    }

    /// Checks what came and sends the next batch when the last one is answered. Gives the reason if
    /// the connection is over.
    fn take_input(
        &mut self,
        mut input: &mut [u8],
        desk: &mut Desk,
        now: Instant,
    ) -> Option<String> {
        if desk.phase == Phase::Measure {
            desk.tally.received_bytes += input.len() as u64;
        }
        let was_over = self.rounds.is_over();
        // What came together and has waited equally long is counted together.
        let mut right: Option<(Since, u64)> = None;
        let mut answers = Vec::new();
        let end = loop {
            match self.reader.read(&mut input, &desk.limits, &mut desk.inflater) {
                Ok(None) => break None,
                Ok(Some(Message::Ping(payload))) => answers.push((Opcode::Pong, payload.to_vec())),
                Ok(Some(Message::Pong(_))) => {}
                Ok(Some(Message::Close(frame))) => {
                    answers.push((Opcode::Close, CLOSE_NORMAL.to_be_bytes().to_vec()));
                    break Some(of_close(frame.as_ref()));
                }
                Ok(Some(message)) => match desk.traffic.check(&message, &mut self.rounds) {
                    Ok(since) => match &mut right {
                        Some((other, count)) if *other == since => *count += 1,
                        _ => count_right(&mut desk.tally, right.replace((since, 1)), now),
                    },
                    Err(wrong) => desk.tally.add_wrong(wrong),
                },
                Err(violation) => break Some(format!("protocol violation: {violation}")),
            }
        };
        count_right(&mut desk.tally, right, now);
        for (opcode, payload) in answers {
            if !self.close_sent {
                self.send_control(opcode, &payload);
            }
        }
        let is_loading = matches!(desk.phase, Phase::WarmUp | Phase::Measure);
        let goes_on = is_loading && desk.pace == Pace::Answered;
        let is_over = self.rounds.is_over();
        if end.is_none() && goes_on && is_over && !was_over {
            self.send_batch(desk, now);
        }
        end
    }

    /// Sends a batch whose time counts from `at`.
    fn send_batch(&mut self, desk: &mut Desk, at: Instant) {
        let is_measured = desk.phase == Phase::Measure;
        let batch = desk.traffic.next_batch(&mut self.rounds, Since { at, is_measured });
        if is_measured {
            desk.tally.sent_bytes += batch.len() as u64;
        }
        self.send(batch);
    }

    fn send_control(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        encode_frame(opcode, Compression::Plain, Some(CONTROL_MASK), payload, &mut frame);
        self.send(&frame);
    }

    /// Writes behind what still waits; what the socket does not take waits too.
    fn send(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while self.unsent.is_empty() && !rest.is_empty() && !self.write_failed {
            match self.stream.write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.write_failed = true,
            }
        }
        if !self.write_failed {
            self.unsent.extend_from_slice(rest);
        }
    }

    fn end(&mut self, end: String, desk: &mut Desk) -> Fate {
        let unanswered_count = self.rounds.unanswered_count();
        // Once we have said goodbye, the server is to go too.
        if !self.close_sent {
            desk.tally.add_end(end);
        }
        desk.tally.unanswered_count += unanswered_count as u64;
        Fate::Ended
    }
}

/// Counts replies to what was sent in the measured time, whenever they come: what a server that
/// stood still at the end answers late is late.
fn count_right(tally: &mut Tally, right: Option<(Since, u64)>, now: Instant) {
    if let Some((since, count)) = right.filter(|(since, _)| since.is_measured) {
        tally.add_replies(count, now.saturating_duration_since(since.at));
    }
}

pub(super) fn of_close(frame: Option<&CloseFrame<'_>>) -> String {
    let Some(CloseFrame { code, reason }) = frame else {
        // RFC 6455 §7.1.5: what a close frame without a code counts as.
        return "1005 (close frame without a code)".to_owned();
    };
    // The reason goes to a terminal, which must not take orders from it.
    let reason: String = reason.chars().filter(|character| !character.is_control()).collect();
    if reason.is_empty() { code.to_string() } else { format!("{code} {reason}") }
}

pub(super) fn of_socket(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionReset => "connection reset".to_owned(),
        _ => error.to_string(),
    }
}

/// What one read takes at most: the replies to a whole batch, and within a core's own cache.
const SCRATCH_BYTES: usize = 128 * 1024;
/// Replies are as large as the largest echo, or a generous command reply.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// RFC 6455 §7.4.1.
const CLOSE_NORMAL: u16 = 1000;
/// Fixed for the reason that traffic's mask is.
const CONTROL_MASK: [u8; 4] = [0x4d, 0x61, 0x69, 0x6e];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_by_code_and_reason() {
        let frame = |reason: &'static str| CloseFrame { code: 4001, reason: reason.into() };
        assert_eq!(of_close(Some(&frame("gone\r\n\x1b[2J"))), "4001 gone[2J");
        assert_eq!(of_close(Some(&frame(""))), "4001");
        assert_eq!(of_close(None), "1005 (close frame without a code)");
    }
}
