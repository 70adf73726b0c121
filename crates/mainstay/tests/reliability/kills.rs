//! The server is killed at any moment, and started again on the same data.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mainstay_chaos::{Chaos, Config, EachWay, Faults};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::case::{Case, scaled};
use crate::clients::{LAST, PATIENCE, Until, ask, mark_end, publish, read, read_history, session};
use crate::oracle::judge;
use crate::program::Program;

/// Half of the clients come through a network that cuts now and then besides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_that_it_acknowledged() {
    let case = Case::begin("kills");
    let mut random = case.random(0);
    let mut program = Program::start(case.folder(), UNBOUNDED);
    let mut config = Config::to(program.address().to_string());
    config.seed = case.seed;
    config.faults = Faults { cut_every: EachWay::both(Some(500..=50_000)), ..Faults::default() };
    let chaos = Chaos::start(config).unwrap();
    let address =
        |who: u32| if who.is_multiple_of(2) { program.address() } else { chaos.address() };

    let stop = Arc::new(AtomicBool::new(false));
    let heads = ["orders", "news"].map(|channel| (channel, watch::channel(None).0));
    let (mut speakers, mut readers) = (Vec::new(), Vec::new());
    for who in 0..12 {
        let session = session(address(who), who / 2).await;
        let until = Until::Stopped(Arc::clone(&stop));
        let (channel, head) = &heads[usize::from(who < 6)];
        let (journal, pace) = (&case.journal, Duration::from_millis(2));
        match who % 6 {
            0 | 1 => speakers.push(publish(journal, session, who, channel, until, pace)),
            2 | 3 => speakers.push(ask(journal, session, who, until, pace)),
            _ => readers.push(read(journal, session, who, channel, head.subscribe())),
        }
    }

    let kill_count = scaled(200);
    let mut longest = Duration::ZERO;
    for number in 0..kill_count {
        // Under load, most of the time; at times before it is even up again.
        if random.below(8) > 0 {
            longest = longest.max(wait_for_progress(&case).await);
        }
        sleep(random.up_to(Duration::from_millis(120))).await;
        program.kill();
        program.run();
        if number % 50 == 49 {
            case.tell(&format!("{} kills, {} stored", number + 1, case.journal.stored_count()));
        }
    }
    wait_for_progress(&case).await;
    stop.store(true, Ordering::Relaxed);
    for speaker in speakers {
        timeout(PATIENCE, speaker).await.expect("an end").unwrap();
    }
    for (who, (channel, told)) in (100..).zip(&heads) {
        let head = mark_end(&case.journal, program.address(), who, channel).await;
        told.send_replace(Some(head));
        read_history(&case.journal, program.address(), channel, head).await;
    }
    for reader in readers {
        timeout(PATIENCE, reader).await.expect("readers at the head").unwrap();
    }
    let notes = case.journal.notes();
    let verdict = judge(&notes, LAST);
    drop(notes);
    assert_eq!(verdict.stored, verdict.sent, "each in the end");
    assert_eq!((verdict.gaps, verdict.never_ran), (0, 0));
    case.tell(&format!("{verdict:?}, longest outage {longest:?}, {:?}", chaos.stats()));
}

/// Until something more is acknowledged; how long that took.
pub(crate) async fn wait_for_progress(case: &Case) -> Duration {
    let (before, started) = (case.journal.stored_count(), Instant::now());
    while case.journal.stored_count() == before {
        assert!(started.elapsed() < PATIENCE, "nothing is acknowledged any more");
        sleep(Duration::from_millis(2)).await;
    }
    started.elapsed()
}

/// What is kept of channels is not what is tested.
pub(crate) const UNBOUNDED: &[&str] =
    &["--history-count-max", "100000000", "--history-bytes-max", "512MiB"];
