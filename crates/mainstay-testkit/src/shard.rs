//! The server's delivery side: connections, their outboxes, and who is behind. What a shard of
//! `mainstay-server` does, without its sockets.

use std::collections::VecDeque;

use mainstay_hub::Hub;
use mainstay_node::{ConnectionKey, Input};
use mainstay_wire::session::{
    ClientFrame, Encoding, ErrorCode, Failure, MalformedKind, Principal, Problem, ServerFrame,
};
use mainstay_wire::{ChannelName, EndReason};

use crate::link::{End, Parcel};
use crate::world::{Happening, World};

#[derive(Debug, Default)]
pub(crate) struct Shard {
    pub(crate) hub: Hub,
    /// When the last orders arrive: none overtake them.
    pub(crate) orders_at_ms: u64,
}

/// A connection, for the server.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) key: u64,
    pub(crate) link: usize,
    pub(crate) encoding: Encoding,
    principal: Option<Principal>,
    pub(crate) is_greeted: bool,
    pub(crate) reading: Option<ChannelName>,
    pub(crate) is_behind: bool,
    pub(crate) outbox: VecDeque<Parcel>,
    pub(crate) outbox_bytes: usize,
    /// The reason of the Close frame that is out, or on its way there.
    pub(crate) closing: Option<&'static str>,
    opened_at_ms: u64,
    closing_at_ms: u64,
    heard_at_ms: u64,
    sent_at_ms: u64,
    pinged_at_ms: Option<u64>,
    progress_at_ms: u64,
    ticks_at_ms: Option<u64>,
}

impl Peer {
    pub(crate) fn new(
        key: u64,
        link: usize,
        encoding: Encoding,
        principal: Option<Principal>,
        now_ms: u64,
    ) -> Peer {
        Peer {
            key,
            link,
            encoding,
            principal,
            is_greeted: false,
            reading: None,
            is_behind: false,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            closing: None,
            opened_at_ms: now_ms,
            closing_at_ms: 0,
            heard_at_ms: now_ms,
            sent_at_ms: now_ms,
            pinged_at_ms: None,
            progress_at_ms: now_ms,
            ticks_at_ms: None,
        }
    }

    pub(crate) fn slot(&self) -> usize {
        (self.key as u32) as usize
    }

    pub(crate) fn push(&mut self, now_ms: u64, parcel: Parcel) {
        if self.closing.is_some() {
            return;
        }
        if self.outbox.is_empty() {
            self.progress_at_ms = now_ms;
        }
        self.outbox_bytes += parcel.bytes();
        self.outbox.push_back(parcel);
    }

    pub(crate) fn push_frame(&mut self, now_ms: u64, frame: &ServerFrame) {
        let mut message = Vec::new();
        self.encoding.encode_server(frame, &mut message);
        self.push(now_ms, Parcel::Message(message.into()));
    }

    fn next_tick_ms(&self, ping_interval_ms: u64, pong_timeout_ms: u64) -> u64 {
        if self.closing.is_some() {
            return self.closing_at_ms + CLOSE_TIMEOUT_MS;
        }
        if !self.is_greeted {
            return self.opened_at_ms + HELLO_TIMEOUT_MS;
        }
        let mut at_ms = match self.pinged_at_ms {
            Some(pinged_at_ms) => pinged_at_ms + pong_timeout_ms,
            None => self.sent_at_ms + ping_interval_ms,
        };
        if !self.outbox.is_empty() {
            at_ms = at_ms.min(self.progress_at_ms + WRITE_STALL_TIMEOUT_MS);
        }
        at_ms
    }
}

impl World {
    /// Something came by a connection.
    pub(crate) fn server_hears(&mut self, link: usize, parcel: Parcel) {
        let (incarnation, key) = (self.links[link].incarnation, self.links[link].key);
        if !self.is_current(incarnation) {
            return;
        }
        let now_ms = self.now_ms;
        let Some(peer) = self.server.as_mut().and_then(|server| server.peers.get_mut(&key)) else {
            return;
        };
        peer.heard_at_ms = now_ms;
        peer.pinged_at_ms = None;
        let closing = peer.closing;
        match parcel {
            Parcel::Message(message) if closing.is_none() => self.server_reads(key, &message),
            Parcel::Message(_) => {}
            Parcel::Close(_) => self.end_peer(key, closing.unwrap_or("peer_closed")),
            Parcel::Eof(why) => self.end_peer(key, closing.unwrap_or(why)),
        }
        self.settle(key);
    }

    fn server_reads(&mut self, key: u64, message: &[u8]) {
        let now_ms = self.now_ms;
        let Some(peer) = self.server.as_mut().and_then(|server| server.peers.get_mut(&key)) else {
            return;
        };
        let connection = ConnectionKey(key);
        let frame = match peer.encoding.decode_client(message) {
            Ok(frame) => frame,
            Err(malformed) => {
                let MalformedKind::InvalidChannel { .. } = &malformed.kind else {
                    let text = format!("a client's frame is malformed: {malformed}");
                    return self.checks.fail("protocol", text);
                };
                let (code, message) = (ErrorCode::InvalidChannel, malformed.to_string());
                let failure = Failure { code, message };
                match malformed.number {
                    Some(number) => self.put(Input::Unfit { connection, number, failure }),
                    None => {
                        let problem = Problem { failure, channel: None };
                        peer.push_frame(now_ms, &ServerFrame::Problem(problem));
                    }
                }
                return;
            }
        };
        match frame {
            ClientFrame::Hello(hello) if !peer.is_greeted => {
                peer.is_greeted = true;
                let principal = peer.principal.clone();
                let source = [0; 8];
                self.put(Input::Hello { connection, principal, source, hello });
            }
            ClientFrame::Hello(_) => {
                self.checks.fail("protocol", "a second hello".to_owned());
            }
            ClientFrame::Ping => peer.push_frame(now_ms, &ServerFrame::Pong),
            ClientFrame::Pong => {}
            frame => self.put(Input::Frame { connection, frame }),
        }
    }

    /// After every change of a peer: reads on, flushes, and looks at the clock.
    pub(crate) fn settle(&mut self, key: u64) {
        self.read_on(key);
        let Some(server) = &self.server else { return };
        let Some(peer) = server.peers.get(&key) else { return };
        let link = peer.link;
        self.flush_link(link);
        self.schedule_tick(key);
    }

    fn read_on(&mut self, key: u64) {
        let feed_bytes_max = self.config.feed_bytes_max;
        let Some(server) = &mut self.server else { return };
        let Some(peer) = server.peers.get_mut(&key) else { return };
        if !peer.is_behind || peer.reading.is_some() || peer.closing.is_some() {
            return;
        }
        let waiting = peer.outbox_bytes;
        if waiting > feed_bytes_max / 4 {
            return;
        }
        let slot = peer.slot();
        let shard = slot % server.shards.len();
        match server.shards[shard].hub.next_read(slot) {
            Some((channel, after)) => {
                peer.reading = Some(channel.clone());
                let bytes_max = feed_bytes_max - waiting;
                let connection = ConnectionKey(key);
                self.put(Input::Read { connection, channel, after, bytes_max });
            }
            None => peer.is_behind = false,
        }
    }

    /// Writes as much as the socket takes.
    pub(crate) fn flush_link(&mut self, link: usize) {
        let now_ms = self.now_ms;
        let (incarnation, key) = (self.links[link].incarnation, self.links[link].key);
        if !self.is_current(incarnation) {
            return;
        }
        while self.links[link].down.in_flight_bytes < self.config.socket_bytes {
            let Some(server) = &mut self.server else { return };
            let Some(peer) = server.peers.get_mut(&key) else { return };
            let Some(parcel) = peer.outbox.pop_front() else { break };
            peer.outbox_bytes -= parcel.bytes();
            peer.sent_at_ms = now_ms;
            peer.progress_at_ms = now_ms;
            self.send(link, End::Client, parcel);
        }
        self.read_on(key);
    }

    pub(crate) fn schedule_tick(&mut self, key: u64) {
        let ping_interval_ms = self.config.node.ping_interval_ms;
        let pong_timeout_ms = self.config.pong_timeout_ms;
        let Some(server) = &mut self.server else { return };
        let incarnation = server.incarnation;
        let Some(peer) = server.peers.get_mut(&key) else { return };
        let at_ms = peer.next_tick_ms(ping_interval_ms, pong_timeout_ms);
        if peer.ticks_at_ms.is_none_or(|ticks_at_ms| at_ms < ticks_at_ms) {
            peer.ticks_at_ms = Some(at_ms);
            self.schedule(at_ms, Happening::PeerTick { incarnation, key });
        }
    }

    pub(crate) fn peer_tick(&mut self, incarnation: u64, key: u64) {
        if !self.is_current(incarnation) {
            return;
        }
        let now_ms = self.now_ms;
        let ping_interval_ms = self.config.node.ping_interval_ms;
        let pong_timeout_ms = self.config.pong_timeout_ms;
        let Some(peer) = self.server.as_mut().and_then(|server| server.peers.get_mut(&key)) else {
            return;
        };
        peer.ticks_at_ms = None;
        if now_ms < peer.next_tick_ms(ping_interval_ms, pong_timeout_ms) {
            return self.schedule_tick(key);
        }
        if let Some(reason) = peer.closing {
            return self.end_peer(key, reason);
        }
        if !peer.is_greeted {
            return self.close_peer(key, EndReason::HelloTimeout);
        }
        if !peer.outbox.is_empty() && now_ms >= peer.progress_at_ms + WRITE_STALL_TIMEOUT_MS {
            return self.end_peer(key, EndReason::WriteStalled.word());
        }
        match peer.pinged_at_ms {
            Some(_) => return self.close_peer(key, EndReason::PingTimeout),
            None => {
                peer.pinged_at_ms = Some(now_ms);
                peer.push_frame(now_ms, &ServerFrame::Ping);
            }
        }
        self.settle(key);
    }

    /// Closes a connection with a Close frame behind what waits.
    pub(crate) fn close_peer(&mut self, key: u64, reason: EndReason) {
        let now_ms = self.now_ms;
        let Some(server) = &mut self.server else { return };
        let Some(peer) = server.peers.get_mut(&key) else { return };
        if peer.closing.is_some() {
            return;
        }
        peer.push(now_ms, Parcel::Close(reason.close_code()));
        peer.closing = Some(reason.word());
        peer.closing_at_ms = now_ms;
        let link = peer.link;
        self.note(|| format!("the server closes link {link}: {reason}"));
        self.settle(key);
    }

    /// A connection is gone.
    pub(crate) fn end_peer(&mut self, key: u64, why: &'static str) {
        let Some(server) = &mut self.server else { return };
        let Some(peer) = server.peers.remove(&key) else { return };
        let slot = peer.slot();
        let shard = slot % server.shards.len();
        server.shards[shard].hub.remove(slot);
        server.slots[slot].0 = None;
        let link = peer.link;
        self.links[link].server_end = Some(why);
        self.note(|| format!("the server loses link {link}: {why}"));
        let is_reachable = self.links[link].down.dead_from_ms.is_none();
        if is_reachable && self.links[link].client_end.is_none() {
            self.break_link(link, End::Client, "reset");
        }
        if peer.is_greeted {
            let end = EndReason::ALL.iter().find(|end| end.word() == why);
            let (end, detail) = (end.copied().unwrap_or(EndReason::PeerEof), why.into());
            self.put(Input::Gone { connection: ConnectionKey(key), end, detail });
        }
    }
}

const HELLO_TIMEOUT_MS: u64 = 5_000;
const CLOSE_TIMEOUT_MS: u64 = 5_000;
const WRITE_STALL_TIMEOUT_MS: u64 = 30_000;
