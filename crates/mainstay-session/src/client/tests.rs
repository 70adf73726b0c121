//! Scenarios of the client's half, and random servers.

mod channels;
mod connections;
mod conversations;
mod crashes;
mod random;
mod requests;
mod support;
