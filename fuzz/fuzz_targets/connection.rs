//! Any order of what a driver may do with a connection: nothing panics, the outbox counts what it
//! holds, only whole frames leave it, and every end has a reason.
#![no_main]

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use mainstay_wire::deflate::Inflater;
use mainstay_wire::frame::{Compression, Opcode, encode_frame, shared_frame};
use mainstay_wire::{
    Connection, Disposition, EndReason, Limits, Message, Outbox, PONG_COUNT_MAX, Reader, Role,
    SLICE_COUNT_MAX, Timing,
};

#[derive(Arbitrary, Debug)]
enum Operation<'a> {
    Receive(&'a [u8]),
    ReceiveFrame { kind: u8, payload: &'a [u8] },
    ReceivePings { count: u8 },
    Send { is_text: bool, bytes: u16 },
    SendShared { bytes: u16 },
    Close { index: u8, detail: &'a str },
    Write { bytes_max: u16 },
    WriteAll,
    Wait { milliseconds: u16 },
    WaitUntilDue,
    PauseReading,
    ResumeReading,
    Buffer,
    Eof,
    IoError,
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    is_client: bool,
    operations: Vec<Operation<'a>>,
}

fuzz_target!(|input: Input<'_>| {
    let mut driver = Driver::new(if input.is_client { Role::Client } else { Role::Server });
    for operation in &input.operations {
        driver.operate(operation);
        driver.check();
        if driver.is_dropped {
            return;
        }
    }
    // Left alone by its peer, an ended connection comes to its drop; an open one has a timeout.
    let ended = !driver.connection.is_open();
    for _ in 0..2 {
        driver.operate(&Operation::WriteAll);
        driver.operate(&Operation::WaitUntilDue);
        driver.check();
    }
    assert!(!ended || driver.is_dropped, "an ended connection stays");
});

struct Driver {
    now: Instant,
    role: Role,
    connection: Connection,
    inflater: Inflater,
    /// Reads what leaves, as the peer would.
    peer: Reader,
    peer_saw_close: bool,
    is_dropped: bool,
    spare: Vec<Vec<u8>>,
}

impl Driver {
    fn new(role: Role) -> Driver {
        let now = Instant::now();
        let limits = Limits {
            message_bytes_max: MESSAGE_BYTES_MAX,
            fragment_count_max: 4,
            // A burst is four times as many: one of pings past what the outbox keeps, and a flood.
            control_frames_per_second_max: 8,
            outbox_bytes_max: OUTBOX_BYTES_MAX,
        };
        let timing = Arc::new(Timing::default());
        let plain = Compression::Plain;
        Driver {
            now,
            role,
            connection: Connection::new(now, role, plain, Arc::new(limits), timing, [3; 32]),
            inflater: Inflater::default(),
            peer: Reader::new(role, plain),
            peer_saw_close: false,
            is_dropped: false,
            spare: Vec::new(),
        }
    }

    fn operate(&mut self, operation: &Operation<'_>) {
        match operation {
            Operation::Receive(bytes) => self.receive(bytes.to_vec()),
            Operation::ReceiveFrame { kind, payload } => {
                let opcode = KINDS[usize::from(*kind) % KINDS.len()];
                let mask = (self.role == Role::Server).then_some([1, 2, 3, 4]);
                let mut frame = Vec::new();
                encode_frame(opcode, Compression::Plain, mask, payload, &mut frame);
                self.receive(frame);
            }
            Operation::ReceivePings { count } => {
                for count in 0..usize::from(*count) % (2 * PONG_COUNT_MAX) {
                    let payload = &[b'p'; 2 * PONG_COUNT_MAX][..count];
                    self.operate(&Operation::ReceiveFrame { kind: PING, payload });
                }
            }
            Operation::Send { is_text, bytes } => {
                let opcode = if *is_text { Opcode::Text } else { Opcode::Binary };
                let payload = vec![b'x'; usize::from(*bytes) % PAYLOAD_BYTES_MAX];
                self.connection.send(opcode, Compression::Plain, &payload);
            }
            Operation::SendShared { bytes } if self.role == Role::Server => {
                let payload = vec![b'y'; usize::from(*bytes) % PAYLOAD_BYTES_MAX];
                let frame = shared_frame(Opcode::Binary, Compression::Plain, &payload);
                self.connection.send_shared(self.now, frame);
            }
            Operation::SendShared { .. } => {}
            Operation::Close { index, detail } => {
                let closing: Vec<_> =
                    EndReason::ALL.iter().filter(|reason| reason.close_code().is_some()).collect();
                let reason = closing[usize::from(*index) % closing.len()];
                self.connection.close(self.now, *reason, detail);
            }
            Operation::Write { bytes_max } => self.write(usize::from(*bytes_max)),
            Operation::WriteAll => {
                while !self.connection.outbox().is_empty() {
                    self.write(usize::MAX);
                }
            }
            Operation::Wait { milliseconds } => {
                self.now += Duration::from_millis(u64::from(*milliseconds));
                self.connection.handle_timeout(self.now);
            }
            Operation::WaitUntilDue => {
                if let Some(due) = self.connection.next_timeout() {
                    self.now = self.now.max(due);
                    self.connection.handle_timeout(self.now);
                    let next = self.connection.next_timeout();
                    assert!(next.is_none_or(|next| next > self.now), "what was due is due again");
                }
            }
            Operation::PauseReading => self.connection.pause_reading(),
            Operation::ResumeReading => self.connection.resume_reading(),
            Operation::Buffer => {
                self.spare.extend(self.connection.outbox_mut().reclaim_buffer());
                self.connection.outbox_mut().lend_buffer(&mut self.spare);
            }
            Operation::Eof => self.connection.handle_eof(self.now),
            Operation::IoError => {
                let error = io::Error::from(io::ErrorKind::ConnectionReset);
                self.connection.handle_io_error(self.now, &error);
            }
        }
    }

    fn receive(&mut self, mut bytes: Vec<u8>) {
        let mut input = bytes.as_mut_slice();
        while let Some(message) = self.connection.receive(self.now, &mut input, &mut self.inflater)
        {
            assert!(self.connection.is_open(), "nothing is delivered after the end");
            match message {
                Message::Text(text) => assert!(text.len() <= MESSAGE_BYTES_MAX),
                Message::Binary(payload) => assert!(payload.len() <= MESSAGE_BYTES_MAX),
                other => panic!("control frames stay inside: {other:?}"),
            }
        }
        assert!(input.is_empty(), "all input is used up");
    }

    /// Writes at most `bytes_max`; the peer understands what it gets, and Close is the last of it.
    fn write(&mut self, bytes_max: usize) {
        let mut slices = [IoSlice::new(&[]); SLICE_COUNT_MAX];
        let count = self.connection.outbox().slices(&mut slices);
        let mut taken: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
        assert!(self.connection.outbox().is_empty() || !taken.is_empty(), "bytes wait, none shown");
        taken.truncate(bytes_max);
        self.connection.handle_written(self.now, taken.len());
        let mut input = taken.as_mut_slice();
        let limits = Limits { message_bytes_max: usize::MAX >> 1, ..Limits::default() };
        while let Some(message) =
            self.peer.read(&mut input, &limits, &mut self.inflater).expect("whole frames leave")
        {
            assert!(!self.peer_saw_close, "nothing follows our Close: {message:?}");
            self.peer_saw_close = matches!(message, Message::Close(_));
        }
    }

    fn check(&mut self) {
        assert_eq!(self.connection.outbox().is_empty(), self.connection.outbox().bytes() == 0);
        assert_eq!(shown_bytes(self.connection.outbox()), self.connection.outbox().bytes());
        assert_eq!(self.connection.is_open(), self.connection.end().is_none());
        if self.connection.disposition() == Disposition::Drop {
            self.is_dropped = true;
            assert!(self.connection.end().is_some(), "dropped for no reason");
            assert_eq!(self.connection.next_timeout(), None);
        } else {
            assert!(self.connection.next_timeout().is_some(), "it would be kept for ever");
        }
    }
}

/// All that the outbox would write, unless there are more chunks than slices.
fn shown_bytes(outbox: &Outbox) -> usize {
    let mut slices = [IoSlice::new(&[]); SLICE_COUNT_MAX];
    match outbox.slices(&mut slices) {
        SLICE_COUNT_MAX => outbox.bytes(),
        count => slices[..count].iter().map(|slice| slice.len()).sum(),
    }
}

const KINDS: [Opcode; 5] =
    [Opcode::Text, Opcode::Binary, Opcode::Ping, Opcode::Pong, Opcode::Close];
const PING: u8 = 2;
const MESSAGE_BYTES_MAX: usize = 200;
const OUTBOX_BYTES_MAX: usize = 5000;
/// Of one message that we send; a few fill the outbox.
const PAYLOAD_BYTES_MAX: usize = 2000;
