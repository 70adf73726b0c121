//! The program when the system has nothing left to give.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A server that may open few files.
struct Starved {
    child: Child,
    address: SocketAddr,
}

impl Starved {
    fn start(open_files_max: u32) -> Starved {
        let script = format!(
            "ulimit -n {open_files_max}; exec {} server --address 127.0.0.1:0 --shards 1 \
             --admin-address none",
            env!("CARGO_BIN_EXE_mainstay")
        );
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .env_clear()
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().unwrap().unwrap();
            if let Some((_, rest)) = line.split_once("address=") {
                break rest.split(' ').next().unwrap().parse().unwrap();
            }
        };
        thread::spawn(move || lines.for_each(drop));
        Starved { child, address }
    }

    /// Time on a processor so far, in clock ticks of 10 ms.
    fn processor_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Whether a request is answered within a second.
    fn answers(&self) -> bool {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let _ = stream.write_all(b"GET /server HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.read(&mut [0; 64]).unwrap_or(0) > 0
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn without_file_descriptors_the_server_rests_and_recovers() {
    let server = Starved::start(64);
    assert!(server.answers());
    let mut held: Vec<TcpStream> = Vec::new();
    while held.len() < 200 {
        held.push(TcpStream::connect(server.address).unwrap());
    }
    let (ticks, began) = (server.processor_ticks(), Instant::now());
    assert!(!server.answers(), "the test needs a server that has run out");
    let busy = Duration::from_millis(10 * (server.processor_ticks() - ticks));
    assert!(busy * 20 < began.elapsed(), "{busy:?} of {:?} on a processor", began.elapsed());
    held.clear();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !server.answers() {
        assert!(Instant::now() < deadline, "the server does not recover");
    }
}
