//! Requests and replies, messages, closing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "that is what a test is for")]

mod peer;

use std::time::{Duration, Instant};

use mainstay_client::{
    Builder, Client, ClosedCause, ConnectError, DialError, EndReason, INBOX_COUNT_MAX, Incoming,
    NotSentReason, RequestError, State, Timing,
};
use mainstay_wire::frame::{Compression, Opcode};
use peer::{Peer, Server, within};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::yield_now;

async fn connected() -> (Server, Client, Peer) {
    let server = Server::start().await;
    let (client, peer) = connect(&server, Client::builder(&server.url())).await;
    (server, client, peer)
}

async fn connect(server: &Server, builder: Builder) -> (Client, Peer) {
    let (client, peer) = tokio::join!(builder.connect(), server.accept());
    (client.unwrap(), peer)
}

#[tokio::test]
async fn replies_find_their_requests_in_any_order() {
    let (_server, client, mut peer) = connected().await;
    let asking: Vec<_> = (1..=100)
        .map(|number| {
            let request = client.request(&format!("command {number}"), "now");
            assert_eq!(request.request_id(), number);
            tokio::spawn(request)
        })
        .collect();
    let mut numbers = Vec::new();
    for _ in 0..100 {
        let (number, command) = peer.command().await;
        assert_eq!(command, format!("command {number}"));
        numbers.push(number);
    }
    for number in numbers.into_iter().rev() {
        peer.reply(number, &format!("done {number}")).await;
    }
    for (number, asking) in (1..).zip(asking) {
        let reply = within(asking).await.unwrap().unwrap();
        assert_eq!((reply.request_id, reply.payload), (number, format!("done {number}")));
        assert!(reply.success && reply.round_trip < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn what_answers_nothing_comes_as_a_message() {
    let (_server, client, mut peer) = connected().await;
    let mut messages = client.messages();
    peer.send(r#"{"requestID":0,"command":"news","someOtherThing":"rain"}"#).await;
    peer.send(r#"{"requestID":77,"command":"?","success":true}"#).await;
    peer.send("no JSON").await;
    peer.send_frame(Opcode::Binary, b"\xff\x00").await;
    peer.send_frame(Opcode::Binary, br#"{"command":"binary"}"#).await;
    let command = |request_id, command: &str, payload: &str, success| {
        (request_id, command.to_owned(), payload.to_owned(), success)
    };
    let commands = [
        Some(command(0, "news", "rain", false)),
        Some(command(77, "?", "", true)),
        None,
        None,
        Some(command(0, "binary", "", false)),
    ];
    for expected in commands {
        match (within(messages.recv()).await.unwrap(), expected) {
            (Incoming::Command { request_id, command, payload, success }, Some(expected)) => {
                assert_eq!((request_id, command, payload, success), expected);
            }
            (Incoming::Text(text), None) => assert_eq!(text, "no JSON"),
            (Incoming::Binary(bytes), None) => assert_eq!(bytes, b"\xff\x00"),
            (other, _) => panic!("{other:?}"),
        }
    }
    drop(peer);
    client.close().await;
    assert!(messages.recv().await.is_none());
}

#[tokio::test]
async fn a_second_reply_is_only_a_message() {
    let (_server, client, mut peer) = connected().await;
    let (reply, ()) = tokio::join!(client.request("once", ""), async {
        peer.command().await;
        peer.reply(1, "first").await;
        peer.reply(1, "second").await;
    });
    assert_eq!(reply.unwrap().payload, "first");
    let message = within(client.messages().recv()).await.unwrap();
    assert!(
        matches!(message, Incoming::Command { request_id: 1, payload, .. } if payload == "second")
    );
}

#[tokio::test]
async fn a_drop_in_flight_leaves_the_outcome_unknown() {
    let (_server, client, mut peer) = connected().await;
    let asking = tokio::spawn(client.request("in flight", ""));
    assert_eq!(peer.command().await.0, 1);
    peer.reset();
    match within(asking).await.unwrap() {
        Err(RequestError::Indeterminate { end }) => assert_eq!(end.reason, EndReason::PeerReset),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn without_a_connection_nothing_is_sent() {
    let (server, client, mut peer) = connected().await;
    let mut states = client.states();
    peer.close(1001).await;
    while !matches!(within(states.recv()).await, Some(State::Lost { .. })) {}
    match within(client.request("too late", "")).await {
        Err(RequestError::NotSent { reason: NotSentReason::NotConnected }) => {}
        other => panic!("{other:?}"),
    }
    // The next connection does not hear of it, and the numbers go on.
    let mut peer = within(server.accept()).await;
    while !matches!(within(states.recv()).await, Some(State::Open)) {}
    let _asking = tokio::spawn(client.request("in time", ""));
    assert_eq!(peer.command().await, (2, "in time".to_owned()));
}

#[tokio::test]
async fn a_request_over_the_limit_is_refused_here() {
    let (_server, client, mut peer) = connected().await;
    match within(client.request("x", &"x".repeat(64 * 1024))).await {
        Err(RequestError::NotSent {
            reason: NotSentReason::TooLarge { bytes_max: 65_536, .. },
        }) => {}
        other => panic!("{other:?}"),
    }
    let _asking = tokio::spawn(client.request("small", ""));
    assert_eq!(peer.command().await.1, "small");
}

#[tokio::test]
async fn a_request_times_out_alone() {
    let server = Server::start().await;
    let builder = Client::builder(&server.url()).request_timeout(Some(Duration::from_millis(500)));
    let (client, mut peer) = connect(&server, builder).await;
    let late = within(client.request("late", "")).await;
    assert!(matches!(late, Err(RequestError::TimedOut { .. })), "{late:?}");
    peer.command().await;
    peer.reply(1, "too late").await;
    let (reply, _) = tokio::join!(client.request("next", ""), async {
        let (number, _) = peer.command().await;
        peer.reply(number, "in time").await;
    });
    assert_eq!(reply.unwrap().payload, "in time");
}

#[tokio::test]
async fn more_requests_than_the_table_holds_wait_for_room() {
    let server = Server::start().await;
    let builder = Client::builder(&server.url()).request_timeout(None);
    let (client, mut peer) = connect(&server, builder).await;
    let count_max = mainstay_client::REQUEST_COUNT_MAX;
    let (done, mut replies) = unbounded_channel();
    for _ in 0..count_max + 1 {
        let (request, done) = (client.request("c", ""), done.clone());
        tokio::spawn(async move { done.send(request.await.is_ok()) });
    }
    for _ in 0..count_max {
        peer.command().await;
    }
    assert!(
        tokio::time::timeout(Duration::from_millis(50), peer.frame()).await.is_err(),
        "one more waits"
    );
    peer.reply(1, "").await;
    assert_eq!(within(replies.recv()).await, Some(true));
    assert_eq!(peer.command().await.0, count_max as i64 + 1);
}

#[tokio::test]
async fn what_cannot_be_written_yet_does_not_keep_the_client_from_reading() {
    let (_server, client, mut peer) = connected().await;
    let mut messages = client.messages();
    let filler = "x".repeat(8000);
    // Far more than an outbox and the buffers of two sockets hold, to a server that does not read.
    let requests: Vec<_> = (0..2000)
        .map(|_| {
            let (client, filler) = (client.clone(), filler.clone());
            tokio::spawn(async move { client.request("store", &filler).await })
        })
        .collect();
    // It reads only once the client has read what it sends, which is as much.
    let count: usize = 2000;
    let sending = tokio::spawn(async move {
        for number in 0..count {
            peer.send(&format!("{number} {filler}")).await;
        }
        peer
    });
    for expected in 0..count {
        match within(messages.recv()).await {
            Some(Incoming::Text(text)) => {
                assert_eq!(text.split(' ').next(), Some(expected.to_string().as_str()));
            }
            other => panic!("{other:?}"),
        }
    }
    let mut peer = sending.await.unwrap();
    for _ in 0..2000 {
        let (id, _) = peer.command().await;
        peer.reply(id, "stored").await;
    }
    for request in requests {
        assert_eq!(within(request).await.unwrap().unwrap().payload, "stored");
    }
}

#[tokio::test]
async fn messages_that_are_not_read_make_the_server_wait_and_are_not_lost() {
    let (_server, client, mut peer) = connected().await;
    let mut messages = client.messages();
    // More than the inbox and the buffers of two sockets hold.
    let count: usize = 4000;
    let filler = "x".repeat(8000);
    let (progress, mut sent) = tokio::sync::watch::channel(0);
    let sending = tokio::spawn(async move {
        for number in 0..count {
            // Without a deadline, for it is to be held up.
            let text = format!("{number} {filler}");
            let mut frame = Vec::new();
            mainstay_wire::frame::encode_frame(
                Opcode::Text,
                Compression::Plain,
                None,
                text.as_bytes(),
                &mut frame,
            );
            tokio::io::AsyncWriteExt::write_all(&mut peer.stream, &frame).await.unwrap();
            progress.send_replace(number + 1);
        }
        peer
    });
    // The server is held up: a while passes without its sending anything more.
    loop {
        let before = *sent.borrow_and_update();
        if tokio::time::timeout(Duration::from_millis(300), sent.changed()).await.is_err() {
            assert!(before < count, "never held up");
            break;
        }
        yield_now().await;
    }
    for expected in 0..count {
        match within(messages.recv()).await {
            Some(Incoming::Text(text)) => {
                assert_eq!(text.split(' ').next(), Some(expected.to_string().as_str()));
            }
            other => panic!("{other:?}"),
        }
    }
    within(sending).await.unwrap();
}

#[tokio::test]
async fn messages_that_nobody_wants_hold_no_reply_up() {
    let (_server, client, mut peer) = connected().await;
    drop(client.messages());
    let asking = tokio::spawn(client.request("busy?", ""));
    peer.command().await;
    for _ in 0..3 * INBOX_COUNT_MAX {
        peer.send("noise").await;
    }
    peer.reply(1, "no").await;
    assert_eq!(within(asking).await.unwrap().unwrap().payload, "no");
}

#[tokio::test]
async fn closing_shakes_hands_and_settles_everything() {
    let (server, client, mut peer) = connected().await;
    let asking = tokio::spawn(client.request("in flight", ""));
    peer.command().await;
    let (mut states, other) = (client.states(), client.clone());
    tokio::join!(client.close(), other.close(), async {
        assert_eq!(peer.close_code().await, Some(1000));
        peer.close(1000).await;
        drop(peer);
    });
    match within(asking).await.unwrap() {
        Err(RequestError::Indeterminate { end }) => assert_eq!(end.reason, EndReason::LocalClose),
        other => panic!("{other:?}"),
    }
    assert!(matches!(within(client.request("later", "")).await, Err(RequestError::Closed)));
    while let Some(state) = within(states.recv()).await {
        if let State::Closed { cause } = state {
            assert!(matches!(cause, ClosedCause::Application(Some(_))), "{cause:?}");
        }
    }
    drop(server);
}

#[tokio::test]
async fn closing_ends_even_if_the_server_never_answers() {
    let server = Server::start().await;
    let timing = Timing { close_timeout: Duration::from_millis(200), ..Timing::default() };
    let (client, _mute) = connect(&server, Client::builder(&server.url()).timing(timing)).await;
    let asking = tokio::spawn(client.request("in flight", ""));
    let began_at = Instant::now();
    within(client.close()).await;
    assert!(began_at.elapsed() < Duration::from_secs(5));
    assert!(within(asking).await.unwrap().is_err());
}

#[tokio::test]
async fn dropping_the_last_handle_closes() {
    let (_server, client, mut peer) = connected().await;
    let clone = client.clone();
    drop(client);
    let asking = tokio::spawn(clone.request("still here", ""));
    peer.command().await;
    drop(clone);
    peer.reply(1, "yes").await;
    assert!(within(asking).await.unwrap().is_ok(), "a pending request is a handle too");
    assert_eq!(peer.close_code().await, Some(1000));
}

#[tokio::test]
async fn a_refused_handshake_says_so() {
    let server = Server::start().await;
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let url = server.url();
    let (client, ()) = tokio::join!(Client::connect(&url), server.refuse(refusal));
    let error = client.unwrap_err();
    assert!(error.to_string().contains("403"), "{error}");
    assert!(matches!(error, ConnectError::Handshake(DialError::Refused { status: 403, .. })));
}

#[tokio::test]
async fn a_first_connection_that_fails_is_an_error() {
    let server = Server::start().await;
    let url = server.url();
    drop(server);
    let error = within(Client::connect(&url)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tcp { .. }), "{error}");
    let builder = Client::builder("ws://localhost:1/").header("Host", "other");
    assert!(matches!(within(builder.connect()).await, Err(ConnectError::Options(_))));
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_given_up() {
    let server = Server::start().await;
    let builder = Client::builder(&server.url()).connect_timeout(Duration::from_millis(100));
    let (client, _mute) = tokio::join!(builder.connect(), server.accept_request());
    assert!(matches!(client, Err(ConnectError::TimedOut { .. })));
}

#[tokio::test]
async fn what_comes_in_one_piece_with_the_handshake_is_not_lost() {
    let server = Server::start().await;
    let builder = Client::builder(&server.url()).header("X-Colour", "red").origin("http://here");
    let (client, peer) = tokio::join!(builder.connect(), async {
        let mut peer = server.accept_request().await;
        let key = peer.request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let accept_key = mainstay_wire::handshake::accept_key(key.unwrap());
        let mut bytes = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept_key}\r\n\r\n"
        )
        .into_bytes();
        bytes.extend(b"\x81\x05hello\x81\x02");
        peer.write(&bytes).await;
        peer.write(b"hi").await;
        peer
    });
    let client = client.unwrap();
    for expected in ["hello", "hi"] {
        let message = within(client.messages().recv()).await;
        assert_eq!(message, Some(Incoming::Text(expected.to_owned())));
    }
    assert!(peer.request.contains("\r\nX-Colour: red\r\n"), "{}", peer.request);
    assert!(peer.request.contains("\r\nOrigin: http://here\r\n"), "{}", peer.request);
    assert!(!peer.request.contains("permessage-deflate"), "{}", peer.request);
}

#[tokio::test]
async fn large_requests_are_compressed_if_asked_for() {
    let server = Server::start().await;
    let (client, mut peer) = connect(&server, Client::builder(&server.url()).compress()).await;
    let _asking = tokio::spawn(client.request("c", &"x".repeat(10_000)));
    let frame = peer.frame().await.unwrap();
    assert_eq!(frame.compression, Compression::Deflate);
    assert!(frame.payload.len() < 1000);
    let json = mainstay_wire::deflate::Inflater::default().inflate(&frame.payload, 20_000);
    assert!(json.unwrap().starts_with(b"{\"requestID\":1,"));
}
