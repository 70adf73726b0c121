//! The bytes of a connection: TCP, or TLS on it.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::SocketAddr;

use rustls::ClientConnection;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A stream that never waits by itself: [`ready`](Stream::ready) does.
pub(crate) struct Stream {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Stream {
    pub(crate) fn plain(tcp: TcpStream) -> Stream {
        Stream { tcp, tls: None }
    }

    /// With TLS agreed on.
    pub(crate) fn tls(tcp: TcpStream, mut tls: ClientConnection) -> Stream {
        // What TLS holds counts as written and is beyond our sight.
        tls.set_buffer_limit(Some(RECORDS_BYTES_MAX));
        Stream { tcp, tls: Some(Box::new(tls)) }
    }

    /// Reads what is there; `Ok(0)` at the end. An end without TLS's own farewell is an end as well:
    /// a WebSocket has its Close frame to tell a whole conversation from a cut one.
    pub(crate) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.tcp.try_read(buffer) };
        match take(tls, buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return outcome,
        }
        // Once, for a peer may send records for ever that hold nothing.
        tls.read_tls(&mut Tcp(&self.tcp))?;
        if let Err(error) = tls.process_new_packets() {
            // The server learns why from the alert, if it can be told without waiting.
            let _ = tls.write_tls(&mut Tcp(&self.tcp));
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        take(tls, buffer)
    }

    /// Writes some of it; what TLS has made records of is as good as written.
    pub(crate) fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_flush()?;
        let Some(tls) = &mut self.tls else { return self.tcp.try_write_vectored(slices) };
        if tls.wants_write() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = tls.writer().write_vectored(slices)?;
        self.try_flush()?;
        Ok(count)
    }

    /// Writes the records that wait, as far as the system takes them.
    pub(crate) fn try_flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            match tls.write_tls(&mut Tcp(&self.tcp)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether records wait to be written.
    pub(crate) fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Waits until the socket is ready, or has failed.
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<()> {
        self.tcp.ready(interest).await.map(drop)
    }

    pub(crate) fn peer_address(&self) -> Option<SocketAddr> {
        self.tcp.peer_addr().ok()
    }
}

impl Drop for Stream {
    /// Says farewell (RFC 8446 §6.1), if that needs no waiting: without it servers write of errors.
    fn drop(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = self.try_flush();
        }
    }
}

/// What TLS has deciphered.
fn take(tls: &mut ClientConnection, buffer: &mut [u8]) -> io::Result<usize> {
    match tls.reader().read(buffer) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        outcome => outcome,
    }
}

/// A socket as TLS wants it.
pub(crate) struct Tcp<'a>(pub(crate) &'a TcpStream);

impl io::Read for Tcp<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl io::Write for Tcp<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that TLS may hold: two full records, so that one is made while another is written.
const RECORDS_BYTES_MAX: usize = 32 * 1024;
