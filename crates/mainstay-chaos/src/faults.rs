//! What can be done to connections.

use std::ops::RangeInclusive;
use std::time::Duration;

/// What is done to connections. The default is nothing at all.
///
/// Offsets are counted in each direction for itself, from the start of the connection or from the
/// moment the faults were set, whichever is later. A range whose end is before its start counts as
/// its start alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// The time each chunk is held back, drawn anew for each. The order stays, and any number of
    /// chunks is held back at once, so latency does not cost throughput.
    pub delay: Option<RangeInclusive<Duration>>,
    /// Nothing passes for a while, once in each connection.
    pub stall: Option<Stall>,
    /// Cuts after exactly so many bytes.
    pub cut_at: EachWay<Option<u64>>,
    /// Cuts after a number of bytes drawn from the range for each connection.
    pub cut_every: EachWay<Option<RangeInclusive<u64>>>,
    /// How probable it is that a chunk is the last one; the cut falls somewhere in it.
    pub cut_rate: Probability,
    /// How those cuts are made.
    pub cut_with: Cut,
    /// The bytes a second that are read from the server at most, so that its send buffer fills.
    /// The small receive buffer which that takes is given only to connections made afterwards.
    pub slow_drain: Option<u64>,
    /// How probable it is that a connection is reset as soon as it is accepted.
    pub refuse_rate: Probability,
    /// How probable it is that a second connection says to the server again what the first said,
    /// up to the empty line that ends an HTTP head.
    pub duplicate_rate: Probability,
    /// How long that second connection stays.
    pub duplicate_for: Duration,
}

/// Nothing passes for a while in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The bytes that pass before, in one direction, whichever is first.
    pub after_bytes: u64,
    /// How long nothing passes.
    pub lasting: Duration,
}

/// How a connection is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// Both sides get a reset, as from a crashed peer or a firewall. Bytes that a peer has no room
    /// for yet are lost with it.
    #[default]
    Rst,
    /// Both sides get an orderly end.
    Fin,
    /// Both sides hear nothing more and may send on, as from a NAT that forgot the connection.
    /// After this time both get a reset.
    HalfOpen(Duration),
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From client to server.
    Up,
    /// From server to client.
    Down,
}

/// One value for each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EachWay<T> {
    /// From client to server.
    pub up: T,
    /// From server to client.
    pub down: T,
}

impl<T> EachWay<T> {
    /// The same for both.
    pub fn both(value: T) -> EachWay<T>
    where
        T: Clone,
    {
        EachWay { up: value.clone(), down: value }
    }

    /// That of one direction.
    pub fn of(&self, direction: Direction) -> &T {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

/// From never (0) to always (1).
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Probability(f64);

impl Probability {
    /// It happens every time.
    pub const ALWAYS: Probability = Probability(1.0);
    /// It does not happen.
    pub const NEVER: Probability = Probability(0.0);

    /// `None` if it is not from 0 to 1.
    pub fn new(value: f64) -> Option<Probability> {
        (0.0..=1.0).contains(&value).then_some(Probability(value))
    }

    /// From 0 to 1.
    pub fn value(self) -> f64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_is_from_0_to_1() {
        for good in [0.0, 0.5, 1.0] {
            assert_eq!(Probability::new(good).map(Probability::value), Some(good));
        }
        for bad in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Probability::new(bad), None);
        }
    }
}
