//! Readers that come back after their events are gone, and readers that do not read.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mainstay_chaos::Faults;
use mainstay_client::ChannelItem;
use mainstay_client::frames::{Epoch, GapReason, ServerFrame};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::case::{Case, Random, scaled};
use crate::clients::{LARGE, PATIENCE, Until, id_of, mark_end, note_item, publish, read, session};
use crate::cuts::network;
use crate::journal::{Journal, Note, Who};
use crate::oracle::judge_trimmed;
use crate::program::Program;
use crate::raw::{Raw, Ticket, WHOLE, cursor};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gaps_name_exactly_what_is_missing() {
    let case = Case::begin("gaps");
    let settings = ["--history-count-max", "50"];
    let program = Program::start(case.folder(), &settings);
    let stop = Arc::new(AtomicBool::new(false));
    let mut speakers = Vec::new();
    for who in 0..2 {
        let session = session(program.address(), who).await;
        let until = Until::Stopped(Arc::clone(&stop));
        let pace = Duration::from_millis(1);
        speakers.push(publish(&case.journal, session, who, CHANNEL, until, pace));
    }
    let (told, head) = watch::channel(None);
    let resume_count = scaled(2_000) / 20;
    let resumed = Arc::new(AtomicU64::new(0));
    let mut readers = Vec::new();
    for who in 10..30 {
        let reader = Wanderer {
            who,
            address: program.address(),
            journal: case.journal.clone(),
            random: case.random(u64::from(who)),
            ticket: None,
            place: None,
        };
        readers.push(tokio::spawn(reader.wander(resume_count, Arc::clone(&resumed), head.clone())));
    }
    let started = Instant::now();
    while resumed.load(Ordering::Relaxed) < resume_count * 20 {
        assert!(started.elapsed() < PATIENCE * u32::try_from(crate::case::scale()).unwrap());
        assert!(readers.iter().all(|reader| !reader.is_finished()), "a reader failed");
        sleep(Duration::from_millis(10)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for speaker in speakers {
        speaker.await.unwrap();
    }
    let end = mark_end(&case.journal, program.address(), 9, CHANNEL).await;
    told.send_replace(Some(end));
    for reader in readers {
        timeout(PATIENCE, reader).await.expect("readers at the head").unwrap();
    }
    let verdict = judge_trimmed(&case.journal.notes());
    check_gaps(&case.journal, 50);
    assert!(verdict.gaps > 100 && verdict.heard > 1_000, "{verdict:?}");
    case.tell(&format!("{} resumes, {verdict:?}", resumed.load(Ordering::Relaxed)));
}

/// No gap names an event that was kept at that time.
fn check_gaps(journal: &Journal, kept_count: u64) {
    let mut sent = 0;
    for note in journal.notes().iter() {
        match note {
            Note::Sent { .. } => sent += 1,
            Note::Gap { gap, .. } => {
                assert_eq!(gap.reason, GapReason::Trimmed);
                let to = gap.to.expect("a range").0;
                assert!(to + kept_count <= sent, "{gap:?} with {sent} events at most");
            }
            _ => {}
        }
    }
}

/// A reader that reads a little, goes away for a while and comes back.
struct Wanderer {
    who: Who,
    address: SocketAddr,
    journal: Journal,
    random: Random,
    ticket: Option<Ticket>,
    place: Option<(Epoch, u64)>,
}

impl Wanderer {
    async fn wander(
        mut self,
        count: u64,
        resumed: Arc<AtomicU64>,
        mut head: watch::Receiver<Option<u64>>,
    ) {
        for _ in 0..count {
            let few = self.random.below(60);
            self.stay(|heard, _| heard >= few).await;
            resumed.fetch_add(1, Ordering::Relaxed);
            sleep(self.random.up_to(Duration::from_millis(60))).await;
        }
        let head = head.wait_for(Option::is_some).await.unwrap().unwrap();
        self.stay(|_, offset| offset >= head).await;
    }

    /// One connection, until it has heard enough.
    async fn stay(&mut self, is_enough: impl Fn(u64, u64) -> bool) {
        let mut raw = Raw::dial(self.address).await;
        let cursors = self.place.map(|(epoch, offset)| cursor(CHANNEL, epoch, offset));
        let hello = raw.hello(self.ticket.clone(), 1, cursors.into_iter().collect());
        let welcome = hello.await.expect("a welcome");
        self.ticket = Some((welcome.session, welcome.token));
        if self.place.is_none() {
            self.place = Some((raw.subscribe(CHANNEL, WHOLE).await.epoch, 0));
        }
        let mut heard = 0;
        while let Some((epoch, offset)) = self.place
            && !is_enough(heard, offset)
        {
            let item = match timeout(PATIENCE, raw.hear()).await.expect("something") {
                Some(ServerFrame::Event(event)) => ChannelItem::Event { epoch, event },
                Some(ServerFrame::Gap(gap)) => ChannelItem::Gap(gap),
                Some(ServerFrame::Subscribed(subscribed)) => {
                    assert_eq!((subscribed.epoch, subscribed.offset.0), (epoch, offset));
                    continue;
                }
                other => panic!("{}: {other:?}", self.who),
            };
            self.place = Some((epoch, note_item(&self.journal, self.who, item)));
            heard += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_costs_nobody_anything() {
    let case = Case::begin("stalled");
    let program = Program::start(case.folder(), &["--history-bytes-max", "512MiB"]);
    // Through the smallest buffers there are.
    let network = network(&case, program.address(), drain(100_000));
    let (told, head) = watch::channel(None);
    let mut healthy = Vec::new();
    for who in HEALTHY {
        let session = session(program.address(), who).await;
        healthy.push(read(&case.journal, session, who, CHANNEL, head.clone()));
    }
    // The same load once before, so that what the server grows by is the stalled readers' alone.
    // A reader that takes nothing for 30 s is cut.
    let seconds = scaled(3).min(12);
    flow(&case, program.address(), LARGE, seconds).await;
    let resident_before = program.resident_bytes();
    let mut stalled = Vec::new();
    for _ in 0..STALLED_COUNT {
        stalled.push(Stalled::begin(network.address()).await);
    }
    network.set_faults(drain(1));
    flow(&case, program.address(), LARGE + 100, seconds).await;
    let resident_after = program.resident_bytes();
    let grown = resident_after.saturating_sub(resident_before);

    let end = mark_end(&case.journal, program.address(), 9, CHANNEL).await;
    told.send_replace(Some(end));
    for reader in healthy {
        timeout(PATIENCE, reader).await.expect("healthy readers at the head").unwrap();
    }
    let verdict = judge_trimmed(&case.journal.notes());
    let expected = (0, verdict.stored * HEALTHY.len());
    assert_eq!((verdict.gaps, verdict.heard), expected, "the healthy hear everything");
    network.clear();
    let places = Arc::new(stored(&case.journal));
    // All that was kept, for some of them: reading it all takes its time.
    let reading = stalled.into_iter().step_by(8);
    let reading = reading.map(|reader| tokio::spawn(reader.finish(end, Arc::clone(&places))));
    let (mut heard_count, mut gap_count) = (0, 0);
    for reader in reading.collect::<Vec<_>>() {
        let (heard, gaps) =
            timeout(PATIENCE, reader).await.expect("stalled readers at the head").unwrap();
        heard_count += heard;
        gap_count += gaps;
    }
    case.tell(&format!(
        "{STALLED_COUNT} stalled readers cost {} KiB each; {heard_count} events read later, \
         {gap_count} gaps; resident {} MiB",
        (grown / STALLED_COUNT) >> 10,
        resident_after >> 20
    ));
    assert!(gap_count > 0, "they were stalled for longer than the history");
    let allowed = STALLED_COUNT * OUTBOX_BYTES_MAX + HUB_BYTES_MAX;
    assert!(grown <= allowed, "{grown} bytes for readers that do not read");
}

/// A reader that listens and then does not read.
struct Stalled {
    raw: Raw,
    epoch: Epoch,
    offset: u64,
}

impl Stalled {
    /// Begins far behind: the frames of whoever is live are everybody's, but those of a reader that
    /// reads on from the log are its own.
    async fn begin(address: SocketAddr) -> Stalled {
        let mut raw = Raw::dial(address).await;
        raw.hello(None, 1, Vec::new()).await.expect("a welcome");
        let subscribed = raw.subscribe(CHANNEL, WHOLE).await;
        Stalled { raw, epoch: subscribed.epoch, offset: subscribed.offset.0 }
    }

    /// Reads on to the head, on the same connection; how many events and gaps that were.
    async fn finish(mut self, head: u64, places: Arc<HashMap<u64, u64>>) -> (u64, u64) {
        let (mut heard, mut gaps) = (0, 0);
        while self.offset < head {
            match self.raw.hear().await {
                Some(ServerFrame::Event(event)) => {
                    assert_eq!(event.offset.0, self.offset + 1, "a silent hole");
                    assert_eq!(places[&event.offset.0], id_of(&event.payload));
                    self.offset += 1;
                    heard += 1;
                }
                Some(ServerFrame::Gap(gap)) => {
                    assert_eq!((gap.from_epoch, gap.epoch), (self.epoch, self.epoch));
                    assert_eq!((gap.from.0, gap.to), (self.offset + 1, Some(gap.offset)));
                    let kept = gap.offset.0 + HISTORY_COUNT_MAX;
                    assert!(gap.to > Some(gap.from) && kept <= head, "{gap:?} before {head}");
                    self.offset = gap.offset.0;
                    gaps += 1;
                }
                other => panic!("{other:?}, closed with {:?}", self.raw.close_code()),
            }
        }
        (heard, gaps)
    }
}

fn stored(journal: &Journal) -> HashMap<u64, u64> {
    let place = |note: &Note| match note {
        Note::Stored { offset, id, .. } => Some((*offset, *id)),
        _ => None,
    };
    journal.notes().iter().filter_map(place).collect()
}

fn drain(bytes_per_second: u64) -> Faults {
    Faults { slow_drain: Some(bytes_per_second), ..Faults::default() }
}

/// Some 5,000 events a second, so large that the system's buffers do not hold them.
async fn flow(case: &Case, address: SocketAddr, first: Who, seconds: u64) {
    let started = Instant::now();
    let mut speakers = Vec::new();
    for who in first..first + 10 {
        let session = session(address, who).await;
        let (until, pace) = (Until::Count(500 * seconds), Duration::from_millis(1));
        speakers.push(publish(&case.journal, session, who, CHANNEL, until, pace));
    }
    for speaker in speakers {
        speaker.await.unwrap();
    }
    case.tell(&format!("{} events in {:.1?}", 5_000 * seconds, started.elapsed()));
}

const CHANNEL: &str = "news";
const STALLED_COUNT: u64 = 200;
const HEALTHY: std::ops::Range<Who> = 10..13;
// The program's defaults.
const HISTORY_COUNT_MAX: u64 = 10_000;
/// What may wait for one connection.
const OUTBOX_BYTES_MAX: u64 = 256 * 1024;
/// What may be on its way from the log to all of them.
const HUB_BYTES_MAX: u64 = 16 * 1024 * 1024;
