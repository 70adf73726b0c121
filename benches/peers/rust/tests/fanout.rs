//! The load against the floor, and against servers that lose or repeat an event.

#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept_hdr};

#[test]
fn nothing_is_missing_behind_the_floor() {
    let address = free_address();
    let floor = Server::start(env!("CARGO_BIN_EXE_send_loop"), address, "fanout");
    let pid = floor.0.id().to_string();
    for burst in ["1", "16"] {
        let output = load(address, &["--burst", burst, "--pid", &pid]);
        let figures = figures(&output);
        assert!(output.status.success(), "{figures}");
        assert_eq!((&figures["missing"], &figures["extra"]), (&0.into(), &0.into()));
        let deliveries = figures["deliveries"].as_u64().unwrap();
        let bursts = figures["bursts"].as_u64().unwrap();
        assert_eq!(deliveries, bursts * burst.parse::<u64>().unwrap() * 20);
        assert!(figures["server_cpu_ns_per_delivery"].as_f64().unwrap() > 0.0);
        assert!(figures["to_last_us"]["p99"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn servers_of_every_library_pass_on_what_is_published() {
    for server in
        [env!("CARGO_BIN_EXE_tungstenite_server"), env!("CARGO_BIN_EXE_fastwebsockets_server")]
    {
        let address = free_address();
        let _server = Server::start(server, address, "fanout");
        let output = load(address, &["--burst", "16"]);
        assert!(output.status.success(), "{server}: {}", figures(&output));
    }
}

#[test]
fn an_event_that_one_subscriber_does_not_get_is_reported() {
    let output = load(faulty_server(Fault::Drop), &["--patience-seconds", "1"]);
    let figures = figures(&output);
    assert_eq!(output.status.code(), Some(1), "{figures}");
    assert_eq!((&figures["missing"], &figures["extra"]), (&1.into(), &0.into()));
}

#[test]
fn an_event_that_one_subscriber_gets_twice_is_reported() {
    let output = load(faulty_server(Fault::Repeat), &[]);
    let figures = figures(&output);
    assert_eq!(output.status.code(), Some(1), "{figures}");
    assert_eq!((&figures["missing"], &figures["extra"]), (&0.into(), &1.into()));
}

#[test]
fn bare_bytes_come_back_from_the_floor_of_echo() {
    let address = free_address();
    let _floor = Server::start(env!("CARGO_BIN_EXE_tcp_echo"), address, "echo");
    let output = Command::new(env!("CARGO_BIN_EXE_load"))
        .args(["tcp-echo", "--connections", "3", "--bytes", "70000", "--depth", "16"])
        .args(["--seconds", "0.2", "--warmup-seconds", "0", "--address", &address.to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(figures(&output)["messages"].as_u64().unwrap() > 0);
}

/// Runs the load for a moment, with 20 subscribers.
fn load(address: SocketAddr, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_load"))
        .args(["fanout", "--speaks", "relay", "--subscribers", "20"])
        .args(["--seconds", "0.2", "--warmup-seconds", "0.1"])
        .args(["--url", &format!("ws://{address}/server")])
        .args(arguments)
        .output()
        .unwrap()
}

fn figures(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Drop,
    Repeat,
}

/// A server that passes on events to everybody, the hundredth to one subscriber twice or not at all.
fn faulty_server(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let subscribers = Arc::new(Mutex::new(Vec::new()));
        for stream in listener.incoming() {
            let subscribers = Arc::clone(&subscribers);
            thread::spawn(move || serve(stream.unwrap(), &subscribers, fault));
        }
    });
    address
}

#[expect(clippy::result_large_err, reason = "the type is the library's")]
fn serve(stream: TcpStream, subscribers: &Mutex<Vec<WebSocket<TcpStream>>>, fault: Fault) {
    let mut is_subscriber = false;
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        is_subscriber = request.uri().query() == Some("channel=news");
        Ok(response)
    };
    let mut socket = accept_hdr(stream, look).unwrap();
    if is_subscriber {
        subscribers.lock().unwrap().push(socket);
        return;
    }
    let mut event_count = 0;
    while let Ok(Message::Text(event)) = socket.read() {
        event_count += 1;
        for (index, subscriber) in subscribers.lock().unwrap().iter_mut().enumerate() {
            let count = match (event_count, index, fault) {
                (100, 7, Fault::Drop) => 0,
                (100, 7, Fault::Repeat) => 2,
                _ => 1,
            };
            for _ in 0..count {
                let _ = subscriber.send(Message::Text(event.clone()));
            }
        }
    }
}

/// A server that is killed when it is dropped.
struct Server(Child);

impl Server {
    fn start(program: &str, address: SocketAddr, work: &str) -> Server {
        let mut child = Command::new(program)
            .args(["--address", &address.to_string(), "--work", work])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(address).is_err() {
            if child.try_wait().unwrap().is_some() || Instant::now() > deadline {
                let stderr = BufReader::new(child.stderr.take().unwrap());
                panic!("{:?}", stderr.lines().next());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Server(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
