//! A world in one thread and virtual time: clients, a network, a server, a disk, and what goes wrong.
//! Never shipped.
//!
//! A [`World`] runs the real halves of a session, the real node, the real hub and the real log
//! against a network that delays, stalls and dies as one seed says. What the applications saw is
//! compared with what the log was given, by checks that know nothing of how either came about: they
//! are the sentences of PROTOCOL.md ("Guarantees") in code. The first thing that contradicts them
//! ends the run, and the seed replays it.
//!
//! [`simulate`] runs a random life from a seed. Scripted scenarios drive a [`World`] by hand.

mod run;
pub use run::{Failure, Tally, simulate};

mod world;
pub use world::{EngineKind, World, WorldConfig};

mod plan;

mod device;
pub use device::Cut;

mod link;

mod server;

mod shard;

mod carry;

mod witness;
pub use witness::{Claim, Note};

mod checks;
pub use checks::Counts;

mod script;

mod truth;
pub use truth::{Facts, Incarnation, Truth, mark_of, marked};

mod trace;
pub use trace::{Keeps, Trace};

mod dice;
pub use dice::Dice;
