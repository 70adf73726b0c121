//! The server's half: from a request to the 101 answer, or to a refusal that says why.

use thiserror::Error;

use crate::handshake::accept_key;
use crate::handshake::extension::{self, DeflateParams, DeflateSupport, Extension};
use crate::handshake::field::{self, Single};
use crate::handshake::head::{self, Headers, HttpVersion, RequestHead};
use crate::handshake::origin::{OriginError, OriginPolicy};
use crate::handshake::scan::HeadError;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Decides on a request to open a WebSocket (RFC 6455 §4.2).
///
/// ```
/// # use mainstay_wire::handshake::{AcceptOptions, HttpVersion, UpgradeRequest, accept};
/// let request = UpgradeRequest {
///     method: "GET",
///     version: HttpVersion::Http11,
///     headers: [
///         ("Host", &b"localhost:8080"[..]),
///         ("Upgrade", b"websocket"),
///         ("Connection", b"Upgrade"),
///         ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
///         ("Sec-WebSocket-Version", b"13"),
///     ],
/// };
/// let accepted = accept(request, &AcceptOptions::default()).unwrap();
/// assert_eq!(accepted.accept_key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// assert!(accepted.response().starts_with(b"HTTP/1.1 101 "));
/// ```
///
/// # Errors
///
/// [`Refusal`], which carries the answer to send before closing the connection.
pub fn accept<'a, H>(
    request: UpgradeRequest<'a, H>,
    options: &AcceptOptions,
) -> Result<Accepted, Refusal>
where
    H: IntoIterator<Item = (&'a str, &'a [u8])>,
{
    let method = request.method;
    let found = Found::read(request.headers);
    decide(method, request.version, &found, options).map_err(|mut refusal| {
        // RFC 9110 §9.3.2: nothing follows the head of an answer to HEAD.
        refusal.body_is_sent = method != "HEAD";
        refusal
    })
}

/// What [`accept`] looks at, in whichever form an HTTP library keeps it.
#[derive(Debug, Clone)]
pub struct UpgradeRequest<'a, H> {
    /// The method, as written.
    pub method: &'a str,
    /// The version of HTTP.
    pub version: HttpVersion,
    /// All header lines in their order: names in any letter case, values without blanks at the
    /// ends. They are walked through once.
    pub headers: H,
}

impl<'h> From<&'h RequestHead<'h>> for UpgradeRequest<'h, Headers<'h>> {
    fn from(head: &'h RequestHead<'h>) -> Self {
        UpgradeRequest { method: head.method(), version: head.version(), headers: head.headers() }
    }
}

/// What a server agrees to.
#[derive(Debug, Clone, Default)]
pub struct AcceptOptions {
    /// The subprotocols spoken, by their exact names. The first that the client lists and that
    /// stands here is chosen; if there is none, the connection has no subprotocol. Default: none.
    pub subprotocols: Vec<String>,
    /// Whether to agree to permessage-deflate. Default: off.
    pub deflate: DeflateSupport,
    /// Which web pages may connect. Default: those from the same host and port.
    pub origins: OriginPolicy,
}

/// A handshake that succeeded. The connection speaks WebSocket behind the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept_key: String,
    /// The subprotocol agreed on.
    pub subprotocol: Option<String>,
    /// How messages may be compressed, if at all.
    pub deflate: Option<DeflateParams>,
    /// The value of `Sec-WebSocket-Extensions`.
    pub extensions: Option<String>,
}

impl Accepted {
    /// The header lines of the 101 answer, for those who leave its writing to an HTTP library.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let always = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", self.accept_key.as_str()),
        ];
        let subprotocol = self.subprotocol.as_deref().map(|name| ("Sec-WebSocket-Protocol", name));
        let extensions = self.extensions.as_deref().map(|list| ("Sec-WebSocket-Extensions", list));
        always.into_iter().chain(subprotocol).chain(extensions)
    }

    /// The whole 101 answer as it goes onto the wire.
    pub fn response(&self) -> Vec<u8> {
        write_head(101, self.headers()).into_bytes()
    }
}

/// A handshake that failed: what to answer before closing, and what to log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}{}{detail}", if detail.is_empty() { "" } else { ": " })]
pub struct Refusal {
    /// Why, from a closed set. The answer's text is made of this alone.
    pub reason: RefusalReason,
    /// What the client sent, where that helps, for logs only: escaped to ASCII without control
    /// characters, cut to a bounded length, possibly empty.
    pub detail: String,
    body_is_sent: bool,
}

impl Refusal {
    fn new(reason: RefusalReason) -> Refusal {
        Refusal { reason, detail: String::new(), body_is_sent: true }
    }

    fn quoting(reason: RefusalReason, value: &[u8]) -> Refusal {
        let shown = &value[..value.len().min(QUOTED_BYTES_MAX)];
        Refusal { detail: shown.escape_ascii().to_string(), ..Refusal::new(reason) }
    }

    /// The status of the answer.
    pub fn status(&self) -> u16 {
        self.reason.status()
    }

    /// The header lines of the answer except Content-Length, for those who leave its writing to
    /// an HTTP library.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let particular: &[_] = match self.status() {
            405 => &[("Allow", "GET"), ("Connection", "close")],
            // RFC 6455 §4.4, RFC 9110 §15.5.22, and §7.8 for the connection option.
            426 => &[
                ("Sec-WebSocket-Version", "13"),
                ("Upgrade", "websocket"),
                ("Connection", "close, Upgrade"),
            ],
            _ => &[("Connection", "close")],
        };
        // The text quotes nothing from the request, but a browser need not guess at its type.
        let always =
            [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")];
        always.into_iter().chain(particular.iter().copied())
    }

    /// The text of the answer: one line that tells a person what is wrong.
    pub fn body(&self) -> String {
        let text = self.reason.to_string();
        let mut letters = text.chars();
        // The reasons are written to stand inside a sentence; here they are one.
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).chain(".\n".chars()).collect()
    }

    /// The whole answer as it goes onto the wire. The connection ends with it.
    pub fn response(&self) -> Vec<u8> {
        let body = self.body();
        let length = body.len().to_string();
        let mut headers: Vec<(&str, &str)> = self.headers().collect();
        headers.push(("Content-Length", &length));
        let mut response = write_head(self.status(), headers);
        if self.body_is_sent {
            response.push_str(&body);
        }
        response.into_bytes()
    }
}

impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Refusal {
        Refusal::new(RefusalReason::Head(error))
    }
}

/// Why a handshake is refused. The client is at fault, or is not a WebSocket client at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RefusalReason {
    /// The request is no HTTP that is accepted here.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// A request that does not ask for WebSocket.
    #[error(
        "this is a WebSocket endpoint: connect to it with a WebSocket client (ws:// or wss://). \
         If you did, a proxy on the way has removed the Upgrade header"
    )]
    NotAnUpgrade,
    /// A method other than GET.
    #[error("this is a WebSocket endpoint, which is opened with GET")]
    MethodNotGet,
    /// A version of HTTP other than 1.1.
    #[error("a WebSocket is opened with HTTP/1.1")]
    HttpVersion,
    /// `Upgrade` or `Connection` is not a list of tokens.
    #[error("the Upgrade or the Connection header is malformed")]
    UpgradeMalformed,
    /// `Connection` does not list `upgrade`.
    #[error("the Connection header does not say Upgrade; a proxy on the way may have removed it")]
    ConnectionLacksUpgrade,
    /// A request with a body, whose bytes would be taken for frames.
    #[error("a request to open a WebSocket has no body")]
    BodyPresent,
    /// `Sec-WebSocket-Version` is missing or not 13.
    #[error("the version of WebSocket spoken here is 13")]
    VersionUnsupported,
    /// More than one `Sec-WebSocket-Version`.
    #[error("the Sec-WebSocket-Version header is repeated")]
    VersionRepeated,
    /// No `Sec-WebSocket-Key`.
    #[error("the Sec-WebSocket-Key header is missing")]
    KeyMissing,
    /// More than one `Sec-WebSocket-Key`.
    #[error("the Sec-WebSocket-Key header is repeated")]
    KeyRepeated,
    /// `Sec-WebSocket-Key` is not 16 bytes in base64.
    #[error("the Sec-WebSocket-Key header is not 16 bytes in base64")]
    KeyMalformed,
    /// `Sec-WebSocket-Protocol` is not a list of distinct tokens.
    #[error("the Sec-WebSocket-Protocol header is malformed")]
    SubprotocolMalformed,
    /// `Sec-WebSocket-Extensions` does not follow its grammar.
    #[error("the Sec-WebSocket-Extensions header is malformed")]
    ExtensionsMalformed,
    /// More than one `Origin`.
    #[error("the Origin header is repeated")]
    OriginRepeated,
    /// An `Origin` that the policy does not admit.
    #[error(transparent)]
    Origin(#[from] OriginError),
}

impl RefusalReason {
    /// The status that answers such a request.
    pub fn status(&self) -> u16 {
        match self {
            RefusalReason::Head(error) => error.http_status(),
            RefusalReason::NotAnUpgrade | RefusalReason::VersionUnsupported => 426,
            RefusalReason::MethodNotGet => 405,
            RefusalReason::HttpVersion => 505,
            RefusalReason::OriginRepeated | RefusalReason::Origin(_) => 403,
            _ => 400,
        }
    }

    /// One word for counters and logs.
    pub fn word(&self) -> &'static str {
        match self {
            RefusalReason::Head(error) => error.word(),
            RefusalReason::NotAnUpgrade => "not_an_upgrade",
            RefusalReason::MethodNotGet => "method_not_get",
            RefusalReason::HttpVersion => "http_version_unsupported",
            RefusalReason::UpgradeMalformed => "upgrade_malformed",
            RefusalReason::ConnectionLacksUpgrade => "connection_lacks_upgrade",
            RefusalReason::BodyPresent => "body_present",
            RefusalReason::VersionUnsupported => "websocket_version_unsupported",
            RefusalReason::VersionRepeated => "websocket_version_repeated",
            RefusalReason::KeyMissing => "key_missing",
            RefusalReason::KeyRepeated => "key_repeated",
            RefusalReason::KeyMalformed => "key_malformed",
            RefusalReason::SubprotocolMalformed => "subprotocol_malformed",
            RefusalReason::ExtensionsMalformed => "extensions_malformed",
            RefusalReason::OriginRepeated => "origin_repeated",
            RefusalReason::Origin(OriginError::Malformed) => "origin_malformed",
            RefusalReason::Origin(OriginError::Opaque) => "origin_null",
            RefusalReason::Origin(OriginError::NotAllowed) => "origin_not_allowed",
        }
    }
}

/// The headers that matter, gathered in one walk.
#[derive(Default)]
struct Found<'a> {
    host: Single<'a>,
    upgrade: TokenSearch,
    connection: TokenSearch,
    key: Single<'a>,
    version: Single<'a>,
    origin: Single<'a>,
    content_length: Single<'a>,
    transfer_encoding: Single<'a>,
    subprotocols: Vec<&'a [u8]>,
    extensions: Vec<&'a [u8]>,
}

impl<'a> Found<'a> {
    fn read(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Found<'a> {
        let mut found = Found::default();
        for (name, value) in headers {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is("host") {
                found.host.add(value);
            } else if is("upgrade") {
                found.upgrade.look_for("websocket", value);
            } else if is("connection") {
                found.connection.look_for("upgrade", value);
            } else if is("sec-websocket-key") {
                found.key.add(value);
            } else if is("sec-websocket-version") {
                found.version.add(value);
            } else if is("sec-websocket-protocol") {
                found.subprotocols.push(value);
            } else if is("sec-websocket-extensions") {
                found.extensions.push(value);
            } else if is("origin") {
                found.origin.add(value);
            } else if is("content-length") {
                found.content_length.add(value);
            } else if is("transfer-encoding") {
                found.transfer_encoding.add(value);
            }
        }
        found
    }
}

/// Whether a token stands in a list that may be spread over several header lines.
#[derive(Default)]
struct TokenSearch {
    is_present: bool,
    is_malformed: bool,
    is_found: bool,
}

impl TokenSearch {
    fn look_for(&mut self, wanted: &str, value: &[u8]) {
        self.is_present = true;
        for element in field::list_elements(value) {
            // `Upgrade` also lists `name/version` (RFC 9110 §7.8).
            self.is_malformed |= !element.split(|b| *b == b'/').all(|p| field::token(p).is_some());
            self.is_found |= element.eq_ignore_ascii_case(wanted.as_bytes());
        }
    }
}

/// The checks in the order in which a person would want to hear of them.
fn decide(
    method: &str,
    version: HttpVersion,
    found: &Found<'_>,
    options: &AcceptOptions,
) -> Result<Accepted, Refusal> {
    if method != "GET" {
        return Err(Refusal::quoting(RefusalReason::MethodNotGet, method.as_bytes()));
    }
    if !found.upgrade.is_found && !found.upgrade.is_malformed {
        return Err(Refusal::new(RefusalReason::NotAnUpgrade));
    }
    if version != HttpVersion::Http11 {
        return Err(Refusal::new(RefusalReason::HttpVersion));
    }
    if found.upgrade.is_malformed || found.connection.is_malformed {
        return Err(Refusal::new(RefusalReason::UpgradeMalformed));
    }
    if !found.connection.is_found {
        return Err(Refusal::new(RefusalReason::ConnectionLacksUpgrade));
    }
    check_body(found)?;
    check_version(found.version)?;
    let accept_key = check_key(found.key)?;
    check_origin(found, &options.origins)?;
    let subprotocol = choose_subprotocol(&found.subprotocols, &options.subprotocols)?;
    let agreed = choose_deflate(&found.extensions, options.deflate)?;
    let (deflate, extensions) = agreed.unzip();
    Ok(Accepted { accept_key, subprotocol, deflate, extensions })
}

fn check_body(found: &Found<'_>) -> Result<(), Refusal> {
    let is_empty = match found.content_length {
        Single::Absent => true,
        Single::Once(value) => field::decimal(value) == Some(0),
        Single::Repeated => false,
    };
    if is_empty && !found.transfer_encoding.is_present() {
        Ok(())
    } else {
        Err(Refusal::new(RefusalReason::BodyPresent))
    }
}

fn check_version(version: Single<'_>) -> Result<(), Refusal> {
    match version {
        Single::Once(b"13") => Ok(()),
        Single::Once(other) => Err(Refusal::quoting(RefusalReason::VersionUnsupported, other)),
        Single::Absent => Err(Refusal::new(RefusalReason::VersionUnsupported)),
        // RFC 6455 §11.3.5.
        Single::Repeated => Err(Refusal::new(RefusalReason::VersionRepeated)),
    }
}

/// The answer to a key that is well-formed (RFC 6455 §4.2.1, item 5).
fn check_key(key: Single<'_>) -> Result<String, Refusal> {
    let key = match key {
        Single::Once(key) => key,
        Single::Absent => return Err(Refusal::new(RefusalReason::KeyMissing)),
        // RFC 6455 §11.3.1.
        Single::Repeated => return Err(Refusal::new(RefusalReason::KeyRepeated)),
    };
    let malformed = || Refusal::quoting(RefusalReason::KeyMalformed, key);
    let mut decoded = [0; KEY_BYTES + 2];
    let text = std::str::from_utf8(key).map_err(|_| malformed())?;
    match STANDARD.decode_slice(text, &mut decoded) {
        Ok(KEY_BYTES) => Ok(accept_key(text)),
        _ => Err(malformed()),
    }
}

fn check_origin(found: &Found<'_>, policy: &OriginPolicy) -> Result<(), Refusal> {
    let host = match found.host {
        Single::Once(host) => head::parse_host(host)?,
        Single::Absent => return Err(HeadError::HostMissing.into()),
        Single::Repeated => return Err(HeadError::HostRepeated.into()),
    };
    match found.origin {
        Single::Absent => Ok(()),
        Single::Once(origin) => policy
            .check(origin, &host)
            .map_err(|error| Refusal::quoting(RefusalReason::Origin(error), origin)),
        Single::Repeated => Err(Refusal::new(RefusalReason::OriginRepeated)),
    }
}

fn choose_subprotocol(offered: &[&[u8]], spoken: &[String]) -> Result<Option<String>, Refusal> {
    let malformed = |value| Refusal::quoting(RefusalReason::SubprotocolMalformed, value);
    let mut names = Vec::new();
    for value in offered {
        for element in field::list_elements(value) {
            names.push(field::token(element).ok_or_else(|| malformed(element))?);
        }
    }
    // RFC 6455 §4.1, item 10: all distinct. Sorted, so that a long list stays cheap.
    let mut sorted = names.clone();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(malformed(pair[0].as_bytes()));
    }
    let chosen = names.into_iter().find(|name| spoken.iter().any(|spoken| spoken == name));
    Ok(chosen.map(str::to_owned))
}

fn choose_deflate(
    values: &[&[u8]],
    support: DeflateSupport,
) -> Result<Option<(DeflateParams, String)>, Refusal> {
    // RFC 6455 §9.1: a malformed list fails the handshake, wanted or not.
    let mut offers: Vec<Extension<'_>> = Vec::new();
    for value in values {
        let parsed = extension::parse(value);
        offers.extend(
            parsed.map_err(|_| Refusal::quoting(RefusalReason::ExtensionsMalformed, value))?,
        );
    }
    Ok(match support {
        DeflateSupport::On => extension::answer(&offers),
        DeflateSupport::Off => None,
    })
}

fn write_head<'a, 'b>(
    status: u16,
    headers: impl IntoIterator<Item = (&'a str, &'b str)>,
) -> String {
    let mut head = format!("HTTP/1.1 {status} {}\r\n", status_text(status));
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    head
}

fn status_text(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        400 => "Bad Request",
        403 => "Forbidden",
        405 => "Method Not Allowed",
        414 => "URI Too Long",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// RFC 6455 §4.1, item 7.
const KEY_BYTES: usize = 16;
/// Enough of a header to recognise a client by; a log line must not be the client's to fill.
const QUOTED_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::Origin;

    type Lines = Vec<(&'static str, &'static [u8])>;

    fn valid() -> Lines {
        vec![
            ("host", b"localhost:8080"),
            ("UPGRADE", b"h2c/1, WebSocket"),
            ("Connection", b"keep-alive, Upgrade"),
            ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Version", b"13"),
        ]
    }

    fn with(lines: &[(&'static str, &'static [u8])]) -> Lines {
        // A line replaces the valid one of its name; further ones are added.
        let mut all = valid();
        all.retain(|(name, _)| !lines.iter().any(|line| line.0.eq_ignore_ascii_case(name)));
        all.extend(lines);
        all
    }

    fn without(name: &str) -> Lines {
        valid().into_iter().filter(|line| !line.0.eq_ignore_ascii_case(name)).collect()
    }

    fn run(headers: Lines, options: &AcceptOptions) -> Result<Accepted, Refusal> {
        accept(UpgradeRequest { method: "GET", version: HttpVersion::Http11, headers }, options)
    }

    fn reason(headers: Lines) -> Option<RefusalReason> {
        run(headers, &AcceptOptions::default()).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn the_answer_is_complete() {
        let accepted = run(valid(), &AcceptOptions::default()).unwrap();
        let expected = "HTTP/1.1 101 Switching Protocols\r\n\
                        Upgrade: websocket\r\n\
                        Connection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        assert_eq!(String::from_utf8(accepted.response()).unwrap(), expected);
        assert_eq!((accepted.subprotocol, accepted.deflate), (None, None));
    }

    #[test]
    fn each_fault_has_its_reason() {
        use RefusalReason as R;
        let cases = [
            (without("Upgrade"), R::NotAnUpgrade),
            (with(&[("Upgrade", b"h2c")]), R::NotAnUpgrade),
            (with(&[("Upgrade", b"websocket/13")]), R::NotAnUpgrade),
            (with(&[("Upgrade", b"websocket, \x80")]), R::UpgradeMalformed),
            (with(&[("Upgrade", b"web socket")]), R::UpgradeMalformed),
            (without("Connection"), R::ConnectionLacksUpgrade),
            (with(&[("Connection", b"close")]), R::ConnectionLacksUpgrade),
            (with(&[("Connection", b"upgraded")]), R::ConnectionLacksUpgrade),
            (with(&[("Connection", b"Upgrade, \"")]), R::UpgradeMalformed),
            (with(&[("Content-Length", b"1")]), R::BodyPresent),
            (with(&[("Content-Length", b"0"), ("Content-Length", b"0")]), R::BodyPresent),
            (with(&[("Content-Length", b"+0")]), R::BodyPresent),
            (with(&[("Transfer-Encoding", b"chunked")]), R::BodyPresent),
            (without("Sec-WebSocket-Version"), R::VersionUnsupported),
            (with(&[("Sec-WebSocket-Version", b"8")]), R::VersionUnsupported),
            (with(&[("Sec-WebSocket-Version", b"013")]), R::VersionUnsupported),
            (with(&[("Sec-WebSocket-Version", b"13, 8")]), R::VersionUnsupported),
            (
                with(&[("Sec-WebSocket-Version", b"13"), ("Sec-WebSocket-Version", b"13")]),
                R::VersionRepeated,
            ),
            (without("Sec-WebSocket-Key"), R::KeyMissing),
            (with(&[("Sec-WebSocket-Key", b"")]), R::KeyMalformed),
            (with(&[("Sec-WebSocket-Key", b"SGVsbG8sIHdvcmxkIQ==")]), R::KeyMalformed),
            (with(&[("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ")]), R::KeyMalformed),
            (with(&[("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZR==")]), R::KeyMalformed),
            (with(&[("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZWE=")]), R::KeyMalformed),
            (with(&[("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZWFh")]), R::KeyMalformed),
            (with(&[("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==, x")]), R::KeyMalformed),
            (with(&[("Sec-WebSocket-Key", &[b'A'; 10_000])]), R::KeyMalformed),
            (with(&[("Sec-WebSocket-Key", b"a"), ("sec-websocket-key", b"a")]), R::KeyRepeated),
            (without("Host"), R::Head(HeadError::HostMissing)),
            (with(&[("Host", b"a b")]), R::Head(HeadError::HostMalformed)),
            (with(&[("Host", b"a"), ("Host", b"a")]), R::Head(HeadError::HostRepeated)),
            (with(&[("Origin", b"null")]), R::Origin(OriginError::Opaque)),
            (with(&[("Origin", b"")]), R::Origin(OriginError::Malformed)),
            (with(&[("Origin", b"http://localhost")]), R::Origin(OriginError::NotAllowed)),
            (
                with(&[("Origin", b"http://localhost:8080"), ("Origin", b"http://localhost:8080")]),
                R::OriginRepeated,
            ),
            (with(&[("Sec-WebSocket-Protocol", b"a b")]), R::SubprotocolMalformed),
            (with(&[("Sec-WebSocket-Protocol", b"a, b, a")]), R::SubprotocolMalformed),
            (with(&[("Sec-WebSocket-Extensions", b"a;")]), R::ExtensionsMalformed),
            (with(&[("Sec-WebSocket-Extensions", b"")]), R::ExtensionsMalformed),
        ];
        for (headers, expected) in cases {
            assert_eq!(reason(headers.clone()), Some(expected), "{headers:?}");
        }
    }

    #[test]
    fn harmless_variations_are_accepted() {
        for headers in [
            with(&[("Content-Length", b"0")]),
            with(&[("Origin", b"http://localhost:8080")]),
            with(&[("Upgrade", b"h2c"), ("Upgrade", b"websocket")]),
            with(&[("Connection", b"keep-alive"), ("Connection", b",UPGRADE")]),
            with(&[("Sec-WebSocket-Protocol", b"unknown, also-unknown")]),
            with(&[("Sec-WebSocket-Extensions", b"unknown; a=b")]),
        ] {
            assert_eq!(reason(headers.clone()), None, "{headers:?}");
        }
    }

    #[test]
    fn policies_reach_the_origin_check() {
        let foreign = || with(&[("Origin", b"https://app.example")]);
        let origins =
            OriginPolicy::AllowList(vec!["https://app.example".parse::<Origin>().unwrap()]);
        assert!(run(foreign(), &AcceptOptions::default()).is_err());
        assert!(run(foreign(), &AcceptOptions { origins, ..Default::default() }).is_ok());
        let any = AcceptOptions { origins: OriginPolicy::Any, ..Default::default() };
        assert!(run(foreign(), &any).is_ok());
        let two = with(&[("Origin", b"https://a"), ("Origin", b"https://b")]);
        assert_eq!(run(two, &any).unwrap_err().reason, RefusalReason::OriginRepeated);
    }

    #[test]
    fn the_client_s_first_known_subprotocol_is_chosen() {
        let subprotocols = vec!["one".to_owned(), "two".to_owned()];
        let options = AcceptOptions { subprotocols, ..Default::default() };
        let cases: [(&[&'static [u8]], Option<&str>); 5] = [
            (&[b"two, one"], Some("two")),
            (&[b"three", b"one, two"], Some("one")),
            (&[b"ONE"], None),
            (&[b""], None),
            (&[], None),
        ];
        for (values, expected) in cases {
            let lines: Vec<_> = values.iter().map(|v| ("Sec-WebSocket-Protocol", *v)).collect();
            let accepted = run(with(&lines), &options).unwrap();
            assert_eq!(accepted.subprotocol.as_deref(), expected);
            let response = String::from_utf8(accepted.response()).unwrap();
            assert_eq!(response.contains("Sec-WebSocket-Protocol: "), expected.is_some());
        }
    }

    #[test]
    fn deflate_is_agreed_on_only_if_supported() {
        let offer = || {
            with(&[
                (
                    "Sec-WebSocket-Extensions",
                    b"other, permessage-deflate; server_max_window_bits=8",
                ),
                ("Sec-WebSocket-Extensions", b"permessage-deflate; server_max_window_bits=11"),
            ])
        };
        assert_eq!(run(offer(), &AcceptOptions::default()).unwrap().deflate, None);
        let options = AcceptOptions { deflate: DeflateSupport::On, ..Default::default() };
        let accepted = run(offer(), &options).unwrap();
        assert_eq!(accepted.deflate.unwrap().outgoing_window_bits, 11);
        let line = "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                    client_no_context_takeover; server_max_window_bits=11\r\n\r\n";
        assert!(String::from_utf8(accepted.response()).unwrap().ends_with(line));
        assert_eq!(run(valid(), &options).unwrap().deflate, None);
    }

    #[test]
    fn a_plain_request_is_told_what_this_is() {
        let refusal = run(vec![("Host", b"a")], &AcceptOptions::default()).unwrap_err();
        let response = String::from_utf8(refusal.response()).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{head}");
        for line in
            ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Connection: close, Upgrade"]
        {
            assert!(head.contains(&format!("\r\n{line}")), "{head}");
        }
        assert!(head.ends_with(&format!("\r\nContent-Length: {}", body.len())), "{head}");
        assert!(body.starts_with("This is a WebSocket endpoint: "), "{body}");
        assert!(body.ends_with(".\n"), "{body}");
    }

    #[test]
    fn other_methods_and_versions_are_refused() {
        let run = |method, version| {
            accept(UpgradeRequest { method, version, headers: valid() }, &AcceptOptions::default())
        };
        for method in ["POST", "get", "HEAD", "CONNECT", ""] {
            let refusal = run(method, HttpVersion::Http11).unwrap_err();
            assert_eq!(refusal.status(), 405);
            let response = String::from_utf8(refusal.response()).unwrap();
            assert!(response.contains("\r\nAllow: GET\r\n"));
            assert_eq!(response.ends_with("\r\n\r\n"), method == "HEAD");
        }
        for version in [HttpVersion::Http10, HttpVersion::Other] {
            assert_eq!(run("GET", version).unwrap_err().status(), 505);
        }
    }

    #[test]
    fn what_the_client_sent_is_logged_escaped_and_not_echoed() {
        let refusal = run(
            with(&[("Origin", b"http://evil.example/\x1B[31m<script>\xFF")]),
            &AcceptOptions::default(),
        )
        .unwrap_err();
        assert_eq!(refusal.status(), 403);
        assert_eq!(refusal.detail, "http://evil.example/\\x1b[31m<script>\\xff");
        let response = String::from_utf8(refusal.response()).unwrap();
        assert!(!response.contains("evil") && !response.contains("script"));
        let long = run(with(&[("Origin", &[b'a'; 9_000])]), &AcceptOptions::default());
        assert_eq!(long.unwrap_err().detail.len(), QUOTED_BYTES_MAX);
    }
}
