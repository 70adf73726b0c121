//! Commands run by a web service.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mainstay_client::frames::{ErrorCode, Payload};
use mainstay_client::{RequestFailure, Session};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::server::{PATIENCE, Server, request};
use crate::service::{Event, Reply, Service};

const IDEMPOTENT: &[&str] = &["--handler-retry", "idempotent"];

#[test]
fn the_example_answers_both_dialects() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/handlers/webhook.py");
    let mut service = Command::new("python3")
        .args([example.as_os_str(), "0".as_ref()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("Python runs");
    let mut line = String::new();
    let stdout = service.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let port = line.trim().rsplit(' ').next().expect("a port");
    let server = Server::start(&format!("http://localhost:{port}/"));
    let (code, out) = server.request(&["greet", "Ann \"A.\" Lee"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains(r#""payload": "Ann \"A.\" Lee""#), "{out}");
    let (code, out) = server.request(&["fail"]);
    assert_eq!((code, out.contains("as you wish")), (Some(1), true), "{out}");
    let out = server.command("Pause downloader");
    assert!(out.contains(r#"\"command\": \"Pause downloader\""#), "{out}");
    server.stop();
    service.kill().expect("killed");
    service.wait().expect("gone");
}

#[test]
fn a_post_says_who_asks_for_what_and_how_long_and_connections_are_kept() {
    let service = Service::start(|number, _| Reply::json(&format!("{{\"n\": {number}}}\n")));
    let server = Server::start_with(
        &service.url("/commands?from=a"),
        &["--principal-header", "X-User", "--handler-timeout", "20s"],
    );
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let url = format!("ws://{}/server", server.address);
        let builder = Session::builder(&url).header("X-User", "ann@example.org");
        let session = builder.connect().await.expect("connected");
        let payloads = [
            (Payload::from_json_bytes("{\"a\":\n 1}"), "payload", json!({ "a": 1 })),
            (Payload::binary(vec![255]), "data", json!("/w==")),
        ];
        for (index, (payload, field, expected)) in payloads.into_iter().enumerate() {
            let deadline = Duration::from_secs(9);
            let pending = session.request_within(deadline, "greet", payload).await.expect("kept");
            let result = pending.await.expect("a result");
            assert_eq!(result, Payload::from_json_bytes(format!("{{\"n\": {}}}", index + 1)));
            let post = service.post();
            assert_eq!((post.path.as_str(), post.connection), ("/commands?from=a", 1));
            assert_eq!((&post.body["command"], &post.body[field]), (&json!("greet"), &expected));
            let id = post.body["session"].as_str().expect("a session");
            let key = format!("{id}:{}", index + 1);
            let header = |name: &str| post.headers.get(name).map(String::as_str);
            assert_eq!(header("idempotency-key"), Some(key.as_str()));
            assert_eq!(post.body["key"], json!(key));
            assert_eq!(header("mainstay-session"), Some(id));
            assert_eq!(header("mainstay-principal"), Some("ann@example.org"));
            assert_eq!(post.body["principal"], "ann@example.org");
            assert_eq!(header("content-type"), Some("application/json"));
            assert_eq!(header("host"), Some(service.address.to_string().as_str()));
            let left = header("mainstay-deadline-ms").and_then(|ms| ms.parse::<u64>().ok());
            let has = post.body["deadline_ms"].as_u64();
            assert!(left >= Some(5_000) && left <= has && has <= Some(9_000), "{left:?}, {has:?}");
        }
        session.close().await;
    });
    // The command dialect has no session, nothing to know a request by, and the server's own time.
    let out = server.command("Pause");
    assert!(out.contains(r#""payload":"{\"n\": 3}""#), "{out}");
    let post = service.post();
    assert_eq!(post.body["payload"], "");
    assert!(post.headers.keys().all(|name| !name.contains("key") && name != "mainstay-session"));
    assert!(post.body["session"].is_null() && post.body["key"].is_null());
    server.stop();
}

#[test]
fn an_answer_is_a_result_a_refusal_or_wrong() {
    let long = "x".repeat(5_000);
    let service = Service::start(move |_, post| {
        let answer = |status, kind, body: &str| Reply::Answer(status, kind, body.to_owned());
        match post.body["command"].as_str().expect("a command") {
            "json" => Reply::json(" \"fine\"\r\n"),
            "empty" => answer("204 No Content", "text/plain", ""),
            "bytes" => answer("200 OK", "Application/Octet-Stream; x=y", "{no json}"),
            "babble" => answer("200 OK", "application/json", "{fine}"),
            "plain" => answer("409 Conflict", "text/plain; charset=utf-8", "already paused\n"),
            "problem" => answer(
                "400 Bad Request",
                "application/problem+json",
                r#"{"status": 400, "detail": "no such file"}"#,
            ),
            "long" => answer("400 Bad Request", "text/plain", &long),
            "page" => answer("404 Not Found", "text/html", "<h1>proxy-7.internal</h1>"),
            "moved" => Reply::Raw(
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n"
                    .to_owned(),
            ),
            other => panic!("{other}"),
        }
    });
    let server = Server::start_with(&service.url("/"), IDEMPOTENT);
    for (command, code, text) in [
        ("json", 0, "fine"),
        ("empty", 0, "null"),
        ("bytes", 0, "{no json}"),
        ("babble", 1, "not JSON"),
        ("plain", 1, "already paused"),
        ("problem", 1, "no such file"),
        ("long", 1, "xxx"),
        ("page", 1, "404 Not Found"),
        ("moved", 1, "307 Temporary Redirect"),
    ] {
        let (exit, out) = server.request(&[command]);
        assert_eq!((exit, out.contains(text)), (Some(code), true), "{command}: {out}");
        assert!(!out.contains("internal") && out.len() < 1_200, "{command}: {out}");
        assert_eq!(service.post().body["command"], command);
    }
    service.assert_idle();
    server.stop();
}

#[test]
fn what_may_have_run_is_posted_again_only_to_a_service_that_knows_it_again() {
    let reply = |number, _: &_| match number {
        1 => Reply::Answer("500 Oops", "text/plain", "at http://db.internal/".to_owned()),
        // An answer that is cut in its middle.
        2 => Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"half\": ".to_owned()),
        // None at all.
        3 => Reply::Raw(String::new()),
        _ => Reply::json("\"good\""),
    };
    // By default it is not.
    let service = Service::start(reply);
    let server = Server::start(&service.url("/"));
    for text in ["500 Internal Server Error", "answer was lost", "answer was lost"] {
        let (code, out) = server.request(&["once"]);
        assert_eq!(code, Some(1), "{out}");
        assert!(out.contains(text) && out.contains("may have run"), "{out}");
        let is_shown = |what: &str| out.contains(what);
        assert!(!is_shown("db.internal") && !is_shown(&service.address.to_string()), "{out}");
        service.post();
    }
    service.assert_idle();
    server.wait_for_log("db.internal");
    server.stop();

    let service = Service::start(reply);
    let server = Server::start_with(&service.url("/"), IDEMPOTENT);
    let (code, out) = server.request(&["again"]);
    assert_eq!((code, out.contains("good")), (Some(0), true), "{out}");
    let posts = [(); 4].map(|()| service.post());
    let keys = posts.each_ref().map(|post| post.headers["idempotency-key"].as_str());
    assert!(keys.iter().all(|key| *key == keys[0] && key.ends_with(":1")), "{keys:?}");
    let left = posts
        .each_ref()
        .map(|post| post.headers["mainstay-deadline-ms"].parse::<u64>().expect("ms"));
    assert!(left[3] <= left[0], "{left:?}");
    server.stop();

    // Nor is what has no key.
    let service = Service::start(reply);
    let server = Server::start_with(&service.url("/"), IDEMPOTENT);
    let out = server.command("Pause");
    assert!(out.contains("\"success\":false") && out.contains("may have run"), "{out}");
    service.post();
    service.assert_idle();
    server.stop();
}

#[test]
fn a_service_that_is_not_there_is_waited_for_and_has_then_had_nothing() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let url = format!("http://{port}/");
    let server = Server::start(&url);
    let began = Instant::now();
    let (code, out) = server.request(&["early", "--deadline", "1s"]);
    assert_eq!((code, out.contains("it never ran")), (Some(1), true), "{out}");
    assert!(out.contains("has not run") && !out.contains(&port.to_string()), "{out}");
    assert!(began.elapsed() >= Duration::from_millis(800), "it was tried until shortly before");
    server.wait_for_log("cannot be reached");
    let address = server.address.as_str();
    thread::scope(|scope| {
        let asked = scope.spawn(|| request(address, &["patient"]));
        server.wait_for_log("asked again");
        let service = Service::start_on(port, |_, _| Reply::json("\"at last\""));
        let (code, out) = asked.join().expect("joined");
        assert_eq!((code, out.contains("at last")), (Some(0), true), "{out}");
        assert_eq!(service.post().body["command"], "patient");
        service.assert_idle();
    });
    server.wait_for_log("reached again");
    server.stop();

    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let server = Server::start_with(&format!("http://{port}/"), &["--handler-retry", "never"]);
    let began = Instant::now();
    let (code, out) = server.request(&["at once"]);
    assert_eq!((code, out.contains("it never ran")), (Some(1), true), "{out}");
    assert!(began.elapsed() < Duration::from_secs(20), "of 30 s that it has");
    server.stop();
}

#[test]
fn a_service_is_left_at_the_deadline_and_when_nobody_wants_the_answer_any_more() {
    let service = Service::start(|_, _| Reply::Nothing);
    let server = Server::start_with(&service.url("/"), IDEMPOTENT);
    let (code, out) = server.request(&["slow", "--deadline", "300ms"]);
    assert_eq!((code, out.contains("deadline_exceeded")), (Some(1), true), "{out}");
    service.post();
    assert!(matches!(service.event(), Event::Dropped));
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let url = format!("ws://{}/server", server.address);
        let session = Session::builder(&url).connect().await.expect("connected");
        let pending = session.request("slow", Payload::NULL).await.expect("kept");
        service.post();
        pending.cancel().await;
        let failure = pending.await.expect_err("cancelled");
        assert!(
            matches!(&failure, RequestFailure::Failed(f) if f.code == ErrorCode::Cancelled),
            "{failure:?}"
        );
        assert!(matches!(service.event(), Event::Dropped));
        session.close().await;
    });
    service.assert_idle();
    server.stop();
}

#[test]
fn an_answer_that_no_message_holds_is_not_read_to_its_end() {
    let service = Service::start(|_, post| {
        let huge = "x".repeat(70_000);
        match post.body["command"].as_str() {
            Some("announced") => {
                // It would have to wait for the rest for ever.
                Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\nx".to_owned())
            }
            Some("chunked") => Reply::Raw(format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{huge}\r\n",
                huge.len()
            )),
            // The message around it is what is too long.
            Some("nearly") => Reply::json(&format!("\"{}\"", &huge[..65_530])),
            Some("head") => Reply::Raw(format!("HTTP/1.1 200 OK\r\nx: {huge}\r\n\r\n")),
            _ => Reply::json("\"small\""),
        }
    });
    let server = Server::start(&service.url("/"));
    for command in ["announced", "chunked", "nearly"] {
        let (code, out) = server.request(&[command]);
        assert_eq!((code, out.contains("too_big")), (Some(1), true), "{out}");
        assert!(out.contains("65536") && out.contains("it ran"), "{out}");
    }
    let (code, out) = server.request(&["head"]);
    assert_eq!((code, out.contains("may have run")), (Some(1), true), "{out}");
    let (code, out) = server.request(&["hello"]);
    assert_eq!((code, out.contains("small")), (Some(0), true), "{out}");
    server.stop();
}

#[test]
fn a_service_has_no_more_requests_at_one_time_than_it_may() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inside, peak) = (running.clone(), most.clone());
    let service = Service::start(move |_, _| {
        peak.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        // Long enough for the others to come in, if they may.
        thread::sleep(Duration::from_millis(100));
        inside.fetch_sub(1, Ordering::SeqCst);
        Reply::json("1")
    });
    let server = Server::start_with(&service.url("/"), &["--handler-concurrency-max", "2"]);
    let address = server.address.as_str();
    thread::scope(|scope| {
        let asked = [(); 6].map(|()| scope.spawn(|| request(address, &["work"])));
        for (code, out) in asked.map(|asked| asked.join().expect("joined")) {
            assert_eq!(code, Some(0), "{out}");
        }
    });
    assert_eq!((most.load(Ordering::SeqCst), running.load(Ordering::SeqCst)), (2, 0));
    server.stop();

    // Who waits for a place in vain has not run.
    let service = Service::start(|_, _| Reply::Nothing);
    let server = Server::start_with(&service.url("/"), &["--handler-concurrency-max", "1"]);
    let address = server.address.as_str();
    thread::scope(|scope| {
        let first = scope.spawn(|| request(address, &["first", "--deadline", "5s"]));
        service.post();
        let (code, out) = server.request(&["second", "--deadline", "500ms"]);
        assert_eq!((code, out.contains("it never ran")), (Some(1), true), "{out}");
        service.assert_idle();
        let (code, out) = first.join().expect("joined");
        assert_eq!((code, out.contains("deadline_exceeded")), (Some(1), true), "{out}");
    });
    server.stop();
}

#[test]
fn a_request_whose_server_is_killed_while_it_runs_is_in_doubt_and_never_posted_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data").display().to_string();
    let service = Service::start(|_, post| match post.body["command"].as_str() {
        Some("slow") => Reply::Nothing,
        _ => Reply::json("\"good\""),
    });
    let more = [&["--data-dir", &data], IDEMPOTENT].concat();
    let mut server = Server::start_with(&service.url("/"), &more);
    let address = server.address.clone();
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let url = format!("ws://{address}/server");
        let session = Session::builder(&url).connect().await.expect("connected");
        let slow = session.request("slow", Payload::NULL).await.expect("kept");
        let key = service.post().headers["idempotency-key"].clone();
        // It waits behind the other, is not accepted yet, and goes out again after the return.
        let next = session.request("next", Payload::NULL).await.expect("kept");
        server.child.kill().expect("killed");
        server.child.wait().expect("gone");
        assert!(matches!(service.event(), Event::Dropped));
        let again = [&["--address", &address], &more[..]].concat();
        let back = Server::start_with(&service.url("/"), &again);
        let failure = tokio::time::timeout(PATIENCE, slow).await.expect("an outcome");
        assert!(matches!(failure, Err(RequestFailure::Indeterminate)), "{failure:?}");
        let result = tokio::time::timeout(PATIENCE, next).await.expect("an outcome");
        assert_eq!(result.expect("a result"), Payload::text("good"));
        let post = service.post();
        assert_eq!(post.body["command"], "next");
        assert_eq!(post.headers["idempotency-key"], key.replace(":1", ":2"), "numbers stay");
        service.assert_idle();
        session.close().await;
        back.stop();
    });
    assert!(fs::exists(&data).expect("looked"));
}

#[test]
fn a_url_that_is_none_is_told_at_the_start() {
    for (handler, text) in [
        ("http://localhost:99999/", "no URL"),
        ("https://localhost/", "does not speak TLS"),
        ("localhost:9000", "http://HOST:PORT/PATH"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_mainstay"))
            .args(["server", "--address", "127.0.0.1:0", "--admin-address", "none"])
            .args(["--handler", handler])
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(2));
        let out = String::from_utf8_lossy(&output.stderr);
        assert!(out.contains(text) && out.contains("handler"), "{handler}: {out}");
    }
}
