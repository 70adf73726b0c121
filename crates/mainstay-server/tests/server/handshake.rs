//! What the endpoint makes of requests. The rules themselves are tested where they are written, in
//! mainstay-wire; here it is shown that the server goes by them.

use std::io::Write;

use mainstay_server::{EndReason, Origin, OriginPolicy};

use crate::support::{TestServer, exchange, handshake, read_head, read_to_end};

#[test]
fn the_sample_of_the_specification_is_accepted() {
    let server = TestServer::start();
    let mut stream = server.stream();
    stream.write_all(handshake("/server", "").as_bytes()).expect("written");
    let head = read_head(&mut stream).to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
}

#[test]
fn a_request_without_an_upgrade_is_told_what_this_is() {
    let server = TestServer::start();
    let answer = exchange(&server, "GET /server HTTP/1.1\r\nHost: localhost:8080\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains("WebSocket"), "{answer}");
    server.wait_for_ends(EndReason::HandshakeRefused, 1);
}

#[test]
fn frames_before_the_answer_are_refused() {
    let server = TestServer::start();
    let mut request = handshake("/server", "").into_bytes();
    request.extend(crate::support::frame(0x81, b"{}"));
    let mut stream = server.stream();
    stream.write_all(&request).expect("written");
    let answer = read_to_end(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(server.stats().opened, 0);
}

#[test]
fn a_request_that_comes_byte_by_byte_is_accepted() {
    let server = TestServer::start();
    let mut stream = server.stream();
    for byte in handshake("/server", "").bytes() {
        stream.write_all(&[byte]).expect("written");
    }
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
}

#[test]
fn pages_of_other_origins_are_refused() {
    let server = TestServer::start();
    let ask = |origin: &str| {
        let mut stream = server.stream();
        let headers = format!("Origin: {origin}\r\n");
        stream.write_all(handshake("/server", &headers).as_bytes()).expect("written");
        read_head(&mut stream)
    };
    assert!(ask("http://localhost:8080").starts_with("HTTP/1.1 101 "));
    for origin in ["http://localhost", "http://evil.example", "null", "http://localhost:8080.evil"]
    {
        assert!(ask(origin).starts_with("HTTP/1.1 403 "), "{origin}");
    }
}

#[test]
fn pages_of_the_origins_of_the_endpoint_are_admitted_to_it_and_no_others() {
    let ask = |server: &TestServer, origin: &str| {
        let mut stream = server.stream();
        let headers = format!("Origin: {origin}\r\n");
        stream.write_all(handshake("/server", &headers).as_bytes()).expect("written");
        read_head(&mut stream).contains(" 101 ")
    };
    let console: Origin = "http://127.0.0.1:8081".parse().expect("an origin");
    let app = "https://app.example".parse().expect("an origin");
    for origins in [OriginPolicy::SameOrigin, OriginPolicy::AllowList(vec![app])] {
        let is_listed = origins != OriginPolicy::SameOrigin;
        let server = TestServer::configured(|config| {
            config.origins = origins;
            config.endpoint_origins = vec![console.clone()];
        });
        assert!(ask(&server, "http://127.0.0.1:8081"));
        assert!(ask(&server, "http://localhost:8080"), "its own");
        assert_eq!(ask(&server, "https://app.example"), is_listed);
        for origin in [
            "https://127.0.0.1:8081",
            "http://127.0.0.1",
            "http://127.0.0.1:8082",
            "http://localhost:8081",
            "http://evil.example:8081",
            "null",
        ] {
            assert!(!ask(&server, origin), "{origin}");
        }
    }
}

#[test]
fn an_unacceptable_subprotocol_leaves_the_command_dialect() {
    let server = TestServer::start();
    let mut stream = server.stream();
    let request = handshake("/server", "Sec-WebSocket-Protocol: chat, other\r\n");
    stream.write_all(request.as_bytes()).expect("written");
    let head = read_head(&mut stream);
    assert!(
        head.starts_with("HTTP/1.1 101 ") && !head.contains("Sec-WebSocket-Protocol"),
        "{head}"
    );
}

#[test]
fn what_is_not_http_is_refused_at_once() {
    let server = TestServer::start();
    // The beginning of a TLS handshake.
    let mut stream = server.stream();
    stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).expect("written");
    assert!(read_to_end(&mut stream).starts_with("HTTP/1.1 400 "));
    server.wait_for_ends(EndReason::HandshakeRefused, 1);
}

#[test]
fn a_peer_that_leaves_during_the_handshake_is_named() {
    let server = TestServer::start();
    let mut stream = server.stream();
    stream.write_all(b"GET /ser").expect("written");
    drop(stream);
    server.wait_for_ends(EndReason::HandshakeEof, 1);
}
