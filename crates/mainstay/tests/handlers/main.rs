//! Commands run by others: the real server with programs and web services.

#![expect(clippy::expect_used, reason = "a test states its expectations with expect")]

mod exec;
mod server;
mod service;
mod webhook;
