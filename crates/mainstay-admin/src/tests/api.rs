//! Every route and every refusal.

use std::collections::BTreeSet;

use mainstay_server::session::{ErrorCode, Failure, Outcome, Payload, Principal};
use mainstay_server::{Call, CallError, ChannelName, ChannelQuery, SessionQuery, Target};
use serde_json::json;

use super::*;
use crate::Token;
use crate::double::{lock, session};
use crate::publish::{PublishBody, SendBody};
use crate::sessions::RequestBody;

const ID: &str = "8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f";

#[track_caller]
fn refused(answer: (u16, Value), status: u16, error: &str) {
    assert_eq!((answer.0, answer.1["error"].as_str()), (status, Some(error)), "{}", answer.1);
    assert!(answer.1["message"].as_str().is_some_and(|text| !text.is_empty()), "{}", answer.1);
}

#[tokio::test]
async fn publishing_says_where_the_event_went() {
    let bench = Bench::new();
    let place = |name| json!({"channel": name, "epoch": "0000000000000001", "offset": 42});
    let answer = bench.post("/v1/publish", r#"{"channel":"news","payload":{"a": [1,2]}}"#).await;
    assert_eq!(answer, (200, json!({"places": [place("news")]})));
    let answer = bench.post("/v1/publish", r#"{"channels":["a","b/c"],"data":"AAE="}"#).await;
    assert_eq!(answer, (200, json!({"places": [place("a"), place("b/c")]})));
    let answer = bench.post("/v1/publish?channel=a&channel=b", "raw").await;
    assert_eq!(answer, (200, json!({"places": [place("a"), place("b")]})));
    let mut request = request("POST", "/v1/publish?channel=a", "[1]");
    request.headers_mut().insert("content-type", "application/json; x=y".parse().expect("a value"));
    assert_eq!(bench.ask(request).await.0, 200);
    assert_eq!(bench.post("/v1/publish", r#"{"channel":"news"}"#).await.0, 200);

    let payloads: Vec<Payload> = lock(&bench.double.calls)
        .iter()
        .map(|call| match call {
            Call::Publish { payload, key: None, .. } => payload.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        payloads,
        [
            Payload::from_json_bytes(r#"{"a": [1,2]}"#),
            Payload::binary(&b"\0\x01"[..]),
            Payload::binary("raw"),
            Payload::from_json_bytes("[1]"),
            Payload::NULL,
        ],
        "JSON passes as it was written"
    );
}

#[tokio::test]
async fn publishing_what_is_no_event_is_refused() {
    let bench = Bench::new();
    let big = "x".repeat(1001);
    for (body, status, error) in [
        ("", 400, "malformed"),
        ("[]", 400, "malformed"),
        (r#"{"payload":1}"#, 400, "malformed"),
        (r#"{"channel":"a","channels":["b"]}"#, 400, "malformed"),
        (r#"{"channels":[]}"#, 400, "malformed"),
        (r#"{"channel":"a","payload":{]}"#, 400, "malformed"),
        (r#"{"channel":"a","payload":1,"data":""}"#, 400, "malformed"),
        (r#"{"channel":"a","data":"*"}"#, 400, "malformed"),
        (r#"{"channel":"a","payloud":1}"#, 400, "malformed"),
        (r#"{"channel":"a b"}"#, 400, "invalid_channel"),
        (r#"{"channel":"$session/8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f"}"#, 400, "invalid_channel"),
        (&format!(r#"{{"channel":"a","payload":"{big}"}}"#), 413, "too_big"),
        (&"x".repeat(3000), 413, "too_big"),
    ] {
        refused(bench.post("/v1/publish", body).await, status, error);
    }
    let many = json!({"channels": vec!["a"; 101]}).to_string();
    refused(bench.post("/v1/publish", &many).await, 400, "malformed");
    refused(bench.post("/v1/publish?channel=a", &big).await, 413, "too_big");
    refused(bench.post("/v1/publish?chanel=a", "x").await, 400, "malformed");
    let mut no_json = request("POST", "/v1/publish?channel=a", "{");
    no_json.headers_mut().insert("content-type", "application/json".parse().expect("a value"));
    refused(bench.ask(no_json).await, 400, "malformed");
    assert!(lock(&bench.double.calls).is_empty(), "nothing of it came through");
}

#[tokio::test]
async fn a_key_is_kept_apart_for_each_route() {
    let bench = Bench::new();
    for (path, body) in
        [("/v1/publish", json!({"channel": "a"})), ("/v1/send", json!({"session": ID}))]
    {
        let mut with_key = request("POST", path, &body.to_string());
        with_key.headers_mut().insert("idempotency-key", "order-17".parse().expect("a value"));
        assert_eq!(bench.ask(with_key).await.0, 200);
        for key in ["", "a b", &"k".repeat(129)] {
            let mut with_key = request("POST", path, &body.to_string());
            with_key.headers_mut().insert("idempotency-key", key.parse().expect("a value"));
            refused(bench.ask(with_key).await, 400, "malformed");
        }
    }
    let keys: Vec<_> = lock(&bench.double.calls)
        .iter()
        .map(|call| match call {
            Call::Publish { key, .. } | Call::Send { key, .. } => key.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(keys, [Some("publish order-17".into()), Some("send order-17".into())]);
}

#[tokio::test]
async fn sending_goes_to_exactly_one() {
    let bench = Bench::new();
    for body in [
        json!({"session": ID, "payload": 1}),
        json!({"principal": "ann@example.org"}),
        json!({"connection": "0300000007000009"}),
    ] {
        let (status, answer) = bench.post("/v1/send", &body.to_string()).await;
        assert_eq!((status, &answer["places"][0]["offset"]), (200, &json!(7)));
    }
    for body in [
        json!({"payload": 1}),
        json!({"session": ID, "principal": "ann"}),
        json!({"session": "8f"}),
        json!({"principal": "a b"}),
        json!({"connection": "x"}),
    ] {
        refused(bench.post("/v1/send", &body.to_string()).await, 400, "malformed");
    }
    let calls = lock(&bench.double.calls);
    let targets: Vec<_> = calls
        .iter()
        .map(|call| match call {
            Call::Send { to, .. } => to,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(targets[0], &Target::Session(session()));
    assert!(matches!(targets[1..], [Target::Principal(_), Target::Connection(_)]));
}

#[tokio::test]
async fn a_command_is_answered_with_its_outcome() {
    let bench = Bench::new();
    let path = format!("/v1/sessions/{ID}/request");
    let failed = Failure { code: ErrorCode::HandlerFailed, message: "no".to_owned() };
    for (outcome, expected) in [
        (
            Outcome::Done(Payload::from_json_bytes("[1, 2]")),
            json!({"status":"done","payload":[1,2]}),
        ),
        (Outcome::Done(Payload::binary("a")), json!({"status": "done", "data": "YQ=="})),
        (
            Outcome::Failed(failed),
            json!({"status": "failed", "error": "handler_failed", "message": "no"}),
        ),
        (Outcome::Indeterminate, json!({"status": "indeterminate"})),
    ] {
        *lock(&bench.double.outcome) = Some(outcome);
        let answer = bench.post(&path, r#"{"command":"reload","payload":1}"#).await;
        assert_eq!(answer, (200, expected));
    }
    let late = Failure { code: ErrorCode::DeadlineExceeded, message: "late".to_owned() };
    *lock(&bench.double.outcome) = Some(Outcome::Failed(late));
    refused(bench.post(&path, r#"{"command":"x"}"#).await, 504, "deadline_exceeded");
    assert!(matches!(
        lock(&bench.double.calls).last(),
        Some(Call::Command { deadline_ms: 30_000, .. })
    ));
    for body in
        [r#"{}"#, r#"{"command":"x","deadline_ms":0}"#, r#"{"command":"x","deadline_ms":300001}"#]
    {
        refused(bench.post(&path, body).await, 400, "malformed");
    }
    refused(bench.post("/v1/sessions/8f/request", r#"{"command":"x"}"#).await, 400, "malformed");
}

#[tokio::test]
async fn channels_can_be_looked_at() {
    let bench = Bench::new();
    bench.double.publish_texts("news", &["a", "b", "c"]);
    bench.double.publish("x/y", Payload::binary("z"));
    let (status, answer) = bench.get("/v1/channels?limit=1").await;
    assert_eq!((status, &answer["next"]), (200, &json!("news")));
    let news = json!({"name": "news", "epoch": "0000000000000001", "first": 1, "head": 3,
        "bytes": 9, "subscriber_count": 2, "member_count": 1});
    assert_eq!(answer["channels"], json!([news]));
    let (_, answer) = bench.get("/v1/channels?limit=5&after=news").await;
    assert_eq!((&answer["channels"][0]["name"], &answer["next"]), (&json!("x/y"), &Value::Null));
    assert_eq!(bench.get("/v1/channels/news").await, (200, news));
    assert_eq!(bench.get("/v1/channels/x%2Fy").await.1["name"], "x/y");

    let (status, answer) = bench.get("/v1/history?channel=news&after=1&limit=1").await;
    assert_eq!((status, &answer["next"]), (200, &json!(2)));
    let event = json!({"type": "event", "channel": "news", "offset": 2,
        "at_ms": 1_780_000_000_000_u64, "payload": "b"});
    assert_eq!(answer["events"], json!([event]));
    let (_, answer) = bench.get("/v1/history?channel=x/y").await;
    assert_eq!((&answer["events"][0]["data"], &answer["next"]), (&json!("eg=="), &Value::Null));

    let (status, answer) = bench.get("/v1/presence?channel=news").await;
    assert_eq!((status, answer), (200, json!({"members": [{"session": ID}]})));
    for path in [
        "/v1/channels?limit=0",
        "/v1/channels?limit=1001",
        "/v1/channels?limit=x",
        "/v1/channels?page=2",
        "/v1/history",
        "/v1/history?channel=news&limit=251",
        "/v1/history?channel=news&after=-1",
        "/v1/presence",
    ] {
        refused(bench.get(path).await, 400, "malformed");
    }
    for path in ["/v1/channels/a%20b", "/v1/history?channel=a+b", "/v1/presence?channel="] {
        refused(bench.get(path).await, 400, "invalid_channel");
    }
    refused(bench.get("/v1/channels/old").await, 404, "unreachable");
    refused(bench.get("/v1/history?channel=old").await, 404, "unreachable");
}

#[tokio::test]
async fn sessions_can_be_looked_at_and_ended() {
    let bench = Bench::new();
    let (status, answer) = bench.get(&format!("/v1/sessions/{ID}")).await;
    let subscription = json!({"channel": "news", "delivery": "every", "presence": "none",
        "acknowledged": 40, "lag": 2});
    let expected = json!({"session": ID, "state": "connected", "connection": "0300000007000009",
        "client": "test/1.0", "generation": 3, "since_ms": 1_780_000_000_000_u64, "accepted": 5,
        "reply_count": 1, "command_count": 0, "subscriptions": [subscription],
        "behind": true, "resumes": 2,
        "last_end": {"reason": "peer_eof", "at_ms": 1_780_000_000_500_u64}});
    assert_eq!((status, &answer), (200, &expected));
    let page = json!({"sessions": [expected], "next": ID});
    assert_eq!(bench.get("/v1/sessions").await, (200, page), "a page that is not full has a next");
    let answer = bench.get(&format!("/v1/sessions?after={ID}")).await;
    assert_eq!(answer, (200, json!({"sessions": []})));
    let delete = |id: &str| request("DELETE", &format!("/v1/sessions/{id}"), "");
    assert_eq!(bench.ask(delete(ID)).await, (200, json!({})));
    let other = "0".repeat(32);
    refused(bench.ask(delete(&other)).await, 404, "unreachable");
    refused(bench.ask(delete("8f")).await, 400, "malformed");
    refused(bench.get(&format!("/v1/sessions/{other}")).await, 404, "unreachable");
    refused(bench.get("/v1/sessions/8f").await, 400, "malformed");
    refused(bench.get("/v1/sessions?after=8f").await, 400, "malformed");
}

#[tokio::test]
async fn lists_are_narrowed_by_everything_that_is_asked_for() {
    let bench = Bench::new();
    let path = "/v1/sessions?prefix=8f&state=away&principal=ann%40example.org&behind=true&limit=7";
    assert_eq!(bench.get(path).await.0, 200);
    assert_eq!(bench.get("/v1/sessions?state=connected&behind=false").await.0, 200);
    assert_eq!(bench.get("/v1/channels?prefix=orders/&after=orders/1").await.0, 200);
    assert_eq!(bench.get("/v1/channels?prefix=").await.0, 200);
    let calls = lock(&bench.double.calls);
    let [Call::Sessions(all), Call::Sessions(other), Call::Channels(channels), Call::Channels(any)] =
        &calls[..]
    else {
        panic!("{calls:?}")
    };
    let wanted = SessionQuery {
        prefix: "8f".parse().ok(),
        principal: Principal::parse("ann@example.org").ok(),
        is_connected: Some(false),
        is_behind: Some(true),
        after: None,
        count_max: 7,
    };
    assert_eq!(all, &wanted);
    assert_eq!((other.is_connected, other.is_behind), (Some(true), Some(false)));
    let prefix = "orders/".parse().ok();
    let after = Some(ChannelName::parse("orders/1").expect("a name"));
    assert_eq!(channels, &ChannelQuery { prefix, after, count_max: 100 });
    assert_eq!(any.prefix, "".parse().ok());
}

#[tokio::test]
async fn a_filter_that_cannot_be_is_refused_by_its_name_and_with_what_is_allowed() {
    let bench = Bench::new();
    for (path, name, allowed) in [
        ("/v1/channels?prefix=a+b", "prefix", "A-Z a-z 0-9 . _ : / -"),
        ("/v1/sessions?prefix=xyz", "prefix", "32 hexadecimal digits"),
        ("/v1/sessions?state=gone", "state", "`connected` or `away`"),
        ("/v1/sessions?principal=a+b", "principal", "1 to 96 bytes"),
        ("/v1/sessions?behind=maybe", "behind", "`true` or `false`"),
        ("/v1/sessions?sate=away", "sate", "`state`"),
    ] {
        let answer = bench.get(path).await;
        let message = answer.1["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(name) && message.contains(allowed), "{path}: {message}");
        refused(answer, 400, "malformed");
    }
    assert!(lock(&bench.double.calls).is_empty(), "nothing of it came through");
}

#[tokio::test(start_paused = true)]
async fn health_tells_who_works_who_hangs_and_who_leaves() {
    let bench = Bench::new();
    assert_eq!(bench.get("/health").await, (200, json!({"status": "ok"})));
    *lock(&bench.double.is_silent) = true;
    refused(bench.get("/health").await, 503, "busy");
    *lock(&bench.double.is_silent) = false;
    bench.leaving.send_replace(true);
    refused(bench.get("/health").await, 503, "busy");
}

#[tokio::test]
async fn counters_are_shown() {
    let (status, answer) = Bench::new().get("/v1/stats").await;
    assert_eq!(
        (status, &answer["opened"], &answer["ends"]),
        (200, &json!(3), &json!({"peer_eof": 2}))
    );
}

#[tokio::test]
async fn what_the_server_refuses_is_passed_on_with_its_word() {
    let bench = Bench::new();
    for code in ErrorCode::ALL {
        let refusal = CallError { code: *code, message: "because".to_owned() };
        *lock(&bench.double.refusal) = Some(refusal);
        let (status, answer) = bench.post("/v1/publish", r#"{"channel":"a"}"#).await;
        assert!(status >= 400);
        assert_eq!(answer, json!({"error": code.word(), "message": "because"}));
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_told() {
    let bench = Bench::new();
    refused(bench.get("/v2/publish").await, 404, "unreachable");
    refused(bench.get("/v1/publish").await, 405, "malformed");
}

#[tokio::test]
async fn the_guard_stands_before_every_route() {
    let bench = Bench::new();
    let token = Token::new("0123456789abcdef").expect("a token");
    let with_token = bench.routes_for(Access::Token(token));
    for (method, path) in every_route() {
        let path = path.replace("{id}", ID).replace("{name}", "news");
        let page = |origin: &str| {
            let mut request = request(&method, &path, "");
            request.headers_mut().insert("origin", origin.parse().expect("a value"));
            request
        };
        refused(bench.ask(page("https://evil.example")).await, 403, "not_permitted");
        let mut rebound = request(&method, &path, "");
        rebound.headers_mut().insert("host", "evil.example:8081".parse().expect("a value"));
        refused(bench.ask(rebound).await, 403, "not_permitted");
        let answer = with_token.clone().oneshot(request(&method, &path, "")).await;
        let answer = answer.expect("never fails");
        if path == "/health" {
            assert_eq!(answer.status(), 200);
        } else {
            assert_eq!(answer.headers()["www-authenticate"], "Bearer");
            assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
            refused(read(answer).await, 401, "not_permitted");
            let mut request = request(&method, &path, "");
            let bearer = "Bearer 0123456789abcdef".parse().expect("a value");
            request.headers_mut().insert("authorization", bearer);
            let answer = with_token.clone().oneshot(request).await.expect("never fails");
            assert_ne!(answer.status(), 401, "{path}");
        }
    }
    let calls = lock(&bench.double.calls);
    let end_count = calls.iter().filter(|call| matches!(call, Call::End { .. })).count();
    assert_eq!(end_count, 1, "only the request with the token came through");
}

fn every_route() -> Vec<(String, String)> {
    let document = serde_json::to_value(crate::document()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &Value)| {
        let methods = item.as_object().expect("methods").keys();
        methods.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[tokio::test]
async fn the_document_lists_every_route_and_its_examples_are_read() {
    let routes: BTreeSet<String> =
        every_route().into_iter().map(|(method, path)| format!("{method} {path}")).collect();
    let expected = [
        "GET /events",
        "GET /health",
        "GET /openapi.json",
        "GET /v1/channels",
        "GET /v1/channels/{name}",
        "GET /v1/history",
        "GET /v1/journal",
        "GET /v1/presence",
        "GET /v1/server",
        "GET /v1/sessions",
        "GET /v1/sessions/{id}",
        "GET /v1/stats",
        "GET /v1/stats/history",
        "DELETE /v1/sessions/{id}",
        "POST /v1/publish",
        "POST /v1/send",
        "POST /v1/sessions/{id}/request",
    ];
    assert_eq!(routes, expected.map(str::to_owned).into());

    let bench = Bench::new();
    let (status, document) = bench.get("/openapi.json").await;
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
    let example = |path: &str| {
        let content = &document["paths"][path]["post"]["requestBody"]["content"];
        content["application/json"]["example"].to_string()
    };
    let publish: PublishBody = serde_json::from_str(&example("/v1/publish")).expect("an example");
    assert_eq!(publish.channel.as_deref(), Some("news"));
    let send: SendBody = serde_json::from_str(&example("/v1/send")).expect("an example");
    assert!(send.principal.is_some());
    let path = "/v1/sessions/{id}/request";
    let request: RequestBody = serde_json::from_str(&example(path)).expect("an example");
    assert_eq!(request.command, "reload");
    for (path, example) in [
        ("/v1/publish".to_owned(), example("/v1/publish")),
        ("/v1/send".to_owned(), example("/v1/send")),
        (path.replace("{id}", ID), example(path)),
    ] {
        assert_eq!(bench.post(&path, &example).await.0, 200, "{path}");
    }
}

#[test]
fn the_document_says_where_parameters_stand_and_which_may_be_left_out() {
    let document = serde_json::to_value(crate::document()).expect("JSON");
    let mut required = BTreeSet::new();
    for (method, path) in every_route() {
        let route = &document["paths"][&path][method.to_lowercase()];
        for parameter in route["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().expect("a name");
            let place = match name {
                "Last-Event-ID" | "Idempotency-Key" => "header",
                _ if path.contains(&format!("{{{name}}}")) => "path",
                _ => "query",
            };
            assert_eq!(parameter["in"], place, "{name} of {path}");
            if place == "query" && parameter["required"] == true {
                required.insert(format!("{name} of {path}"));
            }
        }
    }
    let expected =
        ["/events", "/v1/history", "/v1/presence"].map(|path| format!("channel of {path}"));
    assert_eq!(required, expected.into());
}
