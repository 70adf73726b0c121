//! The clients' own processes are killed: `mainstay publish` and `mainstay subscribe` with a state
//! file.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use crate::case::{Case, scaled};
use crate::clients::{PATIENCE, Until, id_of, id_of_text, mark_end, publish, session, text};
use crate::kills::UNBOUNDED;
use crate::program::{Program, url};
use crate::raw::{Raw, WHOLE};

/// Every event is printed, in order, and again at most the one that was printed when the kill came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_subscribe_goes_on_where_it_was() {
    let case = Case::begin("subscribe");
    let program = Program::start(case.folder(), UNBOUNDED);
    let stop = Arc::new(AtomicBool::new(false));
    let session = session(program.address(), 1).await;
    let (until, pace) = (Until::Stopped(Arc::clone(&stop)), Duration::from_millis(1));
    let publisher = publish(&case.journal, session, 1, "log", until, pace);
    let printed = case.folder().join("printed");
    let mut random = case.random(0);
    let kill_count = scaled(30);
    // How many lines there were at each kill.
    let mut seams = Vec::new();
    for _ in 0..kill_count {
        let before = lines(&printed).len();
        let mut child = run_subscribe(&case, program.address());
        wait_until(|| lines(&printed).len() > before, "more is printed").await;
        sleep(random.up_to(Duration::from_millis(100))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        seams.push(lines(&printed).len());
    }
    stop.store(true, Ordering::Relaxed);
    publisher.await.unwrap();
    let head = mark_end(&case.journal, program.address(), 2, "log").await;
    let mut child = run_subscribe(&case, program.address());
    let is_at_head = || lines(&printed).last().is_some_and(|line| line["offset"] == head);
    wait_until(is_at_head, "everything is printed").await;
    child.kill().unwrap();
    child.wait().unwrap();

    let (mut last, mut repeated) = (0, 0);
    for (index, line) in lines(&printed).iter().enumerate() {
        assert_eq!(line["event"], "event", "{line}");
        let offset = line["offset"].as_u64().unwrap();
        if offset == last && seams.contains(&index) {
            repeated += 1;
        } else {
            assert_eq!(offset, last + 1, "line {index}, killed after {seams:?}");
        }
        let id = id_of_text(line["payload"].as_str().unwrap());
        assert_eq!(id, if offset == head { (2 << 32) | 1 } else { (1 << 32) | offset });
        last = offset;
    }
    case.tell(&format!("{head} events, {kill_count} kills, {repeated} events printed twice"));
}

fn run_subscribe(case: &Case, address: SocketAddr) -> Child {
    let printed = case.folder().join("printed");
    let printed = OpenOptions::new().create(true).append(true).open(printed).unwrap();
    command(case, address, &["subscribe", "log", "--from", "start", "--json"])
        .stdin(Stdio::null())
        .stdout(printed)
        .spawn()
        .unwrap()
}

/// What was read from stdin and not yet kept when the kill came is lost with its process, and its
/// writer sees it in the channel: nothing behind it is there. All else is stored once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_publish_stores_each_line_once() {
    let case = Case::begin("publish");
    let program = Program::start(case.folder(), UNBOUNDED);
    let mut random = case.random(0);
    let kill_count = scaled(30);
    let mut stored = 0;
    for _ in 0..kill_count {
        let mut child = command(&case, program.address(), &["publish", "log", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let places = Arc::new(AtomicU64::new(stored));
        let (newest, output) = (Arc::clone(&places), child.stdout.take().unwrap());
        let reading = std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let place: u64 = line.strip_prefix("log ").unwrap().parse().unwrap();
                // In order, and none twice: one behind the other.
                assert_eq!(newest.fetch_add(1, Ordering::Relaxed) + 1, place, "printed places");
            }
        });
        let mut input = child.stdin.take().unwrap();
        let writing = std::thread::spawn(move || {
            // Until the reader is gone.
            for id in stored + 1.. {
                if writeln!(input, "{}", text(id)).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        wait_until(|| places.load(Ordering::Relaxed) > stored, "more is stored").await;
        sleep(random.up_to(Duration::from_millis(50))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        reading.join().unwrap();
        writing.join().unwrap();
        // What was kept in the file is stored by the next run.
        let status = command(&case, program.address(), &["publish", "log", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
        let head = check_lines(program.address()).await;
        let printed = places.load(Ordering::Relaxed);
        assert!(head >= printed, "{printed} places were printed, and {head} lines are stored");
        stored = head;
    }
    case.tell(&format!("{stored} lines, {kill_count} kills"));
}

/// The channel holds the lines 1, 2, 3 …, each once; how many.
async fn check_lines(address: SocketAddr) -> u64 {
    let mut raw = Raw::dial(address).await;
    raw.hello(None, 1, Vec::new()).await.expect("a welcome");
    let head = raw.subscribe("log", WHOLE).await.head.0;
    for offset in 1..=head {
        let Some(mainstay_client::frames::ServerFrame::Event(event)) = raw.hear().await else {
            panic!("no event")
        };
        let id = id_of(&event.payload);
        assert_eq!((event.offset.0, id), (offset, offset), "a line is lost, moved or repeated");
    }
    head
}

fn command(case: &Case, address: SocketAddr, arguments: &[&str]) -> Command {
    let log = case.folder().join("commands.log");
    let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
    command.args(arguments).args(["--address", &url(address), "--state"]);
    command.arg(case.folder().join("state")).stderr(log);
    command
}

/// The whole lines of a file that are about the channel.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let all = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|line| line["event"] == "event" || line["event"] == "gap").collect()
}

async fn wait_until(mut is_so: impl FnMut() -> bool, what: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
