//! What both encodings keep to, and what hostile peers get.

use super::*;

fn client(json: &str) -> Result<ClientFrame, Malformed> {
    Encoding::Json.decode_client(json.as_bytes())
}

fn server(json: &str) -> Result<ServerFrame, Malformed> {
    Encoding::Json.decode_server(json.as_bytes())
}

#[track_caller]
fn check_malformed<F: std::fmt::Debug>(
    read: Result<F, Malformed>,
    kind: &MalformedKind,
    number: Option<u64>,
) {
    let malformed = read.expect_err("malformed");
    assert_eq!((&malformed.kind, malformed.number), (kind, number), "{malformed}");
    assert!(malformed.detail.len() <= 200, "{malformed}");
}

#[test]
fn the_examples_of_the_protocol_are_written_as_they_stand_there() {
    let protocol = include_str!("../../../../PROTOCOL.md");
    let mut count = 0;
    for line in protocol.lines().filter(|line| line.starts_with(r#"{"type":"#)) {
        let mut out = Vec::new();
        match client(line) {
            Ok(frame) => Encoding::Json.encode_client(&frame, &mut out),
            Err(_) => {
                let frame = server(line).unwrap_or_else(|error| panic!("{line}: {error}"));
                Encoding::Json.encode_server(&frame, &mut out);
            }
        }
        assert_eq!(String::from_utf8_lossy(&out), line);
        count += 1;
    }
    assert!(count >= 7, "the protocol has examples");
}

#[test]
fn fields_come_in_any_order_and_unknown_ones_are_ignored() {
    let expected = ClientFrame::Request(Request {
        number: 7,
        command: "Pause \"x\"".to_owned(),
        payload: Payload::from_json_bytes(&b"{ \"a\" : [1,\n2] }"[..]),
        deadline_ms: None,
    });
    for json in [
        r#"{"type":"request","number":7,"command":"Pause \"x\"","payload":{ "a" : [1,
2] }}"#,
        r#"{"payload":{ "a" : [1,
2] },"command":"Pause \u0022x\"","later":{"type":1},"type":"request","deadline_ms":null,"number":7}"#,
        r#" {"type":"request","data":null,"later":[[]],"number":7,"command":"Pause \"x\"","payload": { "a" : [1,
2] } } "#,
    ] {
        assert_eq!(client(json), Ok(expected.clone()), "{json}");
    }
}

#[test]
fn a_payload_is_json_or_bytes_and_not_both() {
    let payload = |fields: &str| match client(&format!(
        r#"{{"type":"request","number":1,"command":"c"{fields}}}"#
    )) {
        Ok(ClientFrame::Request(request)) => Ok(request.payload),
        Err(malformed) => Err(malformed.kind),
        other => panic!("{other:?}"),
    };
    assert_eq!(payload(""), Ok(Payload::NULL));
    assert_eq!(payload(r#","payload":null"#), Ok(Payload::NULL));
    assert_eq!(payload(r#","data":"AP8=""#), Ok(Payload::binary(vec![0, 255])));
    assert_eq!(payload(r#","data":"""#), Ok(Payload::binary(vec![])));
    assert_eq!(payload(r#","data":"AP8=","payload":null"#), Ok(Payload::binary(vec![0, 255])));
    for fields in [
        r#","data":"AP8=","payload":0"#,
        r#","data":"AP8""#,
        r#","data":"AP_=""#,
        r#","data":"AP9=""#,
        r#","data":7"#,
        r#","payload":1,"payload":1"#,
    ] {
        assert_eq!(payload(fields), Err(MalformedKind::Content), "{fields}");
    }
    assert_eq!(payload(r#","payload":{]"#), Err(MalformedKind::Syntax));
}

#[test]
fn what_is_malformed_says_why_and_where() {
    use MalformedKind::{Content, Syntax, UnknownType};
    for (json, kind, number) in [
        ("", Syntax, None),
        ("[]", Content, None),
        ("{}", Content, None),
        (r#"{"type":"ping"} x"#, Syntax, None),
        (r#"{"type":"ping"}{"type":"ping"}"#, Syntax, None),
        (r#"{"type":"welcome"}"#, UnknownType, None),
        (r#"{"type":7}"#, Content, None),
        (r#"{"type":"ping","type":"ping"}"#, Content, None),
        (r#"{"a":1,"type":"ping","type":"bye"}"#, Content, None),
        (r#"{"type":"cancel"}"#, Content, None),
        (r#"{"type":"cancel","number":1,"number":2}"#, Content, None),
        (r#"{"type":"cancel","number":1.0}"#, Content, None),
        (r#"{"type":"cancel","number":-1}"#, Content, None),
        (r#"{"type":"cancel","number":9007199254740992}"#, Content, None),
        (r#"{"type":"cancel","number":18446744073709551616}"#, Content, None),
        (r#"{"type":"request","number":5}"#, Content, Some(5)),
        (r#"{"command":3,"type":"request","number":5}"#, Content, Some(5)),
        (r#"{"type":"request","number":5,"command":"c","data":"?"}"#, Content, Some(5)),
        (r#"{"type":"reply","number":5,"status":"odd"}"#, Content, Some(5)),
        (r#"{"type":"reply","number":5,"status":"failed","error":"busy"}"#, Content, Some(5)),
        (r#"{"type":"subscribe","channel":"a","start":"later"}"#, Content, None),
        (r#"{"type":"subscribe","channel":"a","start":{"after":3}}"#, Content, None),
        (r#"{"type":"subscribe","channel":"a","start":{"after":0,"last":1}}"#, Content, None),
        (r#"{"type":"subscribe","channel":"a","start":{}}"#, Content, None),
        (r#"{"type":"subscribe","channel":"a"}"#, Content, None),
        (r#"{"type":"subscribe","channel":"a","start":"now","delivery":"all"}"#, Content, None),
        (
            r#"{"type":"hello","client":"c","unanswered_from":1,"accepted":0,"cursors":[["a","00000000000000aa",1]]}"#,
            Content,
            None,
        ),
        (
            r#"{"type":"hello","client":"c","session":"8f3a61c07d9e4b25a1f0c2d3e4b5a697","unanswered_from":1,"accepted":0,"cursors":[]}"#,
            Content,
            None,
        ),
        (
            r#"{"type":"hello","client":"c","unanswered_from":1,"accepted":0,"cursors":[{"channel":"a","epoch":"+00000000000000a","offset":1}]}"#,
            Content,
            None,
        ),
    ] {
        let read = client(json);
        assert!(read.is_err(), "{json}");
        check_malformed(read, &kind, number);
    }
    check_malformed(server(r#"{"type":"hello"}"#), &UnknownType, None);
    check_malformed(client(&format!(r#"{{"type":"{}"}}"#, "é".repeat(999))), &UnknownType, None);
    check_malformed(Encoding::Json.decode_client(b"{\"type\":\"\xff\"}"), &Syntax, None);
    let message = b"{\"type\":\"request\",\"number\":1,\"command\":\"c\",\"payload\":\"\xff\"}";
    check_malformed(Encoding::Json.decode_client(message), &Syntax, Some(1));
}

#[test]
fn a_channel_that_cannot_be_is_told_apart() {
    let kind = MalformedKind::InvalidChannel { channel: "a b".to_owned() };
    check_malformed(client(r#"{"type":"subscribe","channel":"a b","start":"now"}"#), &kind, None);
    check_malformed(client(r#"{"type":"unsubscribe","channel":"a b"}"#), &kind, None);
    check_malformed(client(r#"{"type":"publish","number":9,"channel":"a b"}"#), &kind, Some(9));
    let long = "é".repeat(5000);
    let read = client(&format!(r#"{{"type":"unsubscribe","channel":"{long}"}}"#));
    let Err(Malformed { kind: MalformedKind::InvalidChannel { channel }, .. }) = read else {
        panic!("{read:?}");
    };
    assert!(channel.len() <= 200 && long.starts_with(&channel));
    let inbox = r#"{"type":"unsubscribe","channel":"$session/8f3a61c07d9e4b25a1f0c2d3e4b5a697"}"#;
    assert!(client(inbox).is_ok(), "whether it is the client's own is not for the codec to say");
}

#[test]
fn depth_and_length_cost_no_stack_and_little_memory() {
    let brackets = "[".repeat(1 << 20);
    for json in [
        format!(r#"{{"type":"request","number":1,"command":"c","payload":{brackets}"#),
        format!(r#"{{"later":{brackets}"#),
        format!(r#"{{"type":"ping","later":{brackets}"#),
        brackets.clone(),
    ] {
        assert!(client(&json).is_err() && server(&json).is_err());
    }
    let nested = format!("{brackets}{}", "]".repeat(1 << 20));
    let json = format!(r#"{{"type":"publish","number":1,"channel":"a","payload":{nested}}}"#);
    let Ok(ClientFrame::Publish(publish)) = client(&json) else { panic!("depth is no matter") };
    assert_eq!(publish.payload.bytes, nested);

    let cursors = |count: usize| {
        let cursors = vec![r#"{"channel":"a","offset":1}"#; count].join(",");
        client(&format!(r#"{{"type":"ack","unanswered_from":1,"cursors":[{cursors}]}}"#))
    };
    assert!(cursors(4096).is_ok());
    check_malformed(cursors(4097), &MalformedKind::TooManyCursors, None);
    check_malformed(cursors(40_000), &MalformedKind::TooManyCursors, None);
}

#[test]
fn cursors_in_protobuf_are_counted_before_they_are_read() {
    // An ack with so many empty places, and hellos that Protobuf merges into one.
    let field = |tag: u8, content: &[u8]| {
        let mut bytes = vec![tag << 3 | 2];
        prost::encoding::encode_varint(content.len() as u64, &mut bytes);
        bytes.extend_from_slice(content);
        bytes
    };
    let ack = |count: usize| Encoding::Protobuf.decode_client(&field(8, &[0x12, 0].repeat(count)));
    check_malformed(ack(4096), &MalformedKind::Content, None);
    check_malformed(ack(4097), &MalformedKind::TooManyCursors, None);
    let hellos = field(1, &[0x32, 0].repeat(1000)).repeat(5);
    let read = Encoding::Protobuf.decode_client(&hellos);
    check_malformed(read, &MalformedKind::TooManyCursors, None);
    // A length that nothing follows is not believed.
    let read = Encoding::Protobuf.decode_client(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    check_malformed(read, &MalformedKind::Syntax, None);
}

#[test]
fn a_payload_that_says_it_is_json_is_checked() {
    let publish = |json: &str| {
        let mut out = Vec::new();
        let payload = Payload::from_json_bytes(json.to_owned());
        let channel = crate::ChannelName::parse("a").expect("a name");
        let frame = ClientFrame::Publish(Publish { number: 9, channel, payload });
        Encoding::Protobuf.encode_client(&frame, &mut out);
        match Encoding::Protobuf.decode_client(&out) {
            Ok(ClientFrame::Publish(publish)) => Ok(publish.payload),
            Ok(other) => panic!("{other:?}"),
            Err(malformed) => Err((malformed.kind, malformed.number)),
        }
    };
    assert_eq!(publish(" [1, 2] \n"), Ok(Payload::from_json_bytes("[1, 2]")));
    for json in ["", "1,\"type\":\"bye\"", "{} {}", "nul", &"[".repeat(1 << 20)] {
        assert_eq!(publish(json), Err((MalformedKind::Content, Some(9))));
    }
}

#[test]
fn a_word_of_failure_from_a_newer_peer_is_a_failure_all_the_same() {
    let read = server(r#"{"type":"problem","error":"too_windy","message":"m"}"#);
    let failure = Failure { code: ErrorCode::Internal, message: "m".to_owned() };
    assert_eq!(read, Ok(ServerFrame::Problem(Problem { failure, channel: None })));
}
