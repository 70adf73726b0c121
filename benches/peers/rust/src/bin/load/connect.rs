//! Where to connect to, and from where.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

/// Begins to connect as number `index` of many.
///
/// One address has some 28,000 ports towards a server, and a server may bound what comes from one
/// address; all of 127.0.0.0/8 belongs to this machine.
///
/// # Errors
/// The system says no.
pub fn connect(target: SocketAddr, index: usize) -> io::Result<TcpStream> {
    let offset = u32::try_from(index / CONNECTIONS_PER_SOURCE).unwrap_or_default();
    let source = Ipv4Addr::from(u32::from(FIRST_SOURCE) + offset);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    match socket.connect(&target.into()) {
        // What became of it is known once the socket is writable.
        Err(error) if error.raw_os_error() != Some(CONNECT_IN_PROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// Address and path of `ws://127.0.0.1:PORT/PATH`.
///
/// # Errors
/// In words: it is no such URL.
pub fn split_url(url: &str) -> Result<(SocketAddr, &str), String> {
    let rest = url.strip_prefix("ws://").ok_or("--url begins with ws://")?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let address: SocketAddr = host.parse().map_err(|error| format!("--url: {host}: {error}"))?;
    if !address.is_ipv4() || !address.ip().is_loopback() {
        return Err("--url names an address of 127.0.0.0/8".to_owned());
    }
    Ok((address, if path.is_empty() { "/" } else { path }))
}

/// Connections that are opened at a time: half of the backlog that `listen` usually gets, past which
/// the system drops them and tries again after a second.
pub const OPENING_COUNT_MAX: usize = 64;
/// Below what servers usually allow one address.
const CONNECTIONS_PER_SOURCE: usize = 100;
const FIRST_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);
/// `EINPROGRESS` on Linux, for which the standard library has no stable name.
const CONNECT_IN_PROGRESS: i32 = 115;
