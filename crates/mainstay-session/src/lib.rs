//! One client's lifetime across connections, in two mirrored halves. No I/O, no clock.
//!
//! [`server`] is what a server remembers of a session: its generation and tokens, which requests it
//! has accepted, the outcomes that the client may still ask for, and the commands it has sent to the
//! client. [`client`] is what a client remembers: its requests without an outcome, its cursors, and
//! the commands it has answered. Neither knows sockets, logs or the other's state; frames are all
//! that passes between them.

pub mod client;
pub mod server;

mod bound;
pub use bound::bounded_reply;
