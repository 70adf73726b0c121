//! The client's half: the request, and the check of what comes back.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::handshake::accept_key;
use crate::handshake::authority::Authority;
use crate::handshake::extension::{self, DeflateParams, DeflateSupport, ExtensionError};
use crate::handshake::field::{self, Single};
use crate::handshake::head::{self, HttpVersion, ResponseHead};

/// One attempt to open a WebSocket: holds the request to send and knows the answer to expect.
///
/// ```
/// # use mainstay_wire::handshake::{Dial, DialOptions, HeadLimits, ResponseHead};
/// let key = *b"the sample nonce"; // 16 random bytes, new for each attempt
/// let dial = Dial::new("localhost:8080", "/server", key, &DialOptions::default()).unwrap();
/// assert!(dial.request().starts_with(b"GET /server HTTP/1.1\r\nHost: localhost:8080\r\n"));
///
/// let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
///     Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// let head = ResponseHead::parse(answer, &HeadLimits::default()).unwrap();
/// assert_eq!(dial.finish(&head).unwrap().subprotocol, None);
/// ```
#[derive(Clone)]
pub struct Dial {
    request: Vec<u8>,
    accept_key: String,
    subprotocols: Vec<String>,
    deflate: DeflateSupport,
}

impl Dial {
    /// Writes the request for `target` (path and query, `/` at least) at `host` (`host` or
    /// `host:port`, the port left out if it is the scheme's default; RFC 6455 §4.1).
    ///
    /// `key` must be 16 bytes drawn at random for this attempt, so that no cache on the way can
    /// have the answer ready.
    ///
    /// # Errors
    ///
    /// [`DialOptionsError`] if something given could not stand in a request as it is, or would
    /// change what the request means. Nothing is escaped or dropped silently.
    pub fn new(
        host: &str,
        target: &str,
        key: [u8; 16],
        options: &DialOptions,
    ) -> Result<Dial, DialOptionsError> {
        Authority::parse(host).map_err(|_| DialOptionsError::Host)?;
        if !target.starts_with('/') || !head::is_target_text(target) {
            return Err(DialOptionsError::Target);
        }
        check_subprotocols(&options.subprotocols)?;
        let key = STANDARD.encode(key);

        let mut request = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        );
        let mut add = |name: &str, value: &str| request.extend([name, ": ", value, "\r\n"]);
        if let Some(origin) = &options.origin {
            if origin.is_empty() || !origin.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(DialOptionsError::Origin);
            }
            add("Origin", origin);
        }
        if !options.subprotocols.is_empty() {
            add("Sec-WebSocket-Protocol", &options.subprotocols.join(", "));
        }
        if options.deflate == DeflateSupport::On {
            add("Sec-WebSocket-Extensions", extension::OFFER);
        }
        for (name, value) in &options.headers {
            check_header(name, value)?;
            add(name, value);
        }
        request.push_str("\r\n");
        Ok(Dial {
            request: request.into_bytes(),
            accept_key: accept_key(&key),
            subprotocols: options.subprotocols.clone(),
            deflate: options.deflate,
        })
    }

    /// The whole request as it goes onto the wire.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Checks the answer (RFC 6455 §4.1). If it is good, frames follow behind its head.
    ///
    /// # Errors
    ///
    /// [`DialError`]; the connection is then of no use and to be closed.
    pub fn finish(&self, head: &ResponseHead<'_>) -> Result<Dialed, DialError> {
        let found = Found::read(head);
        if head.status() != 101 {
            let retry_after = found.retry_after.once().and_then(RetryAfter::parse);
            return Err(DialError::Refused { status: head.status(), retry_after });
        }
        if head.version() != HttpVersion::Http11 {
            return Err(DialError::HttpVersion);
        }
        match found.upgrade {
            Single::Once(value) if value.eq_ignore_ascii_case(b"websocket") => {}
            _ => return Err(DialError::Upgrade),
        }
        if !found.connection_says_upgrade {
            return Err(DialError::Connection);
        }
        match found.accept {
            Single::Once(value) if value == self.accept_key.as_bytes() => {}
            _ => return Err(DialError::AcceptKey),
        }
        // RFC 9110 §6.4.1: a 1xx answer has no body. One announced here would be read as frames.
        if found.has_body {
            return Err(DialError::Body);
        }
        let subprotocol = self.check_subprotocol(found.subprotocol)?;
        let deflate = self.check_extensions(&found.extensions)?;
        Ok(Dialed { subprotocol, deflate })
    }

    fn check_subprotocol(&self, answer: Single<'_>) -> Result<Option<String>, DialError> {
        match answer {
            Single::Absent => Ok(None),
            Single::Once(value) => self
                .subprotocols
                .iter()
                .find(|offered| offered.as_bytes() == value)
                .map(|offered| Some(offered.clone()))
                .ok_or(DialError::Subprotocol),
            // RFC 6455 §11.3.4.
            Single::Repeated => Err(DialError::Subprotocol),
        }
    }

    fn check_extensions(&self, values: &[&[u8]]) -> Result<Option<DeflateParams>, DialError> {
        let mut agreed = Vec::new();
        for value in values {
            agreed.extend(extension::parse(value)?);
        }
        match self.deflate {
            _ if agreed.is_empty() => Ok(None),
            DeflateSupport::Off => Err(ExtensionError::NotOffered.into()),
            DeflateSupport::On => Ok(Some(extension::verify(&agreed)?)),
        }
    }
}

impl fmt::Debug for Dial {
    /// Leaves the request out: its headers may hold credentials.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Dial")
            .field("request_bytes", &self.request.len())
            .field("subprotocols", &self.subprotocols)
            .field("deflate", &self.deflate)
            .finish_non_exhaustive()
    }
}

/// What a client asks for besides the connection itself. All of it is optional.
#[derive(Clone, Default)]
pub struct DialOptions {
    /// The subprotocols spoken, the preferred one first. Default: none.
    pub subprotocols: Vec<String>,
    /// Whether to offer permessage-deflate. Default: off.
    pub deflate: DeflateSupport,
    /// The `Origin` to state. Programs need none; default: none.
    pub origin: Option<String>,
    /// Further header lines, such as `Authorization`: names and values. The headers that make up
    /// the handshake itself cannot be given here. Default: none.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for DialOptions {
    /// Leaves the values of headers out: they may be credentials.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        formatter
            .debug_struct("DialOptions")
            .field("subprotocols", &self.subprotocols)
            .field("deflate", &self.deflate)
            .field("origin", &self.origin)
            .field("headers", &names)
            .finish()
    }
}

/// A handshake that succeeded: what was agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dialed {
    /// The subprotocol that the server chose from those offered.
    pub subprotocol: Option<String>,
    /// How messages may be compressed, if at all.
    pub deflate: Option<DeflateParams>,
}

/// When a server that refuses wants to be asked again (RFC 9110 §10.2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryAfter {
    /// After this time.
    Delay(Duration),
    /// Not before this date, as the server wrote it (visible ASCII and blanks, 29 characters at
    /// most). Reading it takes a calendar and a clock.
    Date(String),
}

impl RetryAfter {
    fn parse(value: &[u8]) -> Option<RetryAfter> {
        if let Some(seconds) = field::decimal(value) {
            return Some(RetryAfter::Delay(Duration::from_secs(seconds)));
        }
        let is_date = (1..=DATE_BYTES_MAX).contains(&value.len())
            && value.first().is_some_and(u8::is_ascii_alphabetic)
            && value.iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic());
        let text = std::str::from_utf8(value).ok()?;
        is_date.then(|| RetryAfter::Date(text.to_owned()))
    }
}

/// What the caller gave that cannot stand in a request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DialOptionsError {
    /// The host is not `host` or `host:port`.
    #[error("the host to connect to is malformed")]
    Host,
    /// The target does not start with `/`, or is not visible ASCII, or has a fragment.
    #[error("the path to connect to is malformed")]
    Target,
    /// The origin is empty or not visible ASCII.
    #[error("the origin to state is malformed")]
    Origin,
    /// A subprotocol is not a token, or is given twice.
    #[error("the subprotocol {0:?} is malformed or given twice")]
    Subprotocol(String),
    /// A header name is not a token.
    #[error("the header name {0:?} is malformed")]
    HeaderName(String),
    /// A header that the handshake itself writes or must not have.
    #[error("the header {0} belongs to the handshake and cannot be given")]
    HeaderReserved(String),
    /// A header value with a line break or another control character, or with blanks at an end.
    /// Only the header's name is told: the value may be a credential.
    #[error("the value of the header {0} is malformed")]
    HeaderValue(String),
}

/// Why a connection attempt failed after an answer came. The server is at fault, or what stands
/// before it, or it refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DialError {
    /// An orderly answer, but not 101: no WebSocket here, or not now, or not for us.
    #[error("the server answered with status {status}")]
    Refused {
        /// The status, 100 to 599 and not 101.
        status: u16,
        /// When to try again, if the server said so.
        retry_after: Option<RetryAfter>,
    },
    /// The answer is not in HTTP/1.1.
    #[error("the server switched protocols in another version of HTTP")]
    HttpVersion,
    /// `Upgrade` is not `websocket`, exactly once.
    #[error("the answer's Upgrade header is not websocket")]
    Upgrade,
    /// `Connection` does not list `upgrade`.
    #[error("the answer's Connection header does not say Upgrade")]
    Connection,
    /// `Sec-WebSocket-Accept` is missing, repeated or not the answer to our key: whatever
    /// answered, it did not read our request.
    #[error("the answer's Sec-WebSocket-Accept header does not match the request")]
    AcceptKey,
    /// The answer announces a body.
    #[error("the answer announces a body")]
    Body,
    /// A subprotocol that was not offered, or more than one.
    #[error("the server chose a subprotocol that was not offered")]
    Subprotocol,
    /// Extensions that were not offered, or not so.
    #[error(transparent)]
    Extension(#[from] ExtensionError),
}

/// The headers of an answer that matter, gathered in one walk.
#[derive(Default)]
struct Found<'a> {
    upgrade: Single<'a>,
    connection_says_upgrade: bool,
    accept: Single<'a>,
    subprotocol: Single<'a>,
    extensions: Vec<&'a [u8]>,
    retry_after: Single<'a>,
    has_body: bool,
}

impl<'a> Found<'a> {
    fn read(head: &'a ResponseHead<'_>) -> Found<'a> {
        let mut found = Found::default();
        for (name, value) in head.headers() {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is("upgrade") {
                found.upgrade.add(value);
            } else if is("connection") {
                found.connection_says_upgrade |= field::list_elements(value)
                    .any(|element| element.eq_ignore_ascii_case(b"upgrade"));
            } else if is("sec-websocket-accept") {
                found.accept.add(value);
            } else if is("sec-websocket-protocol") {
                found.subprotocol.add(value);
            } else if is("sec-websocket-extensions") {
                found.extensions.push(value);
            } else if is("retry-after") {
                found.retry_after.add(value);
            } else if is("content-length") {
                // Some servers write a needless zero.
                found.has_body |= field::decimal(value) != Some(0);
            } else if is("transfer-encoding") {
                found.has_body = true;
            }
        }
        found
    }
}

fn check_subprotocols(names: &[String]) -> Result<(), DialOptionsError> {
    // RFC 6455 §4.1, item 10: tokens, all distinct.
    for (index, name) in names.iter().enumerate() {
        if field::token(name.as_bytes()).is_none() || names[..index].contains(name) {
            return Err(DialOptionsError::Subprotocol(name.clone()));
        }
    }
    Ok(())
}

fn check_header(name: &str, value: &str) -> Result<(), DialOptionsError> {
    if field::token(name.as_bytes()).is_none() {
        return Err(DialOptionsError::HeaderName(name.to_owned()));
    }
    let is_reserved = RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
        || name.to_ascii_lowercase().starts_with("sec-websocket-");
    if is_reserved {
        return Err(DialOptionsError::HeaderReserved(name.to_owned()));
    }
    // A line break here would let whoever supplies the value write headers of their own.
    let is_clean = value.bytes().all(field::is_value_byte)
        && field::trim_blanks(value.as_bytes()).len() == value.len();
    if is_clean { Ok(()) } else { Err(DialOptionsError::HeaderValue(name.to_owned())) }
}

/// Headers that a caller must not double (the handshake writes them) or that change how the
/// request is framed.
const RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "origin",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// A date in the one format that may be written (RFC 9110 §5.6.7).
const DATE_BYTES_MAX: usize = 29;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::{AcceptOptions, HeadLimits, RequestHead, UpgradeRequest, accept};

    const KEY: [u8; 16] = *b"the sample nonce";
    const GOOD: &str = "Upgrade: WebSocket\r\nConnection: x, upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

    fn dial(options: &DialOptions) -> Dial {
        Dial::new("localhost:8080", "/server", KEY, options).unwrap()
    }

    fn eager() -> DialOptions {
        DialOptions {
            subprotocols: vec!["one".to_owned(), "two".to_owned()],
            deflate: DeflateSupport::On,
            origin: Some("http://localhost:8080".to_owned()),
            headers: vec![("Authorization".to_owned(), "Bearer secret".to_owned())],
        }
    }

    fn finish(options: &DialOptions, head: &str) -> Result<Dialed, DialError> {
        let head = ResponseHead::parse(head.as_bytes(), &HeadLimits::default()).unwrap();
        dial(options).finish(&head)
    }

    #[test]
    fn the_request_is_complete() {
        let request = "GET /server HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\nOrigin: http://localhost:8080\r\n\
             Sec-WebSocket-Protocol: one, two\r\nSec-WebSocket-Extensions: permessage-deflate; \
             server_no_context_takeover; client_no_context_takeover; client_max_window_bits\r\n\
             Authorization: Bearer secret\r\n\r\n";
        let dial = dial(&eager());
        assert_eq!(std::str::from_utf8(dial.request()).unwrap(), request);
    }

    #[test]
    fn our_halves_agree_with_each_other() {
        let dial = dial(&eager());
        let head = RequestHead::parse(dial.request(), &HeadLimits::default()).unwrap();
        let options = AcceptOptions {
            subprotocols: vec!["two".to_owned()],
            deflate: DeflateSupport::On,
            ..Default::default()
        };
        let accepted = accept(UpgradeRequest::from(&head), &options).unwrap();
        let response = accepted.response();
        let head = ResponseHead::parse(&response, &HeadLimits::default()).unwrap();
        let dialed = dial.finish(&head).unwrap();
        assert_eq!(dialed.subprotocol.as_deref(), Some("two"));
        assert_eq!(dialed.deflate, accepted.deflate);
        assert!(dialed.deflate.is_some());
    }

    #[test]
    fn answers_are_checked() {
        use DialError as E;
        let plain = DialOptions::default();
        let extension = |value: &str| format!("{GOOD}Sec-WebSocket-Extensions: {value}\r\n");
        let deflate = extension("permessage-deflate; server_no_context_takeover");
        let cases = [
            (&plain, GOOD.to_owned(), Ok(())),
            (&plain, format!("{GOOD}Content-Length: 0\r\n"), Ok(())),
            (&plain, format!("{GOOD}Content-Length: 1\r\n"), Err(E::Body)),
            (&plain, format!("{GOOD}Transfer-Encoding: chunked\r\n"), Err(E::Body)),
            (&plain, GOOD.replace("WebSocket\r", "h2c\r"), Err(E::Upgrade)),
            (&plain, GOOD.replace("WebSocket\r", "websocket, h2c\r"), Err(E::Upgrade)),
            (&plain, GOOD.replace("Upgrade: ", "X: "), Err(E::Upgrade)),
            (&plain, format!("{GOOD}Upgrade: websocket\r\n"), Err(E::Upgrade)),
            (&plain, GOOD.replace("x, upgrade", "x, upgraded"), Err(E::Connection)),
            (&plain, GOOD.replace("Connection: ", "X: "), Err(E::Connection)),
            (&plain, GOOD.replace("s3pP", "S3pP"), Err(E::AcceptKey)),
            (&plain, GOOD.replace("Sec-WebSocket-Accept: ", "X: "), Err(E::AcceptKey)),
            (
                &plain,
                format!("{GOOD}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
                Err(E::AcceptKey),
            ),
            (&plain, format!("{GOOD}Sec-WebSocket-Protocol: one\r\n"), Err(E::Subprotocol)),
            (&plain, deflate.clone(), Err(E::Extension(ExtensionError::NotOffered))),
            (&plain, extension("x;"), Err(E::Extension(ExtensionError::Malformed))),
        ];
        for (options, lines, expected) in cases {
            let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n");
            assert_eq!(finish(options, &answer).map(|_| ()), expected, "{answer}");
        }
        let old = format!("HTTP/1.0 101 Switching Protocols\r\n{GOOD}\r\n");
        assert_eq!(finish(&plain, &old), Err(E::HttpVersion));
        let answer = format!("HTTP/1.1 101 x\r\n{deflate}\r\n");
        assert!(finish(&eager(), &answer).unwrap().deflate.is_some());
        let answer = format!("HTTP/1.1 101 x\r\n{}\r\n", extension("permessage-deflate"));
        assert_eq!(finish(&eager(), &answer), Err(E::Extension(ExtensionError::Parameters)));
    }

    #[test]
    fn only_an_offered_subprotocol_may_be_chosen() {
        let with = |lines: &str| format!("HTTP/1.1 101 x\r\n{GOOD}{lines}\r\n");
        let chosen = |lines| finish(&eager(), &with(lines)).map(|dialed| dialed.subprotocol);
        assert_eq!(chosen(""), Ok(None));
        assert_eq!(chosen("Sec-WebSocket-Protocol: two\r\n"), Ok(Some("two".to_owned())));
        for lines in [
            "Sec-WebSocket-Protocol: TWO\r\n",
            "Sec-WebSocket-Protocol: one, two\r\n",
            "Sec-WebSocket-Protocol:\r\n",
            "Sec-WebSocket-Protocol: two\r\nSec-WebSocket-Protocol: two\r\n",
        ] {
            assert_eq!(chosen(lines), Err(DialError::Subprotocol), "{lines}");
        }
    }

    #[test]
    fn a_refusal_carries_status_and_patience() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let cases = [
            ("", None),
            ("Retry-After: 120\r\n", Some(RetryAfter::Delay(Duration::from_secs(120)))),
            (&format!("Retry-After: {date}\r\n"), Some(RetryAfter::Date(date.to_owned()))),
            ("Retry-After: -1\r\n", None),
            ("Retry-After: 1\r\nRetry-After: 1\r\n", None),
            ("Retry-After: \u{e9}\r\n", None),
        ];
        for (lines, retry_after) in cases {
            // An old proxy may well answer in HTTP/1.0.
            for version in ["1.0", "1.1"] {
                let answer = format!("HTTP/{version} 503 Busy\r\n{lines}\r\n");
                let expected = DialError::Refused { status: 503, retry_after: retry_after.clone() };
                assert_eq!(finish(&DialOptions::default(), &answer), Err(expected), "{answer}");
            }
        }
        let answer = format!("HTTP/1.1 200 OK\r\n{GOOD}\r\n");
        let expected = DialError::Refused { status: 200, retry_after: None };
        assert_eq!(finish(&DialOptions::default(), &answer), Err(expected));
    }

    #[test]
    fn nothing_given_can_inject_a_line() {
        use DialOptionsError as E;
        for host in ["", "a b", "a\r\nX: y", "user@a", "a/b", "ä", "a:99999"] {
            assert_eq!(Dial::new(host, "/", KEY, &eager()).err(), Some(E::Host), "{host:?}");
        }
        for target in ["", "server", "http://a/", "/a b", "/a\r\nX: y", "/a#b", "/ä", "/\0", "*"] {
            assert_eq!(Dial::new("a", target, KEY, &eager()).err(), Some(E::Target), "{target:?}");
        }
        let new = |options: DialOptions| Dial::new("a", "/", KEY, &options).err();
        for origin in ["", "http://a\r\nX: y", "http://a b", "http://ä"] {
            let origin = Some(origin.to_owned());
            assert_eq!(new(DialOptions { origin, ..eager() }), Some(E::Origin));
        }
        for names in [&["a b"][..], &["a,b"], &[""], &["a", "b", "a"], &["a\r\nX: y"]] {
            let subprotocols = names.iter().map(|name| name.to_string()).collect();
            let error = new(DialOptions { subprotocols, ..eager() });
            assert!(matches!(error, Some(E::Subprotocol(_))), "{names:?}");
        }
        let header = |name: &str, value: &str| {
            let headers = vec![(name.to_owned(), value.to_owned())];
            new(DialOptions { headers, ..eager() })
        };
        assert_eq!(header("X", "a b\tc ä"), None);
        for name in ["", "X ", "X:", "X\r\nY", "ä"] {
            assert_eq!(header(name, "a"), Some(E::HeaderName(name.to_owned())));
        }
        for name in ["HOST", "Sec-WebSocket-Foo", "origin", "Content-Length", "Connection"] {
            assert_eq!(header(name, "a"), Some(E::HeaderReserved(name.to_owned())));
        }
        for value in ["a\r\nY: b", "a\n", "a\r", "\0", "\x7F", " a", "a\t", "\x1B[0m"] {
            assert_eq!(header("X", value), Some(E::HeaderValue("X".to_owned())), "{value:?}");
        }
    }

    #[test]
    fn credentials_stay_out_of_debug_output() {
        let text = format!("{:?} {:?}", eager(), dial(&eager()));
        assert!(text.contains("Authorization") && !text.contains("secret"), "{text}");
    }
}
