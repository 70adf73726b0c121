//! What a server remembers of one session.
//!
//! A [`Session`] is loaded from its [`Record`] and the numbers of its stored outcomes, or begun. It
//! numbers, bounds and orders; running handlers, storing and sending are its caller's business.

mod session;
pub use session::Session;

mod requests;
pub use requests::{Accepted, Cancelled, Received, RequestLimits, Work};

mod kept;

mod commands;
pub use commands::Command;

mod token;
pub use token::TokenHash;

mod record;
pub use record::{InvalidRecord, Record};

mod outcome;
pub use outcome::{decode_outcome, encode_outcome};

mod bytes;

mod violation;
pub use violation::Violation;
