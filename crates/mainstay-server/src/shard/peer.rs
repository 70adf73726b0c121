//! One accepted socket, from accept to drop.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::time::Instant;

use mainstay_wire::frame::Opcode;
use mainstay_wire::handshake::{DeflateParams, HeadScan};
use mainstay_wire::session::Encoding;
use mainstay_wire::{ChannelName, Connection, Disposition, End};
use mio::net::TcpStream;

use crate::ConnectionId;
use crate::admission::{Full, Permit};
use crate::proxy::Asker;

use super::session::SessionPeer;

/// What a shard knows of one socket.
pub(crate) struct Peer {
    pub(crate) id: ConnectionId,
    pub(crate) stream: TcpStream,
    pub(crate) address: SocketAddr,
    /// Whom the proxy at that address says that it comes from.
    pub(crate) client: Option<IpAddr>,
    /// Absent only on one that was accepted just to be told that there is no place.
    pub(crate) permit: Option<Permit>,
    pub(crate) since: Instant,
    /// Readiness is reported once; these remember it until a read or write would block.
    pub(crate) is_readable: bool,
    pub(crate) is_writable: bool,
    /// Whether the peer's stream has ended; then a short read does not mean that nothing is left.
    pub(crate) is_read_closed: bool,
    /// Whether the shard's list of peers to read, or to flush, already has this one.
    pub(crate) is_in_ready: bool,
    pub(crate) is_in_dirty: bool,
    /// Whether the shard's set of peers whose sockets take no more has this one.
    pub(crate) is_blocked: bool,
    /// The moment for which the shard's timers hold an entry of this peer.
    pub(crate) armed_at: Option<Instant>,
    /// Why writing failed; what the peer said before is read first.
    pub(crate) write_error: Option<io::Error>,
    /// Why this ends, for all but an open WebSocket, which knows itself.
    pub(crate) end: Option<End>,
    /// Whether nothing keeps the socket any more.
    pub(crate) is_finished: bool,
    pub(crate) stage: Stage,
}

impl Peer {
    /// Takes one of its client's places.
    pub(crate) fn count(&mut self) -> Result<(), Full> {
        let address = self.client_address();
        self.permit.as_mut().map_or(Ok(()), |permit| permit.count_for(address))
    }

    /// Whose doing all of this is.
    pub(crate) fn client_address(&self) -> IpAddr {
        self.client.unwrap_or(self.address.ip())
    }

    /// Whether a WebSocket's frames wait to be written.
    pub(crate) fn has_unsent(&self) -> bool {
        matches!(&self.stage, Stage::Open(open) if !open.connection.outbox().is_empty())
    }

    /// Bytes that wait to be written.
    pub(crate) fn outbox_bytes(&self) -> usize {
        match &self.stage {
            Stage::Open(open) => open.connection.outbox().bytes(),
            Stage::Opening(_) | Stage::Refused { .. } => 0,
        }
    }

    /// Ends a socket that is no WebSocket.
    pub(crate) fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
        self.is_finished = true;
    }

    /// Does what the connection wants done with its socket; gives the end when it is to be dropped.
    pub(crate) fn take_end(&mut self) -> Option<End> {
        if let Stage::Open(open) = &mut self.stage {
            match open.connection.disposition() {
                Disposition::Keep => return None,
                Disposition::ShutdownWrite => {
                    // If this fails the socket is gone, which the next read reports.
                    let _ = self.stream.shutdown(Shutdown::Write);
                    return None;
                }
                Disposition::Drop => return open.connection.end().cloned(),
            }
        }
        if self.is_finished { self.end.take() } else { None }
    }

    /// Answers in HTTP and goes on only to be read until its end.
    pub(crate) fn answer_and_shut(&mut self, answer: &[u8]) {
        // The socket is new and its buffer empty: if this does not fit, nobody is reading.
        let _ = (&self.stream).write(answer);
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

/// How far a socket has come.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every peer is open, and a box of its own would cost each of them memory"
)]
pub(crate) enum Stage {
    /// The opening handshake is arriving.
    Opening(Opening),
    /// A WebSocket.
    Open(Open),
    /// An HTTP answer that ends the connection is on its way; what still arrives is discarded, so
    /// that the kernel does not reset the connection before the answer is read.
    Refused { deadline: Instant },
}

/// A handshake that is still arriving.
#[derive(Default)]
pub(crate) struct Opening {
    /// The head so far, if it did not arrive in one piece.
    pub(crate) head: Vec<u8>,
    pub(crate) scan: HeadScan,
}

/// An open WebSocket.
pub(crate) struct Open {
    pub(crate) connection: Connection,
    pub(crate) deflate: Option<DeflateParams>,
    /// Present if it speaks the session dialect.
    pub(crate) session: Option<Box<SessionPeer>>,
    /// The commands of this connection, while a handler of it runs.
    pub(crate) running: Option<Box<Running>>,
    /// Whether reading waits for room in the outbox or for a handler.
    pub(crate) is_paused: bool,
    /// Whether to close as soon as no handler runs.
    pub(crate) is_draining: bool,
    /// What was read but not taken when reading was paused.
    pub(crate) unread: Vec<u8>,
    pub(crate) received_count: u64,
}

/// A running handler, and the commands that wait for it.
#[derive(Default)]
pub(crate) struct Running {
    pub(crate) waiting: VecDeque<Waiting>,
}

pub(crate) struct Waiting {
    pub(crate) opcode: Opcode,
    pub(crate) payload: Vec<u8>,
}

/// What an accepted handshake asked for and got.
#[derive(Debug)]
pub(crate) struct Wishes {
    pub(crate) deflate: Option<DeflateParams>,
    pub(crate) channels: Vec<ChannelName>,
    /// The session dialect, if that was asked for.
    pub(crate) encoding: Option<Encoding>,
    pub(crate) asker: Asker,
}

impl Open {
    pub(crate) fn new(connection: Connection, deflate: Option<DeflateParams>) -> Open {
        Open {
            connection,
            deflate,
            session: None,
            running: None,
            is_paused: false,
            is_draining: false,
            unread: Vec::new(),
            received_count: 0,
        }
    }

    /// Whether a further message may be taken: its reply must find room, and so must itself while it
    /// waits for its handler.
    pub(crate) fn may_take(&self, command_queue_count_max: usize) -> bool {
        let waiting = self.running.as_ref().map_or(0, |running| running.waiting.len());
        self.connection.has_room() && waiting < command_queue_count_max
    }
}
