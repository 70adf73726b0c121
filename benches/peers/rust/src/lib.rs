//! What Mainstay is measured against, as far as it is written in Rust: the load for fan-out, the
//! floors that no server can be below, and servers made with the usual crates.
//!
//! `../README.md` says what each program must do. What several of them need is here.

pub mod arguments;
pub mod command;
pub mod event;
pub mod hub;
pub mod process;
pub mod wire;
