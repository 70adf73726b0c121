//! The bad network as its user meets it.

#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde_json::Value;

#[test]
fn bytes_are_cut_where_the_flag_says_and_events_are_json() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let chaos = Chaos::start(&target, &["--cut-at", "up:1234", "--seed", "7"]);
    assert_eq!(chaos.listening["seed"], 7);
    let (mut client, mut server) = chaos.connect(&target);
    client.write_all(&[1; 2000]).unwrap();
    let mut received = Vec::new();
    server.read_to_end(&mut received).unwrap_err();
    assert_eq!(received.len(), 1234);
    chaos.wait_for("accepted");
    let cut = chaos.wait_for("cut");
    assert_eq!((&cut["connection"], &cut["kind"]), (&1.into(), &"rst".into()));
    assert_eq!((&cut["up_bytes"], &cut["down_bytes"]), (&1234.into(), &0.into()));
}

#[test]
fn commands_are_taken_while_it_runs() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut chaos = Chaos::start(&target, &[]);
    let (mut client, mut server) = chaos.connect(&target);
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    chaos.say("cut everything");
    let error = chaos.wait_for("bad_command")["error"].as_str().unwrap().to_owned();
    assert!(error.contains("cut all"), "{error}");
    chaos.say("cut all fin");
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert_eq!(chaos.wait_for("cut")["kind"], "fin");
    chaos.say("refuse all");
    // What the cut did may have been told before that it was commanded.
    while chaos.wait_for("command")["command"] != "refuse all" {}
    TcpStream::connect(chaos.address()).unwrap().read(&mut [0]).unwrap_err();
    chaos.say("pass");
    chaos.wait_for("refused");
    chaos.say("stats");
    let stats = chaos.wait_for("stats");
    assert_eq!((&stats["cuts_fin"], &stats["refused"]), (&1.into(), &1.into()));
    assert_eq!(stats["up_bytes"], 1);
    chaos.connect(&target);

    let pid = chaos.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(chaos.wait_for("stats")["accepted"], 3);
    assert_eq!(chaos.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_script_is_carried_out_in_time() {
    let path = format!("{}/bad-day.txt", env!("CARGO_TARGET_TMPDIR"));
    let text = "at 200ms clear\nrefuse all # until then\nat 100ms stats\nat 100ms cut all\n";
    std::fs::write(&path, text).unwrap();
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let chaos = Chaos::start(&target, &["--script", &path]);
    let said: Vec<Value> = (0..4).map(|_| chaos.wait_for("command")["command"].clone()).collect();
    assert_eq!(said, ["refuse all", "stats", "cut all", "clear"]);
    chaos.connect(&target);
}

#[test]
fn what_is_wrong_exits_with_2_and_says_what() {
    let path = format!("{}/bad-script.txt", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&path, "clear\nat noon clear\n").unwrap();
    for (flags, part) in [
        (&["--delay", "20"][..], "needs a unit"),
        (&["--delay", "50ms..5ms"], "smaller one first"),
        (&["--cut-at", "sideways:1"], "up or down"),
        (&["--cut-every", "1000"], "range"),
        (&["--cut-rate", "2"], "from 0 to 1"),
        (&["--stall-for", "1s"], "--stall-after"),
        (&["--slow-drain", "0"], "more than nothing"),
        (&["--to", "nowhere"], "host and a port"),
        (&["--script", "/nowhere/at/all"], "/nowhere/at/all"),
        (&["--script", &path], "line 2: \"noon\""),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
        command.args(["chaos", "--listen", "127.0.0.1:0"]).args(flags).stdin(Stdio::null());
        if flags[0] != "--to" {
            command.args(["--to", "127.0.0.1:1"]);
        }
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {error}");
        assert!(error.contains(part), "{flags:?}: {error}");
    }
}

#[test]
fn an_address_that_is_taken_exits_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .args(["chaos", "--to", "127.0.0.1:1", "--listen", &listen])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains(&listen));
}

struct Chaos {
    child: Child,
    stdin: ChildStdin,
    events: Receiver<Value>,
    listening: Value,
}

impl Chaos {
    fn start(target: &TcpListener, flags: &[&str]) -> Chaos {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mainstay"))
            .args(["chaos", "--json", "--listen", "127.0.0.1:0", "--to"])
            .arg(target.local_addr().unwrap().to_string())
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, events) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // After the test has failed nobody listens.
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        let listening: Value = events.recv_timeout(PATIENCE).unwrap();
        assert_eq!(listening["event"], "listening");
        Chaos { child, stdin, events, listening }
    }

    fn address(&self) -> String {
        self.listening["address"].as_str().unwrap().to_owned()
    }

    fn connect(&self, target: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.address()).unwrap();
        let (server, _) = target.accept().unwrap();
        for stream in [&client, &server] {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        (client, server)
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// The next event of this name; others are passed over.
    fn wait_for(&self, name: &str) -> Value {
        loop {
            let event = self.events.recv_timeout(PATIENCE).unwrap();
            if event["event"] == name {
                return event;
            }
        }
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        // Whether it has ended already or not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
