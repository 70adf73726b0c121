//! Attacks on the handshake as a whole.

use super::*;
use crate::session::Encoding;

const VALID: &[u8] = b"GET /server?channel=news HTTP/1.1\r\nHost: localhost:8080\r\n\
    Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: mainstay.v1.json, other\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=\"10\"\r\n\
    Origin: http://localhost:8080\r\nContent-Length: 0\r\n\r\n";

const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: one\r\nRetry-After: 5\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n";

/// What a server makes of a head that comes in one piece.
fn serve(bytes: &[u8]) -> Result<Accepted, Refusal> {
    let limits = HeadLimits::default();
    let head_bytes = HeadScan::default().scan(bytes, &limits)?.ok_or(HeadError::NotOneHead)?;
    let head = RequestHead::parse(&bytes[..head_bytes], &limits)?;
    let options = AcceptOptions {
        subprotocols: vec!["mainstay.v1.json".to_owned()],
        deflate: DeflateSupport::On,
        origins: OriginPolicy::SameOrigin,
    };
    accept(UpgradeRequest::from(&head), &options)
}

fn dial() -> Dial {
    let options = DialOptions {
        subprotocols: vec!["one".to_owned()],
        deflate: DeflateSupport::On,
        ..Default::default()
    };
    Dial::new("localhost:8080", "/", *b"the sample nonce", &options).unwrap()
}

/// `valid` with every byte value put in place of, and in front of, every byte of it.
fn mutations(valid: &[u8]) -> impl Iterator<Item = (usize, u8, Vec<u8>)> {
    (0..valid.len()).flat_map(move |position| {
        (0..=255u8).flat_map(move |byte| {
            let mut replaced = valid.to_vec();
            replaced[position] = byte;
            let mut inserted = valid.to_vec();
            inserted.insert(position, byte);
            [(position, byte, replaced), (position, byte, inserted)]
        })
    })
}

/// Whether a byte may never stand in a head, except as part of a line's end.
fn is_forbidden(byte: u8) -> bool {
    byte == 0x7F || (byte < 0x20 && !matches!(byte, b'\t' | b'\r' | b'\n'))
}

#[test]
fn the_sample_of_the_standard() {
    assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn no_byte_anywhere_in_a_request_does_harm() {
    let accepted = serve(VALID).unwrap();
    assert_eq!(accepted.subprotocol.as_deref(), Some("mainstay.v1.json"));
    assert_eq!(accepted.deflate.unwrap().outgoing_window_bits, 10);
    let mut accepted_count = 0;
    for (position, byte, bytes) in mutations(VALID) {
        let shown = bytes.escape_ascii();
        match serve(&bytes) {
            Ok(accepted) => {
                accepted_count += 1;
                assert!(!is_forbidden(byte), "{byte:#x} at {position}: {shown}");
                // Whatever came in, what goes out is one well-formed head.
                let response = accepted.response();
                let head = ResponseHead::parse(&response, &HeadLimits::default()).unwrap();
                assert_eq!(head.status(), 101);
            }
            Err(refusal) => {
                assert!(matches!(refusal.status(), 400..=431 | 501 | 505), "{refusal} {shown}");
                let response = refusal.response();
                let end = HeadScan::default().scan(&response, &HeadLimits::default());
                let end = end.unwrap().unwrap();
                ResponseHead::parse(&response[..end], &HeadLimits::default()).unwrap();
                assert!(refusal.detail.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
            }
        }
        // Half a line end in place of any other byte.
        if matches!(byte, b'\r' | b'\n') && bytes.len() == VALID.len() && bytes != VALID {
            assert!(serve(&bytes).is_err(), "{byte:#x} at {position}: {shown}");
        }
    }
    // Header names that no longer say anything, blanks, changed letter case: some must pass.
    assert!(accepted_count > 1_000, "{accepted_count}");
}

#[test]
fn no_byte_anywhere_in_an_answer_does_harm() {
    let dial = dial();
    let judge = |bytes: &[u8]| {
        let head = ResponseHead::parse(bytes, &HeadLimits::default()).ok()?;
        dial.finish(&head).ok()
    };
    assert!(judge(ANSWER).is_some_and(|dialed| dialed.deflate.is_some()));
    let mut accepted_count = 0;
    for (position, byte, bytes) in mutations(ANSWER) {
        if judge(&bytes).is_some() {
            accepted_count += 1;
            assert!(!is_forbidden(byte), "{byte:#x} at {position}: {}", bytes.escape_ascii());
        }
        // A status other than 101 takes another path through the same bytes.
        let mut refused = bytes;
        if let Some(status) = refused.windows(3).position(|window| window == b"101") {
            refused[status..status + 3].copy_from_slice(b"503");
            assert_eq!(judge(&refused), None);
        }
    }
    assert!(accepted_count > 1_000, "{accepted_count}");
}

#[test]
fn every_beginning_of_a_request_is_just_incomplete() {
    let limits = HeadLimits::default();
    for length in 0..VALID.len() {
        assert_eq!(HeadScan::default().scan(&VALID[..length], &limits), Ok(None));
        let result = RequestHead::parse(&VALID[..length], &limits);
        assert_eq!(result.err(), Some(HeadError::NotOneHead));
    }
}

/// Heads on which two readers could disagree, each a way to smuggle a second request past one
/// of them.
fn smuggling_corpus() -> Vec<String> {
    let mut corpus = Vec::new();
    // Header lines, after a valid start and Host, that make the length or the host doubtful.
    let lines = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nTransfer-Encoding: identity",
        "Content-Length: 5\r\nTransfer-Encoding:",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 0\r\ncontent-length: 5",
        "Content-Length: 5, 5",
        "Content-Length: 5,6",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length: 5a",
        "Content-Length: 5.0",
        "Content-Length: 1e1",
        "Content-Length: \"5\"",
        "Content-Length: 5;",
        "Content-Length:",
        "Content-Length: 18446744073709551616",
        "Content-Length: 99999999999999999999999999",
        "Content-Length: \u{665}",
        "Content-Length: 5\x0B",
        "Content-Length : 5",
        "Content-Length\t: 5",
        " Content-Length: 5",
        "\tContent-Length: 5",
        "Content-Length: \r\n 5",
        "Content-Length: 5\r\n\t5",
        "Content\u{a0}-Length: 5",
        "Content-Length\0: 5",
        "Content-Length: 5\0",
        "Content Length: 5",
        "Content-Length",
        "Content-Length=5",
        ": 5",
        "X: a\rContent-Length: 5",
        "X: a\nContent-Length: 5",
        "X: a\n\rContent-Length: 5",
        "X: a\r\r\nContent-Length: 5",
        "X: a\r\n\rContent-Length: 5",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding: chunked\x0B",
        "Transfer-Encoding: \x0Bchunked",
        "Transfer-Encoding: \x0Cchunked",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked x",
        "Transfer-Encoding: x chunked",
        "Transfer-Encoding: chunKed\u{212a}",
        "Transfer-Encoding:",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding\r\n : chunked",
        "Transfer-Encoding\x0B: chunked",
        "Transfer_Encoding chunked",
        "X: a\nTransfer-Encoding: chunked",
        "X: a\rTransfer-Encoding: chunked",
        "X: a\r\n\nTransfer-Encoding: chunked",
        "Host: localhost",
        "Host: evil.example",
        "host: localhost:8080",
        "Host : evil.example",
        " Host: evil.example",
        "X: a\r\n Host: evil.example",
        "X: a\nHost: evil.example",
        "(X): a",
        "X@Y: a",
        "X\x7F: a",
        "X\u{e9}: a",
        "\u{feff}X: a",
        "[X]: a",
        "X: \x08",
        "X: a\x7F",
    ];
    for line in lines {
        corpus.push(format!("POST / HTTP/1.1\r\nHost: localhost:8080\r\n{line}\r\n\r\n"));
    }
    // Host headers that hide or deny a host.
    let hosts = [
        "", "a b", "a,b", "a, b", "user@a", "a/b", "a?b", "a#b", "a\\b", "a:b", "a:80:80", "a:",
        "a:-1", "a:65536", "a%00", "http://a", "*", "[::1", "::1", "a\u{e9}", "a..b", "a\t b",
    ];
    for host in hosts {
        corpus.push(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
    // Request lines.
    let starts = [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET / HTTP/1.1\t",
        "GET / HTTP/1.1\r",
        "GET /\r\n",
        "GET /",
        "GET",
        "",
        "\r\nGET / HTTP/1.1",
        "\nGET / HTTP/1.1",
        "GET / HTTP/1.1x",
        "GET / HTTP/1.10",
        "GET / HTTP/01.1",
        "GET / HTTP/1,1",
        "GET / HTTP/ 1.1",
        "GET / http/1.1",
        "GET / HTTP 1.1",
        "GET / / HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /\x7F HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET /#a HTTP/1.1",
        "GET http://evil.example/ HTTP/1.1",
        "GET http://localhost:8080@evil.example/ HTTP/1.1",
        "GET http:///server HTTP/1.1",
        "GET file:///etc HTTP/1.1",
        "GET localhost:8080 HTTP/1.1",
        "GET server HTTP/1.1",
        "GET * HTTP/1.1",
        "GET ../ HTTP/1.1",
        "G(T / HTTP/1.1",
        "G\u{e9}T / HTTP/1.1",
        "/ GET HTTP/1.1",
        "HTTP/1.1 200 OK",
        "GET / HTTP/1.1\n",
    ];
    for start in starts {
        corpus.push(format!("{start}\r\nHost: localhost:8080\r\n\r\n"));
    }
    corpus.push("GET / HTTP/1.1\r\n\r\n".to_owned());
    corpus.push("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned());
    corpus.push("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n".to_owned());
    corpus
}

#[test]
fn nothing_can_be_smuggled() {
    let corpus = smuggling_corpus();
    assert!(corpus.len() >= 100, "{}", corpus.len());
    for head in &corpus {
        // Behind each head stands what the attacker wants to have served.
        let stream = format!("{head}GET /admin HTTP/1.1\r\nHost: localhost:8080\r\n\r\n");
        let limits = HeadLimits::default();
        let result = HeadScan::default().scan(stream.as_bytes(), &limits).and_then(|length| {
            RequestHead::parse(&stream.as_bytes()[..length.unwrap_or(0)], &limits).map(|_| ())
        });
        let status = result.map_err(|error| error.http_status());
        assert_eq!(status, Err(400), "{}", head.escape_debug());
    }
}

#[test]
fn the_corpus_is_refused_for_its_fault_and_not_for_its_frame() {
    for line in ["Content-Length: 5", "Transfer-Encoding: chunked", "X: a"] {
        let head = format!("POST / HTTP/1.1\r\nHost: localhost:8080\r\n{line}\r\n\r\n");
        assert!(RequestHead::parse(head.as_bytes(), &HeadLimits::default()).is_ok());
    }
}

/// RFC 6455 §1.9 and §4.2.2: of what the client lists, in its order, the server takes the first that
/// it speaks; with none the connection is open without a subprotocol, and the client is told.
#[test]
fn an_encoding_of_the_session_dialect_is_agreed_on() {
    let (json, protobuf) = (Encoding::Json.subprotocol(), Encoding::Protobuf.subprotocol());
    for (asked, spoken, agreed) in [
        (vec![json], vec![json, protobuf], Some(Encoding::Json)),
        (vec![protobuf, json], vec![json, protobuf], Some(Encoding::Protobuf)),
        (vec!["mainstay.v2.json", json], vec![protobuf, json], Some(Encoding::Json)),
        (vec![protobuf], vec![json], None),
        (vec![], vec![json, protobuf], None),
    ] {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let options = DialOptions { subprotocols: names(&asked), ..DialOptions::default() };
        let dial = Dial::new("a", "/server", *b"the sample nonce", &options).unwrap();
        let options = AcceptOptions { subprotocols: names(&spoken), ..AcceptOptions::default() };
        let limits = HeadLimits::default();
        let request = RequestHead::parse(dial.request(), &limits).unwrap();
        let accepted = accept(UpgradeRequest::from(&request), &options).unwrap();
        let answer = accepted.response();
        let dialed = dial.finish(&ResponseHead::parse(&answer, &limits).unwrap()).unwrap();
        assert_eq!(accepted.subprotocol, dialed.subprotocol);
        let found = dialed.subprotocol.as_deref().and_then(Encoding::from_subprotocol);
        assert_eq!(found, agreed, "{asked:?} of {spoken:?}");
    }
}
