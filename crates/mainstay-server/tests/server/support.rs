//! A server, and peers for it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_server::{Builder, Config, EndReason, Router, Server, StatsSnapshot, Timing};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// A server on a port of its own, with two shards.
pub(crate) struct TestServer {
    pub(crate) server: Server,
    pub(crate) runtime: Runtime,
}

impl TestServer {
    pub(crate) fn start() -> TestServer {
        TestServer::with(Router::new(), |_| {})
    }

    pub(crate) fn configured(configure: impl FnOnce(&mut Config)) -> TestServer {
        TestServer::with(Router::new(), configure)
    }

    pub(crate) fn with(router: Router, configure: impl FnOnce(&mut Config)) -> TestServer {
        TestServer::from(Server::builder().router(router), configure)
    }

    pub(crate) fn from(builder: Builder, configure: impl FnOnce(&mut Config)) -> TestServer {
        let mut config = Config {
            address: "127.0.0.1:0".to_owned(),
            shard_count: std::num::NonZeroUsize::new(2),
            www: "no such folder".into(),
            ..Config::default()
        };
        configure(&mut config);
        let runtime = Runtime::new().expect("a runtime");
        let server = runtime.block_on(builder.config(config).start()).expect("the server starts");
        TestServer { server, runtime }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    pub(crate) fn stats(&self) -> StatsSnapshot {
        self.server.stats()
    }

    /// A client of tungstenite's, on `/server`.
    pub(crate) fn client(&self) -> Client {
        self.client_at("/server")
    }

    pub(crate) fn client_at(&self, target: &str) -> Client {
        let url = format!("ws://{}{target}", self.address());
        let request = url.into_client_request().expect("a valid request");
        let stream = self.stream();
        let (socket, _) = tungstenite::client(request, stream).expect("the handshake succeeds");
        Client { socket }
    }

    /// A socket that says nothing of its own accord.
    pub(crate) fn stream(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        stream
    }

    /// A WebSocket whose bytes the test writes itself.
    pub(crate) fn raw(&self, extra_headers: &str) -> Raw {
        let mut stream = self.stream();
        stream.write_all(handshake("/server", extra_headers).as_bytes()).expect("written");
        let head = read_head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Raw { stream }
    }

    /// Waits until `count` connections have ended for `reason`.
    pub(crate) fn wait_for_ends(&self, reason: EndReason, count: u64) {
        wait_until(&format!("{count} ends by {reason}, stats: {:?}", self.stats()), || {
            self.stats().ends_for(reason) >= count
        });
        assert_eq!(self.stats().ends_for(reason), count);
    }
}

/// A router whose command `wait` is answered `done` once the test has added a permit for it.
pub(crate) fn gated() -> (Router, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let inside = gate.clone();
    let router = Router::new().handler("wait", move |_| {
        let gate = inside.clone();
        async move {
            gate.acquire().await?.forget();
            Ok("done".to_owned())
        }
    });
    (router, gate)
}

/// Short periods, so that many of them fit into a test.
pub(crate) fn short_pings(config: &mut Config) {
    config.timing = Timing { ping_interval: Some(Duration::from_millis(50)), ..Timing::default() };
}

/// A well-behaved peer.
pub(crate) struct Client {
    pub(crate) socket: WebSocket<TcpStream>,
}

impl Client {
    pub(crate) fn send(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).expect("sent");
    }

    /// The next text message; pings are answered on the way.
    pub(crate) fn receive(&mut self) -> Value {
        loop {
            match self.socket.read().expect("a message") {
                Message::Text(text) => {
                    return serde_json::from_str(&text).expect("the server sends JSON");
                }
                Message::Ping(_) | Message::Pong(_) => self.socket.flush().expect("flushed"),
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    pub(crate) fn request(&mut self, request_id: i64, command: &str) -> Value {
        self.send(json!({ "requestID": request_id, "command": command }).to_string());
        self.receive()
    }

    /// Asks the built-in handler and checks its answer.
    pub(crate) fn check_alive(&mut self, request_id: i64) {
        let reply = self.request(request_id, "Pause downloader");
        assert_eq!(reply, processed(request_id, "Pause downloader"));
    }

    /// Reads to the end; the code and reason of the server's Close frame.
    pub(crate) fn read_close(&mut self) -> Option<(u16, String)> {
        let mut close = None;
        loop {
            match self.socket.read() {
                Ok(Message::Close(frame)) => {
                    close = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                }
                Ok(_) => {}
                Err(_) => return close,
            }
        }
    }
}

/// What the built-in handler answers.
pub(crate) fn processed(request_id: i64, command: &str) -> Value {
    json!({
        "requestID": request_id,
        "command": command,
        "someOtherThing": format!("Server processed command: {command}"),
        "success": true,
    })
}

/// A peer that sends what it likes.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

impl Raw {
    /// Writes a frame with a zero mask: head byte as given, length in its shortest form.
    pub(crate) fn send(&mut self, first: u8, payload: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(&frame(first, payload))
    }

    /// The next frame: its first byte and its payload; `None` at the end of the stream.
    pub(crate) fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).ok()?;
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length).ok()?;
                usize::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length).ok()?;
                u64::from_be_bytes(length) as usize
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        Some((head[0], payload))
    }

    /// Reads to the server's Close frame; its code.
    pub(crate) fn close_code(&mut self) -> Option<u16> {
        loop {
            let (first, payload) = self.receive()?;
            if first == 0x88 {
                return payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            }
        }
    }
}

pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out.extend([0; 4]);
    out.extend(payload);
    out
}

pub(crate) fn handshake(target: &str, extra_headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n{extra_headers}\r\n"
    )
}

/// Reads an HTTP head, byte by byte so as not to read beyond it.
pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("an ASCII head")
}

/// Everything up to the end of the stream.
pub(crate) fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // An answer may be followed by a reset, when the server did not read all that was sent.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends a request and reads the whole answer.
pub(crate) fn exchange(server: &TestServer, request: &str) -> String {
    let mut stream = server.stream();
    stream.write_all(request.as_bytes()).expect("written");
    read_to_end(&mut stream)
}

#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
