//! "EOF after the first message": its eleven causes in the wild, none of which works here. Those
//! that the server can see have an end of their own.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use mainstay_server::{EndReason, Router};
use serde_json::json;

use crate::support::{TestServer, frame, gated, processed, short_pings};

/// Reads pings until there were `count` of them: that much time has passed in idleness.
fn idle_for_pings(client: &mut crate::support::Client, count: usize) {
    for _ in 0..count {
        let message = client.socket.read().expect("the connection lives");
        assert!(message.is_ping(), "{message:?}");
        client.socket.flush().expect("the pong leaves");
    }
}

#[test]
fn cause_1_a_handler_that_returns_does_not_end_the_connection() {
    let server = TestServer::start();
    let mut client = server.client();
    (1..=10).for_each(|request_id| client.check_alive(request_id));
    assert_eq!(server.stats().ends, []);
}

#[test]
fn cause_2_no_deadline_of_the_handshake_or_a_message_outlives_it() {
    let server = TestServer::configured(|config| {
        short_pings(config);
        config.handshake_timeout = Duration::from_millis(200);
        config.timing.message_timeout = Duration::from_millis(200);
        config.timing.write_stall_timeout = Duration::from_millis(200);
        config.timing.close_timeout = Duration::from_millis(200);
    });
    let mut client = server.client();
    client.check_alive(1);
    idle_for_pings(&mut client, 12);
    client.check_alive(2);
}

#[test]
fn cause_3_no_http_timeout_outlives_the_upgrade() {
    // `mounted.rs` shows the same for an upgrade inside another HTTP server.
    let server = TestServer::configured(|config| {
        short_pings(config);
        config.handshake_timeout = Duration::from_millis(100);
    });
    let mut client = server.client();
    idle_for_pings(&mut client, 6);
    client.check_alive(1);
}

#[test]
fn cause_4_replies_events_and_pings_never_interleave_within_a_frame() {
    let server = TestServer::configured(|config| {
        config.timing.ping_interval = Some(Duration::from_millis(1));
        // All of it fits, however late this client is.
        config.limits.outbox_bytes_max = 4 * 1024 * 1024;
    });
    let mut client = server.client_at("/server?channel=news");
    let filler = "x".repeat(3000);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    server.server.hub().publish("news", &filler).expect("published");
                    thread::sleep(Duration::from_micros(200));
                }
            });
        }
        let (mut events, mut replies) = (0, 0);
        for request_id in 1..=100 {
            client.send(json!({ "requestID": request_id, "command": "c" }).to_string());
        }
        while events < 400 || replies < 100 {
            let message = client.receive();
            if message["requestID"] == 0 {
                assert_eq!(message["someOtherThing"].as_str().map(str::len), Some(3000));
                events += 1;
            } else {
                replies += 1;
                assert_eq!(message, processed(replies, "c"));
            }
        }
    });
}

#[test]
fn cause_5_a_peer_that_only_listens_or_only_speaks_keeps_both_directions() {
    let server = TestServer::configured(short_pings);
    let mut listener = server.client_at("/server?channel=news");
    idle_for_pings(&mut listener, 4);
    server.server.hub().publish("news", "still here").expect("published");
    assert_eq!(listener.receive()["someOtherThing"], "still here");

    let mut speaker = server.client();
    for request_id in 1..=50 {
        speaker.send(json!({ "requestID": request_id, "command": "c" }).to_string());
    }
    for request_id in 1..=50 {
        assert_eq!(speaker.receive()["requestID"], request_id);
    }
}

#[test]
fn cause_6_pings_are_answered_while_a_handler_runs() {
    let (router, gate) = gated();
    let server = TestServer::with(router, |_| {});
    let mut peer = server.raw("");
    let command = json!({ "requestID": 1, "command": "wait" }).to_string();
    peer.send(0x81, command.as_bytes()).expect("sent");
    for count in 0..5u8 {
        peer.send(0x89, &[count]).expect("sent");
        assert_eq!(peer.receive(), Some((0x8a, vec![count])), "the pong comes before the reply");
    }
    gate.add_permits(1);
    let (first, reply) = peer.receive().expect("the reply");
    assert_eq!(first, 0x81);
    assert!(String::from_utf8_lossy(&reply).contains("done"));
}

#[test]
fn cause_7_a_message_over_the_limit_is_told_as_such() {
    let server = TestServer::configured(|config| config.limits.message_bytes_max = 1000);
    let mut client = server.client();
    client.check_alive(1);
    client.send("x".repeat(1001));
    let (code, reason) = client.read_close().expect("a Close frame, not a bare end");
    assert_eq!(code, 1009);
    assert_eq!(reason, "a message is over the limit of 1000 bytes");
    server.wait_for_ends(EndReason::MessageTooBig, 1);
}

#[test]
fn cause_8_a_panic_in_a_handler_stays_in_its_command() {
    let router = Router::new()
        .handler("panic", |_| async { panic!("a defect in a handler") })
        .handler("panic later", |_| async {
            tokio::task::yield_now().await;
            panic!("a defect in a handler that waits")
        })
        .blocking_handler("panic elsewhere", |_| panic!("a defect on another thread"));
    let server = TestServer::with(router, |_| {});
    let (mut client, mut other) = (server.client(), server.client());
    for (request_id, command) in [(1, "panic"), (2, "panic later"), (3, "panic elsewhere")] {
        let reply = client.request(request_id, command);
        assert_eq!((&reply["requestID"], &reply["success"]), (&json!(request_id), &json!(false)));
        assert_eq!(reply["someOtherThing"], "the handler failed unexpectedly");
        client.check_alive(10 + request_id);
        other.check_alive(request_id);
    }
    assert_eq!(server.stats().handler_panics, 3);
    assert_eq!(server.stats().ends, []);
}

#[test]
fn cause_9_a_stream_that_ends_without_a_close_frame_is_named() {
    // What is left of a TLS connection closed without close_notify, once its proxy has ended TLS.
    let server = TestServer::start();
    let mut client = server.client();
    client.check_alive(1);
    client.socket.get_ref().shutdown(Shutdown::Write).expect("shut");
    server.wait_for_ends(EndReason::PeerEof, 1);
    let mut peer = server.raw("");
    peer.stream.write_all(&frame(0x81, b"{}")[..4]).expect("half a message");
    peer.stream.shutdown(Shutdown::Write).expect("shut");
    server.wait_for_ends(EndReason::PeerEofInMessage, 1);
}

#[test]
fn cause_10_a_client_whose_process_is_gone_is_noticed_and_released() {
    let server = TestServer::start();
    let mut client = server.client_at("/server?channel=news");
    client.check_alive(1);
    // A process that dies with unread input makes its kernel reset the connection.
    server.server.hub().publish("news", "unread").expect("published");
    client.socket.get_ref().peek(&mut [0]).expect("the event is there");
    drop(client);
    server.wait_for_ends(EndReason::PeerReset, 1);
    assert_eq!(server.server.connection_count(), 0);
}

#[test]
fn cause_11_a_proxy_that_cuts_what_is_idle_finds_nothing_idle() {
    let server = TestServer::configured(short_pings);
    let idle_timeout = Duration::from_millis(500);
    let proxy = IdleCutter::start(server.address(), idle_timeout);
    let url = format!("ws://{}/server", proxy.address);
    let stream = TcpStream::connect(proxy.address).expect("the proxy listens");
    let (socket, _) = tungstenite::client(url, stream).expect("the handshake succeeds");
    let mut client = crate::support::Client { socket };
    idle_for_pings(&mut client, 30);
    client.check_alive(1);
}

/// A proxy for one connection that cuts it when nothing passes in either direction.
struct IdleCutter {
    address: std::net::SocketAddr,
}

impl IdleCutter {
    fn start(server: std::net::SocketAddr, idle_timeout: Duration) -> IdleCutter {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        thread::spawn(move || {
            let (client, _) = listener.accept().expect("a client");
            let server = TcpStream::connect(server).expect("the server listens");
            for (from, to) in [(&client, &server), (&server, &client)] {
                from.set_read_timeout(Some(idle_timeout)).expect("a timeout");
                let (mut from, mut to) =
                    (from.try_clone().expect("cloned"), to.try_clone().expect("cloned"));
                thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = from.read(&mut buffer) {
                        if to.write_all(&buffer[..count]).is_err() {
                            break;
                        }
                    }
                    let _ = from.shutdown(Shutdown::Both);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        });
        IdleCutter { address }
    }
}
