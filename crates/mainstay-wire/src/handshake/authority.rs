//! A host and a port, as they stand in `Host`, in `Origin` and in a URL.

use std::net::Ipv6Addr;

use thiserror::Error;

/// `host` or `host:port`, parsed and in lower case.
///
/// Two authorities are equal only if host and port are written alike (letter case and the
/// spelling of an IPv6 address apart): `example.com.` is not `example.com`, and `example.com` is
/// not `example.com:80`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// Reads `example.com`, `example.com:8080`, `127.0.0.1:8080` or `[::1]:8080`.
    ///
    /// Narrower than RFC 3986 §3.2: names are letters, digits, `-`, `_` and single dots, so
    /// neither user names nor percent signs nor anything outside ASCII can hide in one.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] for any other text, an empty or zero port among them.
    pub fn parse(text: &str) -> Result<Authority, AuthorityError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(AuthorityError::Host)?;
                let address: Ipv6Addr = address.parse().map_err(|_| AuthorityError::Host)?;
                let port = match port {
                    "" => None,
                    _ => Some(port.strip_prefix(':').ok_or(AuthorityError::Port)?),
                };
                (format!("[{address}]"), port)
            }
            None => {
                let (host, port) = match text.split_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (text, None),
                };
                (parse_name(host)?, port)
            }
        };
        Ok(Authority { host, port: port.map(parse_port).transpose()? })
    }

    /// The host in lower case; an IPv6 address in its canonical spelling, in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port if one was written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

/// Why a text is not an [`Authority`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The host is empty, too long, or holds a character that no host name has.
    #[error("the host is malformed")]
    Host,
    /// The port is not a plain number from 1 to 65535.
    #[error("the port is malformed")]
    Port,
}

fn parse_name(host: &str) -> Result<String, AuthorityError> {
    // One trailing dot is a legal (if odd) spelling; it stays, and so stays a different name.
    let labels = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && label.bytes().all(is_name_byte)
    };
    if host.len() > NAME_BYTES_MAX || !labels.split('.').all(is_label) {
        return Err(AuthorityError::Host);
    }
    Ok(host.to_ascii_lowercase())
}

fn parse_port(port: &str) -> Result<u16, AuthorityError> {
    // `+80` and `080` would pass for numbers, but no browser writes them.
    let is_plain = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    if is_plain {
        port.parse().map_err(|_| AuthorityError::Port)
    } else {
        Err(AuthorityError::Port)
    }
}

/// The longest name that DNS can carry (RFC 1035 §2.3.4), with its trailing dot.
const NAME_BYTES_MAX: usize = 254;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_taken_apart() {
        let cases = [
            ("localhost", "localhost", None),
            ("LocalHost:8080", "localhost", Some(8080)),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
            ("my_host.example:65535", "my_host.example", Some(65535)),
            ("example.com.", "example.com.", None),
            ("[::1]", "[::1]", None),
            ("[0:0:0:0:0:0:0:1]:80", "[::1]", Some(80)),
        ];
        for (text, host, port) in cases {
            let authority = Authority::parse(text).unwrap();
            assert_eq!((authority.host(), authority.port()), (host, port), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let long = "a".repeat(255);
        let texts = [
            "",
            ".",
            "a..b",
            ".a",
            ":80",
            "a:",
            "a:0",
            "a:080",
            "a:+80",
            "a:65536",
            "a:80:80",
            "a b",
            "a/b",
            "user@a",
            "a%41",
            "a,b",
            "bücher.example",
            "[::1",
            "[::1]80",
            "[::1]:",
            "[a]",
            "[::1%25eth0]",
            "::1",
            "a\0",
            "a\t",
            "a#",
            "a?b",
            "a\\b",
            "a*",
            &long,
        ];
        for text in texts {
            assert!(Authority::parse(text).is_err(), "{text:?}");
        }
    }
}
