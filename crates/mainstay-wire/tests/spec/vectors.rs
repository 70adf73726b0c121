//! The golden vectors: `spec/vectors/client.json`, `server.json` and `malformed.json`.

use std::path::PathBuf;
use std::{env, fs};

use mainstay_wire::session::{ClientFrame, Encoding, Malformed, MalformedKind, ServerFrame};
use serde::{Deserialize, Serialize};

use crate::samples;

/// A frame in both encodings.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Vector {
    name: String,
    /// Who says it: `client` or `server`.
    from: String,
    /// The text message, as we write it.
    json: String,
    /// The binary message in hexadecimal digits.
    protobuf: String,
}

/// A message that is no frame, in one encoding.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct MalformedVector {
    name: String,
    from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protobuf: Option<String>,
    /// `syntax`, `unknown_type`, `content` or `invalid_channel`; the last does not end a connection.
    wrong: String,
    /// The frame's number, where it can be made out.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
}

#[test]
fn client_frames_are_written_and_read_as_the_vectors_say() {
    let frames = samples::client_frames();
    let vectors: Vec<Vector> = frames
        .iter()
        .map(|(name, frame)| {
            let (json, protobuf) = encode_client(frame);
            Vector { name: (*name).to_owned(), from: "client".to_owned(), json, protobuf }
        })
        .collect();
    for (vector, (name, frame)) in check_file("client.json", vectors).iter().zip(&frames) {
        let json = Encoding::Json.decode_client(vector.json.as_bytes());
        assert_eq!(json.as_ref(), Ok(frame), "{name}");
        let protobuf = Encoding::Protobuf.decode_client(&from_hex(&vector.protobuf));
        assert_eq!(protobuf.as_ref(), Ok(frame), "{name}");
    }
}

#[test]
fn server_frames_are_written_and_read_as_the_vectors_say() {
    let frames = samples::server_frames();
    let vectors: Vec<Vector> = frames
        .iter()
        .map(|(name, frame)| {
            let (json, protobuf) = encode_server(frame);
            Vector { name: (*name).to_owned(), from: "server".to_owned(), json, protobuf }
        })
        .collect();
    for (vector, (name, frame)) in check_file("server.json", vectors).iter().zip(&frames) {
        let json = Encoding::Json.decode_server(vector.json.as_bytes());
        assert_eq!(json.as_ref(), Ok(frame), "{name}");
        let protobuf = Encoding::Protobuf.decode_server(&from_hex(&vector.protobuf));
        assert_eq!(protobuf.as_ref(), Ok(frame), "{name}");
    }
}

#[test]
fn malformed_messages_are_refused_as_the_vectors_say() {
    let json = MALFORMED_JSON.iter().map(|(name, from, text, wrong, number)| MalformedVector {
        name: (*name).to_owned(),
        from: (*from).to_owned(),
        json: Some((*text).to_owned()),
        protobuf: None,
        wrong: (*wrong).to_owned(),
        number: *number,
    });
    let protobuf = MALFORMED_PROTOBUF.iter().map(|(name, from, hex, wrong, number)| {
        let (name, from, wrong) = ((*name).to_owned(), (*from).to_owned(), (*wrong).to_owned());
        let protobuf = Some((*hex).to_owned());
        MalformedVector { name, from, json: None, protobuf, wrong, number: *number }
    });
    for vector in check_file("malformed.json", json.chain(protobuf).collect()) {
        let (encoding, message) = match (&vector.json, &vector.protobuf) {
            (Some(text), None) => (Encoding::Json, text.clone().into_bytes()),
            (None, Some(hex)) => (Encoding::Protobuf, from_hex(hex)),
            _ => panic!("{vector:?}: one encoding"),
        };
        let malformed = match vector.from.as_str() {
            "client" => encoding.decode_client(&message).expect_err(&vector.name),
            _ => encoding.decode_server(&message).expect_err(&vector.name),
        };
        let found = (wrong(&malformed), malformed.number);
        assert_eq!(found, (vector.wrong.as_str(), vector.number), "{}: {malformed}", vector.name);
    }
}

pub(crate) fn encode_client(frame: &ClientFrame) -> (String, String) {
    let (mut json, mut protobuf) = (Vec::new(), Vec::new());
    Encoding::Json.encode_client(frame, &mut json);
    Encoding::Protobuf.encode_client(frame, &mut protobuf);
    (String::from_utf8(json).expect("text"), to_hex(&protobuf))
}

pub(crate) fn encode_server(frame: &ServerFrame) -> (String, String) {
    let (mut json, mut protobuf) = (Vec::new(), Vec::new());
    Encoding::Json.encode_server(frame, &mut json);
    Encoding::Protobuf.encode_server(frame, &mut protobuf);
    (String::from_utf8(json).expect("text"), to_hex(&protobuf))
}

/// Writes what is expected, or reads what is there and compares.
pub(crate) fn check_file<T>(name: &str, expected: Vec<T>) -> Vec<T>
where
    T: for<'de> Deserialize<'de> + Serialize + PartialEq + std::fmt::Debug,
{
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors").join(name);
    if env::var_os("MAINSTAY_SPEC_WRITE").is_some() {
        let text = serde_json::to_string_pretty(&expected).expect("JSON");
        fs::write(&path, text + "\n").expect("written");
    }
    let text = fs::read_to_string(&path).expect("a readable file");
    let actual: Vec<T> = serde_json::from_str(&text).expect("vectors");
    for (actual, expected) in actual.iter().zip(&expected) {
        assert_eq!(actual, expected, "{name} is out of date: set MAINSTAY_SPEC_WRITE=1");
    }
    assert_eq!(actual.len(), expected.len(), "{name} is out of date: set MAINSTAY_SPEC_WRITE=1");
    actual
}

fn wrong(malformed: &Malformed) -> &'static str {
    match malformed.kind {
        MalformedKind::Syntax => "syntax",
        MalformedKind::UnknownType => "unknown_type",
        MalformedKind::Content => "content",
        MalformedKind::InvalidChannel { .. } => "invalid_channel",
        _ => "another",
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn from_hex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(byte).collect()
}

type Case = (&'static str, &'static str, &'static str, &'static str, Option<u64>);

#[rustfmt::skip]
const MALFORMED_JSON: &[Case] = &[
    ("nothing", "client", "", "syntax", None),
    ("cut off", "client", r#"{"type":"ping""#, "syntax", None),
    ("more behind the frame", "client", r#"{"type":"ping"} {"type":"ping"}"#, "syntax", None),
    ("an array", "client", r#"[{"type":"ping"}]"#, "content", None),
    ("no type", "client", r#"{"number":1}"#, "content", Some(1)),
    ("a type that is no string", "client", r#"{"type":1}"#, "content", None),
    ("a type that nobody knows", "client", r#"{"type":"dance"}"#, "unknown_type", None),
    ("a type in capitals", "client", r#"{"type":"PING"}"#, "unknown_type", None),
    ("a type of the server's", "client", r#"{"type":"event","channel":"a","offset":1,"at_ms":0}"#, "unknown_type", None),
    ("a type of the client's", "server", r#"{"type":"bye"}"#, "unknown_type", None),
    ("a type twice", "client", r#"{"type":"ping","type":"pong"}"#, "content", None),
    ("a field twice", "client", r#"{"type":"cancel","number":1,"number":1}"#, "content", None),
    ("a field that is missing", "client", r#"{"type":"request","number":5}"#, "content", Some(5)),
    ("a field that is null", "client", r#"{"type":"request","number":5,"command":null}"#, "content", Some(5)),
    ("a number over 2^53 - 1", "client", r#"{"type":"cancel","number":9007199254740992}"#, "content", None),
    ("a number with a fraction", "client", r#"{"type":"cancel","number":1.0}"#, "content", None),
    ("a number below zero", "client", r#"{"type":"cancel","number":-1}"#, "content", None),
    ("a number in a string", "client", r#"{"type":"cancel","number":"1"}"#, "content", None),
    ("a payload and data", "client", r#"{"type":"request","number":5,"command":"c","payload":1,"data":"AA=="}"#, "content", Some(5)),
    ("data without padding", "client", r#"{"type":"request","number":5,"command":"c","data":"AA"}"#, "content", Some(5)),
    ("data of base64url", "client", r#"{"type":"request","number":5,"command":"c","data":"_-8="}"#, "content", Some(5)),
    ("a session without its token", "client", r#"{"type":"hello","client":"c","session":"8f3a61c07d9e4b25a1f0c2d3e4b5a697","unanswered_from":1,"accepted":0,"cursors":[]}"#, "content", None),
    ("a token that is none", "client", r#"{"type":"hello","client":"c","session":"8f3a61c07d9e4b25a1f0c2d3e4b5a697","token":"x","unanswered_from":1,"accepted":0,"cursors":[]}"#, "content", None),
    ("a cursor that is an array", "client", r#"{"type":"ack","unanswered_from":1,"cursors":[["a",1]]}"#, "content", None),
    ("an epoch of 15 digits", "client", r#"{"type":"subscribe","channel":"a","start":{"after":1,"epoch":"bd1c0aa31f2e877"}}"#, "content", None),
    ("an offset without its epoch", "client", r#"{"type":"subscribe","channel":"a","start":{"after":1}}"#, "content", None),
    ("two starts", "client", r#"{"type":"subscribe","channel":"a","start":{"after":0,"last":1}}"#, "content", None),
    ("a start that nobody knows", "client", r#"{"type":"subscribe","channel":"a","start":"later"}"#, "content", None),
    ("a delivery that nobody knows", "client", r#"{"type":"subscribe","channel":"a","start":"now","delivery":"some"}"#, "content", None),
    ("a status that nobody knows", "client", r#"{"type":"reply","number":5,"status":"perhaps"}"#, "content", Some(5)),
    ("a failure without its message", "server", r#"{"type":"reply","number":5,"status":"failed","error":"busy"}"#, "content", Some(5)),
    ("a subscribe to no channel", "client", r#"{"type":"subscribe","channel":"","start":"now"}"#, "invalid_channel", None),
    ("an unsubscribe with a blank", "client", r#"{"type":"unsubscribe","channel":"a b"}"#, "invalid_channel", None),
    ("a publish to what looks like an inbox", "client", r#"{"type":"publish","number":9,"channel":"$other/a"}"#, "invalid_channel", Some(9)),
];

#[rustfmt::skip]
const MALFORMED_PROTOBUF: &[Case] = &[
    ("nothing", "client", "", "unknown_type", None),
    ("cut off", "client", "12", "syntax", None),
    ("a group", "client", "0b0c", "syntax", None),
    ("a frame that nobody knows", "client", "9a0600", "unknown_type", None),
    ("a command that is not UTF-8", "client", "120508051201ff", "syntax", None),
    ("a number over 2^53 - 1", "client", "2209088080808080808010", "content", None),
    ("a payload that is not the JSON it says", "client", "120c08051201631a050a017b1001", "content", Some(5)),
    ("a reply without a status", "client", "2a020805", "content", Some(5)),
    ("a subscribe without a start", "client", "32030a0161", "content", None),
    ("an offset without its epoch", "client", "32070a01611a020803", "content", None),
    ("a delivery that nobody knows", "client", "32070a016112002807", "content", None),
    ("a welcome without anything", "server", "0a00", "content", None),
    ("an unsubscribe with a blank", "client", "3a050a03612062", "invalid_channel", None),
    ("a publish with a blank", "client", "1a0708091203612062", "invalid_channel", Some(9)),
];
