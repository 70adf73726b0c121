//! Server-sent events: resuming, gaps, order, and nothing lost or told twice.

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt;
use mainstay_server::session::Payload;

use super::*;
use crate::double::lock;

/// An open stream, read piece by piece.
struct Stream {
    body: BodyDataStream,
    read: String,
}

impl Bench {
    async fn open(&self, query: &str, last_event_id: &str) -> Stream {
        let answer = self.open_answer(query, last_event_id).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        Stream { body: answer.into_body().into_data_stream(), read: String::new() }
    }

    async fn open_answer(&self, query: &str, last_event_id: &str) -> Response<Body> {
        let mut request = request("GET", &format!("/events?{query}"), "");
        if !last_event_id.is_empty() {
            let id = last_event_id.parse().expect("a value");
            request.headers_mut().insert("last-event-id", id);
        }
        let events = self.events(OriginPolicy::SameOrigin, 10);
        events.oneshot(request).await.expect("never fails")
    }
}

impl Stream {
    /// The next message: its lines.
    async fn message(&mut self) -> Option<String> {
        loop {
            if let Some((message, rest)) = self.read.split_once("\n\n") {
                let (message, rest) = (message.to_owned(), rest.to_owned());
                self.read = rest;
                return Some(message);
            }
            let piece = self.body.next().await?.expect("a piece");
            self.read.push_str(std::str::from_utf8(&piece).expect("text"));
        }
    }

    /// The next message in short: `ID EVENT` with what an event says, or `ID gap FROM..TO REASON`.
    async fn short(&mut self) -> String {
        let message = self.message().await.expect("a message");
        let (mut id, mut event, mut data) = ("", "", Value::Null);
        for line in message.lines() {
            match line.split_once(": ").expect("a field") {
                ("id", value) => id = value,
                ("event", value) => event = value,
                ("data", value) => data = serde_json::from_str(value).expect("JSON"),
                _ => panic!("{line}"),
            }
        }
        let id = id.replace("00000000000000", "");
        match (event, &data) {
            ("", Value::Null) => id,
            ("", _) => {
                format!("{id} {} {}", data["channel"].as_str().expect("a name"), data["payload"])
            }
            _ => format!("{id} {event} {}..{} {}", data["from"], data["to"], data["reason"]),
        }
    }

    async fn shorts(&mut self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.short().await);
        }
        all
    }
}

#[tokio::test]
async fn events_come_as_they_are_published() {
    let bench = Bench::new();
    bench.double.publish_texts("news", &["before"]);
    let mut stream = bench.open("channel=news", "").await;
    assert_eq!(stream.short().await, "01:1", "a client that is cut off now comes back to here");
    bench.double.publish_texts("news", &["a", "b"]);
    assert_eq!(stream.shorts(2).await, ["01:2 news \"a\"", "01:3 news \"b\""]);
    bench.double.publish_texts("news", &["c"]);
    assert_eq!(stream.short().await, "01:4 news \"c\"");
}

#[tokio::test]
async fn a_message_is_the_frame_of_the_session_dialect() {
    let bench = Bench::new();
    let mut stream = bench.open("channel=news", "").await;
    stream.message().await;
    bench.double.publish("news", Payload::from_json_bytes("{\"a\":\r\n 1}"));
    assert_eq!(
        stream.message().await.expect("a message"),
        "id: 0000000000000001:1\ndata: {\"type\":\"event\",\"channel\":\"news\",\"offset\":1,\
         \"at_ms\":1780000000000,\"payload\":{\"a\":   1}}"
    );
    bench.double.publish("news", Payload::binary("a\nb"));
    assert!(stream.message().await.expect("a message").contains("\"data\":\"YQpi\""));
}

#[tokio::test]
async fn a_stream_begins_where_it_is_told() {
    let bench = Bench::new();
    bench.double.publish_texts("news", &["a", "b", "c"]);
    let mut stream = bench.open("channel=news&last=2", "").await;
    assert_eq!(stream.shorts(3).await, ["01:1", "01:2 news \"b\"", "01:3 news \"c\""]);
    let mut stream = bench.open("channel=news&last=9", "").await;
    assert_eq!(stream.shorts(2).await, ["01:0", "01:1 news \"a\""]);
    let mut stream = bench.open("channel=news&from=start", "").await;
    assert_eq!(stream.shorts(2).await, ["-:0", "01:1 news \"a\""]);
}

#[tokio::test]
async fn a_stream_goes_on_behind_its_last_event() {
    let bench = Bench::new();
    bench.double.publish_texts("news", &["a", "b", "c"]);
    let mut stream = bench.open("channel=news&from=start", "0000000000000001:2").await;
    assert_eq!(stream.shorts(2).await, ["01:2", "01:3 news \"c\""]);
    bench.double.publish_texts("news", &["d"]);
    assert_eq!(stream.short().await, "01:4 news \"d\"");
}

#[tokio::test]
async fn what_was_trimmed_meanwhile_is_told() {
    let bench = Bench::new();
    bench.double.publish_texts("news", &["a", "b", "c", "d"]);
    bench.double.trim("news", 3);
    let mut stream = bench.open("channel=news", "0000000000000001:1").await;
    let expected = ["01:1", "01:3 gap 2..3 \"trimmed\"", "01:4 news \"d\""];
    assert_eq!(stream.shorts(3).await, expected);
    bench.double.publish_texts("news", &["e"]);
    bench.double.trim("news", 5);
    let mut stream = bench.open("channel=news", "0000000000000001:4").await;
    assert_eq!(stream.shorts(2).await, ["01:4", "01:5 gap 5..5 \"trimmed\""]);
}

#[tokio::test]
async fn another_epoch_is_told_and_read_from_its_beginning() {
    let bench = Bench::new();
    bench.double.lose("news", 2);
    bench.double.publish_texts("news", &["x", "y"]);
    let mut stream = bench.open("channel=news", "0000000000000001:7").await;
    let expected = ["01:7", "02:0 gap 8..null \"epoch\"", "02:1 news \"x\"", "02:2 news \"y\""];
    assert_eq!(stream.shorts(4).await, expected);
    bench.double.lose("news", 3);
    bench.double.publish_texts("news", &["z"]);
    assert_eq!(stream.shorts(2).await, ["03:0 gap 3..null \"epoch\"", "03:1 news \"z\""]);
}

#[tokio::test]
async fn a_channel_that_does_not_exist_yet_is_waited_for_across_a_reconnect() {
    let bench = Bench::new();
    let mut stream = bench.open("channel=news", "").await;
    assert_eq!(stream.short().await, "-:0");
    drop(stream);
    bench.double.publish_texts("news", &["a"]);
    let mut stream = bench.open("channel=news", "-:0").await;
    assert_eq!(stream.shorts(2).await, ["-:0", "01:1 news \"a\""]);
}

#[tokio::test]
async fn an_event_between_the_page_and_the_wait_is_not_lost() {
    let bench = Bench::new();
    bench.double.publish_texts("news", &["a"]);
    let publish_late = || Box::new(|double: &Double| double.publish_texts("news", &["late"]));
    // While the place is found.
    *lock(&bench.double.after_read) = Some(publish_late());
    let mut stream = bench.open("channel=news", "").await;
    assert_eq!(stream.shorts(2).await, ["01:1", "01:2 news \"late\""]);
    // While a page is read.
    *lock(&bench.double.after_read) = Some(publish_late());
    bench.double.publish_texts("news", &["b"]);
    let told = stream.shorts(2).await;
    assert_eq!(told, ["01:3 news \"b\"", "01:4 news \"late\""]);
    // And nothing of it comes twice.
    bench.double.publish_texts("news", &["c"]);
    assert_eq!(stream.short().await, "01:5 news \"c\"");
}

#[tokio::test]
async fn what_is_just_being_stored_is_waited_for_and_what_cannot_be_read_is_told() {
    let bench = Bench::new();
    bench.double.publish_texts("news", &["a", "b", "c"]);
    for (withheld, expected) in [
        (vec![3], ["01:1 news \"a\"", "01:2 news \"b\"", "01:3 news \"c\""]),
        (vec![3, 1], ["01:1 news \"a\"", "01:2 news \"b\"", "01:3 news \"c\""]),
    ] {
        *lock(&bench.double.withheld) = withheld;
        let mut stream = bench.open("channel=news&from=start", "").await;
        stream.message().await;
        assert_eq!(stream.shorts(3).await, expected);
    }
    *lock(&bench.double.withheld) = vec![3, 3];
    let mut stream = bench.open("channel=news&from=start", "").await;
    stream.message().await;
    assert_eq!(stream.short().await, "01:3 gap 1..3 \"corrupt\"");
    bench.double.publish_texts("news", &["d"]);
    assert_eq!(stream.short().await, "01:4 news \"d\"");
}

#[tokio::test]
async fn many_pages_come_in_order() {
    let bench = Bench::new();
    let texts: Vec<String> = (1..=500).map(|n| n.to_string()).collect();
    bench.double.publish_texts("news", &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let mut stream = bench.open("channel=news&from=start", "").await;
    stream.message().await;
    for n in 1..=500 {
        let short = stream.short().await;
        assert!(short.ends_with(&format!(":{n} news \"{n}\"")), "{short}");
    }
}

#[tokio::test]
async fn several_channels_have_their_places_in_one_id() {
    let bench = Bench::new();
    bench.double.publish_texts("a", &["1", "2"]);
    let mut stream = bench.open("channel=a&channel=b/c", "").await;
    assert_eq!(stream.short().await, "a=01:2,b/c=-:0");
    bench.double.publish_texts("b/c", &["3"]);
    assert_eq!(stream.short().await, "a=01:2,b/c=01:1 b/c \"3\"");
    bench.double.publish_texts("a", &["4"]);
    assert_eq!(stream.short().await, "a=01:3,b/c=01:1 a \"4\"");
    drop(stream);
    bench.double.publish_texts("b/c", &["5"]);
    let id = "a=0000000000000001:2,b/c=0000000000000001:1";
    let mut stream = bench.open("channel=a&channel=b/c", id).await;
    let expected = ["a=01:2,b/c=01:1", "a=01:3,b/c=01:1 a \"4\"", "a=01:3,b/c=01:2 b/c \"5\""];
    assert_eq!(stream.shorts(3).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_is_kept_alive() {
    let bench = Bench::new();
    let mut stream = bench.open("channel=news", "").await;
    stream.message().await;
    let began = tokio::time::Instant::now();
    assert_eq!(stream.message().await.as_deref(), Some(": keep-alive"));
    assert_eq!(began.elapsed().as_secs(), 15);
    bench.double.publish_texts("news", &["a"]);
    assert_eq!(stream.short().await, "01:1 news \"a\"");
}

#[tokio::test]
async fn streams_end_when_the_server_leaves_and_say_when_to_come_back() {
    let bench = Bench::new();
    let mut stream = bench.open("channel=news", "").await;
    stream.message().await;
    bench.leaving.send_replace(true);
    let last = stream.message().await.expect("a last message");
    assert!(last.starts_with(": the server is shutting down\nretry: "), "{last}");
    assert_eq!(stream.message().await, None);
    let (status, answer) = read(bench.open_answer("channel=news", "").await).await;
    assert_eq!((status, answer["error"].as_str()), (503, Some("busy")));
}

#[tokio::test]
async fn a_server_that_no_longer_answers_does_not_keep_its_streams() {
    let bench = Bench::new();
    *lock(&bench.double.is_silent) = true;
    let mut stream = bench.open("channel=news", "0000000000000001:2").await;
    assert_eq!(stream.short().await, "01:2");
    let begins = bench.open_answer("channel=news", "");
    let leaves = async {
        tokio::task::yield_now().await;
        bench.leaving.send_replace(true);
    };
    let (answer, ()) = tokio::join!(begins, leaves);
    assert_eq!(answer.status(), 503);
    assert!(stream.message().await.expect("a last message").contains("retry: "));
    assert_eq!(stream.message().await, None);
}

#[tokio::test]
async fn a_stream_ends_when_the_log_cannot_be_read() {
    use mainstay_server::{CallError, session::ErrorCode};
    let bench = Bench::new();
    let mut stream = bench.open("channel=news", "").await;
    stream.message().await;
    let refusal = CallError { code: ErrorCode::StoreFailed, message: "the\ndisk".to_owned() };
    *lock(&bench.double.refusal) = Some(refusal);
    bench.double.publish_texts("news", &["a"]);
    let last = stream.message().await.expect("a last message");
    assert!(last.starts_with(": the disk\nretry: "), "{last}");
    assert_eq!(stream.message().await, None);
    assert_eq!(bench.open_answer("channel=news", "").await.status(), 507);
}

#[tokio::test]
async fn streams_are_bounded_and_give_their_place_back() {
    let bench = Bench::new();
    let router = bench.events(OriginPolicy::SameOrigin, 1);
    let open = || router.clone().oneshot(request("GET", "/events?channel=news", ""));
    let first = open().await.expect("never fails");
    assert_eq!(first.status(), 200);
    assert_eq!(bench.double.watcher_count("news"), 1);
    let second = open().await.expect("never fails");
    assert_eq!(second.status(), 503);
    assert!(second.headers().contains_key("retry-after"));
    drop(first);
    assert_eq!(open().await.expect("never fails").status(), 200);
    assert_eq!(bench.double.watcher_count("news"), 0, "a dropped stream listens no more");
}

#[tokio::test]
async fn pages_of_other_origins_may_listen_only_if_they_are_allowed() {
    let bench = Bench::new();
    let listed = OriginPolicy::AllowList(vec!["https://app.example".parse().expect("an origin")]);
    for (policy, origin, status) in [
        (OriginPolicy::SameOrigin, "http://localhost:8081", 200),
        (OriginPolicy::SameOrigin, "https://app.example", 403),
        (OriginPolicy::SameOrigin, "null", 403),
        (listed.clone(), "https://app.example", 200),
        (listed, "https://evil.example", 403),
        (OriginPolicy::Any, "https://evil.example", 200),
    ] {
        let mut request = request("GET", "/events?channel=news", "");
        request.headers_mut().insert("origin", origin.parse().expect("a value"));
        let answer = bench.events(policy, 10).oneshot(request).await.expect("never fails");
        assert_eq!(answer.status(), status, "{origin}");
        let allowed = answer.headers().get("access-control-allow-origin");
        assert_eq!(allowed.map(|value| value == origin), (status == 200).then_some(true));
    }
}

#[tokio::test]
async fn the_api_has_the_same_stream() {
    let bench = Bench::new();
    bench.double.publish_texts("news", &["a"]);
    let answer = bench.routes().oneshot(request("GET", "/events?channel=news&last=1", "")).await;
    let body = answer.expect("never fails").into_body().into_data_stream();
    let mut stream = Stream { body, read: String::new() };
    assert_eq!(stream.shorts(2).await, ["01:0", "01:1 news \"a\""]);
}
