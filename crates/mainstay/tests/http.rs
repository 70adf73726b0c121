//! The HTTP API and event streams of the real program, spoken to byte by byte.

#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A server on ports of its own. Killed when dropped.
struct Server {
    child: Child,
    public: SocketAddr,
    api: SocketAddr,
}

impl Server {
    fn start(arguments: &[&str]) -> Server {
        let ports = ["server", "--address=127.0.0.1:0", "--admin-address=127.0.0.1:0"];
        let mut child = Command::new(env!("CARGO_BIN_EXE_mainstay"))
            .env_clear()
            .args(ports)
            .args(["--log-format=json", "--shards=1"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut address = |message: &str| {
            lines
                .find(|line| line.contains(message))
                .and_then(|line| serde_json::from_str::<Value>(&line).ok())
                .and_then(|line| find(&line, "address")?.parse().ok())
                .unwrap()
        };
        let (public, api) = (address("\"listening\""), address("serving the HTTP API"));
        // What nobody reads would stop the server.
        thread::spawn(move || lines.for_each(drop));
        Server { child, public, api }
    }

    fn publish(&self, channel: &str, payload: &Value) -> Value {
        let body = json!({"channel": channel, "payload": payload}).to_string();
        let (status, mut answer) = ask(self.api, "POST", "/v1/publish", "", &body);
        assert_eq!(status, 200, "{answer}");
        answer["places"][0].take()
    }

    fn get(&self, path: &str) -> (u16, Value) {
        ask(self.api, "GET", path, "", "")
    }

    fn events(&self, query: &str, headers: &str) -> Stream {
        let mut stream = connect(self.public);
        let path = format!("/events?{query}");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.public).unwrap();
        Stream::new(stream)
    }

    fn stop(mut self) -> (i32, Duration) {
        let began = Instant::now();
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        (self.child.wait().unwrap().code().unwrap(), began.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A field of a line of the log, wherever it stands.
fn find(value: &Value, key: &str) -> Option<String> {
    let object = value.as_object()?;
    let here = object.get(key).and_then(Value::as_str).map(str::to_owned);
    here.or_else(|| object.values().find_map(|value| find(value, key)))
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    // A test that would hang fails instead.
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// One request on a connection of its own: status and body.
fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
    let mut stream = connect(address);
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

/// An event stream: its head, and then its messages.
struct Stream {
    head: String,
    lines: BufReader<TcpStream>,
}

impl Stream {
    fn new(stream: TcpStream) -> Stream {
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(lines.read_line(&mut head).unwrap(), 0, "{head}");
        }
        Stream { head, lines }
    }

    /// The lines of the next message; none at the end. Sizes of chunks are passed over.
    fn message(&mut self) -> Vec<String> {
        let mut message = Vec::new();
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return message;
            }
            let is_chunk = line.ends_with("\r\n");
            match line.trim_end() {
                _ if is_chunk => {}
                "" => return message,
                text => message.push(text.to_owned()),
            }
        }
    }

    /// The id and the data of the next message.
    fn event(&mut self) -> (String, Value) {
        let message = self.message();
        let field = |name: &str| message.iter().find_map(|line| line.strip_prefix(name));
        let data = field("data: ").map(|data| serde_json::from_str(data).unwrap());
        (field("id: ").unwrap().to_owned(), data.unwrap_or_default())
    }
}

#[test]
fn what_is_published_over_http_comes_out_of_the_stream_and_of_the_history() {
    let server = Server::start(&[]);
    let mut stream = server.events("channel=news", "");
    assert!(stream.head.starts_with("HTTP/1.1 200 "), "{}", stream.head);
    assert!(stream.head.contains("content-type: text/event-stream\r\n"), "{}", stream.head);
    stream.event();
    let place = server.publish("news", &json!({"headline": "it works"}));
    let epoch = place["epoch"].as_str().unwrap().to_owned();
    let (id, event) = stream.event();
    assert_eq!(id, format!("{epoch}:1"));
    assert_eq!(
        (&event["type"], &event["channel"], &event["offset"], &event["payload"]["headline"]),
        (&json!("event"), &json!("news"), &json!(1), &json!("it works"))
    );
    drop(stream);

    // Cut off meanwhile, and back exactly behind the last event.
    server.publish("news", &json!(2));
    server.publish("news", &json!(3));
    let mut stream = server.events("channel=news", &format!("Last-Event-ID: {id}\r\n"));
    assert_eq!(stream.event().0, id);
    assert_eq!(stream.event().1["payload"], 2);
    assert_eq!(stream.event().1["payload"], 3);
    server.publish("news", &json!(4));
    assert_eq!(stream.event().1["payload"], 4);

    let (status, history) = server.get("/v1/history?channel=news&after=2");
    assert_eq!((status, history["events"].as_array().unwrap().len()), (200, 2));
    let (_, channels) = server.get("/v1/channels");
    assert_eq!(channels["channels"][0]["head"], 4);
    assert_eq!(server.get("/v1/channels/news").1, channels["channels"][0]);
    assert_eq!(server.get("/v1/channels/other").0, 404);
    assert_eq!(server.get("/health"), (200, json!({"status": "ok"})));
    assert!(server.get("/v1/stats").1["accepted"].as_u64().unwrap() >= 2);
}

#[test]
fn a_key_publishes_once() {
    let server = Server::start(&[]);
    let body = json!({"channel": "orders", "payload": 1}).to_string();
    let publish = |key: &str| {
        let header = format!("Idempotency-Key: {key}\r\n");
        ask(server.api, "POST", "/v1/publish", &header, &body).1["places"][0]["offset"].clone()
    };
    assert_eq!([publish("a"), publish("a"), publish("b")], [json!(1), json!(1), json!(2)]);
}

#[test]
fn a_stream_hears_of_a_server_that_forgot() {
    let server = Server::start(&[]);
    let place = server.publish("news", &json!(1));
    let id = format!("{}:1", place["epoch"].as_str().unwrap());
    drop(server);
    let server = Server::start(&[]);
    server.publish("news", &json!("new"));
    let mut stream = server.events("channel=news", &format!("Last-Event-ID: {id}\r\n"));
    assert_eq!(stream.event().0, id);
    let gap = stream.message();
    assert_eq!(gap[1], "event: gap", "{gap:?}");
    assert!(gap[2].contains("\"reason\":\"epoch\""), "{gap:?}");
    assert_eq!(stream.event().1["payload"], "new");
}

#[test]
fn a_stream_goes_on_over_a_kill_of_a_server_that_keeps_its_data() {
    let folder = format!("{}/http-kill-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let data = format!("--data-dir={folder}");
    let server = Server::start(&[&data]);
    let place = server.publish("news", &json!(1));
    let id = format!("{}:1", place["epoch"].as_str().unwrap());
    server.publish("news", &json!(2));
    drop(server);
    let server = Server::start(&[&data]);
    server.publish("news", &json!(3));
    let mut stream = server.events("channel=news", &format!("Last-Event-ID: {id}\r\n"));
    assert_eq!(stream.event().0, id);
    assert_eq!(stream.event().1["payload"], 2);
    assert_eq!(stream.event().1["payload"], 3);
    drop(server);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_stream_that_is_cut_again_and_again_has_every_event_once_and_in_order() {
    let server = Server::start(&[]);
    let api = server.api;
    let publishing = thread::spawn(move || {
        for number in 1..=EVENT_COUNT {
            let body = json!({"channel": "news", "payload": number}).to_string();
            assert_eq!(ask(api, "POST", "/v1/publish", "", &body).0, 200);
        }
    });
    let mut heard = Vec::new();
    let mut id = "-:0".to_owned();
    while heard.len() < EVENT_COUNT {
        let mut stream = server.events("channel=news", &format!("Last-Event-ID: {id}\r\n"));
        assert_eq!(stream.event().0, id);
        for _ in 0..EVENT_COUNT.saturating_sub(heard.len()).min(7) {
            let (next, event) = stream.event();
            let number = event["payload"].as_u64();
            heard.push(number.unwrap_or_else(|| panic!("behind {id}: {next} {event}")) as usize);
            id = next;
        }
    }
    publishing.join().unwrap();
    assert_eq!(heard, (1..=EVENT_COUNT).collect::<Vec<_>>());
}

#[test]
fn static_files_stand_beside_the_stream() {
    let server = Server::start(&["--www=/nowhere"]);
    let mut stream = connect(server.public);
    write!(stream, "GET / HTTP/1.1\r\nHost: {}\r\n\r\n", server.public).unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("WebSocket"), "{page}");
    let evil = "Origin: https://evil.example\r\n";
    let refused = server.events("channel=news", evil);
    assert!(refused.head.starts_with("HTTP/1.1 403 "), "{}", refused.head);
    assert_eq!(ask(server.api, "GET", "/v1/stats", evil, "").0, 403);
    assert_eq!(ask(server.public, "GET", "/v1/stats", "", "").0, 404, "not on the public side");
}

#[test]
fn open_streams_do_not_hold_up_a_stop() {
    let server = Server::start(&["--drain-window=0ms", "--drain-timeout=20s"]);
    let id = "Last-Event-ID: 00000000000000ff:1\r\n";
    let mut stream = server.events("channel=news", id);
    stream.message();
    let (code, lasted) = server.stop();
    assert_eq!(code, 0);
    assert!(lasted < Duration::from_secs(10), "{lasted:?}");
    let last = loop {
        let message = stream.message();
        if message.iter().any(|line| line.starts_with("retry: ")) || message.is_empty() {
            break message;
        }
    };
    assert!(last.iter().any(|line| line.starts_with("retry: ")), "{last:?}");
}

#[test]
fn others_get_no_api_without_a_token() {
    let run = |arguments: &[&str], token: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
        command.env_clear().arg("server").arg("--address=127.0.0.1:0").args(arguments);
        command.envs(token.map(|token| ("MAINSTAY_ADMIN_TOKEN", token)));
        command.stderr(Stdio::piped()).spawn().unwrap()
    };
    let refused = run(&["--admin-address=0.0.0.0:0"], None).wait_with_output().unwrap();
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{told}");
    assert!(told.contains("admin_token must be set"), "{told}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("--admin-address={}", taken.local_addr().unwrap());
    let refused = run(&[&address], None).wait_with_output().unwrap();
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("cannot listen on admin_address"), "{told}");
}

#[test]
fn a_taken_default_address_costs_the_api_and_not_the_server() {
    // Ours, or whoever has it already: it is taken.
    let _taken = TcpListener::bind("127.0.0.1:8081");
    let mut child = Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .env_clear()
        .args(["server", "--address=127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let told: Vec<String> = lines.map(Result::unwrap).take(2).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(told[0].contains(" listening "), "{told:?}");
    assert!(told[1].contains("no HTTP API"), "{told:?}");
}

/// A client of the session dialect that says and hears whole frames.
struct Session {
    stream: TcpStream,
    welcome: Value,
}

impl Session {
    fn open(server: &Server) -> Session {
        Session::begin(server, "", &Value::Null)
    }

    /// The same session over a new connection.
    fn resume(&self, server: &Server) -> Session {
        Session::begin(server, "", &self.welcome)
    }

    fn begin(server: &Server, headers: &str, before: &Value) -> Session {
        let mut stream = connect(server.public);
        write!(
            stream,
            "GET /server HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: mainstay.v1.json\r\n{headers}\r\n",
            server.public
        )
        .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let mut session = Session { stream, welcome: Value::Null };
        let mut hello = json!({"type": "hello", "client": "test/1.0", "unanswered_from": 1,
            "accepted": 0, "cursors": []});
        if !before.is_null() {
            (hello["session"], hello["token"]) =
                (before["session"].clone(), before["token"].clone());
        }
        session.say(&hello);
        session.welcome = session.hear("welcome").unwrap();
        session
    }

    fn id(&self) -> String {
        self.welcome["session"].as_str().unwrap().to_owned()
    }

    fn say(&mut self, frame: &Value) {
        let text = frame.to_string();
        // The shortest form of the length, and a mask of zeros, which leaves the text as it is.
        let length = u16::try_from(text.len()).unwrap();
        let mut head = vec![0x81];
        match u8::try_from(length) {
            Ok(short) if short < 126 => head.push(0x80 | short),
            _ => head.extend([&[0xfe][..], &length.to_be_bytes()].concat()),
        }
        head.extend([0; 4]);
        self.stream.write_all(&[&head[..], text.as_bytes()].concat()).unwrap();
    }

    /// The next frame of this type; `None` when the connection is closed first.
    fn hear(&mut self, kind: &str) -> Option<Value> {
        loop {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head).ok()?;
            let length = match head[1] {
                126 => {
                    let mut length = [0; 2];
                    self.stream.read_exact(&mut length).ok()?;
                    usize::from(u16::from_be_bytes(length))
                }
                short => usize::from(short),
            };
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).ok()?;
            match head[0] {
                0x81 => {}
                0x88 => return None,
                _ => continue,
            }
            let frame: Value = serde_json::from_slice(&payload).unwrap();
            if frame["type"] == kind {
                return Some(frame);
            }
        }
    }
}

#[test]
fn a_session_is_seen_sent_to_asked_and_ended() {
    let server = Server::start(&[]);
    let mut session = Session::open(&server);
    let id = session.id();
    let (status, seen) = server.get(&format!("/v1/sessions/{id}"));
    assert_eq!(
        (status, &seen["state"], &seen["client"]),
        (200, &json!("connected"), &json!("test/1.0"))
    );
    assert_eq!(server.get("/v1/sessions").1["sessions"][0]["session"], json!(id));

    session.say(&json!({"type": "subscribe", "channel": "news", "start": "now"}));
    // The session's inbox is subscribed before.
    while session.hear("subscribed").unwrap()["channel"] != "news" {}
    let place = server.publish("news", &json!("all"));
    assert_eq!(session.hear("event").unwrap()["offset"], place["offset"]);

    // It has heard the event and has not acknowledged it.
    let listed = |filter: &str| {
        let (status, list) = server.get(&format!("/v1/sessions?prefix={}&{filter}", &id[..4]));
        assert_eq!((status, &list["next"]), (200, &Value::Null));
        list["sessions"].as_array().map(Vec::len)
    };
    assert_eq!(listed("state=connected&behind=true"), Some(1));
    assert_eq!((listed("behind=false"), listed("state=away")), (Some(0), Some(0)));
    assert_eq!(listed("principal=ann"), Some(0));
    let channels = server.get("/v1/channels?prefix=ne").1;
    assert_eq!(channels["channels"][0]["name"], "news");
    assert_eq!(server.get("/v1/channels?prefix=nothing").1, json!({"channels": []}));

    let body = json!({"session": id, "payload": "only you"}).to_string();
    assert_eq!(ask(server.api, "POST", "/v1/send", "", &body).0, 200);
    let event = session.hear("event").unwrap();
    assert_eq!(
        (&event["payload"], &event["channel"]),
        (&json!("only you"), &json!(format!("$session/{id}")))
    );

    let (api, path) = (server.api, format!("/v1/sessions/{id}/request"));
    let body = json!({"command": "add", "payload": [1, 2], "deadline_ms": 10_000}).to_string();
    let asked = thread::spawn(move || ask(api, "POST", &path, "", &body));
    let request = session.hear("request").unwrap();
    assert_eq!((&request["command"], &request["payload"]), (&json!("add"), &json!([1, 2])));
    session.say(
        &json!({"type": "reply", "number": request["number"], "status": "done", "payload": 3}),
    );
    assert_eq!(asked.join().unwrap(), (200, json!({"status": "done", "payload": 3})));

    let path = format!("/v1/sessions/{id}/request");
    let body = json!({"command": "add", "deadline_ms": 50}).to_string();
    assert_eq!(ask(server.api, "POST", &path, "", &body).0, 504);

    let path = format!("/v1/sessions/{id}");
    assert_eq!(ask(server.api, "DELETE", &path, "", "").0, 200);
    while session.hear("never").is_some() {}
    assert_eq!(server.get(&path).0, 404);
    assert_eq!(ask(server.api, "DELETE", &path, "", "").0, 404);
}

/// What the journal tells of a session, once it has as much to tell.
fn story(server: &Server, session: &str, length: usize) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, journal) = server.get(&format!("/v1/journal?session={session}"));
        assert_eq!(status, 200, "{journal}");
        let entries = journal["entries"].as_array().unwrap();
        if entries.len() >= length || Instant::now() > deadline {
            let seqs = entries.iter().map(|entry| entry["seq"].as_u64().unwrap());
            assert!(seqs.is_sorted(), "{journal}");
            let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or("").to_owned();
            let line = |entry| format!("{} {}", text(entry, "what"), text(entry, "reason"));
            return entries.iter().map(|entry| line(entry).trim_end().to_owned()).collect();
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_journal_tells_why() {
    let server = Server::start(&["--session-expiry=1s", "--journal-count-max=40"]);
    let first = Session::open(&server);
    let id = first.id();
    let lost = ["opened", "lost peer_eof"];
    first.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(story(&server, &id, 2), lost);
    let seen = server.get(&format!("/v1/sessions/{id}")).1;
    assert_eq!((&seen["resumes"], &seen["last_end"]["reason"]), (&json!(0), &json!("peer_eof")));
    let since_ms = seen["since_ms"].as_u64().unwrap();
    assert!(seen["last_end"]["at_ms"].as_u64().unwrap() >= since_ms, "{seen}");

    let second = first.resume(&server);
    let mut third = second.resume(&server);
    third.say(&json!({"type": "subscribe", "channel": "news", "start": "now"}));
    let taken_over =
        ["resumed", "superseded superseded", "resumed", "subscribed"].map(str::to_owned);
    assert_eq!(story(&server, &id, 6)[2..], taken_over);
    let seen = server.get(&format!("/v1/sessions/{id}")).1;
    assert_eq!((&seen["resumes"], &seen["last_end"]["reason"]), (&json!(2), &json!("superseded")));
    assert_eq!(seen["since_ms"], since_ms);
    third.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(story(&server, &id, 8)[6..], ["lost peer_eof", "expired"]);

    let connected = Session::open(&server);
    let ended = connected.id();
    let path = format!("/v1/sessions/{ended}");
    assert_eq!(ask(server.api, "DELETE", &path, "", "").0, 200);
    assert_eq!(story(&server, &ended, 2)[1], "ended disconnected");

    for _ in 0..20 {
        let mut session = Session::open(&server);
        session.say(&json!({"type": "bye"}));
        while session.hear("never").is_some() {}
    }
    let (_, journal) = server.get("/v1/journal?limit=1000");
    let forgotten = journal["forgotten_up_to"].as_u64().unwrap();
    assert!(forgotten >= 10, "{forgotten}");
    assert_eq!(journal["entries"].as_array().unwrap().len(), 40);
    assert_eq!(journal["entries"][0]["seq"], forgotten + 1);
    assert_eq!(story(&server, &id, 0), Vec::<String>::new(), "it is forgotten");
}

#[test]
fn history_shows_what_has_gone_on() {
    let server = Server::start(&[]);
    let mut session = Session::open(&server);
    session.say(&json!({"type": "request", "number": 1, "command": "a", "payload": null}));
    session.hear("reply").unwrap();
    let deadline = Instant::now() + PATIENCE;
    let history = loop {
        let (status, history) = server.get("/v1/stats/history");
        assert_eq!((status, &history["interval_ms"]), (200, &json!(1_000)));
        let last = |table: &str, name: &str| {
            history[table][name].as_array().and_then(|column| column.last()?.as_u64())
        };
        if last("counters", "commands") == Some(1) && last("gauges", "connections") == Some(1) {
            break history;
        }
        assert!(Instant::now() < deadline, "{history}");
        thread::sleep(Duration::from_millis(50));
    };
    let at_ms = history["at_ms"].as_array().unwrap();
    assert_eq!(history["counters"]["bytes_in"].as_array().unwrap().len(), at_ms.len());
    assert_eq!(history["gauges"]["sessions_connected"].as_array().unwrap().last(), Some(&json!(1)));
    let (_, stats) = server.get("/v1/stats");
    assert_eq!(stats["sessions"], json!({"connected": 1, "away": 0}));
    assert!(stats["bytes_in"].as_u64() > Some(100) && stats["bytes_out"].as_u64() > Some(100));
    assert!(stats["started_at_ms"].as_u64() <= at_ms[0].as_u64(), "{stats}");
}

#[test]
fn the_console_is_served_and_its_page_may_use_the_endpoint() {
    let server = Server::start(&[]);
    let mut stream = connect(server.api);
    write!(stream, "GET /console/ HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.api)
        .unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    assert!(page.contains("content-security-policy: default-src 'self'"), "{page}");
    let (_, told) = server.get("/v1/server");
    let endpoint = json!({"path": "/server", "port": server.public.port(), "is_tls": false});
    assert_eq!(told["endpoints"], json!([endpoint]));

    let opens = |origin: &str| {
        let mut stream = connect(server.public);
        write!(
            stream,
            "GET /server HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Origin: {origin}\r\n\r\n",
            server.public
        )
        .unwrap();
        let mut line = [0; 12];
        stream.read_exact(&mut line).unwrap();
        &line == b"HTTP/1.1 101"
    };
    let port = server.api.port();
    for host in ["127.0.0.1", "localhost", "[::1]"] {
        assert!(opens(&format!("http://{host}:{port}")), "{host}");
    }
    for origin in [
        format!("https://127.0.0.1:{port}"),
        format!("http://evil.example:{port}"),
        format!("http://127.0.0.2:{port}"),
        format!("http://127.0.0.1:{}", port.wrapping_add(1)),
        "null".to_owned(),
    ] {
        assert!(!opens(&origin), "{origin}");
    }
    // Nothing else of the public side is open to it.
    let origin = format!("Origin: http://127.0.0.1:{port}\r\n");
    let stream = server.events("channel=news", &origin);
    assert!(stream.head.starts_with("HTTP/1.1 403 "), "{}", stream.head);
}

const EVENT_COUNT: usize = 300;
const PATIENCE: Duration = Duration::from_secs(20);
