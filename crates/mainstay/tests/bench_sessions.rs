//! `mainstay bench` in the session dialect, on servers that it starts itself: small runs, whose
//! counts are compared. How fast they are is nobody's business here.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]

use std::process::{Command, Stdio};

use serde_json::Value;

fn bench(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
    command.env_clear().arg("bench").args(arguments).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The figures of a run without a flaw.
fn figures(arguments: &[&str]) -> Value {
    let (code, out, err) = bench(arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {out} {err}");
    let figures: Value = serde_json::from_str(&out).unwrap();
    let flaws = &figures["flaws"];
    assert_eq!((&flaws["wrong"], &flaws["unanswered"]), (&Value::from(0), &Value::from(0)));
    figures
}

fn number(figures: &Value, key: &str) -> f64 {
    figures[key].as_f64().unwrap_or_else(|| panic!("no {key} in {figures}"))
}

#[test]
fn every_subscriber_gets_every_event() {
    for encoding in ["json", "protobuf"] {
        let figures = figures(&[
            "fanout",
            "--spawn",
            "--subscribers=7",
            "--events=10",
            "--burst=4",
            "--json",
            "--encoding",
            encoding,
            "--",
            "--shards=2",
        ]);
        assert_eq!(figures["deliveries"], 70);
        let (all, keeper) =
            (number(&figures, "server_cpu_ns_each"), number(&figures, "keeper_cpu_ns_each"));
        assert!(0.0 < keeper && keeper < all, "{figures}");
        assert!(figures["latency_us"]["p99"].as_f64().unwrap() > 0.0, "{figures}");
    }
}

#[test]
fn every_channel_has_a_listener_and_every_listener_a_channel() {
    // Two rounds of channels with 3, 2 and 2 listeners; one round of channels with one each.
    for (subscribers, channels, events, deliveries) in [(7, 3, 6, 14), (4, 9, 9, 9)] {
        let figures = figures(&[
            "fanout",
            "--spawn",
            &format!("--subscribers={subscribers}"),
            &format!("--channels={channels}"),
            &format!("--events={events}"),
            "--burst=4",
            "--json",
            "--",
            "--shards=1",
        ]);
        assert_eq!(figures["deliveries"], deliveries, "{channels} channels");
    }
}

#[test]
fn publishes_are_counted_when_they_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("--data-dir={}", folder.path().join("data").display());
    let common = ["publish", "--spawn", "--connections=3", "--json", "--warmup=0ms"];
    let run = |more: &[&str]| figures(&[&common[..], more].concat());
    let figures = run(&["--rate=100", "--duration=300ms"]);
    // Those that are still on their way do not count.
    let count = number(&figures, "publishes");
    assert!((1.0..=31.0).contains(&count), "{figures}");
    let figures = run(&["--duration=200ms", "--channels=2", "--depth=2", "--", &data]);
    assert!(number(&figures, "publishes") > 0.0, "{figures}");
}

#[test]
fn sessions_come_back_to_all_that_they_missed() {
    let figures =
        figures(&["resume", "--spawn", "--sessions=5", "--missed=150", "--payload=20", "--json"]);
    assert_eq!((&figures["resumes"], &figures["missed"]), (&Value::from(5), &Value::from(150)));
}

#[test]
fn a_herd_comes_back_to_a_server_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("--data-dir={}", folder.path().join("data").display());
    let figures = figures(&["resume", "--spawn", "--herd=30", "--json", "--", &data]);
    assert_eq!(figures["resumes"], 30);
    for key in ["steady_bytes", "loaded_bytes", "peak_bytes", "after_bytes"] {
        assert!(number(&figures, key) > 1e6, "{figures}");
    }
}

#[test]
fn idle_sessions_are_weighed() {
    let figures = figures(&["sessions", "--spawn", "--sessions=200", "--channels=70", "--json"]);
    assert_eq!(figures["sessions"], 200);
    assert!(number(&figures, "bytes_each") > 0.0, "{figures}");
}

#[test]
fn a_server_that_does_not_start_or_forgets_is_told() {
    let (code, _, err) = bench(&["fanout", "--spawn", "--", "--no-such-flag"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("mainstay bench: the server: "), "{err}");
    let (code, _, err) = bench(&["resume", "--herd=3", "--spawn"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("--data-dir"), "{err}");
    let (code, _, err) = bench(&["sessions"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("--pid PID or --spawn"), "{err}");
}

#[test]
fn help_fits_a_hundred_columns() {
    for word in ["fanout", "publish", "resume", "sessions"] {
        for flag in ["-h", "--help"] {
            let (code, out, err) = bench(&[word, flag]);
            assert_eq!(code, Some(0), "{err}");
            let long: Vec<&str> = out.lines().filter(|line| line.chars().count() > 100).collect();
            assert!(long.is_empty(), "{long:?}");
        }
    }
}
