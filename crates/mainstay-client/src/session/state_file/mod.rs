//! The state file: what of a session survives the process.
//!
//! ```text
//!   file  = magic (8 bytes), batch, batch …
//!   batch = length (4), checksum of the length (4), checksum of the content (4), content
//! ```
//!
//! All numbers are little-endian, checksums are CRC-32. The content of the first batch is the
//! server's address and the state at some time; each later one holds the changes that were made safe
//! together. A batch is written at once and followed by nothing before it is on the disk, so only
//! the last one can be torn: that is cut off, since nobody was told that it was safe. Whatever else
//! is wrong is damage and an error. A file grown long is written anew beside itself and renamed into
//! its place.

mod record;

mod file;
pub use file::StateFileError;
pub(crate) use file::{Opened, StateFile};
