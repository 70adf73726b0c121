//! The server under load: one that runs already, or one of our own.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;

use mainstay_wire::session::Encoding;

use super::super::process::Process;
use super::super::target::{Reach, Target};
use super::fleet::FleetError;

/// A server of our own, killed when it is dropped.
pub(super) struct Spawned {
    child: Child,
    address: SocketAddr,
}

impl Spawned {
    /// Starts `mainstay server` with these arguments, on a port that the system chooses, and waits
    /// until it listens.
    ///
    /// # Errors
    /// It does not come to listen.
    pub(super) fn start(arguments: &[OsString]) -> Result<Spawned, FleetError> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("server")
            .args(DEFAULTS)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut last = "it said nothing".to_owned();
        let mut address = None;
        if let Some(stderr) = child.stderr.take() {
            let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
            for line in lines.by_ref() {
                address = find_address(&line);
                last = line;
                if address.is_some() {
                    break;
                }
            }
            // A pipe that nobody reads would stop it.
            thread::spawn(move || lines.for_each(drop));
        }
        match address {
            Some(address) => Ok(Spawned { child, address }),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                Err(FleetError::Server(last))
            }
        }
    }

    pub(super) fn target(&self, encoding: Encoding) -> Result<Target, FleetError> {
        let url = format!("ws://{}/server", self.address);
        let target = Target::find(&url, None, Reach::Loopback);
        let target = target.map_err(|error| FleetError::Server(error.to_string()))?;
        Ok(speaking(target, encoding))
    }

    pub(super) fn process(&self) -> Result<Process, FleetError> {
        Ok(Process::find(self.child.id())?)
    }

    /// Kills it, as the power would.
    pub(super) fn kill(mut self) -> Result<(), FleetError> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A target that is asked for the session dialect.
pub(super) fn speaking(mut target: Target, encoding: Encoding) -> Target {
    target.options.subprotocols = vec![encoding.subprotocol().to_owned()];
    target
}

/// The address in a line of the server's log.
fn find_address(line: &str) -> Option<SocketAddr> {
    let log: serde_json::Value = serde_json::from_str(line).ok()?;
    let address = log.get("address").or_else(|| log.get("fields")?.get("address"))?;
    address.as_str()?.parse().ok()
}

/// Room for all that one machine can bring. What follows on the command line goes before these.
const DEFAULTS: [&str; 5] = [
    "--address=127.0.0.1:0",
    "--log-format=json",
    "--log=info",
    "--connection-count-max=40000",
    "--connection-count-per-address-max=40000",
];
