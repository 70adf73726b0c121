//! One request to the HTTP API at a time.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpStream;
use url::Url;

/// Which server, and how it is got into.
#[derive(clap::Args)]
pub(super) struct Connection {
    /// The server's HTTP API
    #[arg(long, global = true, value_name = "URL", env = "MAINSTAY_ADMIN")]
    #[arg(default_value = "http://127.0.0.1:8081")]
    admin: String,

    /// File that holds the API's token; else it is taken from MAINSTAY_ADMIN_TOKEN
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Why there is no answer to print.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// Ours, or the operator's.
    #[error("{0}")]
    Usage(String),
    /// Nobody answers there.
    #[error("cannot reach {url}: {error}")]
    Unreachable { url: String, error: io::Error },
    /// What answers is not the API, or hangs.
    #[error("no answer from {url}: {detail}")]
    NoAnswer { url: String, detail: String },
    /// The server said no.
    #[error("{error}: {message}")]
    Refused { error: String, message: String },
}

impl Connection {
    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::GET, path, &[], None)
    }

    pub(super) fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::DELETE, path, &[], None)
    }

    pub(super) fn post(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        body: String,
    ) -> Result<Value, Failure> {
        self.ask(Method::POST, path, headers, Some(body))
    }

    /// Every object of a list to which all of `filters` apply, page by page, whatever a page holds.
    pub(super) fn list(
        &self,
        path: &str,
        name: &str,
        filters: &[(&str, Option<&str>)],
    ) -> Result<Vec<Value>, Failure> {
        let mut query = format!("limit={PAGE_COUNT}");
        for (filter, wanted) in filters {
            let Some(wanted) = wanted else { continue };
            let _ = write!(query, "&{filter}={}", encode(wanted));
        }
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let mut page = self.get(&format!("{path}?{query}{after}"))?;
            if let Some(Value::Array(objects)) = page.get_mut(name).map(Value::take) {
                all.extend(objects);
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={}", encode(next)),
                None => return Ok(all),
            }
        }
    }

    fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Option<String>,
    ) -> Result<Value, Failure> {
        let url = self.admin.trim_end_matches('/').to_owned();
        let (host, port) = authority(&url)?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, format!("{host}:{port}"))
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = self.token()? {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| Failure::Usage("the token has characters that none has".into()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let no_answer = |detail: String| Failure::NoAnswer { url: url.clone(), detail };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Usage(error.to_string()))?;
        let answering = async {
            let stream = TcpStream::connect(format!("{host}:{port}")).await;
            let stream =
                stream.map_err(|error| Failure::Unreachable { url: url.clone(), error })?;
            exchange(stream, request).await.map_err(|error| no_answer(error.to_string()))
        };
        let (is_success, body) = runtime
            .block_on(async { tokio::time::timeout(ANSWER_TIMEOUT, answering).await })
            .map_err(|_| no_answer("it took too long".to_owned()))??;
        let body: Value =
            serde_json::from_slice(&body).map_err(|_| no_answer(NO_API.to_owned()))?;
        match (is_success, body["error"].as_str(), body["message"].as_str()) {
            (true, _, _) => Ok(body),
            (false, Some(error), Some(message)) => {
                Err(Failure::Refused { error: error.to_owned(), message: message.to_owned() })
            }
            _ => Err(no_answer(NO_API.to_owned())),
        }
    }

    fn token(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.token_file else {
            return Ok(std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()));
        };
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) => Err(Failure::Usage(format!("cannot read {}: {error}", path.display()))),
        }
    }
}

/// Host and port of a URL, which must be plain HTTP.
fn authority(url: &str) -> Result<(String, u16), Failure> {
    let usage = || {
        Failure::Usage(format!(
            "--admin {url}: write http://HOST:PORT, the address of the HTTP API"
        ))
    };
    let parsed = Url::parse(url).map_err(|_| usage())?;
    if parsed.scheme() != "http" || parsed.path() != "/" || parsed.query().is_some() {
        return Err(usage());
    }
    let host = parsed.host_str().ok_or_else(usage)?.to_owned();
    Ok((host, parsed.port_or_known_default().unwrap_or(80)))
}

async fn exchange(
    stream: TcpStream,
    request: Request<Full<Bytes>>,
) -> Result<(bool, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the runtime.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let is_success = answer.status().is_success();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes();
    Ok((is_success, body))
}

/// A text as a part of a path or a query.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        // RFC 3986 §2.3.
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The server's own variable, so that both can share an environment file.
const TOKEN_VARIABLE: &str = "MAINSTAY_ADMIN_TOKEN";

const NO_API: &str = "what answers is not the HTTP API of mainstay server";

/// Sessions and channels asked for at once: as many as the API gives.
const PAGE_COUNT: usize = 1000;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A thousand sessions with as many subscriptions as they may have.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_addresses_are_taken() {
        let read = |url| authority(url).ok();
        assert_eq!(read("http://127.0.0.1:8081"), Some(("127.0.0.1".to_owned(), 8081)));
        assert_eq!(read("http://[::1]:9"), Some(("[::1]".to_owned(), 9)));
        assert_eq!(read("http://api.example"), Some(("api.example".to_owned(), 80)));
        for url in ["127.0.0.1:8081", "https://api.example", "http://a/b", "http://a?b", "x"] {
            assert_eq!(read(url), None, "{url}");
        }
    }

    #[test]
    fn names_stand_in_paths() {
        assert_eq!(encode("orders:eu/42.x_y-z"), "orders%3Aeu%2F42.x_y-z");
        assert_eq!(encode("$session/é"), "%24session%2F%C3%A9");
    }
}
