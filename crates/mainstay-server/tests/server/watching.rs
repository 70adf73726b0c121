//! Counters, gauges and the journal of a server.

use std::net::Shutdown;

use mainstay_server::session::Payload;
use mainstay_server::{EndReason, JournalQuery};
use serde_json::json;
use tungstenite::Message;

use crate::sessions::{Peer, Ticket, name};
use crate::support::{TestServer, exchange, handshake, wait_until};

/// What the journal tells: happening and reason.
fn told(server: &TestServer, session: Option<&str>) -> Vec<String> {
    let session = session.map(|id| id.parse().expect("an id"));
    let query = JournalQuery { session, count_max: 1_000, ..JournalQuery::default() };
    let page = server.server.hub().journal(&query);
    let line = |happening: &str, reason: Option<&str>| match reason {
        Some(reason) => format!("{happening} {reason}"),
        None => happening.to_owned(),
    };
    page.entries.iter().map(|e| line(e.note.happening.word(), e.note.reason)).collect()
}

fn wait_for_story(server: &TestServer, session: Option<&str>, story: &[&str]) {
    wait_until(&format!("{story:?}, not {:?}", told(server, session)), || {
        told(server, session).len() >= story.len()
    });
    assert_eq!(told(server, session), story);
}

#[test]
fn bytes_and_messages_are_counted_as_they_come_and_go() {
    let server = TestServer::start();
    let mut raw = server.raw("");
    let commands = [r#"{"requestID":1,"command":"a"}"#, r#"{"requestID":2,"command":"b"}"#];
    let mut written = 0;
    for command in commands {
        raw.send(0x81, command.as_bytes()).expect("sent");
        // Two bytes of head and four of mask.
        written += command.len() + 6;
    }
    raw.send(0x89, b"ping").expect("sent");
    written += 4 + 6;
    let mut read = 0;
    for _ in 0..3 {
        let (_, payload) = raw.receive().expect("a frame");
        read += payload.len() + 2;
    }
    // Both are counted behind the reading and the writing itself.
    wait_until("the counters", || {
        let stats = server.stats();
        stats.bytes_in as usize >= written && stats.bytes_out as usize > read + 100
    });
    let stats = server.stats();
    assert_eq!(stats.bytes_in as usize, written);
    assert_eq!((stats.messages_in, stats.messages_out, stats.commands), (2, 2, 2));
    // The answer to the handshake goes out like everything else.
    let head = stats.bytes_out as usize - read;
    assert!((100..400).contains(&head), "{head} bytes of handshake");
    assert!(stats.started_at_ms > 1_700_000_000_000, "{}", stats.started_at_ms);
    assert_eq!((stats.connections, stats.opened), (1, 1));
    drop(raw);
    wait_until("its end", || server.stats().connections == 0);
}

#[test]
fn gauges_tell_of_sessions_channels_and_events() {
    let server = TestServer::start();
    let (mut peer, _) = Peer::begin(&server);
    let (other, _) = Peer::begin(&server);
    peer.subscribe("news", json!("now"));
    peer.publish(1, "news", json!(1));
    peer.expect("event");
    peer.expect("reply");
    let stats = server.stats();
    let gauges = (stats.sessions_connected, stats.sessions_away, stats.channels, stats.published);
    assert_eq!(gauges, (2, 0, 1, 1));
    drop(other);
    wait_until("one to be away", || server.stats().sessions_away == 1);
    let stats = server.stats();
    assert_eq!((stats.sessions_connected, stats.connections), (1, 1));
    // Two welcomes, two inboxes and a channel subscribed, a reply, and an event.
    assert_eq!((stats.messages_in, stats.messages_out), (4, 7));
    assert_eq!(stats.events_delivered, 1);
}

#[test]
fn who_is_slow_is_seen_and_noted_until_it_has_caught_up() {
    let server = TestServer::configured(|config| {
        config.limits.outbox_bytes_max = 16 * 1024;
        config.node.channel_retention.bytes_max = 1 << 30;
    });
    let (mut slow, ticket) = Peer::begin(&server);
    slow.subscribe("news", json!("now"));
    server.server.refresh_gauges();
    assert_eq!((server.stats().outbox_bytes, server.stats().behind), (0, 0));
    let filler = "x".repeat(4_000);
    let count = 6_000;
    for number in 1..=count {
        let payload = Payload::json(&json!({ "number": number, "filler": filler }));
        let appended = server.server.hub().append(name("news"), payload, None);
        server.runtime.block_on(appended).expect("stored");
    }
    let story = ["opened", "subscribed", "behind"];
    wait_until("the slow one to be noted", || {
        server.server.refresh_gauges();
        told(&server, Some(&ticket.session)).len() >= story.len()
    });
    assert_eq!(told(&server, Some(&ticket.session)), story);
    let stats = server.stats();
    assert_eq!(stats.behind, 1);
    assert!((1..=16 * 1024).contains(&stats.outbox_bytes), "{}", stats.outbox_bytes);
    for number in 1..=count {
        assert_eq!(slow.expect("event")["offset"], number);
    }
    wait_for_story(
        &server,
        Some(&ticket.session),
        &["opened", "subscribed", "behind", "caught_up"],
    );
    wait_until("the gauges to be empty", || {
        server.server.refresh_gauges();
        (server.stats().outbox_bytes, server.stats().behind) == (0, 0)
    });
}

#[test]
fn the_journal_tells_a_session_from_its_beginning_to_its_end() {
    let server = TestServer::configured(|config| config.node.session_expiry_ms = 200);
    let (first, ticket) = Peer::begin(&server);
    // A FIN, and no reset for what was not read.
    first.socket.get_ref().shutdown(Shutdown::Write).expect("open");
    let session = Some(ticket.session.as_str());
    wait_for_story(&server, session, &["opened", "lost peer_eof"]);
    let mut second = Peer::open(&server);
    let welcome = second.hello(Some(&ticket), 1, json!([]));
    let mut third = Peer::open(&server);
    third.hello(Some(&Ticket::of(&welcome)), 1, json!([]));
    third.socket.get_ref().shutdown(Shutdown::Write).expect("open");
    let mut story = vec![
        "opened",
        "lost peer_eof",
        "resumed",
        "superseded superseded",
        "resumed",
        "lost peer_eof",
        "expired",
    ];
    wait_for_story(&server, session, &story);

    let (mut fourth, ticket) = Peer::begin(&server);
    fourth.say(json!({ "type": "bye" }));
    story = vec!["opened", "ended session_ended"];
    wait_for_story(&server, Some(&ticket.session), &story);
}

#[test]
fn connections_without_a_session_are_in_the_journal_too() {
    let server = TestServer::start();
    let mut client = server.client();
    client.check_alive(1);
    client.socket.send(Message::Close(None)).expect("sent");
    client.read_close();
    wait_for_story(&server, None, &["connected", "closed peer_closed"]);
    let evil = "Origin: http://evil.example\r\n";
    exchange(&server, &handshake("/server", evil));
    server.wait_for_ends(EndReason::HandshakeRefused, 1);
    let story = ["connected", "closed peer_closed", "refused handshake_refused"];
    wait_for_story(&server, None, &story);
}
