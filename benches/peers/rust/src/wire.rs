//! A socket that is written to without waiting.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;

/// A socket, and what it did not take yet.
pub struct Wire {
    stream: TcpStream,
    unsent: Vec<u8>,
}

impl Wire {
    /// Takes over a socket.
    pub fn new(stream: TcpStream) -> Wire {
        // Without it, the system would hold back what is sent until more is acknowledged.
        let _ = stream.set_nodelay(true);
        Wire { stream, unsent: Vec::new() }
    }

    /// The socket, to be registered.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Sends behind what still waits.
    ///
    /// # Errors
    /// The connection is over.
    pub fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while self.unsent.is_empty() && !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Not connected yet is not yet, as long as the socket reports no error.
                Err(error) if is_not_yet(&error) => break,
                Err(error) => return Err(error),
            }
        }
        self.unsent.extend_from_slice(bytes);
        Ok(())
    }

    /// Sends what waits, now that the socket may take more.
    ///
    /// # Errors
    /// As [`send`](Wire::send).
    pub fn send_more(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        let unsent = std::mem::take(&mut self.unsent);
        self.send(&unsent)
    }

    /// Whether the socket has taken everything.
    pub fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
    }

    /// What has come, at the front of `scratch`; `None` is nothing more for now.
    ///
    /// # Errors
    /// The connection is over.
    pub fn read<'s>(&mut self, scratch: &'s mut [u8]) -> io::Result<Option<&'s mut [u8]>> {
        loop {
            return match self.stream.read(scratch) {
                Ok(0) => Err(io::Error::other("the other side ended a connection")),
                Ok(count) => Ok(scratch.get_mut(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if is_not_yet(&error) => Ok(None),
                Err(error) => Err(error),
            };
        }
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}
