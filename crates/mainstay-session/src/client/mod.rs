//! The client's half of a session.
//!
//! [`ClientSession`] is what a client knows of its session while connections come and go: the
//! requests without an outcome, the places in its channels, the server's commands that it has
//! accepted. It is told what happens (`handle_*`, and what the application wants) and says what is
//! to be done ([`Output`]), in the order in which it must be done.
//!
//! ```text
//!   application ──request, subscribe, consumed──▶ ┌───────────────┐ ──Transmit──▶ connection
//!               ◀──────────Event───────────────── │ ClientSession │ ◀──frames────
//!                                                 └───────────────┘ ──Persist───▶ state file
//! ```
//!
//! Everything that must survive the process is a [`SavedState`], and every change of it a
//! [`StateChange`]: the session changes its own memory by the same function by which a driver can
//! rebuild it from the changes that it kept.

mod config;
pub use config::{ClientConfig, Resubscribe};

mod output;
pub use output::{ClientEvent, CloseReason, CommandKey, Ending, Output, Refused};

mod state;
pub use state::{
    Call, Identity, Place, RequestKey, SavedChannel, SavedRequest, SavedState, StateChange,
};

mod session;
pub use session::{ClientSession, Counters};

mod channels;
mod commands;
mod frames;
mod requests;

#[cfg(test)]
mod tests;
