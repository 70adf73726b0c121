//! A second connection that says again what the first one said.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::event::Event;
use crate::limits::{CONNECT_TIMEOUT, OPENING_BYTES_MAX};
use crate::shared::Shared;

/// What a client has said, up to the empty line that ends an HTTP head.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    bytes: Vec<u8>,
    is_whole: bool,
}

impl Opening {
    /// Takes what was said next; whether more is wanted.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> bool {
        // The end may have begun in what is there already.
        let from = self.bytes.len().saturating_sub(HEAD_END.len() - 1);
        self.bytes.extend_from_slice(bytes);
        let end = self.bytes[from..].windows(HEAD_END.len()).position(|four| four == HEAD_END);
        if let Some(position) = end {
            self.bytes.truncate(from + position + HEAD_END.len());
            self.is_whole = true;
        }
        !self.is_whole && self.bytes.len() < OPENING_BYTES_MAX
    }

    /// The bytes, if their end was found in time.
    pub(crate) fn whole(self) -> Option<Vec<u8>> {
        (self.is_whole && self.bytes.len() <= OPENING_BYTES_MAX).then_some(self.bytes)
    }
}

/// Says it again, listens for a while without a word, and drops the connection.
pub(crate) async fn repeat(
    shared: Arc<Shared>,
    connection: u64,
    bytes: Vec<u8>,
    lasting: Duration,
) {
    let open = async {
        let mut stream = TcpStream::connect(&shared.target).await?;
        stream.write_all(&bytes).await?;
        Ok::<_, io::Error>(stream)
    };
    let opened = timeout(CONNECT_TIMEOUT, open).await;
    let mut stream = match opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(stream) => stream,
        Err(error) => {
            shared.tell(&Event::Unreachable { connection, error: error.to_string() });
            return;
        }
    };
    shared.stats().duplicated += 1;
    shared.tell(&Event::Duplicated { connection, bytes: bytes.len() });
    let listen = async {
        let mut buffer = [0; 4096];
        while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
    };
    let _ = timeout(lasting, listen).await;
}

const HEAD_END: &[u8; 4] = b"\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opening_ends_with_the_head_however_it_is_split() {
        let said = b"GET / HTTP/1.1\r\nhost: a\r\n\r\nmore";
        for split in 0..said.len() {
            let mut opening = Opening::default();
            let wants_more = opening.take(&said[..split]);
            if wants_more {
                assert!(!opening.take(&said[split..]), "{split}");
            }
            assert_eq!(opening.whole().as_deref(), Some(&said[..said.len() - 4]), "{split}");
        }
    }

    #[test]
    fn an_opening_without_an_end_is_given_up() {
        let mut opening = Opening::default();
        let chunk = [b'x'; 1024];
        assert!((1..OPENING_BYTES_MAX / 1024).all(|_| opening.take(&chunk)));
        assert!(!opening.take(&chunk));
        assert_eq!(opening.whole(), None);
    }
}
