//! The opening handshake of one connection, as far as the socket lets it go at a time.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mainstay_wire::handshake::{Dial, DialError, HeadLimits, HeadScan, ResponseHead};
use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use super::target::Target;

/// A connection that is not open yet.
pub(super) struct Opening {
    dial: Dial,
    written_bytes: usize,
    scan: HeadScan,
    received: Vec<u8>,
    refusal: Option<Refusal>,
}

/// An answer other than 101, whose body is still looked at.
struct Refusal {
    status: u16,
    body_start: usize,
    is_chunked: bool,
}

impl Opening {
    /// `key` is to be new for each attempt (RFC 6455 §4.1).
    pub(super) fn new(target: &Target, key: [u8; 16]) -> Result<Opening, OpeningError> {
        let dial = Dial::new(&target.host, &target.path, key, &target.options)
            .map_err(|error| OpeningError::Protocol(error.to_string()))?;
        Ok(Opening {
            dial,
            written_bytes: 0,
            scan: HeadScan::default(),
            received: Vec::new(),
            refusal: None,
        })
    }

    /// Goes on until the socket would block, or until the WebSocket is open: then it gives the
    /// bytes that already followed the answer.
    pub(super) fn advance(
        &mut self,
        stream: &mut TcpStream,
    ) -> Result<Option<Vec<u8>>, OpeningError> {
        if let Some(error) = stream.take_error().map_err(OpeningError::Socket)? {
            return Err(OpeningError::of_socket(error));
        }
        if !self.write_request(stream)? {
            return Ok(None);
        }
        let mut piece = [0; READ_BYTES];
        loop {
            let count = match stream.read(&mut piece) {
                Ok(0) => return Err(self.give_up(OpeningError::Closed)),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.give_up(OpeningError::of_socket(error))),
            };
            self.received.extend_from_slice(piece.get(..count).unwrap_or_default());
            if let Some(rest) = self.take_answer()? {
                return Ok(Some(rest));
            }
        }
    }

    /// The error to report if nothing more is to be waited for: a refusal counts even if its body
    /// did not come.
    pub(super) fn give_up(&self, otherwise: OpeningError) -> OpeningError {
        match &self.refusal {
            Some(refusal) => refusal.error(&self.received),
            None => otherwise,
        }
    }

    /// Whether all of the request is written.
    fn write_request(&mut self, stream: &mut TcpStream) -> Result<bool, OpeningError> {
        while let Some(rest @ [_, ..]) = self.dial.request().get(self.written_bytes..) {
            match stream.write(rest) {
                Ok(count) => self.written_bytes += count,
                // Not connected yet is not yet, as long as the socket reports no error.
                Err(error) if is_not_yet(&error) => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(OpeningError::of_socket(error)),
            }
        }
        Ok(true)
    }

    fn take_answer(&mut self) -> Result<Option<Vec<u8>>, OpeningError> {
        if self.refusal.is_none() {
            let limits = HeadLimits::default();
            let head_bytes = self.scan.scan(&self.received, &limits).map_err(OpeningError::new)?;
            let Some(head_bytes) = head_bytes else { return Ok(None) };
            let (head, rest) = self.received.split_at(head_bytes);
            let head = ResponseHead::parse(head, &limits).map_err(OpeningError::new)?;
            match self.dial.finish(&head) {
                Ok(_) => return Ok(Some(rest.to_vec())),
                Err(DialError::Refused { status, .. }) => {
                    let is_chunked = head.header("transfer-encoding").is_some();
                    let body_start = head_bytes;
                    self.refusal = Some(Refusal { status, body_start, is_chunked });
                }
                Err(error) => return Err(OpeningError::new(error)),
            }
        }
        match &self.refusal {
            Some(refusal) if refusal.is_told(&self.received) => Err(refusal.error(&self.received)),
            _ => Ok(None),
        }
    }
}

impl Refusal {
    /// Whether the body's first line is there, or so much of it that it is no line.
    fn is_told(&self, received: &[u8]) -> bool {
        let body = received.get(self.body_start..).unwrap_or_default();
        let line_count = body.iter().filter(|byte| **byte == b'\n').count();
        line_count > usize::from(self.is_chunked) || body.len() > BODY_BYTES_MAX
    }

    fn error(&self, received: &[u8]) -> OpeningError {
        let body = String::from_utf8_lossy(received.get(self.body_start..).unwrap_or_default());
        // The first line of a chunked body is the chunk's size.
        let line = body.lines().nth(usize::from(self.is_chunked)).unwrap_or_default();
        // The line goes to a terminal, which must not take orders from it.
        let line = line.chars().filter(|character| !character.is_control());
        let line = line.take(LINE_LENGTH_MAX).collect::<String>();
        OpeningError::Refused { status: self.status, line: line.trim().to_owned() }
    }
}

/// Begins to connect, from `source` if one is given.
pub(super) fn connect(target: SocketAddr, source: Option<SocketAddr>) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(target) };
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&source.into())?;
    match socket.connect(&target.into()) {
        // What became of it is known once the socket is writable.
        Err(error) if error.raw_os_error() != Some(CONNECT_IN_PROGRESS) && !is_not_yet(&error) => {
            Err(error)
        }
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// Why a connection did not open.
#[derive(Debug)]
pub(super) enum OpeningError {
    /// Nobody listens.
    NobodyThere,
    /// The system, or the network.
    Socket(io::Error),
    /// The server answered, and said no.
    Refused {
        /// The answer's status.
        status: u16,
        /// The first line of its body.
        line: String,
    },
    /// The server answered something that is no WebSocket handshake.
    Protocol(String),
    /// The server closed the connection without an answer.
    Closed,
    /// The server opened the WebSocket and ended it at once, for this reason.
    Ended(String),
    /// No connection opened for too long.
    Timeout,
}

impl OpeningError {
    fn new(error: impl fmt::Display) -> OpeningError {
        OpeningError::Protocol(error.to_string())
    }

    pub(super) fn of_socket(error: io::Error) -> OpeningError {
        match error.kind() {
            ErrorKind::ConnectionRefused => OpeningError::NobodyThere,
            _ => OpeningError::Socket(error),
        }
    }
}

impl fmt::Display for OpeningError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpeningError::NobodyThere => formatter.write_str("connection refused: no server there"),
            OpeningError::Socket(error) => write!(formatter, "a socket failed: {error}"),
            OpeningError::Refused { status, line } if line.is_empty() => {
                write!(formatter, "handshake refused with status {status}")
            }
            OpeningError::Refused { status, line } => {
                write!(formatter, "handshake refused with status {status}: {line}")
            }
            OpeningError::Protocol(problem) => write!(formatter, "handshake failed: {problem}"),
            OpeningError::Closed => {
                formatter.write_str("the server closed the connection without answering")
            }
            OpeningError::Ended(end) => {
                write!(formatter, "the server ended a connection it had just opened: {end}")
            }
            OpeningError::Timeout => write!(
                formatter,
                "no handshake was answered for {} s",
                super::worker::OPENING_TIMEOUT.as_secs()
            ),
        }
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

/// An answer of usual size.
const READ_BYTES: usize = 2048;
/// A first line that is longer is not worth waiting for.
const BODY_BYTES_MAX: usize = 2048;
/// In characters: as much as a terminal shows at a glance.
const LINE_LENGTH_MAX: usize = 200;
/// `EINPROGRESS` on Linux, for which the standard library has no stable name.
const CONNECT_IN_PROGRESS: i32 = 115;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::target::Reach;

    fn refused(answer: &str) -> Option<String> {
        let target = Target::find("ws://127.0.0.1:1/", None, Reach::Loopback).unwrap();
        let mut opening = Opening::new(&target, [7; 16]).unwrap();
        opening.received.extend_from_slice(answer.as_bytes());
        match opening.take_answer() {
            Err(error) => Some(error.to_string()),
            Ok(Some(_)) => panic!("open"),
            Ok(None) => None,
        }
    }

    #[test]
    fn a_refusal_says_why() {
        let refusal = refused("HTTP/1.1 403 Forbidden\r\n\r\nnot from\x1b[1m here\r\nmore");
        assert_eq!(refusal.unwrap(), "handshake refused with status 403: not from[1m here");
        let chunked =
            "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfull\n\r\n0\r\n\r\n";
        assert_eq!(refused(chunked).unwrap(), "handshake refused with status 503: full");
        assert_eq!(refused("HTTP/1.1 503 No\r\n\r\nfu"), None, "the line is not complete");
        let wordy = format!("HTTP/1.1 404 No\r\n\r\n{}", "x".repeat(5000));
        assert!(refused(&wordy).unwrap().len() < 300);
    }

    #[test]
    fn an_answer_that_is_no_handshake_is_an_error() {
        assert!(refused("SSH-2.0-OpenSSH\r\n\r\n").unwrap().starts_with("handshake failed: "));
        let unproven = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        assert!(refused(unproven).unwrap().contains("Sec-WebSocket-Accept"));
        assert_eq!(refused("HTTP/1.1 101 x\r\n"), None);
    }
}
