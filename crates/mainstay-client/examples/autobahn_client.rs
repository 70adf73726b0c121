//! The client under test of the Autobahn|Testsuite: runs every case of a fuzzing server.
//!
//! ```text
//! cargo run --release -p mainstay-client --example autobahn_client -- ws://127.0.0.1:9001 mainstay
//! ```
//!
//! Sends every message back as it came. Compression is offered.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use mainstay_client::{
    ConnectOptions, DeflateSupport, DialOptions, Limits, Message, Socket, Timing,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, agent] = arguments.as_slice() else {
        eprintln!("usage: autobahn_client URL AGENT");
        return ExitCode::from(2);
    };
    match run_all(url.trim_end_matches('/'), agent).await {
        Ok(count) => {
            println!("{count} cases run");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("autobahn_client: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run_all(url: &str, agent: &str) -> Result<u32, Box<dyn Error>> {
    let count = case_count(url).await?;
    for number in 1..=count {
        echo(&format!("{url}/runCase?case={number}&agent={agent}")).await?;
        if number % 50 == 0 || number == count {
            println!("{number} of {count}");
        }
    }
    echo(&format!("{url}/updateReports?agent={agent}")).await?;
    Ok(count)
}

async fn case_count(url: &str) -> Result<u32, Box<dyn Error>> {
    let mut socket = Socket::connect(&format!("{url}/getCaseCount"), &options()).await?;
    let Some(Message::Text(count)) = socket.receive().await else {
        return Err("the server did not tell the number of cases".into());
    };
    while socket.receive().await.is_some() {}
    Ok(count.parse()?)
}

/// A case ends as it may; whether it ended rightly is the server's report.
async fn echo(url: &str) -> Result<(), Box<dyn Error>> {
    let mut socket = Socket::connect(url, &options()).await?;
    while let Some(message) = socket.receive().await {
        match message {
            Message::Text(text) => socket.send_text(&text),
            Message::Binary(bytes) => socket.send_binary(&bytes),
        }
    }
    Ok(())
}

/// The cases go up to messages of 16 MiB in fragments of 64 bytes.
fn options() -> ConnectOptions {
    ConnectOptions {
        limits: Limits {
            message_bytes_max: 64 << 20,
            fragment_count_max: 1 << 20,
            outbox_bytes_max: 64 << 20,
            control_frames_per_second_max: 10_000,
        },
        timing: Timing {
            // A ping of ours in the middle of a case is none of its business.
            ping_interval: None,
            message_timeout: Duration::from_secs(120),
            ..Timing::default()
        },
        dial: DialOptions { deflate: DeflateSupport::On, ..DialOptions::default() },
        ..ConnectOptions::default()
    }
}
