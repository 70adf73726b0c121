//! The network: ordered streams of whole messages that are late, stall, and die.

use bytes::Bytes;

use crate::world::{Happening, World};

/// One connection, seen from both ends.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) owner: Owner,
    /// The server process that accepted it.
    pub(crate) incarnation: u64,
    pub(crate) key: u64,
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    /// Why it ended for the client.
    pub(crate) client_end: Option<&'static str>,
    /// Why it ended for the server.
    pub(crate) server_end: Option<&'static str>,
    /// What has come and was not read, because the client reads nothing at present.
    pub(crate) unread: Vec<Parcel>,
}

/// Who dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Device(usize),
    /// Somebody who shows a device's token and then says nothing.
    Racer,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// When the last parcel arrives: nothing overtakes it.
    last_at_ms: u64,
    /// Nothing that would arrive from then on does.
    pub(crate) dead_from_ms: Option<u64>,
    /// Nothing arrives before then.
    pub(crate) stalled_until_ms: u64,
    /// Bytes sent and not read.
    pub(crate) in_flight_bytes: usize,
}

/// What travels.
#[derive(Clone, Debug)]
pub(crate) enum Parcel {
    Message(Bytes),
    /// A Close frame.
    Close(Option<u16>),
    /// The stream ends without one.
    Eof(&'static str),
}

/// Who receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Server,
}

impl Link {
    pub(crate) fn new(owner: Owner, incarnation: u64, key: u64) -> Link {
        Link {
            owner,
            incarnation,
            key,
            up: Pipe::default(),
            down: Pipe::default(),
            client_end: None,
            server_end: None,
            unread: Vec::new(),
        }
    }

    pub(crate) fn pipe(&mut self, to: End) -> &mut Pipe {
        match to {
            End::Client => &mut self.down,
            End::Server => &mut self.up,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.client_end.is_some() && self.server_end.is_some()
    }
}

impl Parcel {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Parcel::Message(message) => message.len(),
            Parcel::Close(_) | Parcel::Eof(_) => 0,
        }
    }
}

impl World {
    /// Puts a parcel on its way.
    pub(crate) fn send(&mut self, link: usize, to: End, parcel: Parcel) {
        let latency = self.config.latency_ms;
        let late = if self.dice.chance(5) { self.dice.below(latency * 8 + 1) } else { 0 };
        let delay = self.dice.between(latency / 2, latency) + late;
        let now_ms = self.now_ms;
        if let Parcel::Message(message) = &parcel {
            self.trace.mix_bytes(message);
        }
        let pipe = self.links[link].pipe(to);
        pipe.in_flight_bytes += parcel.bytes();
        let at_ms = pipe.last_at_ms.max(now_ms + delay).max(pipe.stalled_until_ms);
        pipe.last_at_ms = at_ms;
        if pipe.dead_from_ms.is_some_and(|from_ms| at_ms >= from_ms) {
            return;
        }
        self.schedule(at_ms, Happening::Arrive { link, to, parcel });
    }

    /// From now on nothing arrives in either direction, and nobody is told. What is under way may be
    /// lost in the middle of a message.
    pub(crate) fn kill_link(&mut self, link: usize) {
        let tail_ms = self.dice.below(self.config.latency_ms + 1);
        let from_ms = self.now_ms + tail_ms;
        for to in [End::Client, End::Server] {
            let pipe = self.links[link].pipe(to);
            pipe.dead_from_ms = Some(pipe.dead_from_ms.map_or(from_ms, |at| at.min(from_ms)));
        }
    }

    /// Tells one end that the stream has ended, past everything that is still under way.
    pub(crate) fn break_link(&mut self, link: usize, to: End, why: &'static str) {
        let at_ms = self.now_ms + self.dice.below(self.config.latency_ms + 1);
        self.schedule(at_ms, Happening::Broken { link, to, why });
    }

    pub(crate) fn arrive(&mut self, link: usize, to: End, parcel: Parcel) {
        let now_ms = self.now_ms;
        let pipe = self.links[link].pipe(to);
        if pipe.dead_from_ms.is_some_and(|from_ms| now_ms >= from_ms) {
            return;
        }
        match to {
            End::Server => {
                self.links[link].up.in_flight_bytes -= parcel.bytes();
                self.server_hears(link, parcel);
            }
            End::Client => self.client_hears(link, parcel),
        }
    }

    pub(crate) fn broken(&mut self, link: usize, to: End, why: &'static str) {
        match to {
            End::Server => self.server_hears(link, Parcel::Eof(why)),
            End::Client => self.client_hears(link, Parcel::Eof(why)),
        }
    }
}
