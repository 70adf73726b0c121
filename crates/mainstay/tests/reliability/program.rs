//! The server as a process that can be killed and started again.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub(crate) struct Program {
    address: SocketAddr,
    data: PathBuf,
    log: PathBuf,
    settings: Vec<String>,
    child: Option<Child>,
}

impl Program {
    /// Starts a server whose data and log are in the folder, and waits until it listens.
    pub(crate) fn start(folder: &Path, settings: &[&str]) -> Program {
        let data = folder.join("data");
        Program::start_in(folder, data, settings)
    }

    pub(crate) fn start_in(folder: &Path, data: PathBuf, settings: &[&str]) -> Program {
        // Free now, and ours again after every restart: the system gives no port twice so soon.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let log = folder.join("server.log");
        let mut program = Program { address, data, log, settings, child: None };
        program.run();
        program.wait_until_listening();
        program
    }

    /// Starts the process and does not wait.
    pub(crate) fn run(&mut self) {
        self.run_with(&[]);
    }

    /// The same with variables of its environment.
    pub(crate) fn run_with(&mut self, variables: &[(&str, &str)]) {
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_mainstay"))
            .args(["server", "--log", "info,mainstay_server=warn"])
            .args(["--address", &self.address.to_string()])
            .arg("--data-dir")
            .arg(&self.data)
            .args(["--connection-count-per-address-max", "100000"])
            .args(&self.settings)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        assert!(self.child.replace(child).is_none(), "one at a time");
    }

    pub(crate) fn wait_until_listening(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(self.address).is_err() {
            assert!(self.is_running(), "the server ended; {}", self.log.display());
            assert!(Instant::now() < deadline, "no server; {}", self.log.display());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until it answers, which takes a store, or has ended; whether it answers.
    pub(crate) fn comes_up(&mut self) -> bool {
        while self.is_running() {
            if self.ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 ")) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }

    fn ask(&self) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// kill -9; returns when the process is gone.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "it ended by itself: {ended:?}; {}", self.log.display());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM; returns when the process is gone.
    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(killed.success());
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}; {}", self.log.display());
    }

    /// How the process ended by itself.
    pub(crate) fn wait_until_ended(&mut self, patience: Duration) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() >= deadline {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("the server does not end; {}", self.log.display());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// The memory that it has resident.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let pid = self.child.as_ref().unwrap().id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The URL of a server or of a proxy before it.
pub(crate) fn url(address: SocketAddr) -> String {
    format!("ws://{address}/server")
}
