//! Listening sockets.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// One set of listeners for each of `shard_count` shards, on every address that `address` resolves
/// to. The kernel spreads new connections over the shards (SO_REUSEPORT).
///
/// # Errors
/// If the name does not resolve, or none of its addresses can be bound, or one of them is in use.
pub(crate) fn listen(
    address: &str,
    shard_count: usize,
    user_timeout: Duration,
) -> io::Result<Vec<Vec<TcpListener>>> {
    let mut shards: Vec<Vec<TcpListener>> = (0..shard_count).map(|_| Vec::new()).collect();
    let mut port = None;
    let mut last_error = None;
    for mut wanted in address.to_socket_addrs()? {
        if wanted.port() == 0 {
            // Every address gets the port that the system chose for the first.
            wanted.set_port(port.unwrap_or(0));
        }
        match listen_on_one(wanted, shard_count, user_timeout) {
            Ok(listeners) => {
                port.get_or_insert(local_port(&listeners)?);
                shards.iter_mut().zip(listeners).for_each(|(shard, one)| shard.push(one));
            }
            // `localhost` names an IPv6 address also where there is no IPv6.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                last_error = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    if shards.iter().all(Vec::is_empty) {
        let nothing = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        return Err(last_error.unwrap_or_else(nothing));
    }
    Ok(shards)
}

fn listen_on_one(
    mut address: SocketAddr,
    shard_count: usize,
    user_timeout: Duration,
) -> io::Result<Vec<TcpListener>> {
    // With SO_REUSEPORT a second server would bind the same port and take half of the connections.
    // Without it the kernel says that the port is in use, so that is asked first.
    let probe = bind(address, Sharing::Alone)?;
    address.set_port(probe.local_addr()?.as_socket().map_or(0, |bound| bound.port()));
    drop(probe);
    (0..shard_count)
        .map(|_| {
            let socket = bind(address, Sharing::WithShards)?;
            // Accepted sockets inherit these three.
            socket.set_tcp_nodelay(true)?;
            socket.set_nonblocking(true)?;
            set_user_timeout(&socket, user_timeout)?;
            socket.listen(BACKLOG_COUNT)?;
            Ok(socket.into())
        })
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    WithShards,
}

fn bind(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // The IPv4 side of a name is bound by itself.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // A restarted server must not wait for its last connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(sharing == Sharing::WithShards)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A peer that acknowledges nothing for this long is given up by the kernel.
pub(crate) fn set_user_timeout<'s, S>(socket: &'s S, timeout: Duration) -> io::Result<()>
where
    SockRef<'s>: From<&'s S>,
{
    #[cfg(target_os = "linux")]
    SockRef::from(socket).set_tcp_user_timeout(Some(timeout))?;
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, timeout);
    Ok(())
}

fn local_port(listeners: &[TcpListener]) -> io::Result<u16> {
    let first = listeners.first().ok_or(io::ErrorKind::NotFound)?;
    Ok(first.local_addr()?.port())
}

/// Handshakes that the kernel holds while a shard is busy; the kernel's own limit is usually 4,096.
const BACKLOG_COUNT: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[test]
    fn every_shard_listens_on_every_address_of_the_name() {
        let shards = listen("localhost:0", 2, TIMEOUT).expect("localhost can be bound");
        assert_eq!(shards.len(), 2);
        let addresses = |shard: &Vec<TcpListener>| -> Vec<SocketAddr> {
            shard.iter().map(|one| one.local_addr().expect("bound")).collect()
        };
        assert_eq!(addresses(&shards[0]), addresses(&shards[1]));
        let ports: Vec<u16> = addresses(&shards[0]).iter().map(SocketAddr::port).collect();
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0), "{ports:?}");
    }

    #[test]
    fn a_port_that_is_in_use_is_an_error() {
        let first = listen("127.0.0.1:0", 2, TIMEOUT).expect("bound");
        let address = first[0][0].local_addr().expect("bound").to_string();
        let second = listen(&address, 2, TIMEOUT).expect_err("two servers on one port");
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_name_that_does_not_resolve_is_an_error() {
        assert!(listen("no port", 1, TIMEOUT).is_err());
    }
}
