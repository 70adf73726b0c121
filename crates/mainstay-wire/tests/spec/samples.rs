//! Frames that show every type and every field that may be left out.

use mainstay_wire::ChannelName;
use mainstay_wire::session::*;

pub(crate) fn client_frames() -> Vec<(&'static str, ClientFrame)> {
    let mut frames = vec![
        ("hello to a new session", new_hello()),
        ("hello to a session that goes on", resuming_hello(vec![cursor("news", 41)])),
        (
            "hello with every manner of cursor",
            resuming_hello(vec![
                Cursor {
                    delivery: Delivery::Latest,
                    ..cursor("prices/eur", 9_007_199_254_740_991)
                },
                Cursor { presence: PresenceMode::Join, ..cursor("room:1", 0) },
                Cursor { presence: PresenceMode::Watch, ..cursor("room:2", 1) },
                Cursor {
                    delivery: Delivery::Latest,
                    presence: PresenceMode::JoinAndWatch,
                    ..cursor(&ChannelName::session_inbox(session()).to_string(), 2)
                },
                cursor("$principal/ann@example.org", 3),
            ]),
        ),
    ];
    frames.extend(payloads().into_iter().map(|(name, payload)| (name, request(1, payload, None))));
    frames.extend([
        (
            "request with a deadline and a name in need of escapes",
            ClientFrame::Request(Request {
                number: 9_007_199_254_740_991,
                command: "a \"b\" \\ \u{1} é 😀".to_owned(),
                payload: json("[]"),
                deadline_ms: Some(1500),
            }),
        ),
        ("publish of JSON", publish(2, json(r#"{"headline":"it works"}"#))),
        ("publish of bytes", publish(3, Payload::binary(vec![0, 255, 128]))),
        ("cancel", ClientFrame::Cancel { number: 4 }),
    ]);
    frames.extend(replies().into_iter().map(|(name, reply)| (name, ClientFrame::Reply(reply))));
    frames.extend(subscribes());
    frames.extend([
        ("unsubscribe", ClientFrame::Unsubscribe { channel: channel("news") }),
        ("ack of outcomes", ClientFrame::Ack(Ack { unanswered_from: 65, cursors: vec![] })),
        (
            "ack of events",
            ClientFrame::Ack(Ack {
                unanswered_from: 1,
                cursors: vec![(channel("news"), Offset(42)), (channel("room:1"), Offset(0))],
            }),
        ),
        ("ping from the client", ClientFrame::Ping),
        ("pong from the client", ClientFrame::Pong),
        ("bye", ClientFrame::Bye),
    ]);
    frames
}

pub(crate) fn server_frames() -> Vec<(&'static str, ServerFrame)> {
    let mut frames = vec![
        ("welcome to a new session", ServerFrame::Welcome(Box::new(welcome(Standing::New)))),
        (
            "welcome back",
            ServerFrame::Welcome(Box::new(Welcome {
                generation: 2,
                accepted: 7,
                principal: Some(principal()),
                ..welcome(Standing::Resumed)
            })),
        ),
        (
            "welcome after the session expired",
            ServerFrame::Welcome(Box::new(Welcome { accepted: 7, ..welcome(Standing::Expired) })),
        ),
        (
            "welcome where the session is unknown",
            ServerFrame::Welcome(Box::new(welcome(Standing::Unknown))),
        ),
    ];
    frames.extend(replies().into_iter().map(|(name, reply)| (name, ServerFrame::Reply(reply))));
    frames.extend([
        (
            "request from the server",
            ServerFrame::Request(Request {
                number: 1,
                command: "Show".to_owned(),
                payload: json("\"now\""),
                deadline_ms: Some(30_000),
            }),
        ),
        ("cancel from the server", ServerFrame::Cancel { number: 1 }),
        ("subscribed", subscribed("news", 41, 42)),
        ("subscribed to an inbox", subscribed("$session/8f3a61c07d9e4b25a1f0c2d3e4b5a697", 0, 0)),
        (
            "unsubscribed as asked",
            ServerFrame::Unsubscribed(Unsubscribed { channel: channel("news"), failure: None }),
        ),
        (
            "unsubscribed because it may not",
            ServerFrame::Unsubscribed(Unsubscribed {
                channel: channel("news"),
                failure: Some(failure(ErrorCode::NotPermitted, "ann may no longer read news")),
            }),
        ),
    ]);
    frames.extend(payloads().into_iter().map(|(name, payload)| (name, event(42, payload))));
    frames.extend(gaps());
    frames.extend([
        (
            "presence of all",
            ServerFrame::Presence(Presence {
                channel: channel("room:1"),
                joined: vec![
                    Member { session: session(), principal: Some(principal()) },
                    Member { session: SessionId::from_bytes([0; 16]), principal: None },
                ],
                left: vec![],
                member_count: 2,
            }),
        ),
        (
            "presence that changes",
            ServerFrame::Presence(Presence {
                channel: channel("room:1"),
                joined: vec![],
                left: vec![Member { session: session(), principal: None }],
                member_count: 1,
            }),
        ),
        ("ack from the server", ServerFrame::Ack { number: 12 }),
        ("ping from the server", ServerFrame::Ping),
        ("pong from the server", ServerFrame::Pong),
        (
            "goaway",
            ServerFrame::Goaway(Goaway { window_ms: 5000, reason: "a new version".to_owned() }),
        ),
        (
            "problem with a channel",
            ServerFrame::Problem(Problem {
                failure: failure(ErrorCode::TooManySubscriptions, "128 is the limit"),
                channel: Some(channel("news")),
            }),
        ),
        (
            "problem with no channel",
            ServerFrame::Problem(Problem {
                failure: failure(ErrorCode::InvalidChannel, "a channel name is empty"),
                channel: None,
            }),
        ),
    ]);
    frames
}

fn payloads() -> Vec<(&'static str, Payload)> {
    vec![
        ("payload null", Payload::NULL),
        ("payload as it was written", json("{ \"b\" : 1.50,\n\"a\":[true, \"\\u00e9é\"] }")),
        ("payload that is a string", Payload::text("it's 5 o'clock")),
        ("payload of bytes", Payload::binary(vec![0xde, 0xad, 0xbe, 0xef])),
        ("payload of no bytes", Payload::binary(vec![])),
    ]
}

fn replies() -> Vec<(&'static str, Reply)> {
    let mut replies = vec![
        ("reply done", Outcome::Done(json(r#"{"paused":true}"#))),
        ("reply done with nothing", Outcome::Done(Payload::NULL)),
        ("reply done with bytes", Outcome::Done(Payload::binary(vec![1, 2, 3, 4]))),
        ("reply published", Outcome::Published { epoch: epoch(), offset: Offset(42) }),
        ("reply failed", Outcome::Failed(failure(ErrorCode::HandlerFailed, "no downloader"))),
        ("reply never ran", Outcome::Failed(failure(ErrorCode::NeverRan, ""))),
        ("reply indeterminate", Outcome::Indeterminate),
    ];
    replies.drain(..).map(|(name, outcome)| (name, Reply { number: 5, outcome })).collect()
}

fn subscribes() -> Vec<(&'static str, ClientFrame)> {
    let whole = Start::After { epoch: None, offset: Offset::ZERO };
    let after = Start::After { epoch: Some(epoch()), offset: Offset(41) };
    let (every, none) = (Delivery::Every, PresenceMode::None);
    [
        ("subscribe from now on", Start::Now, every, none),
        ("subscribe to the whole history", whole, every, none),
        ("subscribe behind a place", after, every, none),
        ("subscribe with the last few", Start::Last(10), every, none),
        ("subscribe with none of the past", Start::Last(0), every, none),
        ("subscribe to the latest", Start::Last(1), Delivery::Latest, none),
        ("subscribe as a member", Start::Now, every, PresenceMode::Join),
        ("subscribe and watch", Start::Now, every, PresenceMode::Watch),
        ("subscribe with everything", after, Delivery::Latest, PresenceMode::JoinAndWatch),
    ]
    .map(|(name, start, delivery, presence)| {
        let channel = channel("news");
        (name, ClientFrame::Subscribe(Subscribe { channel, start, delivery, presence }))
    })
    .to_vec()
}

fn gaps() -> Vec<(&'static str, ServerFrame)> {
    let gap = |to, reason, epoch| {
        ServerFrame::Gap(Gap {
            channel: channel("news"),
            from_epoch: self::epoch(),
            from: Offset(42),
            to,
            reason,
            epoch,
            offset: Offset(50),
        })
    };
    vec![
        ("gap after trimming", gap(Some(Offset(50)), GapReason::Trimmed, epoch())),
        ("gap of another epoch", gap(None, GapReason::Epoch, Epoch(1))),
        ("gap where events were passed over", gap(Some(Offset(50)), GapReason::Conflated, epoch())),
        ("gap of damaged events", gap(Some(Offset(50)), GapReason::Corrupt, epoch())),
    ]
}

pub(crate) fn new_hello() -> ClientFrame {
    ClientFrame::Hello(Box::new(Hello {
        client: "example/1.0".to_owned(),
        unanswered_from: 1,
        ..Hello::default()
    }))
}

pub(crate) fn resuming_hello(cursors: Vec<Cursor>) -> ClientFrame {
    ClientFrame::Hello(Box::new(Hello {
        client: "example/1.0".to_owned(),
        resume: Some((session(), token(0xab))),
        unanswered_from: 3,
        accepted: 1,
        cursors,
    }))
}

pub(crate) fn cursor(channel: &str, offset: u64) -> Cursor {
    Cursor {
        channel: self::channel(channel),
        epoch: epoch(),
        offset: Offset(offset),
        delivery: Delivery::Every,
        presence: PresenceMode::None,
    }
}

pub(crate) fn welcome(standing: Standing) -> Welcome {
    Welcome {
        standing,
        session: session(),
        token: token(0xcd),
        generation: 1,
        accepted: 0,
        principal: None,
        server: "mainstay/0.1.0".to_owned(),
        ping_interval_ms: 25_000,
        session_expiry_ms: 600_000,
        limits: SessionLimits {
            request_count_max: 256,
            message_bytes_max: 65_536,
            subscription_count_max: 128,
            request_bytes_max: Some(1_048_576),
        },
    }
}

pub(crate) fn request(number: u64, payload: Payload, deadline_ms: Option<u64>) -> ClientFrame {
    let command = "Pause downloader".to_owned();
    ClientFrame::Request(Request { number, command, payload, deadline_ms })
}

pub(crate) fn publish(number: u64, payload: Payload) -> ClientFrame {
    ClientFrame::Publish(Publish { number, channel: channel("news"), payload })
}

pub(crate) fn subscribed(channel: &str, offset: u64, head: u64) -> ServerFrame {
    ServerFrame::Subscribed(Subscribed {
        channel: self::channel(channel),
        epoch: epoch(),
        offset: Offset(offset),
        head: Offset(head),
        member_count: 0,
    })
}

pub(crate) fn event(offset: u64, payload: Payload) -> ServerFrame {
    ServerFrame::Event(Event {
        channel: channel("news"),
        offset: Offset(offset),
        at_ms: 1_780_000_000_000,
        payload,
    })
}

pub(crate) fn failure(code: ErrorCode, message: &str) -> Failure {
    Failure { code, message: message.to_owned() }
}

pub(crate) fn json(text: &str) -> Payload {
    Payload::from_json_bytes(text.to_owned())
}

pub(crate) fn channel(name: &str) -> ChannelName {
    ChannelName::parse_any(name).expect("a channel's name")
}

pub(crate) fn session() -> SessionId {
    "8f3a61c07d9e4b25a1f0c2d3e4b5a697".parse().expect("a session")
}

pub(crate) fn token(byte: u8) -> Token {
    Token::from_bytes([byte; 32])
}

pub(crate) fn principal() -> Principal {
    Principal::parse("ann@example.org").expect("a principal")
}

pub(crate) fn epoch() -> Epoch {
    Epoch(0x5bd1_c0aa_31f2_e877)
}
