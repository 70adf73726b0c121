//! Who may speak to the API.

use std::fmt;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CACHE_CONTROL, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use mainstay_server::session::ErrorCode;
use mainstay_server::{Authority, OriginPolicy};
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::console::is_console;
use crate::problem::Problem;

/// Who may speak to the API. Pages of the web never may, those of the listener itself apart.
#[derive(Clone, Debug)]
pub enum Access {
    /// Whoever sends the token (`Authorization: Bearer …`). `/health` is open to all: it tells
    /// nothing but that, and who asks for it seldom can send a token. So is the console's page, which
    /// holds no data.
    Token(Token),
    /// Every program on this machine: only for a listener on a loopback address. `host` is the name
    /// that it was configured with, which may stand in `Host` beside `localhost`, `127.0.0.1` and
    /// `[::1]`. Any other is refused: a page can make its own name lead to this machine.
    Loopback {
        /// Without the port.
        host: String,
    },
}

/// A secret that opens the API. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a secret: 16 to 256 visible characters of ASCII.
    ///
    /// # Errors
    /// [`InvalidToken`] for any other text.
    pub fn new(secret: &str) -> Result<Token, InvalidToken> {
        let is_right = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&secret.len())
            && secret.bytes().all(|byte| byte.is_ascii_graphic());
        is_right.then(|| Token(secret.to_owned())).ok_or(InvalidToken)
    }

    /// The secret itself.
    pub fn to_secret_text(&self) -> String {
        self.0.clone()
    }

    /// How long this takes says nothing about the secret but its length.
    fn is(&self, other: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(other).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// The caller's fault: this is no token.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a token has {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} visible characters of ASCII")]
pub struct InvalidToken;

/// Lets through who may, and marks what goes out.
pub(crate) async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    let mut response = match check(&access, request.headers(), Asked::by(request.uri().path())) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        // The console knows better how long its files hold.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Whether the server works: tells nothing else, and takes no token.
    Health,
    /// The console's page and its files: the same for everybody. They take no token, and a link on
    /// another page may lead to them.
    Console,
    /// All the rest.
    Api,
}

impl Asked {
    fn by(path: &str) -> Asked {
        match path {
            "/health" => Asked::Health,
            path if is_console(path) => Asked::Console,
            _ => Asked::Api,
        }
    }
}

fn check(access: &Access, headers: &HeaderMap, asked: Asked) -> Result<(), Problem> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| Authority::parse(host).ok());
    let host = host.ok_or_else(|| Problem::malformed("there is no valid Host header"))?;
    if asked != Asked::Console {
        check_page(headers, &host)?;
    }
    match access {
        Access::Loopback { host: configured } => {
            let is_known = LOOPBACK_HOSTS.contains(&host.host())
                || Authority::parse(configured).is_ok_and(|known| known.host() == host.host());
            if !is_known {
                return Err(forbidden("the Host header names another machine"));
            }
            Ok(())
        }
        Access::Token(_) if asked != Asked::Api => Ok(()),
        Access::Token(token) => {
            let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
            // RFC 9110 §11.1: the scheme's name is the same in upper and lower case.
            let scheme = given.get(..BEARER.len()).unwrap_or_default();
            let secret = given.get(BEARER.len()..).unwrap_or_default();
            if scheme.eq_ignore_ascii_case(BEARER) && token.is(secret) {
                return Ok(());
            }
            let message = "send the token: Authorization: Bearer …";
            Err(forbidden(message).with_status(StatusCode::UNAUTHORIZED))
        }
    }
}

/// A page of another site is refused even where its script could not read the answer.
fn check_page(headers: &HeaderMap, host: &Authority) -> Result<(), Problem> {
    if let Some(origin) = headers.get(ORIGIN) {
        let checked = OriginPolicy::SameOrigin.check(origin.as_bytes(), host);
        checked.map_err(|_| forbidden("the API is not for web pages"))?;
    }
    // Images, scripts and links of other pages come without an Origin; browsers say it here.
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    match site {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(forbidden("the API is not for web pages")),
    }
}

fn forbidden(message: &str) -> Problem {
    Problem::new(ErrorCode::NotPermitted, message)
}

const BEARER: &[u8] = b"Bearer ";

const LOOPBACK_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

const SEC_FETCH_SITE: &str = "sec-fetch-site";

const HEADERS: [(HeaderName, &str); 3] = [
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Shorter ones could be guessed.
const TOKEN_BYTES_MIN: usize = 16;
/// Fits into any proxy's limit of a header.
const TOKEN_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(access: &Access, headers: &[(&str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a name");
            map.insert(name, HeaderValue::from_str(value).expect("a value"));
        }
        check(access, &map, Asked::Api).map_or_else(|problem| problem.status.as_u16(), |()| 0)
    }

    #[test]
    fn on_loopback_only_programs_of_this_machine_get_in() {
        let access = Access::Loopback { host: "admin.internal".to_owned() };
        for host in ["localhost:8081", "127.0.0.1:9", "[::1]:8081", "localhost", "ADMIN.internal:1"]
        {
            assert_eq!(refused(&access, &[("host", host)]), 0, "{host}");
        }
        for host in ["evil.example:8081", "127.0.0.1.evil.example", "10.0.0.1", "[::2]:80"] {
            assert_eq!(refused(&access, &[("host", host)]), 403, "{host}");
        }
        assert_eq!(refused(&access, &[]), 400, "a host is needed");
        assert_eq!(refused(&access, &[("host", "a b")]), 400);
    }

    #[test]
    fn pages_of_other_origins_never_get_in() {
        let token = Token::new("0123456789abcdef").expect("a token");
        let loopback = Access::Loopback { host: "127.0.0.1".to_owned() };
        let bearer = ("authorization", "Bearer 0123456789abcdef");
        for access in [loopback, Access::Token(token)] {
            let with = |more| refused(&access, &[("host", "localhost:8081"), bearer, more]);
            assert_eq!(with(("origin", "http://localhost:8081")), 0);
            for origin in
                ["http://localhost:3000", "https://evil.example", "null", "http://127.0.0.1:8081"]
            {
                assert_eq!(with(("origin", origin)), 403, "{origin}");
            }
            assert_eq!(with(("sec-fetch-site", "same-origin")), 0);
            assert_eq!(with(("sec-fetch-site", "none")), 0);
            assert_eq!(with(("sec-fetch-site", "cross-site")), 403);
            assert_eq!(with(("sec-fetch-site", "same-site")), 403);
        }
    }

    #[test]
    fn a_token_is_needed_where_there_is_one() {
        let access = Access::Token(Token::new("0123456789abcdef").expect("a token"));
        let host = ("host", "api.example");
        for right in ["Bearer 0123456789abcdef", "bearer 0123456789abcdef"] {
            assert_eq!(refused(&access, &[host, ("authorization", right)]), 0);
        }
        assert_eq!(refused(&access, &[host]), 401);
        for wrong in [
            "Bearer 0123456789abcdeX",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Bearer ",
            "Basic 0123456789abcdef",
            "0123456789abcdef",
            "B",
        ] {
            assert_eq!(refused(&access, &[host, ("authorization", wrong)]), 401, "{wrong}");
        }
    }

    #[test]
    fn a_token_is_long_and_not_shown() {
        assert_eq!(Token::new("short"), Err(InvalidToken));
        assert_eq!(Token::new("0123456789 abcdef"), Err(InvalidToken));
        let token = Token::new("0123456789abcdef").expect("a token");
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}
