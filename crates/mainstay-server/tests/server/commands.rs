//! The command dialect, as PROTOCOL.md has it.

use std::io::Write;
use std::time::Duration;

use mainstay_server::{CommandError, Request, Router};
use serde_json::json;
use tungstenite::Message;

use crate::support::{TestServer, frame, gated, processed, wait_until};

#[test]
fn a_command_is_answered_again_and_again_on_one_connection() {
    let server = TestServer::start();
    let mut client = server.client();
    for request_id in 1..=100 {
        client.check_alive(request_id);
    }
    assert_eq!(server.stats().opened, 1);
    assert_eq!(server.stats().commands, 100);
}

#[test]
fn a_browser_snippet_with_other_capitals_is_understood() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send(r#"{"RequestID":1,"Command":"Pause downloader","SomeOtherThing":"urgent"}"#);
    assert_eq!(client.receive(), processed(1, "Pause downloader"));
}

#[test]
fn a_binary_message_gets_a_binary_reply() {
    let server = TestServer::start();
    let mut client = server.client();
    let json = json!({ "requestID": 5, "command": "x" }).to_string();
    client.socket.send(Message::binary(json.into_bytes())).expect("sent");
    let Message::Binary(reply) = client.socket.read().expect("a reply") else {
        panic!("the reply is not binary");
    };
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&reply).expect("JSON"),
        processed(5, "x")
    );
}

#[test]
fn a_malformed_message_is_answered_and_the_connection_stays_up() {
    let server = TestServer::start();
    let mut client = server.client();
    for (sent, request_id) in
        [("nonsense", 0), ("[]", 0), ("{", 0), ("\"", 0), (r#"{"requestID":9,"command":[]}"#, 9)]
    {
        client.send(sent);
        let reply = client.receive();
        assert_eq!(reply["success"], false);
        assert_eq!(reply["requestID"], request_id);
        let text = reply["someOtherThing"].as_str().expect("a text");
        assert!(text.starts_with("malformed message: "), "{text}");
    }
    client.check_alive(10);
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let server = TestServer::start();
    let mut client = server.client();
    for request_id in 1..=1000 {
        let json = json!({ "requestID": request_id, "command": "many" }).to_string();
        client.socket.write(Message::text(json)).expect("written");
    }
    client.socket.flush().expect("flushed");
    for request_id in 1..=1000 {
        assert_eq!(client.receive(), processed(request_id, "many"));
    }
}

#[test]
fn handlers_are_found_by_name_and_the_rest_falls_back() {
    let router = Router::new()
        .handler(
            "greet",
            |request: Request| async move { Ok(format!("hello {}", request.payload)) },
        )
        .blocking_handler("sleep", |_| {
            std::thread::sleep(Duration::from_millis(1));
            Ok("slept".to_owned())
        })
        .handler("refuse", |_| async { Err(CommandError::new("not today")) })
        .handler("break", |_| async { Ok(String::from_utf8(vec![0xff])?) })
        .fallback(|request: Request| async move {
            Err(CommandError::new(format!("no command {:?}", request.command)))
        });
    let server = TestServer::with(router, |_| {});
    let mut client = server.client();
    client.send(r#"{"requestID":1,"command":"greet","someOtherThing":"world"}"#);
    assert_eq!(client.receive()["someOtherThing"], "hello world");
    assert_eq!(client.request(2, "sleep")["someOtherThing"], "slept");
    let refused = client.request(3, "refuse");
    assert_eq!(
        (&refused["success"], &refused["someOtherThing"]),
        (&json!(false), &json!("not today"))
    );
    let broken = client.request(4, "break");
    assert_eq!(broken["someOtherThing"], "internal error", "the cause is for the log alone");
    assert_eq!(client.request(5, "other")["someOtherThing"], r#"no command "other""#);
}

#[test]
fn commands_of_one_connection_run_one_at_a_time_and_in_order() {
    let (router, gate) = gated();
    let server = TestServer::with(router, |_| {});
    let (mut slow, mut quick) = (server.client(), server.client());
    for (request_id, command) in [(1, "wait"), (2, "quick"), (3, "wait"), (4, "quick")] {
        slow.send(json!({ "requestID": request_id, "command": command }).to_string());
    }
    wait_until("the first command to run", || server.stats().commands >= 1);
    quick.check_alive(1);
    gate.add_permits(2);
    let ids: Vec<_> = (0..4).map(|_| slow.receive()["requestID"].as_i64()).collect();
    assert_eq!(ids, [Some(1), Some(2), Some(3), Some(4)]);
}

#[test]
fn commands_behind_a_slow_handler_are_bounded_and_none_is_lost() {
    let (router, gate) = gated();
    let server = TestServer::with(router, |config| config.command_queue_count_max = 4);
    let mut peer = server.raw("");
    peer.stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let filler = "x".repeat(60_000);
    let json = json!({ "requestID": 7, "command": "wait", "someOtherThing": filler }).to_string();
    let command = frame(0x81, json.as_bytes());
    let (mut written, mut rest) = (0, &command[..]);
    // Until the server reads no more, and the system's buffers are full.
    while let Ok(count) = peer.stream.write(rest) {
        rest = &rest[count..];
        if rest.is_empty() {
            (written, rest) = (written + 1, &command);
        }
        assert!(written < 1000, "the server has taken 60 MB of commands that it cannot run");
    }
    gate.add_permits(1000);
    peer.stream.set_write_timeout(None).expect("no timeout");
    peer.stream.write_all(rest).expect("the server reads on");
    for _ in 0..=written {
        let (first, reply) = peer.receive().expect("a reply");
        assert_eq!(first, 0x81);
        assert!(String::from_utf8_lossy(&reply).contains(r#""requestID":7"#));
    }
}

#[test]
fn a_handler_that_takes_too_long_costs_only_its_own_reply() {
    let router = Router::new().handler("hang", |_| std::future::pending());
    let server =
        TestServer::with(router, |config| config.handler_timeout = Duration::from_millis(50));
    let mut client = server.client();
    let reply = client.request(1, "hang");
    assert_eq!(reply["success"], false);
    assert_eq!(reply["someOtherThing"], "the handler took too long");
    client.check_alive(2);
    assert_eq!(server.stats().handler_timeouts, 1);
}

#[test]
fn a_handler_whose_runtime_is_gone_fails_and_its_connection_goes_on() {
    let (router, _gate) = gated();
    let server = TestServer::with(router, |_| {});
    let mut client = server.client();
    client.send(json!({ "requestID": 1, "command": "wait" }).to_string());
    wait_until("the command to run", || server.stats().commands == 1);
    let TestServer { server, runtime } = server;
    runtime.shutdown_background();
    let reply = client.receive();
    assert_eq!((&reply["requestID"], &reply["success"]), (&json!(1), &json!(false)));
    // What needs no runtime needs none, and what does is told so.
    client.check_alive(2);
    assert_eq!(client.request(3, "wait")["success"], false);
    assert_eq!(server.stats().handler_failures, 2);
}

#[test]
fn the_echo_dialect_returns_everything_as_it_came() {
    let server = TestServer::configured(|config| {
        config.dialect = mainstay_server::Dialect::Echo;
    });
    let mut client = server.client();
    for message in [Message::text("täxt"), Message::binary(vec![0, 255]), Message::text("")] {
        client.socket.send(message.clone()).expect("sent");
        assert_eq!(client.socket.read().expect("an echo"), message);
    }
}

#[test]
fn a_reply_that_no_message_holds_is_a_failure_that_says_how_long_it_was() {
    let router = Router::new().handler("repeat", |request: Request| async move {
        let count: usize = request.payload.parse()?;
        Ok("x".repeat(count))
    });
    let router = router.handler("refuse", |request: Request| async move {
        let count: usize = request.payload.parse()?;
        Err(CommandError::new("x".repeat(count)))
    });
    let server = TestServer::with(router, |config| config.limits.message_bytes_max = 1000);
    let mut client = server.client();
    let mut ask = |command: &str, payload: &str| {
        let request = json!({ "requestID": 7, "command": command, "someOtherThing": payload });
        client.send(request.to_string());
        client.receive()
    };
    // What stands around a result: names, number, braces. The command is the client's own.
    let around = json!({ "requestID": 7, "command": "", "someOtherThing": "", "success": true });
    let most = 1000 - around.to_string().len();
    let reply = ask("repeat", &most.to_string());
    assert_eq!(reply["someOtherThing"].as_str().map(str::len), Some(most));
    for (command, count, bytes) in [("repeat", most + 1, 1001), ("refuse", most, 1001)] {
        let reply = ask(command, &count.to_string());
        assert_eq!((&reply["requestID"], &reply["success"]), (&json!(7), &json!(false)));
        let text = reply["someOtherThing"].as_str().expect("a text");
        assert!(text.contains(&bytes.to_string()) && text.contains("1000"), "{text}");
    }
    let long = "c".repeat(700);
    assert_eq!(ask(&long, ""), {
        let mut reply = processed(7, &long);
        reply["requestID"] = json!(7);
        reply
    });
}
