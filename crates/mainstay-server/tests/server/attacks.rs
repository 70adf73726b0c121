//! Peers that mean harm. Each test keeps a healthy peer beside them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mainstay_server::{Config, DeflateOffer, EndReason, JournalQuery};
use serde_json::json;

use crate::support::{PATIENCE, TestServer, exchange, frame, handshake, read_to_end, wait_until};

#[test]
fn handshakes_that_drip_are_ended_and_keep_nobody_out() {
    let timeout = Duration::from_millis(700);
    let server = TestServer::configured(|config| config.handshake_timeout = timeout);
    let began = Instant::now();
    let mut drips: Vec<TcpStream> = (0..300).map(|_| server.stream()).collect();
    let request = crate::support::handshake("/server", "");
    let mut bytes = request.bytes();
    while server.stats().ends_for(EndReason::HandshakeTimeout) < 300 {
        assert!(began.elapsed() < PATIENCE, "{:?}", server.stats());
        let byte = bytes.next().expect("all are ended long before the request is complete");
        for drip in &mut drips {
            // Those that have been ended refuse it.
            let _ = drip.write_all(&[byte]);
        }
        server.client().check_alive(1);
        std::thread::sleep(Duration::from_millis(10));
    }
    wait_until("all places to be free", || server.server.connection_count() == 0);
}

#[test]
fn the_oldest_of_too_many_handshakes_makes_room() {
    let server = TestServer::configured(|config| {
        config.handshake_pending_max = 32;
        config.handshake_timeout = Duration::from_secs(300);
    });
    let _silent: Vec<TcpStream> = (0..200).map(|_| server.stream()).collect();
    wait_until("all to be accepted", || server.stats().accepted == 200);
    server.client().check_alive(1);
    wait_until("the oldest to go", || server.stats().ends_for(EndReason::HandshakeTimeout) >= 160);
}

#[test]
fn an_endless_head_is_cut_at_its_limit() {
    let server = TestServer::start();
    let mut stream = server.stream();
    stream.write_all(b"GET /server HTTP/1.1\r\nHost: a\r\n").expect("written");
    let line = format!("X-Filler: {}\r\n", "x".repeat(1000));
    let mut written = 0;
    // The server stops reading long before a megabyte; a reset may come before the answer.
    while written < 1 << 20 && stream.write_all(line.as_bytes()).is_ok() {
        written += line.len();
    }
    server.wait_for_ends(EndReason::HandshakeRefused, 1);
    let many: String = (0..65).map(|count| format!("X-{count}: y\r\n")).collect();
    let answer = crate::support::exchange(&server, &crate::support::handshake("/server", &many));
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[test]
fn no_byte_in_a_header_harms_the_server() {
    let server = TestServer::start();
    for byte in 0..=255u8 {
        for header in ["Origin", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Cookie"] {
            let mut request = crate::support::handshake("/server", "").into_bytes();
            request.truncate(request.len() - 2);
            request.extend(header.bytes());
            request.extend(b": a");
            request.push(byte);
            request.extend(b"b\r\n\r\n");
            let mut stream = server.stream();
            stream.write_all(&request).expect("written");
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).expect("an answer");
            assert!(answer.starts_with(b"HTTP/1.1 "), "{byte:#x} in {header}");
        }
    }
    server.client().check_alive(1);
}

#[test]
fn announced_lengths_cost_nothing() {
    let server = TestServer::start();
    for length in [1u64 << 31, (1 << 31) - 1, (1 << 32) + 1, u64::MAX >> 1, 1 << 63, u64::MAX] {
        for opcode in [0x81, 0x82, 0x02] {
            let mut peer = server.raw("");
            let mut head = vec![opcode, 0xff];
            head.extend(length.to_be_bytes());
            head.extend([0; 4]);
            peer.stream.write_all(&head).expect("written");
            let expected = if length >> 63 == 0 { 1009 } else { 1002 };
            assert_eq!(peer.close_code(), Some(expected), "{length:#x}");
        }
    }
    server.client().check_alive(1);
}

#[test]
fn endless_fragments_are_cut_by_count_and_by_size() {
    let server = TestServer::start();
    for (payload, reason) in [
        (&b""[..], EndReason::TooManyFragments),
        (b"x", EndReason::TooManyFragments),
        (&[b'x'; 1000], EndReason::MessageTooBig),
    ] {
        let before = server.stats().ends_for(reason);
        let mut peer = server.raw("");
        peer.send(0x01, payload).expect("written");
        let more = frame(0x00, payload).repeat(100);
        while peer.stream.write_all(&more).is_ok() && server.stats().ends_for(reason) == before {}
        wait_until("the end", || server.stats().ends_for(reason) > before);
    }
    assert_eq!(server.stats().ends_for(EndReason::TooManyFragments), 2);
    server.client().check_alive(1);
}

#[test]
fn a_deflate_bomb_is_refused_at_the_limit() {
    let server = TestServer::configured(|config| config.compression = DeflateOffer::On);
    let bomb = mainstay_wire::deflate::Deflater::default().deflate(&vec![b' '; 64 << 20], 15);
    let bombs: Vec<_> = (0..20)
        .map(|_| {
            let mut peer = server.raw("Sec-WebSocket-Extensions: permessage-deflate\r\n");
            // Within the limit as it comes, a thousand times over it as it inflates.
            let part = &bomb[..bomb.len().min(60_000)];
            peer.send(0xc1, part).expect("written");
            peer
        })
        .collect();
    for mut peer in bombs {
        assert_eq!(peer.close_code(), Some(1009));
    }
    server.wait_for_ends(EndReason::MessageTooBig, 20);
    server.client().check_alive(1);
}

#[test]
fn a_flood_of_pings_is_ended_and_leaves_one_pong() {
    let server = TestServer::start();
    let mut healthy = server.client();
    let mut peer = server.raw("");
    let pings = frame(0x89, b"flood").repeat(1000);
    for _ in 0..100 {
        if peer.stream.write_all(&pings).is_err() {
            break;
        }
        healthy.check_alive(1);
    }
    server.wait_for_ends(EndReason::ControlFlood, 1);
    let mut pongs = 0;
    while let Some((first, _)) = peer.receive() {
        pongs += usize::from(first == 0x8a);
    }
    assert!(pongs <= 200, "{pongs} pongs");
}

#[test]
fn readers_that_stop_reading_are_bounded_and_the_others_hear_everything() {
    let outbox_bytes_max = 64 * 1024;
    let server = TestServer::configured(|config| {
        config.limits.outbox_bytes_max = outbox_bytes_max;
        config.timing.close_timeout = Duration::from_millis(200);
    });
    let stalled: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = server.stream();
            let request = crate::support::handshake("/server?channel=news", "");
            stream.write_all(request.as_bytes()).expect("written");
            assert!(crate::support::read_head(&mut stream).starts_with("HTTP/1.1 101 "));
            stream
        })
        .collect();
    let mut healthy = server.client_at("/server?channel=news");
    let event = "x".repeat(8000);
    let mut count = 0;
    while server.stats().ends_for(EndReason::SlowConsumer) < 50 {
        assert!(count < 20_000, "{:?}", server.stats());
        server.server.hub().publish("news", &event).expect("published");
        assert_eq!(healthy.receive()["command"], "news");
        count += 1;
    }
    healthy.check_alive(1);
    drop(stalled);
}

#[test]
fn a_peer_that_asks_without_reading_is_read_no_further() {
    let server = TestServer::configured(|config| config.limits.outbox_bytes_max = 64 * 1024);
    let mut peer = server.raw("");
    peer.stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let command = json!({ "requestID": 1, "command": "x".repeat(1000) }).to_string();
    let commands = frame(0x81, command.as_bytes()).repeat(50);
    let mut written = 0;
    // Until the server reads no more, and the system's buffers are full in both directions.
    while let Ok(count) = peer.stream.write(&commands) {
        written += count;
        assert!(written < 64 << 20, "the server has taken 64 MB that it cannot answer");
    }
    server.client().check_alive(1);
}

#[test]
fn a_peer_that_asks_without_reading_is_given_up_in_the_end() {
    let server = TestServer::configured(|config| {
        config.limits.outbox_bytes_max = 64 * 1024;
        config.timing.write_stall_timeout = Duration::from_millis(300);
        config.timing.close_timeout = Duration::from_millis(200);
    });
    let mut peer = server.raw("");
    peer.stream.set_write_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    let command = json!({ "requestID": 1, "command": "x".repeat(1000) }).to_string();
    let commands = frame(0x81, command.as_bytes()).repeat(50);
    let deadline = Instant::now() + PATIENCE;
    while server.stats().ends_for(EndReason::WriteStalled) == 0 {
        assert!(Instant::now() < deadline, "{:?}", server.stats());
        let _ = peer.stream.write(&commands);
        server.client().check_alive(1);
    }
}

#[test]
fn places_are_limited_and_a_refusal_says_so() {
    let server = TestServer::configured(|config: &mut Config| {
        config.connection_count_per_address_max = 3;
    });
    let mut clients: Vec<_> = (0..3).map(|_| server.client()).collect();
    let mut refused = server.stream();
    assert!(read_to_end(&mut refused).starts_with("HTTP/1.1 429 "));
    server.wait_for_ends(EndReason::OverCapacity, 1);
    clients.iter_mut().for_each(|client| client.check_alive(1));
    clients.pop();
    wait_until("the place to be free", || server.server.connection_count() == 2);
    server.client().check_alive(1);

    let server = TestServer::configured(|config| config.connection_count_max = 0);
    assert!(read_to_end(&mut server.stream()).starts_with("HTTP/1.1 503 "));
}

#[test]
fn behind_a_proxy_places_are_limited_by_whom_it_names() {
    let server = TestServer::configured(|config| {
        config.connection_count_per_address_max = 2;
        config.client_address_header = Some("X-Forwarded-For".to_owned());
    });
    let from = |addresses: &str| format!("X-Forwarded-For: {addresses}\r\n");
    let answer = |addresses: &str| exchange(&server, &handshake("/server", &from(addresses)));
    let mut held = Vec::new();
    for address in ["203.0.113.7", "203.0.113.8", "2001:db8::1"] {
        for claimed in ["", "192.0.2.1, "] {
            held.push(server.raw(&from(&format!("{claimed}{address}"))));
        }
        let refused = answer(&format!("192.0.2.2, {address}"));
        assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    }
    server.wait_for_ends(EndReason::OverCapacity, 3);
    // Who comes past the proxy has an address of its own.
    held.extend((0..2).map(|_| server.raw("")));
    assert!(exchange(&server, &handshake("/server", "")).starts_with("HTTP/1.1 429 "));
    let refused = answer("whoever");
    assert!(
        refused.starts_with("HTTP/1.1 400 ") && refused.contains("address is none"),
        "{refused}"
    );
    // Plain HTTP counts against nobody, for it holds nothing.
    let page = exchange(&server, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    held.truncate(1);
    wait_until("the places to be free", || server.server.connection_count() == 1);
    server.raw(&from("203.0.113.8"));
    let query = JournalQuery { count_max: 1_000, ..JournalQuery::default() };
    let journal = server.server.hub().journal(&query);
    let from_seven = journal.entries.iter().filter(|entry| &*entry.note.detail == "203.0.113.7");
    assert_eq!(from_seven.count(), 2, "the journal names the client");
}
