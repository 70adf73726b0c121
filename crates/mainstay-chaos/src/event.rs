//! What happens in the proxy, one by one and counted.

use std::net::SocketAddr;
use std::time::Duration;

use crate::faults::{Cut, Direction, EachWay};

/// One thing that happened. Connections are numbered 1, 2, 3 … in the order they were accepted.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Connections are accepted from now on.
    Listening {
        /// Where.
        address: SocketAddr,
        /// What all random decisions come from.
        seed: u64,
    },
    /// A connection was accepted.
    Accepted {
        /// Its number.
        connection: u64,
        /// Who came.
        peer: SocketAddr,
    },
    /// A connection was reset as soon as it was accepted.
    Refused {
        /// Its number.
        connection: u64,
        /// Who came.
        peer: SocketAddr,
    },
    /// The target could not be reached, so the client's connection is closed.
    Unreachable {
        /// Its number.
        connection: u64,
        /// Why.
        error: String,
    },
    /// A second connection said to the target what the first had said.
    Duplicated {
        /// The number of the first.
        connection: u64,
        /// How many bytes were said again.
        bytes: usize,
    },
    /// Nothing passes for a while.
    Stalled {
        /// Its number.
        connection: u64,
        /// The direction whose bytes were counted.
        direction: Direction,
        /// How many had passed.
        bytes: u64,
        /// How long nothing passes.
        lasting: Duration,
    },
    /// A connection was cut by the proxy.
    Cut {
        /// Its number.
        connection: u64,
        /// How.
        cut: Cut,
        /// The bytes that had passed.
        bytes: EachWay<u64>,
    },
    /// A connection ended otherwise, or a half-open one was let go.
    Closed {
        /// Its number.
        connection: u64,
        /// How.
        ending: Ending,
        /// The bytes that had passed.
        bytes: EachWay<u64>,
    },
    /// A connection could not be accepted; the proxy goes on.
    AcceptFailed {
        /// Why.
        error: String,
    },
}

/// How a connection ended that the proxy did not cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both sides were done.
    Fin,
    /// One side reset it, and the other got a reset too.
    Reset,
    /// It was cut half-open before, and its time is over.
    HalfOpenOver,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections that were accepted, the refused ones too.
    pub accepted: u64,
    /// Connections that are held now, the half-open ones too.
    pub open: u64,
    /// Connections that were reset as soon as they were accepted.
    pub refused: u64,
    /// Connections that found no target.
    pub unreachable: u64,
    /// Second connections.
    pub duplicated: u64,
    /// Stalls of single connections; a stall of all is not counted.
    pub stalls: u64,
    /// Cuts by reset.
    pub cuts_rst: u64,
    /// Cuts by an orderly end.
    pub cuts_fin: u64,
    /// Cuts that left both sides without news.
    pub cuts_half_open: u64,
    /// The bytes that have passed.
    pub bytes: EachWay<u64>,
}

impl Stats {
    /// Cuts of every kind.
    pub fn cuts(&self) -> u64 {
        self.cuts_rst + self.cuts_fin + self.cuts_half_open
    }
}
