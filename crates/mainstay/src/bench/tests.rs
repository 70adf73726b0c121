//! The command line, and whole runs against a small server in this process that can misbehave.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use clap::{CommandFactory, Parser};
use mainstay_wire::command::CommandMessage;
use mainstay_wire::deflate::Inflater;
use mainstay_wire::frame::{Compression, encode_frame};
use mainstay_wire::handshake::{HeadLimits, RequestHead, accept_key};
use mainstay_wire::{Limits, Message, Reader, Role};

use super::load::LoadError;
use super::report::LoadReport;
use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Everything is answered.
    Right,
    /// The tenth reply of each connection is another's.
    Wrong,
    /// It stands still for a while before the tenth reply of each connection.
    Stalling,
    /// Each connection is closed instead of the tenth reply.
    Closing,
    /// The stream just ends instead of the tenth reply.
    Vanishing,
    /// The handshake is refused.
    Refusing,
}

const STALL: Duration = Duration::from_millis(400);

/// Serves connections until the process ends.
fn start_server(manner: Manner) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || serve(stream, manner));
        }
    });
    address
}

fn serve(mut stream: TcpStream, manner: Manner) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    if manner == Manner::Refusing {
        let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\nnot you\n");
        return;
    }
    let head = RequestHead::parse(&head, &HeadLimits::default()).unwrap();
    let key = std::str::from_utf8(head.header("Sec-WebSocket-Key").unwrap()).unwrap();
    let mut out = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept_key(key)
    )
    .into_bytes();
    // What comes right behind the answer must not be lost.
    encode_frame(Opcode::Ping, Compression::Plain, None, b"there?", &mut out);
    let (mut reader, mut inflater) =
        (Reader::new(Role::Client, Compression::Plain), Inflater::default());
    let (mut buffer, mut count) = (vec![0; 65_536], 0);
    loop {
        if stream.write_all(&out).is_err() {
            return;
        }
        out.clear();
        let Ok(read @ 1..) = stream.read(&mut buffer) else { return };
        let mut input = &mut buffer[..read];
        while let Some(message) =
            reader.read(&mut input, &Limits::default(), &mut inflater).expect("valid frames")
        {
            count += usize::from(matches!(message, Message::Text(_) | Message::Binary(_)));
            if count == 10 && manner == Manner::Closing {
                encode_frame(Opcode::Close, Compression::Plain, None, b"\x03\xe9away", &mut out);
                let _ = stream.write_all(&out);
                return;
            }
            if count == 10 && manner == Manner::Vanishing {
                let _ = stream.write_all(&out);
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            if count == 10 && manner == Manner::Stalling {
                thread::sleep(STALL);
            }
            answer(&message, count == 10 && manner == Manner::Wrong, &mut out);
        }
    }
}

fn answer(message: &Message<'_>, is_wrong: bool, out: &mut Vec<u8>) {
    match message {
        Message::Binary(bytes) => {
            let mut bytes = bytes.to_vec();
            bytes[0] ^= u8::from(is_wrong);
            encode_frame(Opcode::Binary, Compression::Plain, None, &bytes, out);
        }
        Message::Text(text) => {
            let mut message = CommandMessage::parse(text.as_bytes()).unwrap();
            message.success = true;
            message.request_id += i64::from(is_wrong);
            let mut json = Vec::new();
            message.write(&mut json);
            encode_frame(Opcode::Text, Compression::Plain, None, &json, out);
        }
        Message::Close(_) => {
            encode_frame(Opcode::Close, Compression::Plain, None, &[3, 232], out);
        }
        Message::Pong(payload) => assert_eq!(&**payload, b"there?"),
        Message::Ping(_) => panic!("nobody pings the server"),
    }
}

fn load(
    address: SocketAddr,
    duration: Duration,
    interrupt: impl FnOnce(ProgressBar, Arc<AtomicBool>),
    traffic: impl Fn() -> Traffic,
) -> Result<LoadReport, LoadError> {
    load_at(None, address, duration, interrupt, traffic)
}

fn load_at(
    rate: Option<Rate>,
    address: SocketAddr,
    duration: Duration,
    interrupt: impl FnOnce(ProgressBar, Arc<AtomicBool>),
    traffic: impl Fn() -> Traffic,
) -> Result<LoadReport, LoadError> {
    let url = format!("ws://{address}/server");
    let target = Target::find(&url, None, Reach::Loopback).unwrap();
    let load = Load {
        what: "test",
        target: &target,
        spread: Spread { connection_count: 6, thread_count: 2, source_count: 3, rate },
        warm_up: Duration::ZERO,
        duration,
        depth: 4,
        server: Some(Process::own()),
        bar: ProgressBar::hidden(),
        interrupted: Arc::default(),
    };
    interrupt(load.bar.clone(), Arc::clone(&load.interrupted));
    load::run(&load, traffic)
}

fn echo_and_commands(manner: Manner) -> [Result<LoadReport, LoadError>; 2] {
    let (address, duration) = (start_server(manner), Duration::from_millis(200));
    [
        load(address, duration, |_, _| {}, || Traffic::echo(Opcode::Binary, 64, 4)),
        load(address, duration, |_, _| {}, || Traffic::commands("Stop", "now", 4)),
    ]
}

#[test]
fn what_is_answered_rightly_is_flawless() {
    for report in echo_and_commands(Manner::Right) {
        let report = report.unwrap();
        assert!(report.tally.is_flawless(), "{report}");
        assert!(!report.tally.latency_ns.is_empty(), "{report}");
        assert!(report.tally.sent_bytes > 0 && report.tally.received_bytes > 0, "{report}");
        assert!(report.server.unwrap().us_per_message.is_some(), "{report}");
    }
}

#[test]
fn a_wrong_reply_is_counted_and_the_load_goes_on() {
    for report in echo_and_commands(Manner::Wrong) {
        let report = report.unwrap();
        assert_eq!(report.tally.wrong_count, 6, "one on each connection: {report}");
        assert!(report.tally.ends.is_empty() && report.tally.unanswered_count == 0, "{report}");
        assert!(matches!(Outcome::of(&report.tally), Outcome::Flawed));
    }
}

#[test]
fn connections_that_the_server_ends_are_counted_by_the_way_they_ended() {
    for (manner, end) in
        [(Manner::Closing, "1001 away"), (Manner::Vanishing, "end of stream without a close frame")]
    {
        for report in echo_and_commands(manner) {
            let report = report.unwrap();
            assert_eq!(report.tally.ends.get(end), Some(&6), "{report}");
            // The tenth request is the second of a batch of four.
            assert_eq!(report.tally.unanswered_count, 6 * 3, "{report}");
        }
    }
}

#[test]
fn an_open_loop_sends_at_its_rate_and_loses_no_time_of_waiting() {
    let (rate, duration) = (Rate(2000), Duration::from_secs(1));
    for (manner, slow_count_min) in [(Manner::Right, 0), (Manner::Stalling, 300)] {
        let traffic = || Traffic::commands("Stop", "now", 4);
        let address = start_server(manner);
        let report = load_at(Some(rate), address, duration, |_, _| {}, traffic).unwrap();
        assert!(report.tally.is_flawless() && report.rate == Some(rate), "{report}");
        let Tally { latency_ns, late_ns, .. } = &report.tally;
        // Whatever was sent is in the latency, whenever it was answered.
        assert!(!latency_ns.is_empty() && latency_ns.len() == late_ns.len(), "{report}");
        // 800 messages were to be sent while the server stood still. A load that waited with it would
        // have sent one batch on each connection.
        let slow = STALL.as_nanos() as u64 / 4;
        let slow_count = latency_ns.len() - latency_ns.count_between(0, slow);
        assert!(slow_count >= slow_count_min, "{slow_count} {report}");
    }
}

#[test]
fn a_refused_handshake_ends_the_run_with_its_reason() {
    for report in echo_and_commands(Manner::Refusing) {
        let error = report.err().unwrap().to_string();
        assert_eq!(error, "handshake refused with status 403: not you");
    }
}

#[test]
fn where_nobody_listens_the_run_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let traffic = || Traffic::commands("", "", 1);
    let error = load(address, Duration::from_millis(200), |_, _| {}, traffic).err().unwrap();
    assert_eq!(error.to_string(), "connection refused: no server there");
}

#[test]
fn an_interrupted_load_still_tells_what_it_measured() {
    let address = start_server(Manner::Right);
    let interrupt = |bar: ProgressBar, interrupted: Arc<AtomicBool>| {
        thread::spawn(move || {
            // The bar tells the rate as soon as there is one.
            let is_measuring =
                |text: &str| text.starts_with("measuring: ") && text != "measuring: 0 messages/s";
            while !is_measuring(&bar.message()) {
                thread::yield_now();
            }
            interrupted.store(true, Ordering::Relaxed);
        });
    };
    let traffic = || Traffic::commands("Stop", "now", 4);
    let report = load(address, DURATION_MAX, interrupt, traffic).unwrap();
    assert!(report.is_interrupted && report.elapsed < DURATION_MAX, "{report}");
    assert!(report.tally.is_flawless() && !report.tally.latency_ns.is_empty(), "{report}");
}

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    arguments: Arguments,
}

fn parse(line: &str) -> Result<What, String> {
    CommandLine::try_parse_from(["bench"].into_iter().chain(line.split(' ')))
        .map(|line| line.arguments.what)
        .map_err(|error| error.to_string())
}

#[test]
fn the_command_line_is_sound() {
    CommandLine::command().debug_assert();
}

#[test]
fn arguments_are_read() {
    let line = "echo --url ws://127.0.0.1:8080/server --connections 7 --depth 16 --bytes 65536 \
                --duration 2m --warmup 500ms --threads 2 --message-type text --pid 1 --rate 5000 --json";
    let Ok(What::Echo(echo)) = parse(line) else { panic!("{line}") };
    assert_eq!((echo.load.connections, echo.load.depth, echo.bytes), (7, 16, 65_536));
    assert_eq!(echo.load.duration, Duration::from_secs(120));
    assert_eq!(echo.load.warmup, Duration::from_millis(500));
    assert_eq!(echo.load.rate, Some(5000));
    assert_eq!((echo.load.pid, echo.message_type), (Some(1), MessageType::Text));
    assert!(echo.load.target.json && !echo.load.target.allow_remote);

    let Ok(What::Idle(idle)) = parse("idle --pid 3 --source-addresses 9") else { panic!() };
    assert_eq!((idle.connections, idle.target.source_addresses), (10_000, Some(9)));
    let Ok(What::Commands(commands)) = parse("commands --command Stop") else { panic!() };
    assert_eq!((&*commands.command, commands.load.depth), ("Stop", 1));
}

#[test]
fn loads_of_sessions_are_read() {
    for line in [
        "fanout --subscribers 10 --burst 16 --events 100 --payload 2 --encoding protobuf --json",
        "fanout --channels 100000",
        "publish --rate 5000 --connections 7 --channels 3 --depth 128 --warmup 0s --pid 1",
        "publish --rate max --url ws://127.0.0.1:1/server",
        "resume --sessions 3 --missed 10000",
        "resume --herd 10000 --subscriptions 2 --spawn -- --data-dir data --shards 1",
        "sessions --sessions 19000 --subscriptions 0 --source-addresses 1 --spawn",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
    for line in [
        "fanout --burst 129",
        "fanout --payload 1",
        "fanout --channels 0",
        "fanout --subscribers 20000",
        "fanout --spawn --pid 1",
        "fanout -- --shards 1",
        "publish --rate 0",
        "publish --rate fast",
        "publish --duration 11m",
        "resume --missed 10001",
        "resume --herd 10",
        "resume --herd 10 --missed 5 --spawn",
        "sessions --encoding xml",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    for line in [
        "echo --duration 601s",
        "echo --duration 10",
        "echo --warmup soon",
        "echo --connections 0",
        "echo --depth 0",
        "echo --bytes 0",
        "echo --rate 0",
        "echo --rate max",
        "idle --pid 1 --rate 5",
        "commands --depth 4097",
        "commands --threads 0",
        "commands --bytes 7",
        "idle",
        "idle --pid x",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
    assert!(parse("echo --duration 10m").is_ok());
}

#[test]
fn what_cannot_work_is_refused_before_anything_opens() {
    let problem = |line: &str| match parse(line) {
        Ok(What::Echo(echo)) => match run_echo(&echo) {
            Err(error) => (error.exit_code, error.problem),
            Ok(_) => panic!("{line}"),
        },
        _ => panic!("{line}"),
    };
    for (line, part) in [
        ("echo --url ws://192.0.2.1/", "--allow-remote"),
        ("echo --url wss://127.0.0.1/", "TLS"),
        ("echo --url ws://127.0.0.1/ --depth 4096 --bytes 65536", "--depth times --bytes"),
        ("echo --url ws://127.0.0.1/ --duration 0s", "--duration"),
        ("echo --url ws://[::1]:1/ --source-addresses 2", "--source-addresses"),
    ] {
        let (exit_code, problem) = problem(line);
        assert_eq!(exit_code, crate::EXIT_USAGE, "{line}");
        assert!(problem.contains(part), "{line}: {problem}");
    }
    let many = "echo --url ws://127.0.0.1:1/ --connections 1000000";
    let (exit_code, problem) = problem(many);
    assert_eq!(exit_code, crate::EXIT_FAILED);
    assert!(problem.contains("open files") || problem.contains("refused"), "{problem}");
}
