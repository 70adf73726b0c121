//! Whole conversations: `spec/vectors/conversations.json`.

use mainstay_wire::EndReason;
use mainstay_wire::session::*;
use serde::{Deserialize, Serialize};

use crate::samples::*;
use crate::vectors::{check_file, encode_client, encode_server, from_hex};

/// What is said over one session, in the order in which it is said.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Conversation {
    name: String,
    steps: Vec<Step>,
}

/// A frame, a Close frame of the server's, or the loss of a connection.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
struct Step {
    /// The session's connections are 1, 2 …
    connection: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protobuf: Option<String>,
    /// The code of a Close frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<u16>,
    /// Whether the connection is lost here, as without a Close frame.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_lost: bool,
}

#[test]
fn conversations_are_written_and_read_as_the_vectors_say() {
    let conversations = vec![
        ("a session opens and says goodbye", opening()),
        ("requests and their outcomes", requests()),
        ("publish and subscribe", publish_and_subscribe()),
        ("a resume with what was missed", resume()),
        ("a resume after the history was trimmed", gap_after_trimming()),
        ("a resume after the session expired", expired()),
        ("a takeover", takeover()),
        ("a command of the server's", server_command()),
    ];
    let conversations = conversations
        .into_iter()
        .map(|(name, steps)| Conversation { name: name.to_owned(), steps })
        .collect();
    for conversation in check_file("conversations.json", conversations) {
        for step in &conversation.steps {
            let (Some(json), Some(hex)) = (&step.json, &step.protobuf) else { continue };
            let (json, protobuf) = (json.as_bytes(), from_hex(hex));
            let name = &conversation.name;
            if step.from.as_deref() == Some("client") {
                let frame = Encoding::Json.decode_client(json).expect(name);
                assert_eq!(Encoding::Protobuf.decode_client(&protobuf), Ok(frame), "{name}");
            } else {
                let frame = Encoding::Json.decode_server(json).expect(name);
                assert_eq!(Encoding::Protobuf.decode_server(&protobuf), Ok(frame), "{name}");
            }
        }
    }
}

fn opening() -> Vec<Step> {
    vec![
        says(1, &new_hello()),
        hears(1, &greeting(Standing::New, 1, 0)),
        hears(1, &subscribed("$session/8f3a61c07d9e4b25a1f0c2d3e4b5a697", 0, 0)),
        hears(1, &ServerFrame::Ping),
        says(1, &ClientFrame::Pong),
        says(1, &ClientFrame::Bye),
        closes(1, EndReason::SessionEnded),
    ]
}

fn requests() -> Vec<Step> {
    let failed = Outcome::Failed(failure(ErrorCode::HandlerFailed, "it is paused already"));
    let cancelled = Outcome::Failed(failure(ErrorCode::Cancelled, ""));
    vec![
        says(1, &new_hello()),
        hears(1, &greeting(Standing::New, 1, 0)),
        says(1, &request(1, json("\"urgent\""), None)),
        says(1, &request(2, Payload::NULL, Some(1500))),
        hears(1, &reply(1, Outcome::Done(json("{\"paused\":true}")))),
        hears(1, &reply(2, failed)),
        says(1, &request(3, Payload::NULL, None)),
        says(1, &ClientFrame::Cancel { number: 3 }),
        hears(1, &reply(3, cancelled)),
        says(1, &ClientFrame::Ack(Ack { unanswered_from: 4, cursors: vec![] })),
    ]
}

fn publish_and_subscribe() -> Vec<Step> {
    let subscribe = Subscribe {
        channel: channel("news"),
        start: Start::Last(1),
        delivery: Delivery::Every,
        presence: PresenceMode::None,
    };
    vec![
        says(1, &new_hello()),
        hears(1, &greeting(Standing::New, 1, 0)),
        says(1, &ClientFrame::Subscribe(subscribe)),
        hears(1, &subscribed("news", 40, 41)),
        hears(1, &event(41, json("\"before\""))),
        says(1, &publish(1, json(r#"{"headline":"it works"}"#))),
        hears(1, &event(42, json(r#"{"headline":"it works"}"#))),
        hears(1, &reply(1, Outcome::Published { epoch: epoch(), offset: Offset(42) })),
        says(
            1,
            &ClientFrame::Ack(Ack {
                unanswered_from: 2,
                cursors: vec![(channel("news"), Offset(42))],
            }),
        ),
        says(1, &ClientFrame::Unsubscribe { channel: channel("news") }),
        hears(
            1,
            &ServerFrame::Unsubscribed(Unsubscribed { channel: channel("news"), failure: None }),
        ),
    ]
}

/// Outcome 3 was on its way when the connection was lost, and request 4 never arrived.
fn resume() -> Vec<Step> {
    vec![
        hears(1, &event(41, json("\"the last to arrive\""))),
        says(1, &request(3, json("3"), None)),
        says(1, &request(4, json("4"), None)),
        loses(1),
        says(2, &resuming_hello(vec![cursor("news", 41)])),
        hears(2, &greeting(Standing::Resumed, 2, 3)),
        hears(2, &subscribed("news", 41, 43)),
        hears(2, &event(42, json("\"missed\""))),
        hears(2, &event(43, json("\"missed too\""))),
        hears(2, &reply(3, Outcome::Done(json("\"three\"")))),
        says(2, &request(4, json("4"), None)),
        hears(2, &reply(4, Outcome::Done(json("\"four\"")))),
        hears(2, &event(44, json("\"new\""))),
    ]
}

fn gap_after_trimming() -> Vec<Step> {
    vec![
        loses(1),
        says(2, &resuming_hello(vec![cursor("news", 41)])),
        hears(2, &greeting(Standing::Resumed, 2, 2)),
        hears(2, &subscribed("news", 41, 52)),
        hears(
            2,
            &ServerFrame::Gap(Gap {
                channel: channel("news"),
                from_epoch: epoch(),
                from: Offset(42),
                to: Some(Offset(50)),
                reason: GapReason::Trimmed,
                epoch: epoch(),
                offset: Offset(50),
            }),
        ),
        hears(2, &event(51, json("51"))),
        hears(2, &event(52, json("52"))),
    ]
}

/// Of requests 3 and 4 of the old session the server accepted 3, which is indeterminate now; 4 never
/// ran, and is sent again as 1.
fn expired() -> Vec<Step> {
    vec![
        says(1, &request(3, json("3"), None)),
        says(1, &request(4, json("4"), None)),
        loses(1),
        says(2, &resuming_hello(vec![])),
        hears(2, &greeting(Standing::Expired, 1, 3)),
        says(2, &request(1, json("4"), None)),
        hears(2, &reply(1, Outcome::Done(json("\"four\"")))),
    ]
}

/// The second connection comes while the server still holds the first for alive.
fn takeover() -> Vec<Step> {
    vec![
        hears(1, &ServerFrame::Ping),
        says(2, &resuming_hello(vec![])),
        closes(1, EndReason::Superseded),
        hears(2, &greeting(Standing::Resumed, 2, 2)),
        says(2, &request(3, Payload::NULL, None)),
        hears(2, &reply(3, Outcome::Done(Payload::NULL))),
    ]
}

fn server_command() -> Vec<Step> {
    let command = |number, command: &str| {
        ServerFrame::Request(Request {
            number,
            command: command.to_owned(),
            payload: json("{\"text\":\"back at noon\"}"),
            deadline_ms: Some(30_000),
        })
    };
    let never_ran = Outcome::Failed(failure(ErrorCode::NeverRan, "no handler"));
    vec![
        says(1, &new_hello()),
        hears(1, &greeting(Standing::New, 1, 0)),
        hears(1, &command(1, "Show")),
        says(1, &ClientFrame::Reply(Reply { number: 1, outcome: Outcome::Done(json("true")) })),
        hears(1, &command(2, "Dance")),
        says(1, &ClientFrame::Reply(Reply { number: 2, outcome: never_ran })),
        hears(1, &ServerFrame::Ack { number: 2 }),
    ]
}

fn says(connection: u32, frame: &ClientFrame) -> Step {
    let (json, protobuf) = encode_client(frame);
    let (json, protobuf) = (Some(json), Some(protobuf));
    Step { connection, from: Some("client".to_owned()), json, protobuf, ..Step::default() }
}

fn hears(connection: u32, frame: &ServerFrame) -> Step {
    let (json, protobuf) = encode_server(frame);
    let (json, protobuf) = (Some(json), Some(protobuf));
    Step { connection, from: Some("server".to_owned()), json, protobuf, ..Step::default() }
}

fn closes(connection: u32, reason: EndReason) -> Step {
    let from = Some("server".to_owned());
    Step { connection, from, close: reason.close_code(), ..Step::default() }
}

fn loses(connection: u32) -> Step {
    Step { connection, is_lost: true, ..Step::default() }
}

fn greeting(standing: Standing, generation: u64, accepted: u64) -> ServerFrame {
    // What had expired does not come back: it is another session that begins.
    let session = match standing {
        Standing::Expired => "0b6e4f5fd3a68885c19e2d7a40f6b3d2".parse().expect("a session"),
        _ => session(),
    };
    let welcome = Welcome { session, generation, accepted, ..welcome(standing) };
    ServerFrame::Welcome(Box::new(welcome))
}

fn reply(number: u64, outcome: Outcome) -> ServerFrame {
    ServerFrame::Reply(Reply { number, outcome })
}
