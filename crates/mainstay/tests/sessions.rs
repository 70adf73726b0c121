//! `mainstay subscribe`, `publish` and `request`, against a server that says what the test says.

#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]
#![expect(clippy::expect_used, reason = "a test states its expectations with expect")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use mainstay_wire::frame::{Compression, FrameHead, Opcode, encode_frame};
use mainstay_wire::handshake::{
    AcceptOptions, HeadLimits, HeadScan, RequestHead, UpgradeRequest, accept,
};
use mainstay_wire::mask::apply_mask;
use mainstay_wire::session::{
    ClientFrame, Encoding, Epoch, ErrorCode, Event, Failure, Gap, GapReason, Hello, Offset,
    Outcome, Payload, Reply, ServerFrame, SessionId, SessionLimits, Standing, Start, Subscribed,
    Token, Welcome,
};
use mainstay_wire::{ChannelName, Role};

struct Talk {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Talk {
    /// Accepts a connection whose hello is welcomed so.
    fn welcome(listener: &TcpListener, standing: Standing, accepted: u64) -> (Talk, Hello) {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut talk = Talk { stream, bytes: Vec::new() };
        let limits = HeadLimits::default();
        let mut scan = HeadScan::default();
        let head_bytes = loop {
            if let Some(head_bytes) = scan.scan(&talk.bytes, &limits).unwrap() {
                break head_bytes;
            }
            assert!(talk.read() > 0, "a whole request");
        };
        let rest = talk.bytes.split_off(head_bytes);
        let head = RequestHead::parse(&talk.bytes, &limits).unwrap();
        let subprotocols = vec![Encoding::Json.subprotocol().to_owned()];
        let options = AcceptOptions { subprotocols, ..AcceptOptions::default() };
        let response = accept(UpgradeRequest::from(&head), &options).unwrap().response();
        talk.stream.write_all(&response).unwrap();
        talk.bytes = rest;
        let ClientFrame::Hello(hello) = talk.hear() else { panic!("no hello") };
        talk.say(ServerFrame::Welcome(Box::new(Welcome {
            standing,
            session: SessionId::from_bytes([1; 16]),
            token: Token::from_bytes([1; 32]),
            generation: 1,
            accepted,
            principal: None,
            server: "test".to_owned(),
            ping_interval_ms: 25_000,
            session_expiry_ms: 600_000,
            limits: SessionLimits {
                request_count_max: 256,
                message_bytes_max: 65_536,
                subscription_count_max: 128,
                request_bytes_max: None,
            },
        })));
        (talk, *hello)
    }

    fn say(&mut self, frame: ServerFrame) {
        let (mut message, mut bytes) = (Vec::new(), Vec::new());
        Encoding::Json.encode_server(&frame, &mut message);
        encode_frame(Opcode::Text, Compression::Plain, None, &message, &mut bytes);
        self.stream.write_all(&bytes).unwrap();
    }

    fn event(&mut self, offset: u64, payload: Payload) {
        let offset = Offset(offset);
        self.say(ServerFrame::Event(Event { channel: news(), offset, at_ms: 7, payload }));
    }

    fn reply(&mut self, number: u64, outcome: Outcome) {
        self.say(ServerFrame::Reply(Reply { number, outcome }));
    }

    fn subscribed(&mut self, offset: u64) {
        let (epoch, offset, head) = (Epoch(5), Offset(offset), Offset(offset));
        let subscribed = Subscribed { channel: news(), epoch, offset, head, member_count: 0 };
        self.say(ServerFrame::Subscribed(subscribed));
    }

    /// The next frame that is no acknowledgement.
    fn hear(&mut self) -> ClientFrame {
        loop {
            let (opcode, payload) = self.frame().expect("a frame");
            assert_eq!(opcode, Opcode::Text);
            match Encoding::Json.decode_client(&payload).unwrap() {
                ClientFrame::Ack(_) => {}
                frame => return frame,
            }
        }
    }

    fn number(&mut self) -> u64 {
        match self.hear() {
            ClientFrame::Request(request) => request.number,
            ClientFrame::Publish(publish) => publish.number,
            other => panic!("{other:?} is no request"),
        }
    }

    /// Takes part in the client's orderly end, whether it says `bye` or closes.
    fn end(mut self) {
        let mut close = Vec::new();
        encode_frame(Opcode::Close, Compression::Plain, None, &1000u16.to_be_bytes(), &mut close);
        while let Some((opcode, payload)) = self.frame() {
            let is_bye = opcode == Opcode::Text
                && Encoding::Json.decode_client(&payload) == Ok(ClientFrame::Bye);
            if is_bye {
                self.stream.write_all(&close).unwrap();
            }
            if opcode == Opcode::Close {
                // After a bye it is the answer to ours, and ours again does no harm.
                let _ = self.stream.write_all(&close);
                return;
            }
        }
    }

    fn frame(&mut self) -> Option<(Opcode, Vec<u8>)> {
        loop {
            let parsed = FrameHead::parse(&self.bytes, Role::Client, Compression::Plain);
            if let Some((head, head_bytes)) = parsed.unwrap() {
                let end = head_bytes + head.payload_bytes as usize;
                if self.bytes.len() >= end {
                    let rest = self.bytes.split_off(end);
                    let mut payload = self.bytes.split_off(head_bytes);
                    self.bytes = rest;
                    apply_mask(&mut payload, head.mask.expect("a client masks"), 0);
                    return Some((head.opcode, payload));
                }
            }
            if self.read() == 0 {
                return None;
            }
        }
    }

    fn read(&mut self) -> usize {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer).unwrap_or(0);
        self.bytes.extend(&buffer[..count]);
        count
    }
}

fn news() -> ChannelName {
    ChannelName::parse("news").unwrap()
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn start(arguments: &[&str], input: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
    command.env_clear().args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child
}

fn finish(child: Child) -> (i32, String, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn failed(code: ErrorCode) -> Outcome {
    Outcome::Failed(Failure { code, message: "sorry\u{1b}[2J".to_owned() })
}

#[test]
fn subscribe_prints_events_and_gaps_and_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (listener, address) = listen();
    let arguments = [
        "subscribe",
        "news",
        "--from",
        "last:3",
        "--count",
        "2",
        "--address",
        &address,
        "--state",
        state.to_str().unwrap(),
    ];
    let child = start(&arguments, "");
    let (mut talk, hello) = Talk::welcome(&listener, Standing::New, 0);
    assert_eq!(hello.cursors, []);
    let ClientFrame::Subscribe(wish) = talk.hear() else { panic!("no subscribe") };
    assert_eq!(wish.start, Start::Last(3));
    talk.subscribed(10);
    talk.event(11, Payload::text("it \u{1b}works"));
    talk.say(ServerFrame::Gap(Gap {
        channel: news(),
        from_epoch: Epoch(5),
        from: Offset(12),
        to: Some(Offset(19)),
        reason: GapReason::Trimmed,
        epoch: Epoch(5),
        offset: Offset(19),
    }));
    talk.event(20, Payload::from_json_bytes("{\"a\": 1.50}"));
    // It was asked for two.
    talk.event(21, Payload::text("not yet"));
    talk.end();
    let (code, out, err) = finish(child);
    assert_eq!((code, out.as_str()), (0, "it \\u{1b}works\n{\"a\": 1.50}\n"), "{err}");
    assert!(err.contains("news: events 12 to 19 are missing"), "{err}");

    let child = start(&[&arguments[..], &["--json"]].concat(), "");
    let (mut talk, hello) = Talk::welcome(&listener, Standing::Resumed, 0);
    assert!(hello.resume.is_some());
    // With the hello or behind it, it begins behind the last event that was printed.
    let place = match hello.cursors.first() {
        Some(cursor) => (Some(cursor.epoch), cursor.offset),
        None => match talk.hear() {
            ClientFrame::Subscribe(wish) => match wish.start {
                Start::After { epoch, offset } => (epoch, offset),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        },
    };
    assert_eq!(place, (Some(Epoch(5)), Offset(20)));
    talk.subscribed(20);
    talk.event(21, Payload::text("now"));
    talk.event(22, Payload::binary(vec![255]));
    talk.end();
    let (code, out, err) = finish(child);
    assert_eq!(code, 0, "{err}");
    let lines: Vec<_> = out.lines().filter(|line| line.contains("\"event\":\"event\"")).collect();
    let line = |offset, payload: &str| {
        format!(
            "{{\"at_ms\":7,\"channel\":\"news\",\"epoch\":\"0000000000000005\",\
             \"event\":\"event\",\"offset\":{offset},{payload}}}"
        )
    };
    assert_eq!(lines, [line(21, "\"payload\":\"now\""), line(22, "\"data\":\"/w==\"")]);
}

#[test]
fn publish_stores_each_line_and_fails_if_one_is_not_stored() {
    let (listener, address) = listen();
    let child = start(&["publish", "news", "-", "--address", &address], "one\ntwo\n\nthree\n");
    let (mut talk, _) = Talk::welcome(&listener, Standing::New, 0);
    let stored = |offset| Outcome::Published { epoch: Epoch(5), offset: Offset(offset) };
    let mut payloads = Vec::new();
    for number in 1..=2 {
        let ClientFrame::Publish(publish) = talk.hear() else { panic!("no publish") };
        assert_eq!(publish.number, number);
        payloads.push(publish.payload);
    }
    talk.reply(1, stored(41));
    // The connection goes, and with it the rest.
    drop(talk);
    let (mut talk, hello) = Talk::welcome(&listener, Standing::Resumed, 2);
    assert!(hello.unanswered_from <= 2);
    talk.reply(1, stored(41));
    talk.reply(2, failed(ErrorCode::TooBig));
    for number in 3..=4 {
        let ClientFrame::Publish(publish) = talk.hear() else { panic!("no publish") };
        payloads.push(publish.payload);
        talk.reply(number, stored(39 + number));
    }
    talk.end();
    let (code, out, err) = finish(child);
    assert_eq!((code, out.as_str()), (1, "news 41\nnews 42\nnews 43\n"), "{err}");
    assert!(err.contains("too_big: sorry\\u{1b}[2J"), "{err}");
    assert_eq!(payloads, ["one", "two", "", "three"].map(Payload::text));
}

#[test]
fn what_one_run_of_publish_has_kept_the_next_one_stores() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let state = state.to_str().unwrap();
    let (listener, address) = listen();
    let child = start(&["publish", "news", "one", "--address", &address, "--state", state], "");
    let (mut talk, _) = Talk::welcome(&listener, Standing::New, 0);
    assert_eq!(talk.number(), 1);
    // Killed before it knows.
    let mut child = child;
    child.kill().unwrap();
    child.wait().unwrap();
    drop(talk);
    let child = start(&["publish", "news", "two", "--address", &address, "--state", state], "");
    let (mut talk, hello) = Talk::welcome(&listener, Standing::Resumed, 1);
    assert!(hello.resume.is_some());
    assert_eq!(talk.number(), 2, "1 was accepted and is not sent again");
    for number in 1..=2 {
        talk.reply(number, Outcome::Published { epoch: Epoch(5), offset: Offset(number) });
    }
    talk.end();
    let (code, out, err) = finish(child);
    assert_eq!((code, out.as_str()), (0, "news 1\nnews 2\n"), "{err}");
    let (code, _, err) = finish(start(&["publish", "news", "x", "--state", state], ""));
    assert_eq!(code, 2);
    assert!(err.contains(&format!("belongs to ws://{address}/server, not to")), "{err}");
}

#[test]
fn request_tells_the_outcome_by_its_code() {
    let cases = [
        (Outcome::Done(Payload::text("done")), 0, "done\n", ""),
        (failed(ErrorCode::HandlerFailed), 1, "", "handler_failed: sorry\\u{1b}[2J"),
        (failed(ErrorCode::NeverRan), 1, "", "it never ran"),
        (Outcome::Indeterminate, 3, "", "whether it ran is unknown"),
    ];
    for (outcome, code, out, err) in cases {
        let (listener, address) = listen();
        let child = start(&["request", "do", "it", "--address", &address, "--deadline", "9s"], "");
        let (mut talk, _) = Talk::welcome(&listener, Standing::New, 0);
        let ClientFrame::Request(request) = talk.hear() else { panic!("no request") };
        assert_eq!((request.command.as_str(), &request.payload), ("do", &Payload::text("it")));
        assert!(request.deadline_ms.is_some_and(|ms| (1..=9000).contains(&ms)));
        talk.reply(1, outcome);
        talk.end();
        let (actual, stdout, stderr) = finish(child);
        assert_eq!((actual, stdout.as_str()), (code, out), "{stderr}");
        assert!(stderr.contains(err), "{stderr}");
    }
}

#[test]
fn what_cannot_be_done_is_said_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("foreign");
    std::fs::write(&foreign, "precious").unwrap();
    let foreign = foreign.to_str().unwrap();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["subscribe", "a b"], 2, "a channel name may hold only"),
        (&["subscribe", "a", "--from", "yesterday"], 2, "a place is now, start or last:N"),
        (&["subscribe", "a", "--state", foreign], 2, "is not a state file of Mainstay"),
        (&["subscribe", "a", "--address", "localhost:1"], 1, "cannot connect to"),
        (&["subscribe"], 2, "<CHANNEL>"),
        (&["publish", "a", "{", "--json"], 2, "with --json a payload is a JSON value"),
        (&["request", "x", "--deadline", "5"], 2, "--deadline"),
        (&["request", "x", "--address", "wss://localhost:1"], 1, "cannot connect to"),
        (&["request", "x", "--ca-file", "/nowhere"], 2, "--ca-file /nowhere: No such file"),
        (&["request", "x", "--ca-file", foreign], 2, "it holds no certificate"),
        (&["request", "x", "--encoding", "xml"], 2, "an encoding is json or protobuf"),
    ];
    for (arguments, code, text) in cases {
        let (actual, out, err) = finish(start(arguments, ""));
        assert_eq!((actual, out.as_str()), (*code, ""), "{arguments:?}: {err}");
        assert!(err.contains(text), "{arguments:?}: {err}");
    }
}

#[test]
fn help_fits_a_hundred_columns() {
    for command in ["subscribe", "publish", "request"] {
        for flag in ["-h", "--help"] {
            let (code, out, _) = finish(start(&[command, flag], ""));
            assert_eq!(code, 0);
            for line in out.lines() {
                assert!(line.chars().count() <= 100, "{line}");
            }
        }
    }
}
