//! Coming back: what was missed, all at once, and to a server that has much to read.

use std::time::{Duration, Instant};

use mainstay_client::SessionState;
use mainstay_client::frames::{ServerFrame, Standing};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::case::{Case, percentile, scaled};
use crate::clients::{
    LAST, PATIENCE, Until, id_of, mark_end, publish_many, read, read_history, session,
};
use crate::journal::Note;
use crate::kills::UNBOUNDED;
use crate::oracle::judge;
use crate::program::Program;
use crate::raw::{Raw, WHOLE, cursor};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_missed_events_come_at_once() {
    let case = Case::begin("missed");
    let program = Program::start(case.folder(), UNBOUNDED);
    let session = session(program.address(), 1).await;
    let count = 5_000;
    publish_many(&case.journal, session, 1, "news", Until::Count(count)).await.unwrap();
    let mut raw = Raw::dial(program.address()).await;
    let welcome = raw.hello(None, 1, Vec::new()).await.unwrap();
    let epoch = raw.subscribe("news", WHOLE).await.epoch;
    let mut ticket = (welcome.session, welcome.token);
    let mut times = Vec::new();
    let mut random = case.random(0);
    for _ in 0..scaled(50) {
        let missed = 1_000;
        let from = random.below(count - missed + 1);
        let started = Instant::now();
        raw = Raw::dial(program.address()).await;
        let cursors = vec![cursor("news", epoch, from)];
        let welcome = raw.hello(Some(ticket), 1, cursors).await.unwrap();
        assert_eq!(welcome.standing, Standing::Resumed);
        ticket = (welcome.session, welcome.token);
        let Some(ServerFrame::Subscribed(subscribed)) = raw.hear().await else { panic!() };
        assert_eq!((subscribed.epoch, subscribed.offset.0), (epoch, from));
        for offset in from + 1..=from + missed {
            let Some(ServerFrame::Event(event)) = raw.hear().await else { panic!() };
            assert_eq!((event.offset.0, id_of(&event.payload)), (offset, (1 << 32) | offset));
        }
        times.push(started.elapsed());
    }
    times.sort();
    let (half, most) = (percentile(&times, 50), percentile(&times, 99));
    case.tell(&format!("from the dial to the 1,000th event: p50 {half:.1?}, p99 {most:.1?}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_comes_back_at_once() {
    let case = Case::begin("herd");
    let mut program = Program::start(case.folder(), UNBOUNDED);
    let count = u32::try_from(scaled(2_000)).unwrap();
    let heads: Vec<_> = (0..20).map(|n| (format!("c{n}"), watch::channel(None).0)).collect();
    let (mut sessions, mut readers) = (Vec::new(), Vec::new());
    for who in 0..count {
        let session = session(program.address(), who).await;
        let (channel, head) = &heads[who as usize % heads.len()];
        readers.push(read(&case.journal, session.clone(), who, channel, head.subscribe()));
        sessions.push(session);
    }
    let mut ids = Vec::new();
    for session in &sessions {
        ids.push(wait_until_open(session, 1).await.0);
    }
    // Something for everybody, so that all cursors are places.
    for (who, (channel, _)) in (count..).zip(&heads) {
        mark_end(&case.journal, program.address(), who, channel).await;
    }
    let heard = || case.journal.notes().iter().filter(|n| matches!(n, Note::Heard { .. })).count();
    let started = Instant::now();
    while heard() < count as usize {
        assert!(started.elapsed() < PATIENCE, "not everybody hears");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let resident_before = program.resident_bytes();
    program.kill();
    program.run();
    let started = Instant::now();
    let mut retried = 0;
    for (session, id) in sessions.iter().zip(ids) {
        let (again, generation) = wait_until_open(session, 2).await;
        assert_eq!(again, id, "the session goes on");
        retried += usize::from(generation > 2);
    }
    let lasted = started.elapsed();
    let resident_after = program.resident_bytes();
    for (who, (channel, told)) in (2 * count..).zip(&heads) {
        let head = mark_end(&case.journal, program.address(), who, channel).await;
        told.send_replace(Some(head));
        read_history(&case.journal, program.address(), channel, head).await;
    }
    for reader in readers {
        timeout(PATIENCE, reader).await.expect("readers at the head").unwrap();
    }
    let verdict = judge(&case.journal.notes(), LAST);
    assert_eq!((verdict.stored, verdict.gaps), (40, 0));
    case.tell(&format!(
        "{count} sessions came back within {lasted:.1?}, {retried} of them twice; resident {} MiB, \
         before {} MiB",
        resident_after >> 20,
        resident_before >> 20
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_with_a_long_history_is_back_soon() {
    let case = Case::begin("long-history");
    let mut program = Program::start(case.folder(), UNBOUNDED);
    let (client_count, count) = (8, scaled(100_000));
    let mut publishers = Vec::new();
    for who in 0..client_count {
        let session = session(program.address(), who).await;
        let until = Until::Count(count / u64::from(client_count));
        publishers.push(publish_many(&case.journal, session, who, "log", until));
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    case.tell(&format!("{count} events are stored"));
    let mut times = Vec::new();
    for _ in 0..5 {
        program.kill();
        let started = Instant::now();
        program.run();
        program.wait_until_listening();
        let mut raw = Raw::dial(program.address()).await;
        raw.hello(None, 1, Vec::new()).await.unwrap();
        times.push(started.elapsed());
        // And it works: the next kill comes after a commit.
        let _ = raw.subscribe("log", WHOLE).await;
    }
    case.tell(&format!("from the start to the first welcome: {times:.1?}"));
    let head = mark_end(&case.journal, program.address(), 100, "log").await;
    read_history(&case.journal, program.address(), "log", head).await;
    let verdict = judge(&case.journal.notes(), LAST);
    assert_eq!((verdict.stored as u64, verdict.heard as u64), (count + 1, count + 1));
}

/// Its id and generation, as soon as that is at least so high.
async fn wait_until_open(
    session: &mainstay_client::Session,
    generation: u64,
) -> (mainstay_client::frames::SessionId, u64) {
    let mut states = session.states();
    let open = async {
        loop {
            match states.recv().await.expect("the session goes on") {
                SessionState::Open(greeting) if greeting.generation >= generation => {
                    let expected = [Standing::New, Standing::Resumed][usize::from(generation > 1)];
                    assert_eq!(greeting.standing, expected);
                    return (greeting.session, greeting.generation);
                }
                SessionState::Open(greeting) => {
                    assert_eq!(greeting.standing, Standing::New, "{greeting:?}");
                }
                _ => {}
            }
        }
    };
    timeout(PATIENCE, open).await.expect("an open session")
}
