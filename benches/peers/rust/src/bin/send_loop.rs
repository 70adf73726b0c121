//! The floor of fan-out: for each subscriber one `send` of bytes that are there already, joined over
//! what one read brought from the publisher.

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use mainstay_peers::arguments::{ServerArguments, Work, listen, serve};
use mainstay_peers::wire::Wire;
use mainstay_wire::deflate::Inflater;
use mainstay_wire::frame::{Compression, Opcode, encode_frame};
use mainstay_wire::handshake::{
    AcceptOptions, HeadLimits, HeadScan, RequestHead, UpgradeRequest, accept,
};
use mainstay_wire::{Limits, Message, Reader, Role};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

fn main() -> ExitCode {
    serve(run)
}

fn run(arguments: ServerArguments) -> io::Result<()> {
    if arguments.work != Work::Fanout {
        return Err(io::Error::other("send_loop does --work fanout alone"));
    }
    let mut floor = Floor {
        poll: Poll::new()?,
        listener: TcpListener::from_std(listen(arguments.address)?),
        connections: Vec::new(),
        scratch: vec![0; SCRATCH_BYTES],
        batch: Vec::new(),
    };
    floor.poll.registry().register(&mut floor.listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    loop {
        match floor.poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept()?,
                Token(index) => {
                    floor.turn(index);
                    if event.is_read_closed() {
                        floor.forget(index);
                    }
                }
            }
        }
    }
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    scratch: Vec<u8>,
    /// The events of one read, as every subscriber gets them.
    batch: Vec<u8>,
}

struct Connection {
    wire: Wire,
    part: Part,
}

enum Part {
    Opening { scan: HeadScan, received: Vec<u8> },
    Publisher { reader: Box<Reader> },
    Subscriber,
}

impl Floor {
    fn accept(&mut self) -> io::Result<()> {
        while let Ok((mut stream, _)) = self.listener.accept() {
            let token = Token(self.connections.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, token, interest)?;
            let part = Part::Opening { scan: HeadScan::default(), received: Vec::new() };
            self.connections.push(Some(Connection { wire: Wire::new(stream), part }));
        }
        Ok(())
    }

    fn forget(&mut self, index: usize) {
        if let Some(slot) = self.connections.get_mut(index) {
            // Closing the socket takes it out of the poll.
            *slot = None;
        }
    }

    fn turn(&mut self, index: usize) {
        let Some(Some(connection)) = self.connections.get_mut(index) else { return };
        self.batch.clear();
        if connection.turn(&mut self.scratch, &mut self.batch).is_err() {
            self.forget(index);
        }
        if self.batch.is_empty() {
            return;
        }
        for connection in self.connections.iter_mut().flatten() {
            if matches!(connection.part, Part::Subscriber) {
                // What it did not take because it is gone is noticed when that is announced.
                let _ = connection.wire.send(&self.batch);
            }
        }
    }
}

impl Connection {
    /// Writes what waits and reads what has come; events go into `batch`.
    fn turn(&mut self, scratch: &mut [u8], batch: &mut Vec<u8>) -> io::Result<()> {
        self.wire.send_more()?;
        while let Some(input) = self.wire.read(scratch)? {
            let count = input.len();
            self.hear(input, batch)?;
            // A read that does not fill the buffer has emptied the socket.
            if count < SCRATCH_BYTES {
                break;
            }
        }
        Ok(())
    }

    fn hear(&mut self, mut input: &mut [u8], batch: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.part {
            Part::Opening { scan, received } => {
                received.extend_from_slice(input);
                let limits = HeadLimits::default();
                let head_bytes = scan.scan(received, &limits).map_err(io::Error::other)?;
                let Some(head_bytes) = head_bytes else { return Ok(()) };
                let head = received.get(..head_bytes).unwrap_or_default();
                let head = RequestHead::parse(head, &limits).map_err(io::Error::other)?;
                let accepted = accept(UpgradeRequest::from(&head), &AcceptOptions::default());
                let response = accepted.map_err(io::Error::other)?.response();
                self.part = match head.query() {
                    Some("channel=news") => Part::Subscriber,
                    _ => Part::Publisher {
                        reader: Box::new(Reader::new(Role::Client, Compression::Plain)),
                    },
                };
                self.wire.send(&response)
            }
            Part::Publisher { reader } => loop {
                let (limits, inflater) = (Limits::default(), &mut Inflater::default());
                match reader.read(&mut input, &limits, inflater).map_err(io::Error::other)? {
                    None => return Ok(()),
                    Some(Message::Text(text)) => {
                        let (plain, payload) = (Compression::Plain, text.as_bytes());
                        encode_frame(Opcode::Text, plain, None, payload, batch);
                    }
                    Some(_) => {}
                }
            },
            // It has nothing to say but goodbye, which the end of its stream says too.
            Part::Subscriber => Ok(()),
        }
    }
}

const LISTENER: Token = Token(usize::MAX);
const SCRATCH_BYTES: usize = 128 * 1024;
