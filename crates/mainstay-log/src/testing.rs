//! A disk that fails on purpose.

mod sim_disk;
pub use sim_disk::{Call, Fault, SimDisk};
