//! The real program under real faults: child processes that are killed, sockets that are cut, disks
//! that are full. Clients note what they sent and heard, and an oracle that reads nothing else
//! judges ([`oracle`]).
//!
//! `MAINSTAY_RELIABILITY=N` makes every count N times as large, `MAINSTAY_RELIABILITY_SEED` repeats
//! the decisions of a run. A test that fails prints its seed and keeps its folder, with the server's
//! log and what each client noted.

#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]
#![expect(clippy::expect_used, reason = "a test states its expectations with expect")]
#![expect(clippy::print_stderr, reason = "figures of a run, shown with --nocapture")]

mod case;
mod program;

mod journal;
mod oracle;

mod clients;
mod crowd;
mod raw;

mod bad_disk;
mod commands;
mod cuts;
mod full_disk;
mod kills;
mod readers;
mod returns;
mod stops;
mod takeover;
