//! Which web pages may open a connection.
//!
//! A browser lets any page open a WebSocket to any host and sends the user's cookies along; the
//! server's look at `Origin` is the only fence (RFC 6455 §10.2). It is compared part by part
//! after parsing, never as a piece of text.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::handshake::authority::Authority;

/// Whom to admit by the `Origin` header.
///
/// A request without the header is always admitted: every browser sends it, so such a client is
/// a program, which could write any `Origin` it likes anyway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum OriginPolicy {
    /// Pages from this very server: the origin is `http` or `https` and its host and port are
    /// those of the `Host` header, with the scheme's default port where one is not written.
    ///
    /// The scheme itself is not compared. Behind a proxy that ends TLS the server cannot know
    /// which scheme the browser used, and both schemes of one host and port are the same
    /// operator's.
    #[default]
    SameOrigin,
    /// Pages admitted by [`OriginPolicy::SameOrigin`], and these.
    AllowList(Vec<Origin>),
    /// Every page on the web, sandboxed and local ones included. Dangerous wherever a browser
    /// sends credentials by itself (cookies, HTTP authentication, client certificates): any page
    /// the user visits can then act in the user's name.
    Any,
}

impl OriginPolicy {
    /// Checks the value of the one `Origin` header of a request to `host`.
    ///
    /// # Errors
    ///
    /// [`OriginError`] says why the page is not admitted.
    pub fn check(&self, origin: &[u8], host: &Authority) -> Result<(), OriginError> {
        let allowed = match self {
            OriginPolicy::Any => return Ok(()),
            OriginPolicy::SameOrigin => &[][..],
            OriginPolicy::AllowList(allowed) => allowed,
        };
        let text = std::str::from_utf8(origin).map_err(|_| OriginError::Malformed)?;
        let origin: Origin = text.parse()?;
        if origin.is_served_by(host) || allowed.contains(&origin) {
            Ok(())
        } else {
            Err(OriginError::NotAllowed)
        }
    }
}

/// Where a page comes from: scheme, host and port, as browsers write it (RFC 6454 §6.2).
///
/// Parsed from text such as `https://example.com` or `http://localhost:8080`: lower case, ASCII
/// (international names in their `xn--` form), no user name, no path. One slash at the end is
/// tolerated: some programs send it, and no browser can be made to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: String,
    host: String,
    /// `None` only for a scheme without a default port.
    port: Option<u16>,
}

impl Origin {
    /// The scheme, such as `https`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The host, as [`Authority::host`] spells it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, be it written or the scheme's default.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether a page of this origin came from `host`, by the rule of
    /// [`OriginPolicy::SameOrigin`].
    fn is_served_by(&self, host: &Authority) -> bool {
        let Some(default) = default_port(&self.scheme) else { return false };
        self.host == host.host() && self.port == Some(host.port().unwrap_or(default))
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Origin, OriginError> {
        if text == "null" {
            return Err(OriginError::Opaque);
        }
        // Browsers write lower case (RFC 6454 §4), so capitals can only be an attempt.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(OriginError::Malformed);
        }
        let (scheme, rest) = text.split_once("://").ok_or(OriginError::Malformed)?;
        if !is_scheme(scheme) {
            return Err(OriginError::Malformed);
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let authority = Authority::parse(authority).map_err(|_| OriginError::Malformed)?;
        Ok(Origin {
            port: authority.port().or(default_port(scheme)),
            scheme: scheme.to_owned(),
            host: authority.host().to_owned(),
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme, self.host)?;
        match self.port {
            Some(port) if default_port(&self.scheme) != Some(port) => write!(formatter, ":{port}"),
            _ => Ok(()),
        }
    }
}

/// Why an origin is not admitted, or not an origin at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OriginError {
    /// Not `scheme://host` or `scheme://host:port` in lower case.
    #[error("the origin is malformed; it should look like https://example.com")]
    Malformed,
    /// `null`, which sandboxed frames, local files and redirects share: it names nobody.
    #[error("the origin is null")]
    Opaque,
    /// An origin that the policy does not admit.
    #[error("pages of this origin may not connect")]
    NotAllowed,
}

fn is_scheme(scheme: &str) -> bool {
    // RFC 3986 §3.1.
    scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        for (text, written) in [
            ("https://example.com", "https://example.com"),
            ("https://example.com:443/", "https://example.com"),
            ("https://example.com:80", "https://example.com:80"),
            ("http://[0:0::1]:8080", "http://[::1]:8080"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), written);
        }
    }

    /// Host, origin, what each policy says: S = same origin, L = with the list below.
    const MATRIX: &[(&str, &str, &str)] = &[
        // The page's own server.
        ("example.com", "http://example.com", "SL"),
        ("example.com", "https://example.com", "SL"),
        ("example.com:80", "http://example.com", "SL"),
        ("example.com:443", "https://example.com", "SL"),
        ("example.com", "http://example.com:80", "SL"),
        ("example.com", "https://example.com:443", "SL"),
        ("localhost:8080", "http://localhost:8080", "SL"),
        ("localhost:8080", "https://localhost:8080", "SL"),
        ("LocalHost:8080", "http://localhost:8080", "SL"),
        ("localhost:8080", "http://localhost:8080/", "SL"),
        ("[::1]:8080", "http://[::1]:8080", "SL"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080", "SL"),
        ("xn--bcher-kva.example", "https://xn--bcher-kva.example", "SL"),
        ("example.com.", "https://example.com.", "SL"),
        // The list: https://app.example, http://dev.example:3000, tauri://localhost.
        ("example.com", "https://app.example", "L"),
        ("example.com", "https://app.example:443", "L"),
        ("example.com", "http://dev.example:3000", "L"),
        ("example.com", "tauri://localhost", "L"),
        // Not quite the list.
        ("example.com", "http://app.example", ""),
        ("example.com", "https://app.example:8443", ""),
        ("example.com", "https://app.example.", ""),
        ("example.com", "https://app.example.evil.example", ""),
        ("example.com", "https://evilapp.example", ""),
        ("example.com", "https://sub.app.example", ""),
        ("example.com", "https://app.exampl", ""),
        ("example.com", "https://APP.example", ""),
        ("example.com", "HTTPS://app.example", ""),
        ("example.com", "http://dev.example", ""),
        ("example.com", "https://dev.example:3000", ""),
        ("localhost", "tauri://localhost:1", ""),
        // Ports and schemes.
        ("localhost:8080", "http://localhost", ""),
        ("localhost:8080", "http://localhost:8081", ""),
        ("localhost:8080", "http://localhost:80800", ""),
        ("localhost:8080", "http://localhost:08080", ""),
        ("localhost:8080", "http://localhost:", ""),
        ("example.com:443", "http://example.com", ""),
        ("example.com:80", "https://example.com", ""),
        ("example.com", "http://example.com:443", ""),
        ("example.com", "https://example.com:80", ""),
        ("example.com", "ftp://example.com", ""),
        ("example.com", "ws://example.com", ""),
        ("example.com", "file://example.com", ""),
        ("example.com", "javascript://example.com", ""),
        ("example.com", "example.com", ""),
        ("example.com", "//example.com", ""),
        ("example.com", "://example.com", ""),
        ("example.com", "http:example.com", ""),
        ("example.com", "http:/example.com", ""),
        // Names that look alike.
        ("example.com", "https://example.com.evil.example", ""),
        ("example.com", "https://evil-example.com", ""),
        ("example.com", "https://evilexample.com", ""),
        ("example.com", "https://example.co", ""),
        ("example.com", "https://example.comm", ""),
        ("example.com", "https://www.example.com", ""),
        ("www.example.com", "https://example.com", ""),
        ("example.com", "https://example.com.", ""),
        ("example.com.", "https://example.com", ""),
        ("example.com", "https://EXAMPLE.com", ""),
        ("example.com", "https://examp1e.com", ""),
        ("xn--bcher-kva.example", "https://bücher.example", ""),
        ("example.com", "https://еxample.com", ""),
        ("example.com", "https://example。com", ""),
        ("127.0.0.1", "http://127.1", ""),
        ("127.0.0.1", "http://2130706433", ""),
        ("127.0.0.1", "http://localhost", ""),
        ("[::1]", "http://[::ffff:127.0.0.1]", ""),
        // Parts that no origin has.
        ("example.com", "https://example.com@evil.example", ""),
        ("example.com", "https://evil.example@example.com", ""),
        ("example.com", "https://user:word@example.com", ""),
        ("example.com", "https://evil.example/example.com", ""),
        ("example.com", "https://evil.example?example.com", ""),
        ("example.com", "https://evil.example#example.com", ""),
        ("example.com", "https://evil.example\\example.com", ""),
        ("example.com", "https://example.com/path", ""),
        ("example.com", "https://example.com//", ""),
        ("example.com", "https://example.com\\", ""),
        ("example.com", "https://example.com https://evil.example", ""),
        ("example.com", "https://example.com,https://evil.example", ""),
        ("example.com", " https://example.com", ""),
        ("example.com", "https://example.com\t", ""),
        ("example.com", "https://example.com\0", ""),
        ("example.com", "https://example%2ecom", ""),
        ("example.com", "https://*", ""),
        ("example.com", "*", ""),
        ("example.com", "https://", ""),
        ("example.com", "", ""),
        ("null", "null", ""),
        ("example.com", "null", ""),
        ("example.com", "NULL", ""),
    ];

    #[test]
    fn the_matrix() {
        let list = ["https://app.example", "http://dev.example:3000", "tauri://localhost"];
        let list = OriginPolicy::AllowList(list.map(|text| text.parse().unwrap()).to_vec());
        for (host, origin, admitted_by) in MATRIX {
            let host = Authority::parse(host).unwrap();
            for (letter, policy) in [("S", &OriginPolicy::SameOrigin), ("L", &list)] {
                assert_eq!(
                    policy.check(origin.as_bytes(), &host).is_ok(),
                    admitted_by.contains(letter),
                    "{policy:?} {host:?} {origin:?}"
                );
            }
            assert_eq!(OriginPolicy::Any.check(origin.as_bytes(), &host), Ok(()));
        }
    }

    #[test]
    fn each_refusal_says_why() {
        let host = Authority::parse("example.com").unwrap();
        for (origin, expected) in [
            (&b"null"[..], OriginError::Opaque),
            (b"https://evil.example", OriginError::NotAllowed),
            (b"https://evil.example/x", OriginError::Malformed),
            (b"https://\xFF", OriginError::Malformed),
        ] {
            assert_eq!(OriginPolicy::SameOrigin.check(origin, &host), Err(expected));
        }
    }
}
