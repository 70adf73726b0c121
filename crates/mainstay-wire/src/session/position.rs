//! Where an event stands in its channel.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// An event's position in one epoch of its channel: 1, 2, 3 … without holes. 0 is the place before
/// the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    /// The place before the first event.
    pub const ZERO: Offset = Offset(0);

    /// The position behind this one.
    #[must_use]
    pub fn next(self) -> Offset {
        Offset(self.0.saturating_add(1))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// One incarnation of a channel's log. An offset means nothing in another epoch. Sixteen
/// hexadecimal digits as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Epoch, ParseIntError> {
        u64::from_str_radix(text, 16).map(Epoch)
    }
}
