//! How a server is started.

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::{fmt, io};

use clap::{Parser, ValueEnum};

/// `--address A --work W`.
#[derive(Clone, Copy, Debug, Parser)]
pub struct ServerArguments {
    /// Where to listen
    #[arg(long)]
    pub address: SocketAddr,
    /// What to do with messages
    #[arg(long, value_enum, default_value_t = Work::Echo)]
    pub work: Work,
}

/// What a server does with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Each comes back.
    Echo,
    /// Each is a JSON request, and answered.
    Command,
    /// Each goes to every connection that was opened with `?channel=news`.
    Fanout,
}

/// Reads the arguments, sees to it that enough connections can be open, and runs the server, which
/// should not end.
pub fn serve<E: fmt::Display>(run: impl FnOnce(ServerArguments) -> Result<(), E>) -> ExitCode {
    raise_open_files();
    match run(ServerArguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The same for a server that waits, on one thread of Tokio.
pub fn serve_waiting<F: Future<Output = io::Result<()>>>(
    run: impl FnOnce(ServerArguments) -> F,
) -> ExitCode {
    serve(|arguments| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(run(arguments))
    })
}

/// As many files as the system allows.
pub fn raise_open_files() {
    // Where it fails, the limit that is there may still do.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
}

/// Listens with a backlog that no load fills.
///
/// # Errors
/// The address cannot be had.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

const BACKLOG: i32 = 1024;
