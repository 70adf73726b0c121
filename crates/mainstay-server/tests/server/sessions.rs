//! The session dialect over real sockets: connections that end, and sessions that do not.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_server::session::{ErrorCode, Outcome, Payload};
use mainstay_server::{ChannelName, EndReason, Request, Router};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Message, WebSocket};

use crate::support::{Client, PATIENCE, TestServer, gated, short_pings, wait_until};

/// A connection that speaks the session dialect in JSON.
pub(crate) struct Peer {
    pub(crate) socket: WebSocket<TcpStream>,
}

/// What is needed to come back.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) session: String,
    token: String,
}

impl Peer {
    pub(crate) fn open(server: &TestServer) -> Peer {
        Peer::open_as(server, None)
    }

    fn open_as(server: &TestServer, user: Option<&str>) -> Peer {
        let url = format!("ws://{}/server", server.address());
        let mut request = url.into_client_request().expect("a valid request");
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mainstay.v1.json"));
        if let Some(user) = user {
            headers.insert("X-User", HeaderValue::from_str(user).expect("a value"));
        }
        let (socket, response) =
            tungstenite::client(request, server.stream()).expect("the handshake succeeds");
        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "mainstay.v1.json");
        Peer { socket }
    }

    /// A connection with a new session.
    pub(crate) fn begin(server: &TestServer) -> (Peer, Ticket) {
        let mut peer = Peer::open(server);
        let welcome = peer.hello(None, 1, json!([]));
        assert_eq!(welcome["standing"], "new");
        let ticket = Ticket::of(&welcome);
        (peer, ticket)
    }

    pub(crate) fn hello(
        &mut self,
        ticket: Option<&Ticket>,
        unanswered_from: u64,
        cursors: Value,
    ) -> Value {
        let mut hello = json!({
            "type": "hello", "client": "test/1", "unanswered_from": unanswered_from,
            "accepted": 0, "cursors": cursors,
        });
        if let Some(ticket) = ticket {
            hello["session"] = ticket.session.clone().into();
            hello["token"] = ticket.token.clone().into();
        }
        self.say(hello);
        self.expect("welcome")
    }

    pub(crate) fn say(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).expect("sent");
    }

    /// The next frame, whatever it is, but for what the server says of inboxes.
    fn hear(&mut self) -> Value {
        loop {
            match self.socket.read().expect("a message") {
                Message::Text(text) => {
                    let frame: Value = serde_json::from_str(&text).expect("JSON");
                    let is_inbox =
                        frame["channel"].as_str().is_some_and(|channel| channel.starts_with('$'));
                    if !(is_inbox && frame["type"] == "subscribed") {
                        return frame;
                    }
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, kind: &str) -> Value {
        let frame = self.hear();
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    pub(crate) fn subscribe(&mut self, channel: &str, start: Value) -> Value {
        self.say(json!({ "type": "subscribe", "channel": channel, "start": start }));
        self.expect("subscribed")
    }

    pub(crate) fn publish(&mut self, number: u64, channel: &str, payload: Value) {
        self.say(json!({
            "type": "publish", "number": number, "channel": channel, "payload": payload,
        }));
    }

    pub(crate) fn request(&mut self, number: u64, command: &str) {
        self.say(json!({
            "type": "request", "number": number, "command": command, "payload": null,
        }));
    }

    fn close_code(self) -> Option<u16> {
        Client { socket: self.socket }.read_close().map(|(code, _)| code)
    }
}

impl Ticket {
    pub(crate) fn of(welcome: &Value) -> Ticket {
        let text = |field: &str| welcome[field].as_str().expect("a text").to_owned();
        Ticket { session: text("session"), token: text("token") }
    }
}

fn cursor(channel: &str, subscribed: &Value, offset: u64) -> Value {
    json!({ "channel": channel, "epoch": subscribed["epoch"], "offset": offset })
}

pub(crate) fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel).expect("a channel name")
}

/// Appends numbered events and waits until they are stored.
fn append(server: &TestServer, channel: &str, range: std::ops::RangeInclusive<u64>) {
    for count in range {
        let payload = Payload::json(&json!(count));
        let appended = server.server.hub().append(name(channel), payload, None);
        server.runtime.block_on(appended).expect("stored");
    }
}

#[test]
fn a_publisher_hears_its_place_and_subscribers_hear_the_event() {
    let server = TestServer::start();
    let (mut publisher, _) = Peer::begin(&server);
    let (mut listener, _) = Peer::begin(&server);
    let subscribed = listener.subscribe("news", json!("now"));
    publisher.publish(1, "news", json!({ "headline": "it  works" }));
    let reply = publisher.expect("reply");
    assert_eq!(reply["status"], "published");
    assert_eq!((&reply["number"], &reply["offset"]), (&json!(1), &json!(1)));
    assert_eq!(reply["epoch"], subscribed["epoch"]);
    let event = listener.expect("event");
    assert_eq!(event["payload"], json!({ "headline": "it  works" }));
    assert_eq!((&event["channel"], &event["offset"]), (&json!("news"), &json!(1)));
}

#[test]
fn what_was_missed_comes_once_and_in_order_after_a_cut() {
    let server = TestServer::start();
    let (mut listener, ticket) = Peer::begin(&server);
    let subscribed = listener.subscribe("news", json!("now"));
    append(&server, "news", 1..=3);
    for offset in 1..=3 {
        assert_eq!(listener.expect("event")["offset"], offset);
    }
    drop(listener);
    append(&server, "news", 4..=200);
    let mut listener = Peer::open(&server);
    // The third had arrived and was not yet taken by the application.
    let cursors = json!([cursor("news", &subscribed, 2)]);
    let welcome = listener.hello(Some(&ticket), 1, cursors);
    assert_eq!((&welcome["standing"], &welcome["generation"]), (&json!("resumed"), &json!(2)));
    assert_ne!(welcome["token"], json!(ticket.token), "each welcome brings a new token");
    assert_eq!(listener.expect("subscribed")["offset"], 2);
    append(&server, "news", 201..=220);
    for offset in 3..=220 {
        let event = listener.expect("event");
        assert_eq!((&event["offset"], &event["payload"]), (&json!(offset), &json!(offset)));
    }
}

#[test]
fn a_resume_beats_the_connection_that_nobody_knows_to_be_dead() {
    let server = TestServer::start();
    let (zombie, ticket) = Peer::begin(&server);
    let mut heir = Peer::open(&server);
    let welcome = heir.hello(Some(&ticket), 1, json!([]));
    assert_eq!(welcome["standing"], "resumed");
    assert_eq!(zombie.close_code(), Some(4200));
    server.wait_for_ends(EndReason::Superseded, 1);
    heir.publish(1, "news", json!(1));
    assert_eq!(heir.expect("reply")["status"], "published");
    // The token before last is spent.
    let mut thief = Peer::open(&server);
    thief.say(json!({
        "type": "hello", "client": "thief", "session": ticket.session, "token": ticket.token,
        "unanswered_from": 1, "accepted": 0, "cursors": [],
    }));
    assert_eq!(thief.close_code(), Some(4100));
}

#[test]
fn a_handler_runs_once_and_its_outcome_waits_for_the_client() {
    let runs = Arc::new(AtomicUsize::new(0));
    let (router, gate) = gated();
    let counted = runs.clone();
    let router = router.handler("count", move |request: Request| {
        let count = counted.fetch_add(1, Ordering::Relaxed) + 1;
        async move { Ok(format!("{count} by {}", request.idempotency_key().expect("a key"))) }
    });
    let server = TestServer::with(router, |_| {});
    let (mut peer, ticket) = Peer::begin(&server);
    peer.request(1, "count");
    let reply = peer.expect("reply");
    assert_eq!(reply["payload"], json!(format!("1 by {}:1", ticket.session)));
    peer.request(2, "wait");
    peer.request(3, "count");
    wait_until("the handler to run", || server.stats().commands >= 2);
    drop(peer);
    gate.add_permits(1);
    let mut peer = Peer::open(&server);
    let welcome = peer.hello(Some(&ticket), 1, json!([]));
    assert!(welcome["accepted"] == 2 || welcome["accepted"] == 3, "{welcome}");
    // The first two were accepted before the cut; the third is sent again, as a client does.
    let accepted = welcome["accepted"].as_u64().expect("a number");
    if accepted < 3 {
        peer.request(3, "count");
    }
    let replies: Vec<Value> = (0..3).map(|_| peer.expect("reply")).collect();
    let numbers: Vec<&Value> = replies.iter().map(|reply| &reply["number"]).collect();
    assert_eq!(numbers, [&json!(1), &json!(2), &json!(3)]);
    assert_eq!(replies[0]["payload"], reply["payload"], "the stored outcome, not another run");
    assert_eq!(replies[1]["payload"], "done");
    assert_eq!(replies[2]["payload"], json!(format!("2 by {}:3", ticket.session)));
    assert_eq!(runs.load(Ordering::Relaxed), 2);
}

#[test]
fn who_reads_slowly_reads_everything() {
    let server = TestServer::configured(|config| {
        config.limits.outbox_bytes_max = 16 * 1024;
        config.node.channel_retention.count_max = 100_000;
        config.node.channel_retention.bytes_max = 1 << 30;
    });
    let (mut slow, _) = Peer::begin(&server);
    let (mut quick, _) = Peer::begin(&server);
    slow.subscribe("news", json!("now"));
    quick.subscribe("news", json!("now"));
    // Far more than the sockets' buffers and the outbox take.
    let filler = "x".repeat(4_000);
    let count = 6_000;
    for number in 1..=count {
        let payload = Payload::json(&json!({ "number": number, "filler": filler }));
        let appended = server.server.hub().append(name("news"), payload, None);
        server.runtime.block_on(appended).expect("stored");
        assert_eq!(quick.expect("event")["offset"], number, "nobody waits for the slow one");
    }
    for number in 1..=count {
        let event = slow.expect("event");
        assert_eq!(
            (&event["offset"], &event["payload"]["number"]),
            (&json!(number), &json!(number))
        );
    }
    append(&server, "news", count + 1..=count + 1);
    assert_eq!(slow.expect("event")["offset"], count + 1, "it is live again");
}

#[test]
fn what_is_no_longer_kept_is_a_gap() {
    let server = TestServer::configured(|config| config.node.channel_retention.count_max = 10);
    let (mut listener, ticket) = Peer::begin(&server);
    let subscribed = listener.subscribe("news", json!("now"));
    drop(listener);
    append(&server, "news", 1..=100);
    let mut listener = Peer::open(&server);
    listener.hello(Some(&ticket), 1, json!([cursor("news", &subscribed, 0)]));
    listener.expect("subscribed");
    let gap = listener.expect("gap");
    assert_eq!(
        (&gap["from"], &gap["to"], &gap["reason"]),
        (&json!(1), &json!(90), &json!("trimmed"))
    );
    for offset in 91..=100 {
        assert_eq!(listener.expect("event")["offset"], offset);
    }
    // Of another incarnation nobody knows how many there were.
    let mut stranger = Peer::begin(&server).0;
    stranger.say(json!({
        "type": "subscribe", "channel": "news",
        "start": { "after": 7, "epoch": "0123456789abcdef" },
    }));
    stranger.expect("subscribed");
    let gap = stranger.expect("gap");
    assert_eq!(
        (&gap["to"], &gap["reason"], &gap["offset"]),
        (&Value::Null, &json!("epoch"), &json!(90))
    );
    assert_eq!(stranger.expect("event")["offset"], 91);
}

#[test]
fn what_breaks_the_dialect_ends_the_connection_and_what_is_only_wrong_does_not() {
    let server = TestServer::start();
    for (message, code) in [
        (json!({ "type": "publish", "number": 1, "channel": "news", "payload": 1 }), 4201),
        (json!({ "type": "welcome" }), 4201),
        (json!("hello"), 4201),
    ] {
        let mut peer = Peer::open(&server);
        peer.say(message.clone());
        assert_eq!(peer.close_code(), Some(code), "{message} before hello");
    }
    for message in [
        json!({ "type": "hello", "client": "x", "unanswered_from": 1, "accepted": 0, "cursors": [] }),
        json!({ "type": "publish", "number": 2, "channel": "news", "payload": 1 }),
        json!({ "type": "no such type" }),
    ] {
        let (mut peer, _) = Peer::begin(&server);
        peer.say(message.clone());
        assert_eq!(peer.close_code(), Some(4201), "{message} after hello");
    }
    let (mut peer, _) = Peer::begin(&server);
    peer.say(json!({ "type": "subscribe", "channel": "no spaces", "start": "now" }));
    assert_eq!(peer.expect("problem")["error"], "invalid_channel");
    peer.say(json!({ "type": "subscribe", "channel": "$session/0", "start": "now" }));
    assert_eq!(peer.expect("problem")["error"], "invalid_channel");
    peer.publish(1, "no spaces", json!(1));
    let reply = peer.expect("reply");
    assert_eq!((&reply["status"], &reply["error"]), (&json!("failed"), &json!("invalid_channel")));
    peer.publish(2, "news", json!(1));
    assert_eq!(peer.expect("reply")["status"], "published", "the connection stays");
}

#[test]
fn who_says_no_hello_is_let_go() {
    let server = TestServer::configured(|config| {
        config.hello_timeout = Duration::from_millis(50);
    });
    let silent = Peer::open(&server);
    assert_eq!(silent.close_code(), Some(4005));
    server.wait_for_ends(EndReason::HelloTimeout, 1);
    let (mut greeted, _) = Peer::begin(&server);
    std::thread::sleep(Duration::from_millis(100));
    greeted.publish(1, "news", json!(1));
    assert_eq!(greeted.expect("reply")["status"], "published", "the hello was in time");
}

#[test]
fn heartbeats_are_frames_that_a_page_can_see() {
    let server = TestServer::configured(short_pings);
    let (mut peer, _) = Peer::begin(&server);
    for _ in 0..3 {
        peer.expect("ping");
        peer.say(json!({ "type": "pong" }));
    }
    peer.say(json!({ "type": "ping" }));
    while peer.hear()["type"] != "pong" {}
}

#[test]
fn the_server_asks_and_the_client_answers_over_whichever_connection() {
    let server = TestServer::start();
    let (mut peer, ticket) = Peer::begin(&server);
    let hub = server.server.hub().clone();
    let session = ticket.session.parse().expect("an id");
    let asked = server.runtime.spawn(async move {
        hub.command(session, "zoom", Payload::json(&json!({ "to": 3 })), PATIENCE).await
    });
    let request = peer.expect("request");
    assert_eq!((&request["number"], &request["command"]), (&json!(1), &json!("zoom")));
    drop(peer);
    let mut peer = Peer::open(&server);
    peer.hello(Some(&ticket), 1, json!([]));
    let again = peer.expect("request");
    assert_eq!(again["number"], 1, "it was not accepted, so it comes again");
    peer.say(json!({ "type": "reply", "number": 1, "status": "done", "payload": "zoomed" }));
    let outcome = server.runtime.block_on(asked).expect("joined").expect("an outcome");
    assert_eq!(outcome, Outcome::Done(Payload::text("zoomed")));
    assert_eq!(peer.expect("ack")["number"], 1);
}

#[test]
fn both_dialects_and_both_encodings_hear_each_other() {
    let server = TestServer::start();
    let mut plain = server.client_at("/server?channel=news");
    let (mut peer, _) = Peer::begin(&server);
    peer.subscribe("news", json!("now"));
    server.server.hub().publish("news", "from \"the\" program").expect("published");
    peer.publish(1, "news", json!("from a session"));
    peer.publish(2, "news", json!({ "a": 1 }));
    for expected in ["from \"the\" program", "from a session", "{\"a\":1}"] {
        assert_eq!(plain.receive()["someOtherThing"], expected);
    }
    let mut events = Vec::new();
    while events.len() < 3 {
        let frame = peer.hear();
        if frame["type"] == "event" {
            events.push(frame["payload"].clone());
        }
    }
    let expected = [json!("from \"the\" program"), json!("from a session"), json!({ "a": 1 })];
    assert_eq!(events, expected);
}

#[test]
fn a_principal_is_who_the_proxy_says() {
    let server = TestServer::configured(|config| {
        config.principal_header = Some("X-User".to_owned());
    });
    let mut peer = Peer::open_as(&server, Some("ann@example.org"));
    let welcome = peer.hello(None, 1, json!([]));
    assert_eq!(welcome["principal"], "ann@example.org");
    let ticket = Ticket::of(&welcome);
    let mut other = Peer::open_as(&server, Some("bob"));
    other.say(json!({
        "type": "hello", "client": "x", "session": ticket.session, "token": ticket.token,
        "unanswered_from": 1, "accepted": 0, "cursors": [],
    }));
    assert_eq!(other.close_code(), Some(4100), "a session is its principal's alone");
}

#[test]
fn a_handler_is_stopped_at_its_deadline_and_by_a_cancel() {
    let (router, _gate) = gated();
    let server = TestServer::with(router, |_| {});
    let (mut peer, _) = Peer::begin(&server);
    peer.say(json!({
        "type": "request", "number": 1, "command": "wait", "payload": null, "deadline_ms": 30,
    }));
    assert_eq!(peer.expect("reply")["error"], "deadline_exceeded");
    peer.request(2, "wait");
    peer.request(3, "wait");
    peer.say(json!({ "type": "cancel", "number": 3 }));
    peer.say(json!({ "type": "cancel", "number": 2 }));
    for number in 2..=3 {
        let reply = peer.expect("reply");
        assert_eq!((&reply["number"], &reply["error"]), (&json!(number), &json!("cancelled")));
    }
    peer.request(4, "Pause downloader");
    assert_eq!(peer.expect("reply")["payload"], "Server processed command: Pause downloader");
}

#[test]
fn a_handler_that_panics_costs_its_own_request_alone() {
    let router = Router::new().handler("panic", |_| async { panic!("on purpose") }).handler(
        "late panic",
        |_| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            panic!("on purpose")
        },
    );
    let server = TestServer::with(router, |_| {});
    let (mut peer, _) = Peer::begin(&server);
    for (number, command) in [(1, "panic"), (2, "late panic")] {
        peer.request(number, command);
        let reply = peer.expect("reply");
        assert_eq!((&reply["status"], &reply["error"]), (&json!("failed"), &json!("internal")));
        assert!(!reply["message"].as_str().expect("a text").contains("on purpose"));
    }
    assert_eq!(server.stats().handler_panics, 2);
    peer.request(3, "Pause downloader");
    assert_eq!(peer.expect("reply")["status"], "done");
}

#[test]
fn a_server_that_stops_says_so_and_keeps_what_it_promised() {
    let server = TestServer::configured(|config| config.drain_window = Duration::ZERO);
    let (mut peer, _) = Peer::begin(&server);
    let code = std::thread::scope(|scope| {
        scope.spawn(|| server.runtime.block_on(server.server.drain()).expect("drained"));
        let mut goaway = None;
        loop {
            match peer.socket.read() {
                Ok(Message::Text(text)) if text.contains("goaway") => goaway = Some(text),
                Ok(Message::Close(frame)) => {
                    break frame.map(|frame| (u16::from(frame.code), goaway.is_some()));
                }
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
    assert_eq!(code, Some((1001, true)));
}

#[test]
fn a_server_that_stops_waits_for_handlers_whose_connections_have_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let configure = |config: &mut mainstay_server::Config| {
        config.drain_window = Duration::ZERO;
        config.data_dir = Some(folder.path().to_owned());
    };
    let (router, gate) = gated();
    let server = TestServer::with(router, configure);
    let (mut peer, ticket) = Peer::begin(&server);
    peer.request(1, "wait");
    wait_until("the handler to run", || server.stats().commands >= 1);
    let draining = server.runtime.spawn({
        let gate = gate.clone();
        let code = std::thread::spawn(move || peer.close_code());
        async move {
            let code = tokio::task::spawn_blocking(move || code.join()).await;
            assert_eq!(code.expect("joined").expect("no panic"), Some(1001));
            gate.add_permits(1);
        }
    });
    server.runtime.block_on(server.server.drain()).expect("drained");
    server.runtime.block_on(draining).expect("the client was let go");
    drop(server);
    let server = TestServer::configured(configure);
    let mut back = Peer::open(&server);
    assert_eq!(back.hello(Some(&ticket), 1, json!([]))["accepted"], 1);
    let reply = back.expect("reply");
    assert_eq!((&reply["status"], &reply["payload"]), (&json!("done"), &json!("done")));
}

#[test]
fn a_goodbye_ends_the_session() {
    let server = TestServer::start();
    let (mut peer, ticket) = Peer::begin(&server);
    peer.say(json!({ "type": "bye" }));
    assert_eq!(peer.close_code(), Some(1000));
    let mut back = Peer::open(&server);
    assert_eq!(back.hello(Some(&ticket), 1, json!([]))["standing"], "unknown");
}

#[test]
fn a_result_that_is_too_big_costs_its_request_and_not_the_session() {
    let router = Router::new().payload_handler("big", |_| async {
        // As bytes it would do; in JSON they are a third more.
        Ok(Payload::binary(vec![0; 60_000]))
    });
    let server = TestServer::with(router, |_| {});
    let (mut peer, ticket) = Peer::begin(&server);
    peer.request(1, "big");
    let check = |reply: Value| {
        assert_eq!((&reply["number"], &reply["error"]), (&json!(1), &json!("too_big")), "{reply}");
        let message = reply["message"].as_str().expect("a text");
        assert!(message.contains("80") && message.contains("65536"), "{message}");
    };
    check(peer.expect("reply"));
    drop(peer);
    let mut peer = Peer::open(&server);
    let welcome = peer.hello(Some(&ticket), 1, json!([]));
    assert_eq!(welcome["limits"]["request_bytes_max"], 1_048_576);
    check(peer.expect("reply"));
    // Neither does a command to the client that it could not take.
    let hub = server.server.hub().clone();
    let session = ticket.session.parse().expect("an id");
    let payload = Payload::text(&"x".repeat(70_000));
    let refused = server.runtime.block_on(hub.command(session, "zoom", payload, PATIENCE));
    assert_eq!(refused.expect_err("too big").code, ErrorCode::TooBig);
    peer.request(2, "Pause downloader");
    assert_eq!(peer.expect("reply")["status"], "done");
}
