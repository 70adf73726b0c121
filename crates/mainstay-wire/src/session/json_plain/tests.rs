//! What is read here reads as it does by [`json_read`], and the usual frames are.

use super::*;
use crate::session::{MalformedKind, json_read};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use serde_json::Value;

/// Reads a message both ways, as either side's.
#[track_caller]
fn check_same(message: &[u8]) {
    if let Some(frame) = client_frame(message) {
        assert_eq!(json_read::client_frame(message), Ok(frame), "{}", message.escape_ascii());
    }
    if let Some(frame) = server_frame(message) {
        assert_eq!(json_read::server_frame(message), Ok(frame), "{}", message.escape_ascii());
    }
}

/// Every JSON message of the golden vectors.
fn vectors() -> Vec<String> {
    fn collect(value: &Value, texts: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                texts.extend(object.get("json").and_then(Value::as_str).map(str::to_owned));
                object.values().for_each(|value| collect(value, texts));
            }
            Value::Array(list) => list.iter().for_each(|value| collect(value, texts)),
            _ => {}
        }
    }
    let mut texts = Vec::new();
    for file in [
        include_str!("../../../../../spec/vectors/client.json"),
        include_str!("../../../../../spec/vectors/server.json"),
        include_str!("../../../../../spec/vectors/malformed.json"),
        include_str!("../../../../../spec/vectors/conversations.json"),
    ] {
        collect(&serde_json::from_str(file).expect("JSON"), &mut texts);
    }
    assert!(texts.len() > 100, "there are vectors");
    texts
}

/// As it is written, and with blanks wherever they may be in a frame without any in its texts.
fn with_blanks(text: &str) -> String {
    text.replace(',', " ,\t").replace('{', "\n{ ").replace("\":", "\": ")
}

#[test]
fn vectors_read_the_same_or_are_not_plain() {
    for text in vectors() {
        check_same(text.as_bytes());
        check_same(with_blanks(&text).as_bytes());
        for end in 0..text.len() {
            check_same(&text.as_bytes()[..end]);
        }
    }
}

#[test]
fn what_comes_with_every_request_and_event_is_plain() {
    for text in [
        r#"{"type":"request","number":1,"command":"c","payload":{"a":[1.5e-3,true,null,"\u00e9\n"]}}"#,
        r#"{"type":"request","number":9007199254740991,"command":"Päuse","deadline_ms":0,"data":"3q2+7w=="}"#,
        r#"{"type":"publish","number":2,"channel":"news","payload":"it's 5 o'clock"}"#,
        r#"{"type":"cancel","number":4}"#,
        r#"{"type":"reply","number":5,"status":"done","payload":null}"#,
        r#"{"type":"reply","number":5,"status":"published","epoch":"5bd1c0aa31f2e877","offset":42}"#,
        r#"{"type":"reply","number":5,"status":"failed","error":"never_ran","message":""}"#,
        r#"{"type":"reply","number":5,"status":"indeterminate"}"#,
        r#"{"type":"ack","unanswered_from":1,"cursors":[{"channel":"news","offset":42},{"offset":0,"channel":"a"}]}"#,
        r#"{"type":"ack","unanswered_from":65,"cursors":[]}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"pong"}"#,
        // However they are ordered.
        r#"{"payload":[[]],"command":"c","number":1,"type":"request"}"#,
    ] {
        for text in [text.to_owned(), with_blanks(text)] {
            let frame = client_frame(text.as_bytes());
            assert_eq!(frame, json_read::client_frame(text.as_bytes()).ok(), "{text}");
            assert!(frame.is_some(), "{text}");
        }
    }
    for text in [
        r#"{"type":"event","channel":"$session/8f3a61c07d9e4b25a1f0c2d3e4b5a697","offset":42,"at_ms":1780000000000,"payload":-0.0}"#,
        r#"{"type":"request","number":1,"command":"Show","payload":"now","deadline_ms":30000}"#,
        r#"{"type":"reply","number":5,"status":"done","data":""}"#,
        r#"{"type":"cancel","number":4}"#,
        r#"{"type":"ack","number":12}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"pong"}"#,
    ] {
        for text in [text.to_owned(), with_blanks(text)] {
            let frame = server_frame(text.as_bytes());
            assert_eq!(frame, json_read::server_frame(text.as_bytes()).ok(), "{text}");
            assert!(frame.is_some(), "{text}");
        }
    }
}

#[test]
fn what_is_unusual_is_left_to_others() {
    for text in [
        r#"{"type":"request","number":1,"command":"say \"c\""}"#,
        r#"{"type":"request","number":1,"command":"c","later":1}"#,
        r#"{"type":"request","number":1,"command":"c","deadline_ms":null}"#,
        r#"{"type":"cancel","number":1,"\u006eumber":1}"#,
        r#"{"type":"cancel","number" :1}"#,
        r#"{"type":"subscribe","channel":"news","start":"now"}"#,
    ] {
        assert_eq!(client_frame(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn what_is_wrong_is_never_plain() {
    let brackets = "[".repeat(1 << 20);
    let places = [r#"{"channel":"a","offset":1}"#; CURSOR_COUNT_MAX + 1].join(",");
    let kinds = [
        "9007199254740992",
        "-1",
        "-0",
        "01",
        "1.0",
        "1e0",
        "1,\"number\":1",
        "1,\"type\":\"cancel\"",
        "1,",
        "",
    ];
    let numbers = kinds.map(|number| format!(r#"{{"type":"cancel","number":{number}}}"#));
    let payloads = [
        "01",
        "1.",
        "-",
        ".5",
        "1e",
        "+1",
        "nul",
        "\"\\x\"",
        "\"\\u00g0\"",
        "\"\n\"",
        "[1,]",
        "{\"a\"}",
        "{,}",
        "[1 2]",
    ];
    let payloads = payloads.map(|payload| {
        format!(r#"{{"type":"request","number":1,"command":"c","payload":{payload}}}"#)
    });
    let others = [
        r#"{"type":"request","number":1,"command":"c","payload":1,"data":""}"#.to_owned(),
        r#"{"type":"request","number":1,"command":"c","data":"AP9="}"#.to_owned(),
        r#"{"type":"publish","number":1,"channel":"a b"}"#.to_owned(),
        r#"{"type":"reply","number":5,"status":"published","epoch":"+000000000000001","offset":42}"#.to_owned(),
        r#"{"type":"reply","number":5,"status":"failed","error":"busy"}"#.to_owned(),
        r#"{"type":"ping"}{"type":"ping"}"#.to_owned(),
        format!(r#"{{"type":"ack","unanswered_from":1,"cursors":[{places}]}}"#),
        format!(r#"{{"type":"publish","number":1,"channel":"a","payload":{brackets}"#),
        brackets,
    ];
    for text in numbers.iter().chain(&payloads).chain(&others) {
        assert_eq!(client_frame(text.as_bytes()), None, "{text:.100}");
        assert!(json_read::client_frame(text.as_bytes()).is_err(), "{text:.100}");
    }
    let not_text = b"{\"type\":\"request\",\"number\":1,\"command\":\"\xff\"}";
    assert_eq!(client_frame(not_text), None);
    let kind = json_read::client_frame(not_text).map_err(|malformed| malformed.kind);
    assert_eq!(kind, Err(MalformedKind::Syntax));
}

/// Damage that leaves much of a frame as it was.
fn mutation() -> impl Strategy<Value = (Index, Index, String)> {
    let signs = "[{}\\[\\]\",:0-9.eE+\\\\u \t\n-]{0,3}";
    let member = prop_oneof![
        Just(r#","number":1"#),
        Just(r#","type":"ping""#),
        Just(r#","payload":{"a":[]}"#),
        Just(r#","data":"AA==""#),
        Just(r#","epoch":"00000000000000aA""#),
        Just(r#","cursors":[{"channel":"a","offset":1}]"#),
        Just(r#","later":0"#),
        Just("null"),
        Just("\u{e9}"),
    ];
    (any::<Index>(), any::<Index>(), prop_oneof![signs, member.prop_map(str::to_owned)])
}

proptest! {
    // The same cases on every run, and no file of regressions.
    #![proptest_config(ProptestConfig {
        cases: 20_000,
        rng_seed: RngSeed::Fixed(6455),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn damaged_vectors_read_the_same_or_are_not_plain(
        which: Index, mutations in prop::collection::vec(mutation(), 1..4),
    ) {
        thread_local!(static VECTORS: Vec<String> = vectors());
        let mut bytes = VECTORS.with(|vectors| vectors[which.index(vectors.len())].clone()).into_bytes();
        for (at, length, inserted) in mutations {
            // Mostly a few bytes, and often between two members.
            let signs: Vec<usize> = (0..bytes.len()).filter(|at| b",{}:\"".contains(&bytes[*at])).collect();
            let at = if signs.is_empty() { at.index(bytes.len() + 1) } else { signs[at.index(signs.len())] };
            let end = (at + length.index(4)).min(bytes.len());
            bytes.splice(at..end, inserted.into_bytes());
        }
        check_same(&bytes);
    }
}
