//! The opening handshake: a request comes in, and becomes a WebSocket, plain HTTP or a refusal.

use std::io::{self, Read};
use std::mem;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use mainstay_node::{Happening, Note};
use mainstay_wire::frame::Compression;
use mainstay_wire::handshake::{
    AcceptOptions, Accepted, HeadLimits, Refusal, RequestHead, UpgradeRequest, accept,
};
use mainstay_wire::session::Encoding;
use mainstay_wire::{ChannelName, Connection, End, EndReason, InvalidChannelName, Role};
use mio::net::TcpStream;

use super::Shard;
use super::accept::{REFUSED_LINGER, no_place};
use super::peer::{Open, Peer, Stage, Wishes};
use super::session::SessionPeer;
use crate::admission::{self, Permit};
use crate::inbox::Order;
use crate::proxy::{Asker, InvalidAsker, ProxyHeaders};

/// The WebSocket endpoint: which requests it takes, and on what terms.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) path: String,
    pub(crate) head_limits: HeadLimits,
    pub(crate) options: AcceptOptions,
    pub(crate) channel_count_max: usize,
    pub(crate) proxy: ProxyHeaders,
}

/// An upgraded socket that another HTTP server hands over.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) address: SocketAddr,
    pub(crate) permit: Permit,
    pub(crate) wishes: Wishes,
    /// What that server read beyond the request.
    pub(crate) read_ahead: Vec<u8>,
}

/// What becomes of a request.
enum Decision {
    Accept(Accepted, Wishes),
    Refuse {
        answer: Vec<u8>,
        end: End,
    },
    /// Not for the endpoint.
    Http,
}

impl Endpoint {
    /// Decides on a request for this endpoint's path, for whom the proxy says that it comes.
    pub(crate) fn accept<'a, H>(
        &self,
        request: UpgradeRequest<'a, H>,
        query: Option<&str>,
        asker: Result<Asker, InvalidAsker>,
    ) -> Result<(Accepted, Wishes), EndpointRefusal>
    where
        H: IntoIterator<Item = (&'a str, &'a [u8])>,
    {
        let accepted = accept(request, &self.options).map_err(EndpointRefusal::Handshake)?;
        let channels = self.channels(query)?;
        let deflate = accepted.deflate;
        let encoding = accepted.subprotocol.as_deref().and_then(Encoding::from_subprotocol);
        Ok((accepted, Wishes { deflate, channels, encoding, asker: asker? }))
    }

    /// The channels that `?channel=NAME&channel=NAME` names.
    fn channels(&self, query: Option<&str>) -> Result<Vec<ChannelName>, EndpointRefusal> {
        let mut channels = Vec::new();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if key == "channel" {
                if channels.len() >= self.channel_count_max {
                    return Err(EndpointRefusal::TooManyChannels(self.channel_count_max));
                }
                channels.push(ChannelName::parse(&value).map_err(EndpointRefusal::Channel)?);
            }
        }
        Ok(channels)
    }

    fn decide(&self, head: &[u8]) -> Decision {
        let request = match RequestHead::parse(head, &self.head_limits) {
            Ok(request) => request,
            Err(error) => return refuse(&Refusal::from(error).into()),
        };
        if request.path() != self.path {
            return Decision::Http;
        }
        let asker = self.proxy.read(request.headers());
        match self.accept(UpgradeRequest::from(&request), request.query(), asker) {
            Ok((accepted, wishes)) => Decision::Accept(accepted, wishes),
            Err(refusal) => refuse(&refusal),
        }
    }
}

/// Why the endpoint does not open a WebSocket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndpointRefusal {
    #[error(transparent)]
    Handshake(#[from] Refusal),
    #[error("a channel in the query is not valid: {0}")]
    Channel(InvalidChannelName),
    #[error("a connection may listen to at most {0} channels")]
    TooManyChannels(usize),
    #[error(transparent)]
    Asker(#[from] InvalidAsker),
}

impl EndpointRefusal {
    /// The whole HTTP answer.
    pub(crate) fn answer(&self) -> Vec<u8> {
        match self {
            EndpointRefusal::Handshake(refusal) => refusal.response(),
            _ => {
                let body = format!("{self}\n");
                let length = body.len();
                format!(
                    "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\
                     Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{body}"
                )
                .into_bytes()
            }
        }
    }
}

fn refuse(refusal: &EndpointRefusal) -> Decision {
    let end = End::new(EndReason::HandshakeRefused, refusal.to_string());
    Decision::Refuse { answer: refusal.answer(), end }
}

impl Shard {
    /// Reads a request's head. Gives the peer back unless it went on to plain HTTP.
    pub(super) fn read_opening(&mut self, now: Instant, mut peer: Box<Peer>) -> Option<Box<Peer>> {
        let mut scratch = mem::take(&mut self.scratch);
        let outcome = peer.stream.read(&mut scratch);
        let kept = match outcome {
            Ok(0) => {
                peer.finish(End::new(EndReason::HandshakeEof, ""));
                Some(peer)
            }
            Ok(count) => self.scan_head(now, peer, scratch.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                peer.is_readable = false;
                Some(peer)
            }
            Err(error) => {
                peer.finish(End::new(EndReason::HandshakeEof, error.to_string()));
                Some(peer)
            }
        };
        self.scratch = scratch;
        kept
    }

    fn scan_head(&mut self, now: Instant, mut peer: Box<Peer>, bytes: &[u8]) -> Option<Box<Peer>> {
        let Stage::Opening(opening) = &mut peer.stage else { return Some(peer) };
        // Most requests arrive in one piece and are never copied.
        let mut kept = mem::take(&mut opening.head);
        let so_far = if kept.is_empty() {
            bytes
        } else {
            kept.extend_from_slice(bytes);
            &kept
        };
        let limits = &self.shared.endpoint.head_limits;
        match opening.scan.scan(so_far, limits) {
            Ok(None) => {
                opening.head = if kept.is_empty() { bytes.to_vec() } else { kept };
                Some(peer)
            }
            Ok(Some(length)) => {
                let (head, behind) = so_far.split_at(length);
                self.decide(now, peer, head, behind)
            }
            Err(error) => {
                let refusal = Refusal::from(error).into();
                self.refuse(now, &mut peer, refuse(&refusal));
                Some(peer)
            }
        }
    }

    fn decide(
        &mut self,
        now: Instant,
        mut peer: Box<Peer>,
        head: &[u8],
        behind: &[u8],
    ) -> Option<Box<Peer>> {
        match self.shared.endpoint.decide(head) {
            Decision::Http => {
                self.hand_to_http(peer, [head, behind].concat());
                return None;
            }
            // RFC 6455 §4.1: a client must wait for the answer before it sends frames. One that
            // does not may be a smuggled request.
            Decision::Accept(..) if !behind.is_empty() => {
                let answer = EARLY_BYTES.as_bytes().to_vec();
                let detail = "bytes came before the handshake was answered";
                let end = End::new(EndReason::HandshakeRefused, detail);
                self.refuse(now, &mut peer, Decision::Refuse { answer, end });
            }
            Decision::Accept(accepted, wishes) => {
                peer.client = wishes.asker.address;
                match peer.count() {
                    Ok(()) => self.open(now, &mut peer, wishes, Some(accepted.response())),
                    Err(full) => {
                        let (answer, end) = no_place(full);
                        let answer = answer.as_bytes().to_vec();
                        self.refuse(now, &mut peer, Decision::Refuse { answer, end });
                    }
                }
            }
            refusal => self.refuse(now, &mut peer, refusal),
        }
        Some(peer)
    }

    /// Makes a WebSocket of a socket whose handshake is accepted. The answer takes the way of all
    /// frames, through the outbox.
    fn open(&mut self, now: Instant, peer: &mut Peer, wishes: Wishes, answer: Option<Vec<u8>>) {
        let Wishes { deflate, channels, encoding, asker } = wishes;
        let compression = if deflate.is_some() { Compression::Deflate } else { Compression::Plain };
        let (limits, timing) = (self.limits.clone(), self.timing.clone());
        let seed = self.seed();
        let mut connection = Connection::new(now, Role::Server, compression, limits, timing, seed);
        if let Some(answer) = answer {
            connection.outbox_mut().push_shared(Bytes::from(answer));
        }
        // A session says in its hello and by subscribing what it listens to.
        for channel in channels.iter().filter(|_| encoding.is_none()) {
            let count_max = self.shared.endpoint.channel_count_max;
            // The endpoint has counted them already.
            let _ = self.channels.subscribe(peer.id.slot(), channel, count_max);
        }
        if matches!(peer.stage, Stage::Opening(_)) {
            self.opening_count -= 1;
        }
        if let Some(encoding) = encoding {
            connection.beat_with(encoding);
        }
        if encoding.is_none() {
            let detail = peer.client.map_or(peer.address.to_string(), |client| client.to_string());
            let detail = detail.into();
            self.note(Note { detail, ..Note::of(Happening::Connected) }, peer.id);
        }
        let mut open = Open::new(connection, deflate);
        let deadline = now + self.shared.config.hello_timeout;
        let source = admission::source(peer.client_address());
        open.session = encoding.map(|encoding| {
            Box::new(SessionPeer::new(encoding, asker.principal, source, deadline))
        });
        peer.stage = Stage::Open(open);
        self.stats().count_opened();
        tracing::debug!(connection = %peer.id, peer = %peer.address, "open");
    }

    /// Takes over a socket whose handshake another HTTP server has answered.
    pub(super) fn adopt(&mut self, now: Instant, adopted: Adopted) {
        let Adopted { stream, address, permit, wishes, read_ahead } = adopted;
        if self.drain.is_some() {
            return;
        }
        let stage = Stage::Opening(Default::default());
        let stream = TcpStream::from_std(stream);
        let Some(id) = self.add_peer(now, stream, address, Some(permit), stage) else { return };
        self.opening_count += 1;
        if let Some(mut peer) = self.take_peer(id) {
            peer.client = wishes.asker.address;
            self.open(now, &mut peer, wishes, None);
            if let Stage::Open(open) = &mut peer.stage {
                open.unread = read_ahead;
            }
            self.settle(now, peer);
        }
    }

    fn refuse(&mut self, now: Instant, peer: &mut Peer, decision: Decision) {
        let Decision::Refuse { answer, end } = decision else { return };
        peer.answer_and_shut(&answer);
        peer.end = Some(end);
        peer.stage = Stage::Refused { deadline: now + REFUSED_LINGER };
        self.opening_count -= 1;
    }

    /// Lets hyper answer a request that is not for the endpoint.
    fn hand_to_http(&mut self, peer: Box<Peer>, read_ahead: Vec<u8>) {
        self.opening_count -= 1;
        self.peers.try_remove(peer.id.slot());
        let Peer { stream, permit, .. } = *peer;
        let mut stream = stream;
        // Closing it would do the same; the runtime's poll takes over.
        let _ = self.registry.deregister(&mut stream);
        let http = self.shared.http.clone();
        let report = self.report(Order::HttpDone);
        self.http_count += 1;
        self.spawn(async move {
            // Until the connection is done, or dropped.
            let _held = (permit, report);
            let served = http.serve(stream.into(), Bytes::from(read_ahead)).await;
            if let Err(error) = served {
                tracing::debug!(%error, "an HTTP connection failed");
            }
        });
    }
}

const EARLY_BYTES: &str = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\
    Content-Type: text/plain\r\nContent-Length: 45\r\n\r\n\
    Frames must wait for the handshake's answer.\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_state_their_length() {
        let refusal = EndpointRefusal::TooManyChannels(16);
        for answer in [EARLY_BYTES.as_bytes().to_vec(), refusal.answer()] {
            let answer = String::from_utf8(answer).expect("text");
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
        }
    }
}
