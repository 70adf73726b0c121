//! Commands run by a program: children in Python.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::server::{PATIENCE, Server};

/// A program in Python, in a folder that goes away again.
fn python(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("handler.py");
    fs::write(&path, text).expect("written");
    let handler = format!("exec:python3 {}", path.display());
    (folder, handler)
}

fn process_group(pid: &str) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the kernel tells");
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields).expect("fields");
    fields.split(' ').nth(2).expect("a group").to_owned()
}

fn is_running(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

#[test]
fn the_example_answers_both_dialects() {
    let example: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/handlers/echo.py");
    let server = Server::start(&format!("exec:python3 {}", example.display()));
    let (code, out) = server.request(&["greet", "Ann \"A.\" Lee"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains(r#""payload": "Ann \"A.\" Lee""#), "{out}");
    let (code, out) = server.request(&["fail"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("as you wish"), "{out}");
    let out = server.command("Pause downloader");
    assert!(out.contains(r#"\"command\": \"Pause downloader\""#), "{out}");
    server.stop();
}

#[test]
fn a_program_that_ends_fails_what_it_had_and_is_started_again() {
    let (_folder, handler) = python(
        "import sys, json\n\
         for line in sys.stdin:\n    request = json.loads(line)\n    \
         if request['command'] == 'die': sys.exit(3)\n    \
         if request['command'] == 'babble': print('what?', flush=True); continue\n    \
         print(json.dumps({'id': request['id'], 'result': 'fine'}), flush=True)\n",
    );
    let server = Server::start(&handler);
    for command in ["die", "babble"] {
        let (code, out) = server.request(&[command]);
        assert_eq!(code, Some(1), "{out}");
        assert!(out.contains("may have run"), "{out}");
        server.wait_for_log("started again");
        // It waits for the next start.
        let (code, out) = server.request(&["hello"]);
        assert_eq!((code, out.contains("fine")), (Some(0), true), "{out}");
    }
    server.stop();
}

#[test]
fn a_program_that_does_not_read_holds_up_nobody_and_is_told_of_what_is_given_up() {
    let (folder, handler) = python(
        "import sys, json, os, time\n\
         seen = open(os.path.join(os.path.dirname(__file__), 'seen'), 'w')\n\
         time.sleep(1.5)\n\
         for line in sys.stdin:\n    seen.write(line); seen.flush()\n",
    );
    let server = Server::start(&handler);
    let (code, out) = server.request(&["slow", "--deadline", "200ms"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("deadline_exceeded"), "{out}");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = fs::read_to_string(folder.path().join("seen")).unwrap_or_default();
        if seen.contains("\"command\":\"slow\"") && seen.contains("{\"cancel\":1}") {
            break;
        }
        assert!(Instant::now() < deadline, "{seen}");
        thread::sleep(Duration::from_millis(10));
    }
    server.stop();
}

#[test]
fn what_a_program_does_not_read_does_not_pile_up() {
    let (folder, handler) = python(
        "import sys, os, time\n\
         seen = open(os.path.join(os.path.dirname(__file__), 'seen'), 'w')\n\
         while not os.path.exists(os.path.join(os.path.dirname(__file__), 'go')): time.sleep(0.01)\n\
         for line in sys.stdin:\n    seen.write(line[:8] + '\\n'); seen.flush()\n",
    );
    let server = Server::start_with(&handler, &["--handler-timeout", "10ms"]);
    // Far more than a pipe and the lines that may wait for it hold.
    let commands = format!("{}\n", "x".repeat(8_000)).repeat(300);
    let mut client = Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .args(["client", "--json", "--address", &server.address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut stdin = client.stdin.take().expect("a pipe");
    let writer = thread::spawn(move || stdin.write_all(commands.as_bytes()));
    let out = client.wait_with_output().expect("it ends").stdout;
    writer.join().expect("joined").expect("written");
    let out = String::from_utf8_lossy(&out);
    assert_eq!(out.matches("the handler took too long").count(), 300, "each in its time");
    fs::write(folder.path().join("go"), "").expect("written");
    // The last that it is told of is the newest that it still has.
    let deadline = Instant::now() + PATIENCE;
    let count = || {
        let seen = fs::read_to_string(folder.path().join("seen")).unwrap_or_default();
        (seen.matches("{\"id\":").count(), seen.matches("{\"cancel").count())
    };
    while count().0 == 0 || count().0 != count().1 {
        assert!(Instant::now() < deadline, "{:?}", count());
        thread::sleep(Duration::from_millis(10));
    }
    assert!(count().0 < 60, "{:?}", count());
    server.stop();
}

#[test]
fn an_answer_that_no_message_holds_costs_its_own_request() {
    let (folder, handler) = python(
        "import sys, json\n\
         for line in sys.stdin:\n    request = json.loads(line)\n    \
         result = 'x' * int(request['payload']) if request['command'] == 'big' else 'fine'\n    \
         print(json.dumps({'id': request['id'], 'result': result}), flush=True)\n",
    );
    let data = folder.path().join("data").display().to_string();
    let server = Server::start_with(&handler, &["--data-dir", &data]);
    let (code, out) = server.request(&["big", "65000"]);
    assert_eq!((code, out.contains("xxxx")), (Some(0), true), "it fits");
    for count in ["65536", "300000"] {
        let (code, out) = server.request(&["big", count]);
        assert_eq!(code, Some(1), "{out}");
        assert!(out.contains("too_big") && out.contains("65536"), "{out}");
    }
    let (code, out) = server.request(&["hello"]);
    assert_eq!((code, out.contains("fine")), (Some(0), true), "{out}");
    let pids = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.child.id()));
    assert_eq!(pids.expect("children").split_whitespace().count(), 1);
    server.stop();
}

#[test]
fn a_long_line_on_stderr_is_logged_in_parts_and_harms_nothing() {
    let (_folder, handler) = python(
        "import sys, json\n\
         for line in sys.stdin:\n    request = json.loads(line)\n    \
         print('y' * 10000, file=sys.stderr, flush=True)\n    \
         print(json.dumps({'id': request['id'], 'result': 'fine'}), flush=True)\n",
    );
    let server = Server::start(&handler);
    for _ in 0..3 {
        let (code, out) = server.request(&["hello"]);
        assert_eq!((code, out.contains("fine")), (Some(0), true), "{out}");
    }
    server.wait_for_log("yyyy");
    server.stop();
}

#[test]
fn no_child_is_left_behind() {
    for text in [
        "import sys\nfor line in sys.stdin: pass\n",
        // Does not end by itself.
        "import time\nwhile True: time.sleep(60)\n",
    ] {
        let (_folder, handler) = python(text);
        let server = Server::start(&handler);
        // It was started before the server listened, and the log was read on to there.
        let children = format!("/proc/{0}/task/{0}/children", server.child.id());
        let pid = fs::read_to_string(children).expect("the kernel lists children");
        let pid = pid.trim().to_owned();
        assert!(is_running(&pid));
        assert_eq!(process_group(&pid), pid, "Ctrl-C in a terminal is for the server alone");
        server.stop();
        assert!(!is_running(&pid), "{text}");
    }
}

#[test]
fn a_program_that_does_not_exist_is_told_at_the_start() {
    let output = Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .args(["server", "--address", "127.0.0.1:0", "--admin-address", "none"])
        .args(["--handler", "exec:/no/such/program x"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("cannot start the handler") && text.contains("/no/such/program"),
        "{text}"
    );
}
