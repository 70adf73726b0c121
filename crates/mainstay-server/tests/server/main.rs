//! The server over real sockets, with peers that nobody here wrote (tungstenite) and peers that do
//! what no decent library lets one do (raw bytes).

#![expect(clippy::expect_used, reason = "a test states its expectations with expect")]

mod support;

mod attacks;
mod commands;
mod drain;
mod eof_causes;
mod files;
mod handlers;
mod handshake;
mod hub;
mod mounted;
mod sessions;
mod watching;
