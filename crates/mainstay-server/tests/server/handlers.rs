//! Handlers that come to nothing are counted, whomever they ran for.

use std::time::Duration;

use mainstay_server::{CommandError, Router};
use serde_json::json;

use crate::sessions::Peer;
use crate::support::{TestServer, wait_until};

/// A server with a handler for each way to come to nothing, at the first look and later.
fn server() -> TestServer {
    let router = Router::new()
        .handler("refuse", |_| async { Err(CommandError::new("not today")) })
        .handler("break", |_| async {
            tokio::task::yield_now().await;
            Ok(String::from_utf8(vec![0xff])?)
        })
        .handler("panic", |_| async { panic!("on purpose") })
        .handler("panic later", |_| async {
            tokio::task::yield_now().await;
            panic!("on purpose")
        })
        .handler("hang", |_| std::future::pending());
    TestServer::with(router, |config| config.handler_timeout = Duration::from_millis(50))
}

/// Failures, panics and timeouts.
fn counted(server: &TestServer) -> [u64; 3] {
    let stats = server.stats();
    [stats.handler_failures, stats.handler_panics, stats.handler_timeouts]
}

#[test]
fn of_the_command_dialect() {
    let server = server();
    let mut client = server.client();
    for (request_id, command, counts) in [
        (1, "Pause downloader", [0, 0, 0]),
        (2, "refuse", [1, 0, 0]),
        (3, "break", [2, 0, 0]),
        (4, "panic", [2, 1, 0]),
        (5, "panic later", [2, 2, 0]),
        (6, "hang", [2, 2, 1]),
    ] {
        assert_eq!(client.request(request_id, command)["success"], counts == [0, 0, 0]);
        assert_eq!(counted(&server), counts, "{command}");
    }
    assert_eq!(server.stats().commands, 6);
}

#[test]
fn of_sessions() {
    let server = server();
    let (mut peer, _) = Peer::begin(&server);
    for (number, command, error, counts) in [
        (1, "refuse", "handler_failed", [1, 0, 0]),
        (2, "break", "internal", [2, 0, 0]),
        (3, "panic", "internal", [2, 1, 0]),
        (4, "panic later", "internal", [2, 2, 0]),
        (5, "hang", "deadline_exceeded", [2, 2, 1]),
    ] {
        peer.request(number, command);
        assert_eq!(peer.expect("reply")["error"], error);
        wait_until(command, || counted(&server) == counts);
    }
    // The client's own deadline counts as well; what it takes back does not.
    peer.say(json!({
        "type": "request", "number": 6, "command": "hang", "payload": null, "deadline_ms": 10,
    }));
    assert_eq!(peer.expect("reply")["error"], "deadline_exceeded");
    peer.say(json!({
        "type": "request", "number": 7, "command": "hang", "payload": null, "deadline_ms": 60_000,
    }));
    peer.say(json!({ "type": "cancel", "number": 7 }));
    assert_eq!(peer.expect("reply")["error"], "cancelled");
    peer.request(8, "Pause downloader");
    assert_eq!(peer.expect("reply")["status"], "done");
    assert_eq!(counted(&server), [2, 2, 2]);
}
