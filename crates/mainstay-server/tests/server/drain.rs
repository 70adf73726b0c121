//! Shutting down.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use mainstay_server::{EndReason, Server};
use serde_json::json;

use crate::support::{TestServer, gated, read_to_end, wait_until};

#[test]
fn a_drained_server_says_goodbye_to_everybody_and_listens_no_more() {
    let server = TestServer::configured(|config| config.drain_window = Duration::from_millis(200));
    let mut clients: Vec<_> = (0..120).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.check_alive(1));
    let mut half_open = server.stream();
    half_open.write_all(b"GET /server HTTP/1.1\r\n").expect("written");
    wait_until("all to be accepted", || server.stats().accepted == 121);
    let address = server.address();
    let closes = std::thread::spawn(move || {
        let codes: Vec<_> = clients.iter_mut().map(crate::support::Client::read_close).collect();
        codes
    });
    let TestServer { server, runtime } = server;
    runtime.block_on(server.drain()).expect("drained");
    for close in closes.join().expect("clients") {
        let (code, reason) = close.expect("a Close frame");
        assert_eq!(code, 1001);
        assert_eq!(reason, "the server is shutting down; reconnect within 0.2 s");
    }
    assert!(read_to_end(&mut half_open).starts_with("HTTP/1.1 503 "));
    assert!(TcpStream::connect(address).is_err());
    assert_eq!(server.connection_count(), 0);
    assert_eq!(server.stats().ends, [(EndReason::Drain, 121)]);
}

#[test]
fn what_runs_is_answered_before_its_connection_closes() {
    let (router, gate) = gated();
    let server = TestServer::with(router, |_| {});
    let (mut busy, mut idle) = (server.client(), server.client());
    busy.send(json!({ "requestID": 1, "command": "wait" }).to_string());
    wait_until("the command to run", || server.stats().commands == 1);
    let TestServer { server, runtime } = server;
    std::thread::scope(|scope| {
        let drained = scope.spawn(|| runtime.block_on(server.drain()));
        assert_eq!(idle.read_close().map(|(code, _)| code), Some(1001));
        gate.add_permits(1);
        assert_eq!(busy.receive()["someOtherThing"], "done");
        assert_eq!(busy.read_close().map(|(code, _)| code), Some(1001));
        drained.join().expect("no panic").expect("drained");
    });
}

#[test]
fn a_peer_that_does_not_leave_is_dropped_at_the_deadline() {
    let server = TestServer::configured(|config| {
        config.drain_timeout = Duration::from_millis(300);
        config.timing.close_timeout = Duration::from_secs(60);
    });
    let _deaf = server.raw("");
    let TestServer { server, runtime } = server;
    runtime.block_on(server.drain()).expect("drained");
    assert_eq!(server.connection_count(), 0);
    assert_eq!(server.stats().ends, [(EndReason::Drain, 1)]);
}

#[test]
fn nobody_waits_for_an_http_service_that_panicked() {
    let panics: axum::Router =
        axum::Router::new().fallback(async || -> () { panic!("on purpose") });
    let server = TestServer::from(Server::builder().http(panics), |config| {
        config.drain_timeout = Duration::from_secs(3600);
    });
    let mut asking = server.stream();
    asking.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("written");
    assert_eq!(read_to_end(&mut asking), "", "no answer, and no connection");
    let TestServer { server, runtime } = server;
    runtime.block_on(server.drain()).expect("drained");
}

#[test]
fn a_dropped_server_releases_its_port_and_connections() {
    let server = TestServer::start();
    let mut client = server.client();
    client.check_alive(1);
    let address = server.address();
    drop(server);
    assert_eq!(client.read_close(), None);
    wait_until("the port to be free", || TcpStream::connect(address).is_err());
}
