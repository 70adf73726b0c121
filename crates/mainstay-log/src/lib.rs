//! Where events, sessions and replies are kept.
//!
//! [`Log`] is the contract: what one commit holds becomes durable together or not at all. Two engines
//! keep it, in memory and on disk, and one suite of tests holds both to it. A log decides nothing: it
//! numbers no event, trims nothing by itself and knows no time; `mainstay-node` tells it what to
//! keep. It knows neither sockets nor sessions' rules.

mod contract;
pub use contract::{ChannelKeep, ChannelRecord, Key, Log, LogError, ReadLimit, StoredEvent, Write};

mod memory;
pub use memory::MemoryLog;

mod disk;
pub use disk::{Check, DiskLog, DiskOptions, OpenError, Stats, Verify};

mod page;
mod validate;

#[cfg(feature = "testing")]
pub mod suite;
#[cfg(feature = "testing")]
pub mod testing;
