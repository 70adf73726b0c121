//! The web console: files that were built by `npm run build -w console` and are part of the program.

use std::borrow::Cow;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use mainstay_server::session::ErrorCode;

use crate::extract::Path;
use crate::problem::Problem;

/// `/console/` and what lies below. The page holds no data, so it needs no token: what it shows it asks
/// of the API, which does.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    serving(built)
}

fn serving<S: Clone + Send + Sync + 'static>(find: Find) -> Router<S> {
    let index = move |headers: HeaderMap| async move { answer(find, INDEX, &headers) };
    let file = move |Path(path): Path<String>, headers: HeaderMap| async move {
        answer(find, &path, &headers)
    };
    Router::new()
        .route("/console", get(async || Redirect::permanent("/console/")))
        .route("/console/", get(index))
        .route("/console/{*path}", get(file))
}

/// Whether a path is the console's.
pub(crate) fn is_console(path: &str) -> bool {
    path.strip_prefix("/console").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

type Find = fn(&str) -> Option<File>;

/// A file of the console.
struct File {
    bytes: Cow<'static, [u8]>,
    sha256: [u8; 32],
    media_type: Cow<'static, str>,
}

#[derive(rust_embed::Embed)]
#[folder = "../../console/dist"]
#[allow_missing = true]
struct Built;

fn built(path: &str) -> Option<File> {
    let file = Built::get(path)?;
    let sha256 = file.metadata.sha256_hash();
    let media_type = file.metadata.mimetype().to_owned().into();
    Some(File { bytes: file.data, sha256, media_type })
}

fn answer(find: Find, path: &str, headers: &HeaderMap) -> Response {
    let mut response = match find(path) {
        Some(file) => file.answer(path, headers),
        None if path == INDEX => not_built(),
        None => {
            let message = "the console has no such file";
            return Problem::new(ErrorCode::Unreachable, message).into_response();
        }
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

impl File {
    fn answer(self, path: &str, asked: &HeaderMap) -> Response {
        let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(self.sha256));
        let mut response = if is_known(asked, &tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let mut response = Response::new(Body::from(self.bytes.into_owned()));
            let media_type = match self.media_type.starts_with("text/") {
                true => format!("{}; charset=utf-8", self.media_type),
                false => self.media_type.into_owned(),
            };
            if let Ok(media_type) = HeaderValue::from_str(&media_type) {
                response.headers_mut().insert(CONTENT_TYPE, media_type);
            }
            response
        };
        let cache = if path.starts_with(HASHED) { FOR_EVER } else { ASK_AGAIN };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(ETAG, tag);
        }
        response
    }
}

/// RFC 9110 §13.1.2, by weak comparison.
fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    let lists = asked.get_all(IF_NONE_MATCH).into_iter().filter_map(|list| list.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn not_built() -> Response {
    let mut response = Response::new(Body::from(NOT_BUILT));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const INDEX: &str = "index.html";
/// Files in here have a hash of their content in their names.
const HASHED: &str = "assets/";
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";

/// Scripts and styles are files of ours, and nothing is loaded from elsewhere. The page's client
/// connects to the server's other port, which is another origin.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; object-src 'none'";

const NOT_BUILT: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <title>Mainstay</title>\n<h1>The console is not part of this build</h1>\n\
    <p>Build it before the server is built, with Node.js:</p>\n\
    <pre>npm ci\nnpm run build -w console\ncargo build --release</pre>\n\
    <p>The <a href=\"/openapi.json\">HTTP API</a> works without it.</p>\n</html>\n";

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    fn files(path: &str) -> Option<File> {
        let (text, media_type) = match path {
            "index.html" => ("<p>here", "text/html"),
            "assets/index-Dq8Zk3a1.js" => ("go()", "text/javascript"),
            "icon.svg" => ("<svg/>", "image/svg+xml"),
            _ => return None,
        };
        let sha256 = [text.len() as u8; 32];
        Some(File { bytes: text.as_bytes().into(), sha256, media_type: media_type.into() })
    }

    async fn ask(find: Find, method: &str, path: &str, tag: &str) -> (u16, HeaderMap, String) {
        let request = Request::builder().method(method).uri(path).header("if-none-match", tag);
        let request = request.body(Body::empty()).expect("a request");
        let answer =
            serving::<()>(find).with_state(()).oneshot(request).await.expect("never fails");
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        (parts.status.as_u16(), parts.headers, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn files_have_their_types_and_are_kept_by_browsers_as_long_as_they_hold() {
        for (path, text, media_type, cache) in [
            ("/console/", "<p>here", "text/html; charset=utf-8", "no-cache"),
            ("/console/index.html", "<p>here", "text/html; charset=utf-8", "no-cache"),
            ("/console/icon.svg", "<svg/>", "image/svg+xml", "no-cache"),
            (
                "/console/assets/index-Dq8Zk3a1.js",
                "go()",
                "text/javascript; charset=utf-8",
                "public, max-age=31536000, immutable",
            ),
        ] {
            let (status, headers, body) = ask(files, "GET", path, "").await;
            assert_eq!((status, body.as_str()), (200, text), "{path}");
            assert_eq!(
                (&headers["content-type"], &headers["cache-control"]),
                (
                    &media_type.parse::<HeaderValue>().expect("a value"),
                    &HeaderValue::from_static(cache)
                ),
                "{path}"
            );
            let policy = headers["content-security-policy"].to_str().expect("text");
            assert!(policy.starts_with("default-src 'self'; connect-src 'self' ws: wss:;"));
            assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));
            let tag = headers["etag"].to_str().expect("text").to_owned();
            let (status, headers, body) = ask(files, "HEAD", path, "").await;
            assert_eq!((status, body.as_str()), (200, ""), "{path}");
            assert_eq!(headers["content-length"], text.len().to_string());
            for known in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
                let (status, headers, body) = ask(files, "GET", path, &known).await;
                assert_eq!((status, body.as_str()), (304, ""), "{path} {known}");
                assert_eq!(
                    (&headers["etag"], &headers["cache-control"]),
                    (
                        &tag.parse::<HeaderValue>().expect("a value"),
                        &HeaderValue::from_static(cache)
                    )
                );
            }
            assert_eq!(ask(files, "GET", path, "\"other\"").await.0, 200);
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_found() {
        for path in ["/console/other.js", "/console/assets/", "/console/..%2findex.html"] {
            assert_eq!(ask(files, "GET", path, "").await.0, 404, "{path}");
        }
        assert_eq!(ask(files, "POST", "/console/", "").await.0, 405);
        let (status, headers, _) = ask(files, "GET", "/console", "").await;
        assert_eq!((status, &headers["location"]), (308, &HeaderValue::from_static("/console/")));
    }

    #[tokio::test]
    async fn a_build_without_the_console_says_how_to_get_it() {
        let (status, headers, body) = ask(|_| None, "GET", "/console/", "").await;
        assert_eq!(
            (status, &headers["cache-control"]),
            (200, &HeaderValue::from_static("no-store"))
        );
        assert!(body.contains("npm run build -w console"), "{body}");
        assert!(headers.contains_key("content-security-policy"));
        assert_eq!(ask(|_| None, "GET", "/console/assets/x.js", "").await.0, 404);
    }
}
