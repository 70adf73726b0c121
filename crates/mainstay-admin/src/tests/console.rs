//! The console behind the guard.

use super::*;
use crate::Token;

async fn status(app: Router, path: &str, headers: &[(&str, &str)]) -> (u16, http::HeaderMap) {
    let mut request = request("GET", path, "");
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().expect("a name");
        request.headers_mut().insert(name, value.parse().expect("a value"));
    }
    let answer = app.oneshot(request).await.expect("never fails");
    (answer.status().as_u16(), answer.headers().clone())
}

#[tokio::test]
async fn the_console_takes_no_token_and_the_api_does() {
    let bench = Bench::new();
    let token = Token::new("0123456789abcdef").expect("a token");
    let app = bench.routes_for(Access::Token(token));
    let (code, headers) = status(app.clone(), "/console/", &[]).await;
    assert_eq!(code, 200);
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert!(headers.contains_key("content-security-policy"));
    assert_ne!(headers["cache-control"], "");
    assert_eq!(status(app.clone(), "/console", &[]).await.0, 308);
    assert_eq!(status(app.clone(), "/console/none.js", &[]).await.0, 404);
    for path in ["/v1/stats", "/v1/stats/history", "/v1/journal", "/v1/server", "/consoles"] {
        assert_eq!(status(app.clone(), path, &[]).await.0, 401, "{path}");
    }
}

#[tokio::test]
async fn a_link_may_lead_to_the_console_but_not_a_name_that_is_not_ours() {
    let app = Bench::new().routes();
    let linked = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    assert_eq!(status(app.clone(), "/console/", &linked).await.0, 200);
    assert_eq!(status(app.clone(), "/v1/stats", &linked).await.0, 403);
    let rebound = [("host", "evil.example:8081")];
    assert_eq!(status(app.clone(), "/console/", &rebound).await.0, 403);
    let (code, headers) = status(app, "/v1/stats", &[]).await;
    assert_eq!((code, headers["cache-control"].as_bytes()), (200, &b"no-store"[..]));
}
