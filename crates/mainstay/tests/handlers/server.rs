//! The real server, with a handler.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A server with a handler, on a port of its own.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
    log: mpsc::Receiver<String>,
}

impl Server {
    pub(crate) fn start(handler: &str) -> Server {
        Server::start_with(handler, &[])
    }

    pub(crate) fn start_with(handler: &str, more: &[&str]) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mainstay"))
            .args(["server", "--admin-address", "none"])
            .args(if more.contains(&"--address") { &[][..] } else { &["--address", "127.0.0.1:0"] })
            // A proxy that is not there: whoever asks it gets nowhere.
            .env("HTTP_PROXY", "http://127.0.0.1:9")
            .env("http_proxy", "http://127.0.0.1:9")
            .args(["--log-format", "human", "--log", "debug", "--handler", handler])
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, log) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut server = Server { child, address: String::new(), log };
        let line = server.wait_for_log("listening address=");
        let address = line.split("address=").nth(1).and_then(|rest| rest.split(' ').next());
        server.address = address.expect("an address").to_owned();
        server
    }

    /// The next line of the log that holds `part`.
    pub(crate) fn wait_for_log(&self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.log.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("no {part:?} in the log"));
            if line.contains(part) {
                return line;
            }
        }
    }

    pub(crate) fn request(&self, words: &[&str]) -> (Option<i32>, String) {
        request(&self.address, words)
    }

    /// What `mainstay client --json` prints of one command, of the command dialect.
    pub(crate) fn command(&self, command: &str) -> String {
        let mut client = Command::new(env!("CARGO_BIN_EXE_mainstay"))
            .args(["client", "--json", "--address", &self.address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the client starts");
        writeln!(client.stdin.take().expect("a pipe"), "{command}").expect("written");
        let out = client.wait_with_output().expect("it ends");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(killed.success());
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `mainstay request`: its exit code, and what it printed.
pub(crate) fn request(address: &str, words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .args(["request", "--address", address])
        .args(words)
        .output()
        .expect("the client runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
