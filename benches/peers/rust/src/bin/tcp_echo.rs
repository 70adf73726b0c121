//! The floor of echo: sends back bytes as they come, and knows nothing of messages.

use std::io::{self, ErrorKind, Read, Write};
use std::process::ExitCode;

use mainstay_peers::arguments::{ServerArguments, Work, listen, serve};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

fn main() -> ExitCode {
    serve(run)
}

fn run(arguments: ServerArguments) -> io::Result<()> {
    if arguments.work != Work::Echo {
        return Err(io::Error::other("tcp_echo does --work echo alone"));
    }
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::from_std(listen(arguments.address)?);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; SCRATCH_BYTES];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let _ = stream.set_nodelay(true);
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    let token = Token(connections.len());
                    poll.registry().register(&mut stream, token, interest)?;
                    connections.push(Some(Connection { stream, unsent: Vec::new() }));
                }
            } else if let Some(slot) = connections.get_mut(event.token().0)
                && let Some(connection) = slot
                && (connection.turn(&mut scratch).is_err() || event.is_read_closed())
            {
                *slot = None;
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// What the socket did not take yet. Nothing is read meanwhile.
    unsent: Vec<u8>,
}

impl Connection {
    fn turn(&mut self, scratch: &mut [u8]) -> io::Result<()> {
        loop {
            let unsent = std::mem::take(&mut self.unsent);
            self.send(&unsent)?;
            if !self.unsent.is_empty() {
                return Ok(());
            }
            let count = match self.stream.read(scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.send(scratch.get(..count).unwrap_or_default())?;
            // A read that does not fill the buffer has emptied the socket; what comes later is
            // announced.
            if count < scratch.len() {
                return Ok(());
            }
        }
    }

    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.unsent.extend_from_slice(bytes);
        Ok(())
    }
}

const LISTENER: Token = Token(usize::MAX);
const SCRATCH_BYTES: usize = 128 * 1024;
