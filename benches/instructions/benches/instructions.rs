//! How many instructions the hot paths take: `just instructions`.
//!
//! Instructions under valgrind are the same whatever else the machine does, so they can be held
//! against a figure. Each benchmark has the figure that was accepted, of Rust 1.95 on x86-64; over it by
//! more than 5 % the run fails. Whoever makes something better writes the new figure down, and whoever
//! makes something dearer says in the commit what it is worth. Allocations are the system allocator's.

#![expect(clippy::expect_used, reason = "a measurement that fails has no result")]
#![expect(missing_docs, reason = "the benchmarks of one file have nobody to tell")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use mainstay_hub::Hub;
use mainstay_log::MemoryLog;
use mainstay_node::{Call, ConnectionKey, Effect, Input, Node, NodeConfig, Ticket};
use mainstay_wire::command::CommandMessage;
use mainstay_wire::deflate::Inflater;
use mainstay_wire::frame::{Compression, Opcode, encode_frame, shared_frame};
use mainstay_wire::session::{
    ClientFrame, Encoding, Event, Hello, Offset, Outcome, Payload, Request, ServerFrame, SessionId,
};
use mainstay_wire::{ChannelName, Connection, Limits, Message, Outbox, Role, Timing};

library_benchmark_group!(name = wire, benchmarks = [parse, command, encode, decode]);
library_benchmark_group!(name = hub, benchmarks = fan_out);
library_benchmark_group!(name = node, benchmarks = [publish, request, replay]);
main!(library_benchmark_groups = [wire, hub, node]);

// Parses masked binary messages that arrived with one read.
#[library_benchmark]
#[bench::small_16(args = (64, 16), setup = arrived, config = accepted(3_236))]
#[bench::large(args = (16 * 1024, 1), setup = arrived, config = accepted(3_586))]
fn parse((mut side, mut input): (Side, Vec<u8>)) -> Side {
    let mut rest = input.as_mut_slice();
    while let Some(message) = side.connection.receive(side.now, &mut rest, &mut side.inflater) {
        black_box(&message);
    }
    side
}

// Parses 16 commands of the command dialect, and puts their replies into the outbox.
#[library_benchmark]
#[bench::of_16(args = (16), setup = commanded, config = accepted(39_383))]
fn command((mut side, mut input): (Side, Vec<u8>)) -> Side {
    let mut rest = input.as_mut_slice();
    let mut out = Vec::new();
    while let Some(message) = side.connection.receive(side.now, &mut rest, &mut side.inflater) {
        let Message::Text(text) = &message else { break };
        let said = CommandMessage::parse(text.as_bytes()).expect("a command");
        let reply = CommandMessage {
            some_other_thing: format!("Server processed command: {}", said.command).into(),
            success: true,
            ..said
        };
        out.clear();
        reply.write(&mut out);
        side.connection.send(Opcode::Text, Compression::Plain, &out);
    }
    side
}

// Encodes an event of 128 bytes once, as a frame that all its subscribers share.
#[library_benchmark]
#[bench::json(args = (Encoding::Json), setup = event_for, config = accepted(1_143))]
#[bench::protobuf(args = (Encoding::Protobuf), setup = event_for, config = accepted(1_129))]
fn encode((encoding, frame, mut out): (Encoding, ServerFrame, Vec<u8>)) -> (Bytes, ServerFrame) {
    encoding.encode_server(&frame, &mut out);
    (shared_frame(encoding.opcode(), Compression::Plain, &out), frame)
}

// Decodes a request of 128 bytes.
#[library_benchmark]
#[bench::json(args = (Encoding::Json), setup = request_in, config = accepted(2_058))]
#[bench::protobuf(args = (Encoding::Protobuf), setup = request_in, config = accepted(2_801))]
fn decode((encoding, message): (Encoding, Vec<u8>)) -> ClientFrame {
    encoding.decode_client(&message).expect("a frame")
}

// Puts one frame into the outboxes of 1,000 subscribers.
#[library_benchmark]
#[bench::to_1000(args = (1000), setup = subscribed, config = accepted(52_328))]
fn fan_out((hub, mut outboxes, channel, frame): Audience) -> Audience {
    for subscriber in hub.live(&channel) {
        outboxes[*subscriber].push_shared(frame.clone());
    }
    // What is given back is freed by somebody else.
    (hub, outboxes, channel, frame)
}

// Gives 16 events their places and commits them together, to the memory engine.
#[library_benchmark]
#[bench::batch_16(setup = opened, config = accepted(85_540))]
fn publish(mut bench: Bench) -> Bench {
    for ticket in 0..16 {
        bench.publish(ticket);
    }
    bench.commit();
    bench
}

// Accepts a request, starts its handler, and stores and tells its outcome.
#[library_benchmark]
#[bench::one(setup = opened, config = accepted(13_049))]
fn request(mut bench: Bench) -> Bench {
    let frame = ClientFrame::Request(Request {
        number: 1,
        command: "Pause downloader".to_owned(),
        payload: payload(),
        deadline_ms: None,
    });
    bench.node.handle(1, Input::Frame { connection: CONNECTION, frame });
    bench.commit();
    let outcome = Outcome::Done(payload());
    bench.node.handle(2, Input::Ran { session: bench.session, number: 1, outcome });
    bench.commit();
    bench
}

// Reads a page of 256 events from the memory engine.
#[library_benchmark]
#[bench::page_256(setup = filled, config = accepted(93_208))]
fn replay(mut bench: Bench) -> Bench {
    let read = Input::Read {
        connection: CONNECTION,
        channel: channel(),
        after: Offset::ZERO,
        bytes_max: 1024 * 1024,
    };
    bench.node.handle(1, read);
    bench.commit();
    bench
}

fn accepted(instructions: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions * 105 / 100)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

struct Side {
    connection: Connection,
    inflater: Inflater,
    now: Instant,
}

fn side() -> Side {
    let now = Instant::now();
    let (limits, timing) = (Arc::new(Limits::default()), Arc::new(Timing::default()));
    let connection =
        Connection::new(now, Role::Server, Compression::Plain, limits, timing, [7; 32]);
    Side { connection, inflater: Inflater::default(), now }
}

fn arrived(size: usize, count: usize) -> (Side, Vec<u8>) {
    let mut input = Vec::new();
    for _ in 0..count {
        let payload = vec![b'x'; size];
        encode_frame(Opcode::Binary, Compression::Plain, Some([1, 2, 3, 4]), &payload, &mut input);
    }
    (side(), input)
}

fn commanded(count: usize) -> (Side, Vec<u8>) {
    let mut input = Vec::new();
    let json = br#"{"requestID":1,"command":"Pause downloader","someOtherThing":"urgent","success":false}"#;
    for _ in 0..count {
        encode_frame(Opcode::Text, Compression::Plain, Some([1, 2, 3, 4]), json, &mut input);
    }
    (side(), input)
}

fn channel() -> ChannelName {
    ChannelName::parse("news").expect("a name")
}

fn payload() -> Payload {
    Payload::text(&"x".repeat(126))
}

fn event_for(encoding: Encoding) -> (Encoding, ServerFrame, Vec<u8>) {
    let event = Event {
        channel: channel(),
        offset: Offset(123_456),
        at_ms: 1_780_000_000_000,
        payload: payload(),
    };
    (encoding, ServerFrame::Event(event), Vec::with_capacity(1024))
}

fn request_in(encoding: Encoding) -> (Encoding, Vec<u8>) {
    let frame = ClientFrame::Request(Request {
        number: 123_456,
        command: "Pause downloader".to_owned(),
        payload: payload(),
        deadline_ms: Some(5000),
    });
    let mut message = Vec::new();
    encoding.encode_client(&frame, &mut message);
    (encoding, message)
}

type Audience = (Hub, Vec<Outbox>, ChannelName, Bytes);

fn subscribed(count: usize) -> Audience {
    let mut hub = Hub::default();
    let channel = channel();
    for subscriber in 0..count {
        hub.subscribe(subscriber, &channel, 1).expect("room");
    }
    let frame = shared_frame(Opcode::Text, Compression::Plain, &[b'x'; 128]);
    let mut outboxes: Vec<Outbox> = (0..count).map(|_| Outbox::default()).collect();
    // As on a connection that is not new.
    for outbox in &mut outboxes {
        outbox.push_shared(frame.clone());
        outbox.advance(frame.len());
    }
    (hub, outboxes, channel, frame)
}

struct Bench {
    node: Node,
    session: SessionId,
    effects: Vec<Effect>,
}

const CONNECTION: ConnectionKey = ConnectionKey(1);

/// A node with one session.
fn opened() -> Bench {
    let log = Box::new(MemoryLog::new());
    let mut node = Node::open(0, NodeConfig::default(), log, [7; 32]).expect("an empty log");
    let hello = Box::new(Hello::default());
    let (principal, source) = (None, [0; 8]);
    node.handle(0, Input::Hello { connection: CONNECTION, principal, source, hello });
    let mut effects = Vec::with_capacity(1024);
    node.commit(0, &mut effects).expect("room");
    let session = effects.drain(..).find_map(|effect| match effect {
        Effect::Send { frame: ServerFrame::Welcome(welcome), .. } => Some(welcome.session),
        _ => None,
    });
    let mut bench = Bench { node, session: session.expect("a welcome"), effects };
    bench.publish(0);
    bench.commit();
    bench
}

fn filled() -> Bench {
    let mut bench = opened();
    for ticket in 0..256 {
        bench.publish(ticket);
    }
    bench.commit();
    bench
}

impl Bench {
    fn publish(&mut self, ticket: u64) {
        let call = Call::Publish { channels: vec![channel()], payload: payload(), key: None };
        self.node.handle(1, Input::Call { ticket: Ticket(ticket), call });
    }

    fn commit(&mut self) {
        self.effects.clear();
        self.node.commit(1, &mut self.effects).expect("room");
    }
}
