//! The load: fan-out to many subscribers, and the exchange of bare bytes that is the floor of echo.
//!
//! One thread, one poll. Events are counted in the bytes as they come, so that one thread keeps a
//! server of one thread busy whatever it speaks.

mod connect;
mod connection;
mod cost;
mod counter;
mod dialect;
mod fanout;
mod span;
mod tcp_echo;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::fanout::{FanoutArguments, run_fanout};
use crate::tcp_echo::{TcpEchoArguments, run_tcp_echo};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Bursts of events to many subscribers
    Fanout(FanoutArguments),
    /// Bare bytes that come back
    TcpEcho(TcpEchoArguments),
}

/// Whether what was sent arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Flawless,
    Flawed,
}

fn main() -> ExitCode {
    mainstay_peers::arguments::raise_open_files();
    let result = match Arguments::parse().what {
        What::Fanout(fanout) => run_fanout(&fanout),
        What::TcpEcho(echo) => run_tcp_echo(&echo),
    };
    match result {
        Ok((json, outcome)) => {
            println!("{json}");
            ExitCode::from(u8::from(outcome == Outcome::Flawed))
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// There are no figures.
type Failure = Box<dyn Error>;
