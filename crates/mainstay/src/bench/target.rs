//! Which server is to be loaded, and from which addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use mainstay_wire::handshake::{Authority, Dial, DialOptions};

/// A WebSocket server.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Where its socket is.
    pub(super) address: SocketAddr,
    /// What stands in `Host`.
    pub(super) host: String,
    /// Path and query.
    pub(super) path: String,
    /// What else the handshake says.
    pub(super) options: DialOptions,
}

/// How far away a server may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// On this machine.
    Loopback,
    /// Anywhere: whoever says so answers for the load.
    Anywhere,
}

impl Target {
    /// Reads `ws://HOST[:PORT][/PATH][?QUERY]` and looks the host up.
    ///
    /// # Errors
    /// [`TargetError`]: the URL is of no use, or the server is too far away.
    pub(super) fn find(
        url: &str,
        origin: Option<String>,
        reach: Reach,
    ) -> Result<Target, TargetError> {
        let (host, path) = split(url)?;
        let options = DialOptions { origin, ..DialOptions::default() };
        // Says now, before anything is opened, whether a request can be written at all.
        Dial::new(&host, &path, [0; 16], &options)
            .map_err(|error| TargetError::Malformed(error.to_string()))?;
        let authority =
            Authority::parse(&host).map_err(|error| TargetError::Malformed(error.to_string()))?;
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let addresses: Vec<_> = (name, authority.port().unwrap_or(PORT_DEFAULT))
            .to_socket_addrs()
            .map_err(|error| TargetError::Unknown(format!("{name}: {error}")))?
            .collect();
        let address = choose(&addresses).ok_or_else(|| TargetError::Unknown(name.to_owned()))?;
        if reach == Reach::Loopback && !address.ip().is_loopback() {
            return Err(TargetError::Remote(address));
        }
        Ok(Target { address, host, path, options })
    }

    /// The address to connect from as number `index` of `count`; `None` leaves it to the system.
    ///
    /// One address has some 28,000 ports towards a server, and a server may bound what comes from
    /// one address; all of 127.0.0.0/8 belongs to this machine.
    pub(super) fn source(&self, index: usize, count: u32) -> Option<SocketAddr> {
        if count <= 1 || !self.spreads() {
            return None;
        }
        let offset = u32::try_from(index).unwrap_or(0) % count;
        let address = Ipv4Addr::from(u32::from(FIRST_SOURCE) + offset);
        Some(SocketAddr::new(IpAddr::V4(address), 0))
    }

    /// Whether [`Target::source`] has addresses to offer.
    pub(super) fn spreads(&self) -> bool {
        self.address.is_ipv4() && self.address.ip().is_loopback()
    }
}

/// The caller named a server that cannot be loaded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TargetError {
    /// Not a `ws://` URL.
    Scheme(String),
    /// `wss://`.
    Tls,
    /// A part of the URL is wrong.
    Malformed(String),
    /// No address is known for the host.
    Unknown(String),
    /// Another machine, without leave.
    Remote(SocketAddr),
}

impl fmt::Display for TargetError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetError::Scheme(url) => {
                write!(formatter, "{url:?} is not a WebSocket URL: it starts with ws://")
            }
            TargetError::Tls => formatter.write_str("wss:// is not supported: bench speaks no TLS"),
            TargetError::Malformed(problem) => formatter.write_str(problem),
            TargetError::Unknown(host) => write!(formatter, "no address is known for {host}"),
            TargetError::Remote(address) => write!(
                formatter,
                "{} is another machine; --allow-remote puts load on it all the same",
                address.ip()
            ),
        }
    }
}

/// Host and path of a URL.
fn split(url: &str) -> Result<(String, String), TargetError> {
    let (scheme, rest) =
        url.split_once("://").ok_or_else(|| TargetError::Scheme(url.to_owned()))?;
    if scheme.eq_ignore_ascii_case("wss") {
        return Err(TargetError::Tls);
    }
    if !scheme.eq_ignore_ascii_case("ws") {
        return Err(TargetError::Scheme(url.to_owned()));
    }
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok((host.to_owned(), path))
}

/// `localhost` has two addresses and servers that listen on one of them: the first that answers
/// counts, or the first of all, whose refusal is then reported.
fn choose(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let answers =
        |address: &&SocketAddr| TcpStream::connect_timeout(address, PROBE_TIMEOUT).is_ok();
    match addresses {
        [only] => Some(*only),
        // Only loopback is tried out: another machine is not touched before it is allowed.
        several if several.iter().all(|address| address.ip().is_loopback()) => {
            several.iter().find(answers).or(several.first()).copied()
        }
        several => several.first().copied(),
    }
}

/// RFC 6455 §3.
const PORT_DEFAULT: u16 = 80;

/// Out of the way of 127.0.0.1, whose connections may be counted apart.
const FIRST_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);

/// Loopback answers at once or never.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, host, port, path) in [
            ("ws://127.0.0.1", "127.0.0.1", 80, "/"),
            ("WS://127.0.0.1:8080/server", "127.0.0.1:8080", 8080, "/server"),
            ("ws://127.0.0.1:1?a=b", "127.0.0.1:1", 1, "/?a=b"),
            ("ws://[::1]:8080/a?b=/c", "[::1]:8080", 8080, "/a?b=/c"),
        ] {
            let target = Target::find(url, None, Reach::Loopback).unwrap();
            assert_eq!((&*target.host, &*target.path), (host, path), "{url}");
            assert_eq!(target.address.port(), port, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_of_ours_is_refused() {
        let find = |url| Target::find(url, None, Reach::Loopback).unwrap_err();
        assert_eq!(find("wss://127.0.0.1/"), TargetError::Tls);
        assert!(matches!(find("http://127.0.0.1/"), TargetError::Scheme(_)));
        assert!(matches!(find("127.0.0.1:8080"), TargetError::Scheme(_)));
        for url in ["ws:///a", "ws://a@127.0.0.1/", "ws://127.0.0.1:0/", "ws://127.0.0.1/a#b"] {
            assert!(matches!(find(url), TargetError::Malformed(_)), "{url}");
        }
    }

    #[test]
    fn another_machine_needs_leave() {
        // 192.0.2.0/24 is nobody's (RFC 5737); nothing is sent there.
        let find = |reach| Target::find("ws://192.0.2.1:8080/", None, reach);
        let refusal = find(Reach::Loopback).unwrap_err();
        assert!(matches!(refusal, TargetError::Remote(_)));
        assert!(refusal.to_string().contains("--allow-remote"), "{refusal}");
        let target = find(Reach::Anywhere).unwrap();
        assert_eq!(target.source(0, 10), None, "no made-up address towards another machine");
    }

    #[test]
    fn sources_are_spread_over_loopback() {
        let target = Target::find("ws://127.0.0.1:1/", None, Reach::Loopback).unwrap();
        assert_eq!(target.source(5, 1), None);
        let source = |index| target.source(index, 300).unwrap();
        assert_eq!(source(0).to_string(), "127.1.0.1:0");
        assert_eq!(source(299).to_string(), "127.1.1.44:0");
        assert_eq!(source(300), source(0));
        assert!(source(299).ip().is_loopback());
    }
}
