//! A TCP proxy that is a bad network: it delays, stalls, cuts, refuses and repeats.
//!
//! [`Chaos`] is the running proxy, [`Faults`] what it does to connections. It knows bytes and no
//! protocol: no frame, message or request is parsed, so a cut can fall on any byte. It is no load
//! generator and no firewall.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use mainstay_chaos::{Chaos, Config, Cut, EachWay, Faults};
//!
//! # fn main() -> Result<(), mainstay_chaos::StartError> {
//! let mut config = Config::to("127.0.0.1:8080");
//! config.seed = 7;
//! config.faults.cut_every = EachWay::both(Some(1_000..=50_000));
//! let chaos = Chaos::start(config)?;
//! println!("connect to {}", chaos.address());
//! chaos.stall_all(Duration::from_secs(1));
//! chaos.cut_all(Cut::Rst);
//! chaos.set_faults(Faults::default());
//! println!("{:?}", chaos.stats());
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//!                  up ▶  read ─▶ queue, each chunk with its time ─▶ stall? cut? ─▶ write
//!  client ◀──▶ link                                                                 ◀──▶ server
//!                ◀ down  write ◀─ cut? stall? ◀─ queue ◀─ read, slowly if asked
//! ```
//!
//! Every random decision comes from the seed, the number of the connection and the direction, so
//! the same seed and the same order of connections give the same decisions. What is decided for
//! each chunk depends on how the bytes came in chunks, which the network decides; what is decided
//! by offset does not.

mod chaos;
pub use chaos::{Chaos, Config, Refuse, StartError};

mod faults;
pub use faults::{Cut, Direction, EachWay, Faults, Probability, Stall};

mod event;
pub use event::{Ending, Event, Stats};

mod plan;

mod link;

mod pump;

mod duplicate;

mod shared;

mod limits;
