//! The server is asked to stop under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::case::{Case, scaled};
use crate::clients::{LAST, PATIENCE, Until, ask, mark_end, publish, read, read_history, session};
use crate::kills::wait_for_progress;
use crate::oracle::judge;
use crate::program::Program;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_leaves_nothing_open() {
    let case = Case::begin("stops");
    let settings = ["--history-count-max", "100000000", "--drain-window", "200ms"];
    let mut program = Program::start(case.folder(), &settings);
    let stop = Arc::new(AtomicBool::new(false));
    let (told, head) = watch::channel(None);
    let (mut speakers, mut readers) = (Vec::new(), Vec::new());
    for who in 0..9 {
        let session = session(program.address(), who).await;
        let (until, pace) = (Until::Stopped(Arc::clone(&stop)), Duration::from_millis(2));
        match who % 3 {
            0 => speakers.push(publish(&case.journal, session, who, "news", until, pace)),
            1 => speakers.push(ask(&case.journal, session, who, until, pace)),
            _ => readers.push(read(&case.journal, session, who, "news", head.clone())),
        }
    }
    let mut random = case.random(0);
    let stop_count = scaled(10);
    for _ in 0..stop_count {
        wait_for_progress(&case).await;
        sleep(random.up_to(Duration::from_millis(100))).await;
        // An orderly stop, which is exit code 0.
        tokio::task::block_in_place(|| program.stop());
        program.run();
    }
    wait_for_progress(&case).await;
    stop.store(true, Ordering::Relaxed);
    for speaker in speakers {
        timeout(PATIENCE, speaker).await.expect("an end").unwrap();
    }
    let end = mark_end(&case.journal, program.address(), 100, "news").await;
    told.send_replace(Some(end));
    for reader in readers {
        timeout(PATIENCE, reader).await.expect("readers at the head").unwrap();
    }
    read_history(&case.journal, program.address(), "news", end).await;
    let verdict = judge(&case.journal.notes(), LAST);
    assert_eq!((verdict.stored, verdict.gaps), (verdict.sent, 0));
    // Whatever ran was answered first.
    assert_eq!((verdict.perhaps, verdict.never_ran), (0, 0));
    case.tell(&format!("{stop_count} stops, {verdict:?}"));
}
