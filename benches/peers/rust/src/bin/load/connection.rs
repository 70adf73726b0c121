//! One connection: from the handshake until it is ready, and what it counts then.

use std::net::SocketAddr;

use mainstay_peers::wire::Wire;
use mainstay_wire::deflate::Inflater;
use mainstay_wire::frame::{Compression, Opcode};
use mainstay_wire::handshake::{Dial, DialOptions, HeadLimits, HeadScan, ResponseHead};
use mainstay_wire::session::{ClientFrame, Encoding, Outcome, ServerFrame};
use mainstay_wire::{Limits, Message, Reader, Role};

use crate::Failure;
use crate::connect::connect;
use crate::counter::Counter;
use crate::dialect::{
    ACKNOWLEDGED_COUNT, Dialect, Heard, Part, acknowledgement, frame, session_frame,
};

/// A connection of either part.
pub struct Connection {
    pub wire: Wire,
    part: Part,
    stage: Stage,
    counter: Counter,
    /// Events that have come, or outcomes of what was published.
    pub received_count: u64,
    acknowledged_count: u64,
    /// Where a session began to hear.
    offset: u64,
}

enum Stage {
    Dialing(Box<Dialing>),
    Greeting(Box<Reader>),
    /// Ready. A publisher of Mainstay is told what became of each event.
    Open(Option<Box<Reader>>),
}

struct Dialing {
    dial: Dial,
    scan: HeadScan,
    received: Vec<u8>,
}

impl Connection {
    /// Begins to open.
    ///
    /// # Errors
    /// The system says no, or the URL is of no use.
    pub fn open(
        address: SocketAddr,
        index: usize,
        target: &str,
        dialect: Dialect,
        part: Part,
    ) -> Result<Connection, Failure> {
        let subprotocols = dialect.subprotocol(part).map(str::to_owned).into_iter().collect();
        let options = DialOptions { subprotocols, ..DialOptions::default() };
        // Nothing on the way could keep an answer, so the key need not be random.
        let key = (index as u128).to_be_bytes();
        let dial = Dial::new(&address.to_string(), target, key, &options)?;
        let mut wire = Wire::new(connect(address, index)?);
        wire.send(dial.request())?;
        let dialing = Dialing { dial, scan: HeadScan::default(), received: Vec::new() };
        Ok(Connection {
            wire,
            part,
            stage: Stage::Dialing(Box::new(dialing)),
            counter: Counter::default(),
            received_count: 0,
            acknowledged_count: 0,
            offset: 0,
        })
    }

    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// Counts from now on.
    pub fn forget(&mut self) {
        self.offset += self.received_count;
        (self.received_count, self.acknowledged_count) = (0, 0);
    }

    /// Takes in what has come.
    ///
    /// # Errors
    /// The server does not want the connection, or ended it.
    pub fn read(&mut self, dialect: Dialect, scratch: &mut [u8]) -> Result<(), Failure> {
        self.wire.send_more()?;
        while let Some(input) = self.wire.read(scratch)? {
            // A read that does not fill the buffer has emptied the socket.
            let is_last = input.len() < SCRATCH_BYTES;
            self.hear(dialect, input)?;
            if is_last {
                break;
            }
        }
        Ok(())
    }

    fn hear(&mut self, dialect: Dialect, input: &mut [u8]) -> Result<(), Failure> {
        match &mut self.stage {
            Stage::Open(None) => self.count(dialect, input),
            Stage::Open(Some(_)) => self.hear_outcomes(input),
            Stage::Greeting(_) => self.greet(dialect, input),
            Stage::Dialing(_) => self.dial(dialect, input),
        }
    }

    fn count(&mut self, dialect: Dialect, input: &[u8]) -> Result<(), Failure> {
        let mut answers = Vec::new();
        let count = self.counter.count(input, |first, payload| {
            answers.extend(dialect.answer(self.part, first, payload));
        });
        for answer in answers {
            self.wire.send(&answer)?;
        }
        self.received_count += count as u64;
        if dialect.is_session(self.part) {
            self.acknowledge(|count| acknowledgement(1, Some(count)))?;
        }
        Ok(())
    }

    /// Once enough has come, says that so much in all has.
    fn acknowledge(&mut self, of: impl FnOnce(u64) -> Vec<u8>) -> Result<(), Failure> {
        if self.received_count - self.acknowledged_count >= ACKNOWLEDGED_COUNT {
            self.acknowledged_count = self.received_count;
            self.wire.send(&of(self.offset + self.received_count))?;
        }
        Ok(())
    }

    fn dial(&mut self, dialect: Dialect, input: &[u8]) -> Result<(), Failure> {
        let Stage::Dialing(dialing) = &mut self.stage else { return Ok(()) };
        dialing.received.extend_from_slice(input);
        let limits = HeadLimits::default();
        let Some(head_bytes) = dialing.scan.scan(&dialing.received, &limits)? else {
            return Ok(());
        };
        let (head, rest) = dialing.received.split_at_mut(head_bytes);
        dialing.dial.finish(&ResponseHead::parse(head, &limits)?)?;
        let mut rest = rest.to_vec();
        self.stage = Stage::Greeting(Box::new(Reader::new(Role::Server, Compression::Plain)));
        self.follow(dialect, dialect.greet(self.part))?;
        self.hear(dialect, &mut rest)
    }

    fn greet(&mut self, dialect: Dialect, mut input: &mut [u8]) -> Result<(), Failure> {
        let (limits, mut inflater) = (Limits::default(), Inflater::default());
        loop {
            let Stage::Greeting(reader) = &mut self.stage else { return self.hear(dialect, input) };
            let heard = match reader.read(&mut input, &limits, &mut inflater)? {
                None => return Ok(()),
                Some(Message::Text(text)) => dialect.hear(self.part, text.as_bytes())?,
                Some(Message::Binary(bytes)) => dialect.hear(self.part, &bytes)?,
                Some(Message::Ping(payload)) => Heard::Say(frame(Opcode::Pong, &payload)),
                Some(Message::Pong(_)) => Heard::Nothing,
                Some(Message::Close(close)) => return Err(format!("closed: {close:?}").into()),
            };
            self.follow(dialect, heard)?;
        }
    }

    fn follow(&mut self, dialect: Dialect, heard: Heard) -> Result<(), Failure> {
        match heard {
            Heard::Nothing => {}
            Heard::Say(bytes) => self.wire.send(&bytes)?,
            Heard::Ready(offset) => {
                self.offset = offset;
                let hears_outcomes = self.part == Part::Publisher && dialect.is_session(self.part);
                let reader = || Box::new(Reader::new(Role::Server, Compression::Plain));
                self.stage = Stage::Open(hears_outcomes.then(reader));
            }
        }
        Ok(())
    }

    fn hear_outcomes(&mut self, mut input: &mut [u8]) -> Result<(), Failure> {
        let Stage::Open(Some(reader)) = &mut self.stage else { return Ok(()) };
        let (limits, mut inflater) = (Limits::default(), Inflater::default());
        while let Some(message) = reader.read(&mut input, &limits, &mut inflater)? {
            let text = match &message {
                Message::Text(text) => text,
                Message::Ping(payload) => {
                    self.wire.send(&frame(Opcode::Pong, payload))?;
                    continue;
                }
                other => return Err(format!("the server says {other:?}").into()),
            };
            match Encoding::Json.decode_server(text.as_bytes())? {
                ServerFrame::Reply(reply) if matches!(reply.outcome, Outcome::Published { .. }) => {
                    self.received_count += 1;
                }
                ServerFrame::Ping => self.wire.send(&session_frame(&ClientFrame::Pong))?,
                ServerFrame::Subscribed(_) => {}
                other => return Err(format!("the server says {other:?}").into()),
            }
        }
        self.acknowledge(|count| acknowledgement(count + 1, None))
    }
}

/// What one read takes at most: a burst, and within a core's own cache.
pub const SCRATCH_BYTES: usize = 64 * 1024;
