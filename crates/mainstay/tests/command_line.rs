//! The program as its user meets it.

#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

fn mainstay(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
    // The settings of whoever runs the tests are not those of the tests.
    command.env_clear().args(arguments);
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    finish(&mut mainstay(arguments))
}

fn finish(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn version_is_one_line() {
    let (code, out, _) = run(&["--version"]);
    assert_eq!((code, out), (0, format!("mainstay {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn help_names_every_command() {
    let (code, out, _) = run(&["--help"]);
    assert_eq!(code, 0);
    for name in [
        "server",
        "client",
        "subscribe",
        "publish",
        "request",
        "bench",
        "chaos",
        "send",
        "sessions",
        "channels",
        "check-config",
        "store",
    ] {
        assert!(out.contains(&format!("\n  {name} ")), "{out}");
    }
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    for arguments in [&["serve"][..], &["server", "--pong-timout", "5s"], &["server", "extra"], &[]]
    {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert!(err.contains("Usage: mainstay"), "{err}");
    }
}

#[test]
fn check_config_shows_values_and_where_they_came_from() {
    let path = format!("{}/check-config.toml", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&path, "ping_interval = \"20s\"\norigins = [\"https://a\", \"https://b\"]\n")
        .unwrap();
    let mut command = mainstay(&["check-config", "--config", &path, "--compression"]);
    command.args(["--address", "[::1]:0"]).env("MAINSTAY_SHARDS", "2");
    let (code, out, err) = finish(&mut command);
    assert_eq!((code, err.as_str()), (0, ""));
    let find = |key: &str| {
        let line = out.lines().find(|line| line.starts_with(&format!("{key} "))).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(find("path"), "path /server default");
    assert_eq!(find("ping_interval"), format!("ping_interval 20s file {path}, line 1"));
    assert_eq!(find("shards"), "shards 2 environment MAINSTAY_SHARDS");
    assert_eq!(find("compression"), "compression true flag --compression");
    assert_eq!(find("address"), "address [::1]:0 flag --address");
    assert_eq!(find("origins"), format!("origins https://a,https://b file {path}, line 2"));

    let (code, out, _) = finish(command.arg("--json"));
    assert_eq!(code, 0);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let find = |key: &str| {
        let settings = json["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["key"] == key).unwrap().clone()
    };
    assert_eq!(find("ping_interval")["value"], "20s");
    assert_eq!(find("ping_interval")["from"]["path"], path);
    assert_eq!(find("ping_interval")["from"]["line"], 1);
    assert_eq!(find("shards")["value"], 2);
    assert_eq!(find("shards")["from"]["name"], "MAINSTAY_SHARDS");
    assert_eq!(find("compression")["value"], true);
    let from = serde_json::json!({ "source": "flag", "name": "--compression" });
    assert_eq!(find("compression")["from"], from);
    assert_eq!(find("origins")["value"], serde_json::json!(["https://a", "https://b"]));
    assert_eq!(find("path")["from"]["source"], "default");
    assert_eq!(find("message_bytes_max")["value"], "64KiB");
}

#[test]
fn all_that_is_wrong_is_told_at_once_and_the_server_does_not_start() {
    for command in ["check-config", "server"] {
        let (code, out, err) =
            run(&[command, "--ping-interval", "25", "--shards=0", "--origins=https://a/"]);
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert_eq!(err.matches("error: ").count(), 3, "{err}");
        for flag in ["--ping-interval", "--shards", "--origins"] {
            assert!(err.contains(&format!("(flag {flag})")), "{err}");
        }
    }
}

#[test]
fn lists_add_up_over_repeated_flags() {
    let (_, out, _) =
        run(&["check-config", "--origins", "https://a,https://b", "--origins=https://c"]);
    assert!(out.contains("https://a,https://b,https://c"), "{out}");
}

#[test]
fn a_signal_stops_the_server_with_0() {
    for signal in ["-TERM", "-INT"] {
        let mut server = mainstay(&[
            "server",
            "--address=127.0.0.1:0",
            "--admin-address=none",
            "--log-format=json",
        ])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        let pid = server.id().to_string();
        let kill = |signal: &str, pid: &str| Command::new("kill").args([signal, pid]).status();
        // A server that does not stop ends the test instead of holding it up.
        let (stopped, watched) = mpsc::channel::<()>();
        let watch = thread::spawn({
            let pid = pid.clone();
            move || {
                let ended = watched.recv_timeout(Duration::from_secs(30));
                if ended == Err(mpsc::RecvTimeoutError::Timeout) {
                    kill("-KILL", &pid).unwrap();
                }
            }
        });
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap);
        let first = lines.next().unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&first).is_ok(), "{first}");
        assert!(kill(signal, &pid).unwrap().success());
        let rest: Vec<String> = lines.collect();
        assert_eq!(server.wait().unwrap().code(), Some(0), "{rest:?}");
        drop(stopped);
        watch.join().unwrap();
        let name = format!("SIG{}", &signal[1..]);
        assert!(rest.iter().any(|line| line.contains(&name)), "{rest:?}");
    }
}
