//! The floor of echo: sends back bytes as they come, and knows nothing of messages.

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use mainstay_peers::arguments::{ServerArguments, Work, listen, serve};
use mainstay_peers::wire::Wire;
use mio::net::TcpListener;
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
    let mut connections: Vec<Option<Wire>> = Vec::new();
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
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    let token = Token(connections.len());
                    poll.registry().register(&mut stream, token, interest)?;
                    connections.push(Some(Wire::new(stream)));
                }
            } else if let Some(slot) = connections.get_mut(event.token().0)
                && let Some(wire) = slot
                && (echo(wire, &mut scratch).is_err() || event.is_read_closed())
            {
                *slot = None;
            }
        }
    }
}

/// Sends back what has come, and reads no more while some of it waits.
fn echo(wire: &mut Wire, scratch: &mut [u8]) -> io::Result<()> {
    loop {
        wire.send_more()?;
        if !wire.is_flushed() {
            return Ok(());
        }
        let Some(bytes) = wire.read(scratch)? else { return Ok(()) };
        wire.send(bytes)?;
        // A read that does not fill the buffer has emptied the socket; what comes later is
        // announced.
        if bytes.len() < SCRATCH_BYTES {
            return Ok(());
        }
    }
}

const LISTENER: Token = Token(usize::MAX);
const SCRATCH_BYTES: usize = 128 * 1024;
