//! A complete HTTP/1.1 head, taken apart and checked: requests for the server, responses for the
//! client.

use crate::handshake::authority::Authority;
use crate::handshake::field::{self, Single};
use crate::handshake::scan::{HeadError, HeadLimits, HeadScan};

/// The head of a request: nothing in it that two readers could understand differently.
///
/// Borrows from the bytes it was parsed from. It may be any request, not just an upgrade, so
/// that a server can decide by it who answers.
#[derive(Debug, Clone)]
pub struct RequestHead<'a> {
    method: &'a str,
    target: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    version: HttpVersion,
    fields: Vec<httparse::Header<'a>>,
    host: Option<Authority>,
    framing: Framing,
}

impl<'a> RequestHead<'a> {
    /// Parses `head`: exactly the bytes whose length [`HeadScan::scan`] gave.
    ///
    /// # Errors
    ///
    /// [`HeadError`] says what is wrong and which status answers it.
    pub fn parse(head: &'a [u8], limits: &HeadLimits) -> Result<RequestHead<'a>, HeadError> {
        let mut fields = empty_fields(head, limits)?;
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(head) {
            Ok(status) if status.is_complete() => {}
            Ok(_) => return Err(HeadError::NotOneHead),
            Err(error) => return Err(head_error(error, head, Side::Request)),
        }
        let version = HttpVersion::from_minor(request.version);
        let method = request.method.ok_or(HeadError::StartLine)?;
        let target = request.path.ok_or(HeadError::StartLine)?;

        let host = check_host(&fields, version)?;
        let framing = check_framing(&fields, version)?;
        let (path, query) = split_target(method, target, host.as_ref())?;
        Ok(RequestHead { method, target, path, query, version, fields, host, framing })
    }

    /// The method, as written (methods are case-sensitive).
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The request target as written: visible ASCII without `#`.
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The path of the target, percent signs not decoded: starts with `/`, or is `*` for
    /// `OPTIONS *`.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// What stands behind the target's first `?`, percent signs not decoded.
    pub fn query(&self) -> Option<&'a str> {
        self.query
    }

    /// HTTP/1.0 or HTTP/1.1.
    pub fn version(&self) -> HttpVersion {
        self.version
    }

    /// The host asked for. Only an HTTP/1.0 request can lack one.
    pub fn host(&self) -> Option<&Authority> {
        self.host.as_ref()
    }

    /// All header lines in their order, names as written, values without blanks at the ends.
    pub fn headers(&self) -> Headers<'_> {
        Headers { fields: self.fields.iter() }
    }

    /// The value of the first header with this name, letter case apart.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        first_value(&self.fields, name)
    }

    /// Whether bytes of a body follow the head.
    pub fn has_body(&self) -> bool {
        match self.framing {
            Framing::None => false,
            Framing::Length(body_bytes) => body_bytes > 0,
            Framing::Chunked => true,
        }
    }
}

/// The head of a response, read as strictly as a request's.
#[derive(Debug, Clone)]
pub struct ResponseHead<'a> {
    version: HttpVersion,
    status: u16,
    reason: &'a str,
    fields: Vec<httparse::Header<'a>>,
}

impl<'a> ResponseHead<'a> {
    /// Parses `head`: exactly the bytes whose length [`HeadScan::scan`] gave.
    ///
    /// # Errors
    ///
    /// [`HeadError`] says what is wrong; its status has no meaning here.
    pub fn parse(head: &'a [u8], limits: &HeadLimits) -> Result<ResponseHead<'a>, HeadError> {
        let mut fields = empty_fields(head, limits)?;
        let mut response = httparse::Response::new(&mut fields);
        match response.parse(head) {
            Ok(status) if status.is_complete() => {}
            Ok(_) => return Err(HeadError::NotOneHead),
            Err(error) => return Err(head_error(error, head, Side::Response)),
        }
        let version = HttpVersion::from_minor(response.version);
        let status = response.code.ok_or(HeadError::StartLine)?;
        let reason = response.reason.unwrap_or_default();
        // RFC 9110 §15: the first digit says what kind of answer it is; there are five kinds.
        if !(100..600).contains(&status) {
            return Err(HeadError::StartLine);
        }
        check_framing(&fields, version)?;
        Ok(ResponseHead { version, status, reason, fields })
    }

    /// HTTP/1.0 or HTTP/1.1.
    pub fn version(&self) -> HttpVersion {
        self.version
    }

    /// The status, 100 to 599.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase; empty if there is none or it is not ASCII. It carries no meaning.
    pub fn reason(&self) -> &'a str {
        self.reason
    }

    /// All header lines in their order, names as written, values without blanks at the ends.
    pub fn headers(&self) -> Headers<'_> {
        Headers { fields: self.fields.iter() }
    }

    /// The value of the first header with this name, letter case apart.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        first_value(&self.fields, name)
    }
}

/// The version of HTTP that a head speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1, the one in which a WebSocket can be opened.
    Http11,
    /// Any other, as another HTTP library may report. No head parsed here has it.
    Other,
}

impl HttpVersion {
    fn from_minor(minor: Option<u8>) -> HttpVersion {
        match minor {
            Some(0) => HttpVersion::Http10,
            Some(1) => HttpVersion::Http11,
            _ => HttpVersion::Other,
        }
    }
}

/// The header lines of a head: name and value.
#[derive(Debug, Clone)]
pub struct Headers<'h> {
    fields: std::slice::Iter<'h, httparse::Header<'h>>,
}

impl<'h> Iterator for Headers<'h> {
    type Item = (&'h str, &'h [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.fields.next().map(|field| (field.name, field.value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.fields.size_hint()
    }
}

/// How the end of a body is found (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    None,
    Length(u64),
    Chunked,
}

enum Side {
    Request,
    Response,
}

/// Room for each header line of `head`, after checking its line structure, which `httparse` is
/// lenient about.
fn empty_fields<'a>(
    head: &[u8],
    limits: &HeadLimits,
) -> Result<Vec<httparse::Header<'a>>, HeadError> {
    if HeadScan::default().scan(head, limits)? != Some(head.len()) {
        return Err(HeadError::NotOneHead);
    }
    // Every line ends in a line feed; the start line and the empty line are no headers.
    let line_count = head.iter().filter(|byte| **byte == b'\n').count();
    Ok(vec![httparse::EMPTY_HEADER; line_count - 2])
}

fn head_error(error: httparse::Error, head: &[u8], side: Side) -> HeadError {
    match error {
        httparse::Error::HeaderName => HeadError::HeaderName,
        httparse::Error::HeaderValue => HeadError::HeaderValue,
        httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
        httparse::Error::Version => version_error(head, side),
        httparse::Error::NewLine | httparse::Error::Status | httparse::Error::Token => {
            HeadError::StartLine
        }
    }
}

/// Tells `HTTP/2.0`, which is another version, from `HTTP/1.1x` or a misplaced word, which is none.
fn version_error(head: &[u8], side: Side) -> HeadError {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let word = match side {
        Side::Request => words.nth(2).filter(|_| words.next().is_none()),
        Side::Response => words.next(),
    };
    match word.and_then(|word| word.strip_prefix(b"HTTP/")) {
        // RFC 9112 §2.3: one digit, a dot, one digit.
        Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit() => {
            HeadError::VersionUnsupported
        }
        _ => HeadError::StartLine,
    }
}

fn check_host(
    fields: &[httparse::Header<'_>],
    version: HttpVersion,
) -> Result<Option<Authority>, HeadError> {
    match single(fields, "host") {
        Single::Once(value) => parse_host(value).map(Some),
        Single::Repeated => Err(HeadError::HostRepeated),
        Single::Absent if version == HttpVersion::Http10 => Ok(None),
        // RFC 9112 §3.2.
        Single::Absent => Err(HeadError::HostMissing),
    }
}

pub(super) fn parse_host(value: &[u8]) -> Result<Authority, HeadError> {
    let text = std::str::from_utf8(value).map_err(|_| HeadError::HostMalformed)?;
    Authority::parse(text).map_err(|_| HeadError::HostMalformed)
}

fn check_framing(
    fields: &[httparse::Header<'_>],
    version: HttpVersion,
) -> Result<Framing, HeadError> {
    let length = single(fields, "content-length");
    let encoding = single(fields, "transfer-encoding");
    match (length, encoding) {
        (Single::Absent, Single::Absent) => Ok(Framing::None),
        (Single::Once(value), Single::Absent) => {
            field::decimal(value).map(Framing::Length).ok_or(HeadError::ContentLengthMalformed)
        }
        // RFC 9112 §6.3 would allow equal copies; whoever sends them is not to be trusted.
        (Single::Repeated, Single::Absent) => Err(HeadError::ContentLengthRepeated),
        (Single::Absent, Single::Repeated) => Err(HeadError::EncodingMalformed),
        // RFC 9112 §6.1: framing by an encoding is faulty in HTTP/1.0.
        (Single::Absent, Single::Once(_)) if version != HttpVersion::Http11 => {
            Err(HeadError::EncodingMalformed)
        }
        (Single::Absent, Single::Once(value)) => check_encoding(value),
        _ => Err(HeadError::LengthAndEncoding),
    }
}

fn check_encoding(value: &[u8]) -> Result<Framing, HeadError> {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    if is_chunked(value) {
        return Ok(Framing::Chunked);
    }
    // RFC 9112 §6.1: unknown codings before a final `chunked` deserve a 501; without it, or with
    // two of it, the end of the body cannot be known (§6.3).
    let codings: Vec<_> = field::list_elements(value).collect();
    match codings.split_last() {
        Some((last, others))
            if is_chunked(last)
                && !others.is_empty()
                && others.iter().all(|coding| field::token(coding).is_some())
                && !others.iter().any(|coding| is_chunked(coding)) =>
        {
            Err(HeadError::EncodingUnsupported)
        }
        _ => Err(HeadError::EncodingMalformed),
    }
}

/// Path and query of a target in one of the four forms of RFC 9112 §3.2.
fn split_target<'a>(
    method: &str,
    target: &'a str,
    host: Option<&Authority>,
) -> Result<(&'a str, Option<&'a str>), HeadError> {
    if method == "CONNECT" {
        return Err(HeadError::MethodUnsupported);
    }
    if !is_target_text(target) {
        return Err(HeadError::Target);
    }
    if target == "*" {
        return if method == "OPTIONS" { Ok(("*", None)) } else { Err(HeadError::Target) };
    }
    let local = if target.starts_with('/') { target } else { strip_origin(target, host)? };
    Ok(match local.split_once('?') {
        Some(("", query)) => ("/", Some(query)),
        Some((path, query)) => (path, Some(query)),
        None if local.is_empty() => ("/", None),
        None => (local, None),
    })
}

/// Visible ASCII without a fragment, which is never sent (RFC 9112 §3.2). Characters that RFC
/// 3986 wants encoded but browsers send as they are (`|`, `[`) may stand.
pub(super) fn is_target_text(target: &str) -> bool {
    target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

/// What follows `scheme://host` in a target that is a whole URL (RFC 9112 §3.2.2). A proxy may
/// route by the one host and check the other, so the two must be the same.
fn strip_origin<'a>(target: &'a str, host: Option<&Authority>) -> Result<&'a str, HeadError> {
    let (scheme, rest) = target.split_once("://").ok_or(HeadError::Target)?;
    if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(HeadError::Target);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, local) = rest.split_at(end);
    let authority = Authority::parse(authority).map_err(|_| HeadError::Target)?;
    if host.is_some_and(|host| *host != authority) {
        return Err(HeadError::TargetHostMismatch);
    }
    Ok(local)
}

fn single<'a>(fields: &[httparse::Header<'a>], name: &str) -> Single<'a> {
    let mut found = Single::default();
    for field in fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name)) {
        found.add(field.value);
    }
    found
}

fn first_value<'a>(fields: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(head: &str) -> Result<RequestHead<'_>, HeadError> {
        RequestHead::parse(head.as_bytes(), &HeadLimits::default())
    }

    fn response(head: &str) -> Result<ResponseHead<'_>, HeadError> {
        ResponseHead::parse(head.as_bytes(), &HeadLimits::default())
    }

    #[test]
    fn a_request_is_taken_apart() {
        let head = request(
            "GET /a%20b?c=d?e HTTP/1.1\r\nHOST: A.example:81\r\nx-y:  z \t\r\nx-Y:\r\n\r\n",
        )
        .unwrap();
        assert_eq!((head.method(), head.target()), ("GET", "/a%20b?c=d?e"));
        assert_eq!((head.path(), head.query()), ("/a%20b", Some("c=d?e")));
        assert_eq!(head.version(), HttpVersion::Http11);
        assert_eq!(head.host(), Some(&Authority::parse("a.example:81").unwrap()));
        assert_eq!(head.header("X-Y"), Some(&b"z"[..]));
        assert_eq!(head.header("x-z"), None);
        let names: Vec<_> = head.headers().map(|(name, _)| name).collect();
        assert_eq!(names, ["HOST", "x-y", "x-Y"]);
        assert!(!head.has_body());
    }

    #[test]
    fn targets_have_four_forms() {
        let cases = [
            ("GET", "/", Ok(("/", None))),
            ("GET", "/?", Ok(("/", Some("")))),
            ("GET", "/a|b[c]", Ok(("/a|b[c]", None))),
            ("GET", "http://a", Ok(("/", None))),
            ("GET", "HTTP://A?q", Ok(("/", Some("q")))),
            ("GET", "ws://a/server?q", Ok(("/server", Some("q")))),
            ("GET", "http://b/", Err(HeadError::TargetHostMismatch)),
            ("GET", "http://a:80/", Err(HeadError::TargetHostMismatch)),
            ("GET", "http://b@a/", Err(HeadError::Target)),
            ("GET", "http:///a", Err(HeadError::Target)),
            ("GET", "ftp://a/", Err(HeadError::Target)),
            ("GET", "a:80", Err(HeadError::Target)),
            ("GET", "a/b", Err(HeadError::Target)),
            ("GET", "/a#b", Err(HeadError::Target)),
            ("GET", "/ä", Err(HeadError::Target)),
            ("GET", "*", Err(HeadError::Target)),
            ("OPTIONS", "*", Ok(("*", None))),
            ("CONNECT", "a:80", Err(HeadError::MethodUnsupported)),
        ];
        for (method, target, expected) in cases {
            let text = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let found = request(&text).map(|head| (head.path(), head.query()));
            assert_eq!(found, expected, "{method} {target}");
        }
    }

    #[test]
    fn bodies_are_announced_unambiguously() {
        let cases = [
            ("", Ok(false)),
            ("Content-Length: 0\r\n", Ok(false)),
            ("Content-Length: 1\r\n", Ok(true)),
            ("Transfer-Encoding: Chunked\r\n", Ok(true)),
            ("Transfer-Encoding: gzip, chunked\r\n", Err(HeadError::EncodingUnsupported)),
            ("Transfer-Encoding: chunked, chunked\r\n", Err(HeadError::EncodingMalformed)),
            ("Transfer-Encoding: chunked, gzip\r\n", Err(HeadError::EncodingMalformed)),
            (
                "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
                Err(HeadError::LengthAndEncoding),
            ),
        ];
        for (lines, expected) in cases {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
            assert_eq!(request(&text).map(|head| head.has_body()), expected, "{lines}");
        }
    }

    #[test]
    fn versions_are_one_dot_zero_and_one_dot_one() {
        let old = request("GET / HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!((old.version(), old.host()), (HttpVersion::Http10, None));
        for (line, expected) in [
            ("PRI * HTTP/2.0", HeadError::VersionUnsupported),
            ("GET / HTTP/1.2", HeadError::VersionUnsupported),
            ("GET / HTTP/0.9", HeadError::VersionUnsupported),
            ("GET / HTTP/1.1x", HeadError::StartLine),
            ("GET / HTTP/11", HeadError::StartLine),
            ("GET / http/1.1", HeadError::StartLine),
            ("GET /", HeadError::StartLine),
            ("GET / ", HeadError::StartLine),
        ] {
            let text = format!("{line}\r\nHost: a\r\n\r\n");
            assert_eq!(request(&text).err(), Some(expected), "{line}");
        }
        assert_eq!(HeadError::VersionUnsupported.http_status(), 505);
    }

    #[test]
    fn bytes_behind_or_missing_are_noticed() {
        assert_eq!(request("GET / HTTP/1.1\r\nHost: a\r\n").err(), Some(HeadError::NotOneHead));
        let behind = request("GET / HTTP/1.1\r\nHost: a\r\n\r\nx");
        assert_eq!(behind.err(), Some(HeadError::NotOneHead));
        assert_eq!(request("").err(), Some(HeadError::NotOneHead));
    }

    #[test]
    fn a_response_is_taken_apart() {
        let head = response("HTTP/1.1 503 Busy now\r\nRetry-After: 7\r\n\r\n").unwrap();
        assert_eq!((head.status(), head.reason()), (503, "Busy now"));
        assert_eq!(head.version(), HttpVersion::Http11);
        assert_eq!(head.header("retry-after"), Some(&b"7"[..]));
        assert_eq!(head.headers().count(), 1);
        for (text, expected) in [
            ("HTTP/2.0 200 OK\r\n\r\n", HeadError::VersionUnsupported),
            ("HTTP/1.1  101 x\r\n\r\n", HeadError::StartLine),
            ("HTTP/1.1 999 x\r\n\r\n", HeadError::StartLine),
            ("HTTP/1.1 10 x\r\n\r\n", HeadError::StartLine),
            ("HTTP/1.1 101 x\nA: b\r\n\r\n", HeadError::BareLineFeed),
            ("HTTP/1.1 101 x\r\nA : b\r\n\r\n", HeadError::HeaderName),
            ("HTTP/1.1 101 x\r\nA: b\r\n c\r\n\r\n", HeadError::FoldedHeader),
            (
                "HTTP/1.1 200 x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                HeadError::ContentLengthRepeated,
            ),
        ] {
            assert_eq!(response(text).err(), Some(expected), "{text}");
        }
    }
}
