//! What an operator watches: stats, their history, the journal, and where the server is.

use mainstay_server::{ChannelName, ConnectionKey, EndReason, Happening, Note};
use serde_json::json;

use super::*;
use crate::double::{JOURNAL_COUNT_MAX, session};

const ID: &str = "8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f";

#[tokio::test]
async fn stats_have_counters_and_gauges() {
    let (status, answer) = Bench::new().get("/v1/stats").await;
    assert_eq!(status, 200);
    let expected = json!({
        "started_at_ms": 0, "version": env!("CARGO_PKG_VERSION"), "accepted": 0, "opened": 3,
        "commands": 0, "published": 0, "events_delivered": 0, "messages_in": 0, "messages_out": 0,
        "bytes_in": 0, "bytes_out": 0, "handler_failures": 5, "handler_panics": 7, "handler_timeouts": 6,
        "ends": {"peer_eof": 2}, "connections": 0, "sessions": {"connected": 0, "away": 4},
        "channels": 0, "outbox_bytes": 0, "behind": 0,
    });
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn the_server_says_where_it_is() {
    let answer = Bench::new().get("/v1/server").await;
    let endpoint = json!({"path": "/server", "port": 8080, "is_tls": false});
    let expected = json!({"version": env!("CARGO_PKG_VERSION"), "endpoints": [endpoint]});
    assert_eq!(answer, (200, expected));
}

#[tokio::test]
async fn history_comes_by_columns() {
    let bench = Bench::new();
    let (_, empty) = bench.get("/v1/stats/history").await;
    assert_eq!((&empty["at_ms"], &empty["ends"]), (&json!([]), &json!({})));
    for second in 1..=4_u64 {
        let mut stats = StatsSnapshot::default();
        stats.commands = second * 10;
        stats.bytes_in = second * second;
        stats.connections = 4 - second;
        if second >= 3 {
            stats.ends = vec![(EndReason::PingTimeout, second - 2)];
        }
        bench.history.add(second * 1_000, stats);
    }
    let (status, answer) = bench.get("/v1/stats/history").await;
    assert_eq!((status, &answer["interval_ms"]), (200, &json!(1_000)));
    assert_eq!(answer["at_ms"], json!([1_000, 2_000, 3_000, 4_000]));
    assert_eq!(answer["counters"]["commands"], json!([10, 20, 30, 40]));
    assert_eq!(answer["counters"]["bytes_in"], json!([1, 4, 9, 16]));
    assert_eq!(answer["gauges"]["connections"], json!([3, 2, 1, 0]));
    assert_eq!(answer["ends"], json!({"ping_timeout": [0, 0, 1, 2]}), "only what occurred");
    for table in ["counters", "gauges", "ends"] {
        for (name, column) in answer[table].as_object().expect("columns") {
            assert_eq!(column.as_array().map(Vec::len), Some(4), "{name}");
        }
    }
    let counters: Vec<&String> = answer["counters"].as_object().expect("some").keys().collect();
    let expected = [
        "accepted",
        "bytes_in",
        "bytes_out",
        "commands",
        "events_delivered",
        "handler_failures",
        "handler_panics",
        "handler_timeouts",
        "messages_in",
        "messages_out",
        "opened",
        "published",
    ];
    assert_eq!(counters, expected);
    let gauges: Vec<&String> = answer["gauges"].as_object().expect("some").keys().collect();
    let expected = [
        "behind",
        "channels",
        "connections",
        "outbox_bytes",
        "sessions_away",
        "sessions_connected",
    ];
    assert_eq!(gauges, expected);

    let (_, later) = bench.get("/v1/stats/history?after=2000").await;
    assert_eq!(
        (&later["at_ms"], &later["counters"]["commands"]),
        (&json!([3_000, 4_000]), &json!([30, 40]))
    );
    assert_eq!(later["ends"]["ping_timeout"], json!([1, 2]));
    let (_, none) = bench.get("/v1/stats/history?after=4000").await;
    assert_eq!((&none["at_ms"], &none["counters"]["commands"]), (&json!([]), &json!([])));
    for path in ["/v1/stats/history?after=x", "/v1/stats/history?before=1"] {
        let (status, answer) = bench.get(path).await;
        assert_eq!((status, &answer["error"]), (400, &json!("malformed")), "{path}");
    }
}

fn note(happening: Happening) -> Note {
    let connection = Some(ConnectionKey(0x0300_0000_0700_0009));
    Note { session: Some(session()), connection, ..Note::of(happening) }
}

#[tokio::test]
async fn the_journal_is_read_in_pages_for_all_and_for_one() {
    let bench = Bench::new();
    let journal = &bench.double.journal;
    journal.note(1_000, note(Happening::Opened));
    let lost = note(Happening::Lost).because(EndReason::PingTimeout, "silent for 35 s");
    journal.note(2_000, lost);
    let detail = "127.0.0.1:4711".into();
    journal.note(3_000, Note { detail, ..Note::of(Happening::Connected) });
    let channel = Some(ChannelName::parse("news").expect("a name"));
    journal.note(4_000, Note { channel, ..note(Happening::Subscribed) });

    let connection = "0300000007000009";
    let opened = json!({"seq": 1, "at_ms": 1_000, "session": ID, "connection": connection,
        "what": "opened"});
    let lost = json!({"seq": 2, "at_ms": 2_000, "session": ID, "connection": connection,
        "what": "lost", "reason": "ping_timeout", "detail": "silent for 35 s"});
    let connected =
        json!({"seq": 3, "at_ms": 3_000, "what": "connected", "detail": "127.0.0.1:4711"});
    let subscribed = json!({"seq": 4, "at_ms": 4_000, "session": ID, "connection": connection,
        "what": "subscribed", "channel": "news"});
    let get = async |query: &str| bench.get(&format!("/v1/journal{query}")).await;
    assert_eq!(
        get("").await,
        (200, json!({"entries": [opened, lost, connected, subscribed], "forgotten_up_to": 0}))
    );
    let of_session = get(&format!("?session={ID}&limit=2")).await.1;
    assert_eq!(of_session, json!({"entries": [opened, lost], "next": 2, "forgotten_up_to": 0}));
    let of_session = get(&format!("?session={ID}&limit=2&after=2")).await.1;
    assert_eq!(of_session, json!({"entries": [subscribed], "forgotten_up_to": 0}));
    let newest = get("?before=5&limit=2").await.1;
    assert_eq!(
        newest,
        json!({"entries": [connected, subscribed], "next": 3, "forgotten_up_to": 0})
    );
    let nobody = get(&format!("?session={}", "0".repeat(32))).await.1;
    assert_eq!(nobody["entries"], json!([]));
    for query in
        ["?session=8f", "?after=x", "?limit=0", "?limit=1001", "?after=1&before=2", "?since=1"]
    {
        let (status, answer) = get(query).await;
        assert_eq!((status, &answer["error"]), (400, &json!("malformed")), "{query}");
    }
}

#[tokio::test]
async fn a_journal_that_overflows_says_so() {
    let bench = Bench::new();
    for at_ms in 1..=JOURNAL_COUNT_MAX as u64 + 3 {
        bench.double.journal.note(at_ms, note(Happening::Resumed));
    }
    let (_, answer) = bench.get("/v1/journal?after=1").await;
    assert_eq!((&answer["forgotten_up_to"], &answer["entries"][0]["seq"]), (&json!(3), &json!(4)));
    assert_eq!(answer["entries"].as_array().map(Vec::len), Some(JOURNAL_COUNT_MAX));
}
