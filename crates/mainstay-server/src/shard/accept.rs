//! Sockets come in.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mainstay_wire::{End, EndReason};
use mio::net::TcpStream;
use mio::{Interest, Token};

use super::peer::{Opening, Peer, Stage};
use super::{LISTENER_COUNT_MAX, Shard};
use crate::ConnectionId;
use crate::admission::{Full, Permit};
use crate::hub::SLOT_COUNT_MAX;

impl Shard {
    /// Accepts from every listener that has something, up to a bound per turn.
    pub(super) fn accept_ready(&mut self, now: Instant) {
        if self.accept_again_at.is_some() {
            return;
        }
        for number in 0..self.listeners.len().min(LISTENER_COUNT_MAX) {
            for _ in 0..ACCEPT_COUNT_MAX {
                let Some(listener) = self.listeners.get_mut(number) else { return };
                if !listener.is_ready {
                    break;
                }
                match listener.socket.accept() {
                    Ok((stream, address)) => {
                        self.is_accept_failing = false;
                        self.admit(now, stream, address);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        listener.is_ready = false;
                    }
                    Err(error) => {
                        self.handle_accept_error(now, &error);
                        break;
                    }
                }
            }
        }
    }

    fn admit(&mut self, now: Instant, stream: TcpStream, address: SocketAddr) {
        self.stats().count_accepted();
        // Behind a proxy the request says whom it counts against.
        let is_client = self.shared.endpoint.proxy.address.is_none();
        match self.shared.admission.admit(is_client.then_some(address.ip())) {
            Ok(permit) => self.add_opening(now, stream, address, permit),
            Err(full) => self.turn_away(now, stream, address, full),
        }
    }

    fn add_opening(
        &mut self,
        now: Instant,
        stream: TcpStream,
        address: SocketAddr,
        permit: Permit,
    ) {
        let stage = Stage::Opening(Opening::default());
        let Some(id) = self.add_peer(now, stream, address, Some(permit), stage) else { return };
        self.opening_count += 1;
        self.opening.push_back(id);
        let shard_count = self.shared.inboxes.len();
        let pending_max = self.shared.config.handshake_pending_max.div_ceil(shard_count);
        while self.opening_count > pending_max {
            self.drop_oldest_opening(now);
        }
        self.forget_finished_openings();
    }

    /// Makes room for a new handshake: an honest one takes milliseconds, so the oldest is not.
    fn drop_oldest_opening(&mut self, now: Instant) {
        let Some(oldest) = self.opening.pop_front() else { return };
        let Some(peer) = self.take_peer(oldest) else { return };
        if matches!(peer.stage, Stage::Opening(_)) {
            let detail = "too many handshakes under way, and this was the oldest";
            self.end(now, peer, End::new(EndReason::HandshakeTimeout, detail));
        } else {
            self.settle(now, peer);
        }
    }

    /// Keeps the queue of handshakes as short as the handshakes that are still under way.
    fn forget_finished_openings(&mut self) {
        while let Some(&oldest) = self.opening.front() {
            let is_opening = matches!(
                self.peers.get(oldest.slot()),
                Some(Some(peer)) if peer.id == oldest && matches!(peer.stage, Stage::Opening(_))
            );
            if is_opening {
                break;
            }
            self.opening.pop_front();
        }
    }

    /// Tells a client that there is no place for it, if that costs next to nothing.
    fn turn_away(&mut self, now: Instant, stream: TcpStream, address: SocketAddr, full: Full) {
        let (answer, end) = no_place(full);
        if self.refused_count >= REFUSED_COUNT_MAX {
            self.stats().count_end(end.reason);
            return;
        }
        let stage = Stage::Refused { deadline: now + REFUSED_LINGER };
        let Some(id) = self.add_peer(now, stream, address, None, stage) else { return };
        self.refused_count += 1;
        if let Some(mut peer) = self.take_peer(id) {
            peer.end = Some(end);
            peer.answer_and_shut(answer.as_bytes());
            self.settle(now, peer);
        }
    }

    /// Puts a socket into the table and under the poll's eyes.
    pub(super) fn add_peer(
        &mut self,
        now: Instant,
        mut stream: TcpStream,
        address: SocketAddr,
        permit: Option<Permit>,
        stage: Stage,
    ) -> Option<ConnectionId> {
        let entry = self.peers.vacant_entry();
        let slot = entry.key();
        if slot >= SLOT_COUNT_MAX {
            return None;
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.registry.register(&mut stream, Token(slot), interest) {
            tracing::error!(%error, "a socket cannot be polled");
            return None;
        }
        let id = ConnectionId::new(self.index, self.accepted_count, slot);
        self.accepted_count = self.accepted_count.wrapping_add(1);
        entry.insert(Some(Box::new(Peer {
            id,
            stream,
            address,
            client: None,
            permit,
            since: now,
            // The first read tells; a request is often here before its connection is accepted.
            is_readable: true,
            is_writable: true,
            is_read_closed: false,
            is_in_ready: true,
            is_in_dirty: false,
            is_blocked: false,
            armed_at: None,
            write_error: None,
            end: None,
            is_finished: false,
            stage,
        })));
        self.ready.push_back(slot);
        Some(id)
    }

    /// Without file descriptors accepting would fail again at once, for ever: wait until some may
    /// have come back.
    fn handle_accept_error(&mut self, now: Instant, error: &io::Error) {
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
            return;
        }
        if !self.is_accept_failing {
            tracing::error!(%error, "no connection can be accepted for the moment");
        }
        self.is_accept_failing = true;
        self.accept_again_at = Some(now + ACCEPT_PAUSE);
    }
}

/// The answer to a client for which there is no place, and its connection's end.
pub(super) fn no_place(full: Full) -> (&'static str, End) {
    let (answer, detail) = match full {
        Full::InAll => (SERVER_IS_FULL, "the server holds connection_count_max connections"),
        Full::FromThisAddress => {
            (ADDRESS_IS_FULL, "the address holds connection_count_per_address_max connections")
        }
    };
    (answer, End::new(EndReason::OverCapacity, detail))
}

/// Connections accepted from one listener in one turn, so that those who have one are not kept
/// waiting by those who want one.
const ACCEPT_COUNT_MAX: usize = 64;
/// How long accepting rests after the system refused.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections of one shard that are being told that there is no place; further ones are dropped
/// without a word.
const REFUSED_COUNT_MAX: usize = 256;
/// How long a refused client may take to read the answer.
pub(super) const REFUSED_LINGER: Duration = Duration::from_secs(1);

const SERVER_IS_FULL: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\
    Connection: close\r\nContent-Type: text/plain\r\nContent-Length: 48\r\n\r\n\
    The server is full. Please try again in a while.";
const ADDRESS_IS_FULL: &str = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\n\
    Connection: close\r\nContent-Type: text/plain\r\nContent-Length: 43\r\n\r\n\
    Your address holds too many connections now";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_state_their_length() {
        for answer in [SERVER_IS_FULL, ADDRESS_IS_FULL] {
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
        }
    }
}
