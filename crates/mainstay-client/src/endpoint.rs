//! Where to connect: a `ws://` or `wss://` URL, taken apart and checked.

use thiserror::Error;
use url::{Host, Url};

/// A checked URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host as the resolver takes it: IPv6 addresses without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Whether it is `wss`.
    pub(crate) is_tls: bool,
    /// Host as the `Host` header has it: the port left out if it is the scheme's default.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) target: String,
}

/// What is wrong with a URL. The caller is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Not a URL at all.
    #[error("{url:?} is not a URL: {problem}")]
    Malformed {
        /// What was given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Another scheme than `ws` and `wss`.
    #[error("the scheme {0:?} is not supported: a WebSocket URL starts with ws:// or wss://")]
    Scheme(String),
    /// A URL without a host.
    #[error("the URL names no host")]
    NoHost,
    /// RFC 6455 §3: a WebSocket URL has no fragment.
    #[error("a WebSocket URL has no fragment; write # as %23")]
    Fragment,
    /// A user name or a password, which would end up in logs.
    #[error("the URL holds a user name or a password: give an Authorization header instead")]
    Credentials,
}

impl Endpoint {
    /// The server's address without a query, which may differ from time to time.
    pub(crate) fn server(&self) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        let scheme = if self.is_tls { "wss" } else { "ws" };
        format!("{scheme}://{}{path}", self.authority)
    }

    pub(crate) fn parse(text: &str) -> Result<Endpoint, UrlError> {
        let url = Url::parse(text).map_err(|error| UrlError::Malformed {
            url: text.to_owned(),
            problem: error.to_string(),
        })?;
        let (is_tls, port_default) = match url.scheme() {
            "ws" => (false, PORT_DEFAULT),
            "wss" => (true, TLS_PORT_DEFAULT),
            other => return Err(UrlError::Scheme(other.to_owned())),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::Credentials);
        }
        if url.fragment().is_some() {
            return Err(UrlError::Fragment);
        }
        let host = url.host().ok_or(UrlError::NoHost)?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let host = match host {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let port = url.port().unwrap_or(port_default);
        Ok(Endpoint { host, port, is_tls, authority, target })
    }
}

// RFC 6455 §3.
const PORT_DEFAULT: u16 = 80;
const TLS_PORT_DEFAULT: u16 = 443;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let cases = [
            ("ws://localhost", "localhost", 80, "localhost", "/"),
            ("ws://localhost:80/a", "localhost", 80, "localhost", "/a"),
            ("WS://LocalHost:8080/Server?a=B", "localhost", 8080, "localhost:8080", "/Server?a=B"),
            ("ws://[::1]:9/", "::1", 9, "[::1]:9", "/"),
            ("ws://127.0.0.1:9?x", "127.0.0.1", 9, "127.0.0.1:9", "/?x"),
            (
                "ws://bücher.example/ä b",
                "xn--bcher-kva.example",
                80,
                "xn--bcher-kva.example",
                "/%C3%A4%20b",
            ),
            ("wss://localhost:443/a", "localhost", 443, "localhost", "/a"),
            ("WSS://[::1]:80", "::1", 80, "[::1]:80", "/"),
        ];
        for (url, host, port, authority, target) in cases {
            let expected = Endpoint {
                host: host.to_owned(),
                port,
                is_tls: url.to_lowercase().starts_with("wss"),
                authority: authority.to_owned(),
                target: target.to_owned(),
            };
            assert_eq!(Endpoint::parse(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_connected_to_is_refused_in_words() {
        let cases = [
            ("http://localhost", "the scheme \"http\" is not supported"),
            ("localhost:8080", "the scheme \"localhost\" is not supported"),
            ("/server", "is not a URL"),
            ("ws://", "is not a URL"),
            ("ws://localhost/#top", "no fragment"),
            ("ws://user:secret@localhost/", "Authorization header"),
            ("ws://localhost:99999", "is not a URL"),
        ];
        for (url, message) in cases {
            let error = Endpoint::parse(url).unwrap_err().to_string();
            assert!(error.contains(message), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
