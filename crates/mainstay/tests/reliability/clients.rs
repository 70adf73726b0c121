//! Clients that note everything: publishers, readers and requesters over `Session`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mainstay_client::frames::{Encoding, ErrorCode, Offset, Payload, Start};
use mainstay_client::{
    ChannelItem, ChannelName, ReconnectPolicy, RequestFailure, Session, SubscribeOptions,
    Subscription,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::journal::{Journal, Note, Ran, Who};
use crate::program::url;

/// The reader whose notes are the history.
pub(crate) const LAST: Who = u32::MAX;

/// Publishers from this number on have events of more than 1,000 bytes.
pub(crate) const LARGE: Who = 1 << 20;
const LARGE_IDS: std::ops::Range<u64> = (LARGE as u64) << 32..(2 * LARGE as u64) << 32;

/// After the faults have ended, everything must come to its end within this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A session that comes back soon, as a test has no other clients to be polite to.
pub(crate) async fn session(address: SocketAddr, who: Who) -> Session {
    let policy = ReconnectPolicy {
        delay_base: Duration::from_millis(10),
        delay_max: Duration::from_millis(100),
        server_close_window: Duration::from_millis(50),
        ..ReconnectPolicy::default()
    };
    let encoding = if who.is_multiple_of(2) { Encoding::Json } else { Encoding::Protobuf };
    let builder = Session::builder(&url(address)).reconnect(policy).encoding(encoding);
    builder.start().await.unwrap()
}

/// Until when a client goes on.
#[derive(Clone)]
pub(crate) enum Until {
    Count(u64),
    Stopped(Arc<AtomicBool>),
}

impl Until {
    fn is_over(&self, done: u64) -> bool {
        match self {
            Until::Count(count) => done >= *count,
            Until::Stopped(stop) => stop.load(Ordering::Relaxed),
        }
    }
}

/// A publisher with so many events under way; returns how many it has sent when all have outcomes.
pub(crate) fn publish(
    journal: &Journal,
    session: Session,
    who: Who,
    channel: &str,
    until: Until,
    pace: Duration,
) -> JoinHandle<u64> {
    publish_with(journal, session, who, channel, until, (16, pace))
}

/// The same as fast as it goes.
pub(crate) fn publish_many(
    journal: &Journal,
    session: Session,
    who: Who,
    channel: &str,
    until: Until,
) -> JoinHandle<u64> {
    publish_with(journal, session, who, channel, until, (250, Duration::ZERO))
}

fn publish_with(
    journal: &Journal,
    session: Session,
    who: Who,
    channel: &str,
    until: Until,
    (count_max, pace): (usize, Duration),
) -> JoinHandle<u64> {
    let journal = journal.clone();
    let channel = name(channel);
    tokio::spawn(async move {
        let (pending, mut settled) = mpsc::channel(count_max);
        let settle = {
            let journal = journal.clone();
            tokio::spawn(async move {
                while let Some((id, pending)) = settled.recv().await {
                    let pending: mainstay_client::Pending<mainstay_client::Published> = pending;
                    journal.note(match pending.await {
                        Ok(place) => {
                            Note::Stored { who, id, epoch: place.epoch, offset: place.offset.0 }
                        }
                        Err(failure) => Note::NotStored { who, id, failure },
                    });
                }
            })
        };
        let mut count = 0;
        while !until.is_over(count) {
            count += 1;
            let id = (u64::from(who) << 32) | count;
            journal.note(Note::Sent { who, channel: channel.as_str().to_owned(), id });
            let sent = session.publish(&channel, payload(id)).await.unwrap();
            pending.send((id, sent)).await.unwrap();
            if !pace.is_zero() {
                sleep(pace).await;
            }
        }
        drop(pending);
        timeout(PATIENCE, settle).await.expect("outcomes of all events").unwrap();
        count
    })
}

/// A reader of a channel's whole history, until it is at the offset that the watch will tell.
pub(crate) fn read(
    journal: &Journal,
    session: Session,
    who: Who,
    channel: &str,
    mut head: watch::Receiver<Option<u64>>,
) -> JoinHandle<()> {
    let journal = journal.clone();
    let channel = name(channel);
    tokio::spawn(async move {
        let mut subscription = subscribe(&session, &channel).await;
        let mut offset = 0;
        loop {
            if head.borrow_and_update().is_some_and(|head| offset >= head) {
                return;
            }
            tokio::select! {
                item = subscription.recv() => {
                    let item = item.unwrap_or_else(|| panic!("{who}: {:?}", subscription.end()));
                    offset = note_item(&journal, who, item);
                }
                changed = head.changed() => changed.unwrap(),
            }
        }
    })
}

/// Hears the whole history up to the head, as the last of all.
pub(crate) async fn read_history(journal: &Journal, address: SocketAddr, channel: &str, head: u64) {
    let session = session(address, LAST).await;
    let (_told, head) = watch::channel(Some(head));
    let reading = read(journal, session.clone(), LAST, channel, head);
    timeout(PATIENCE, reading).await.expect("the whole history").unwrap();
    session.close().await;
}

/// Publishes one more event and gives its offset, which is the head then.
pub(crate) async fn mark_end(
    journal: &Journal,
    address: SocketAddr,
    who: Who,
    channel: &str,
) -> u64 {
    let session = session(address, who).await;
    let published =
        publish(journal, session.clone(), who, channel, Until::Count(1), Duration::ZERO);
    assert_eq!(published.await.unwrap(), 1);
    session.close().await;
    let notes = journal.notes();
    let of_ours = notes.iter().rev().find_map(|note| match note {
        Note::Stored { who: other, offset, .. } if *other == who => Some(*offset),
        _ => None,
    });
    of_ours.expect("the last event is stored")
}

pub(crate) async fn subscribe(session: &Session, channel: &ChannelName) -> Subscription {
    let start = Start::After { epoch: None, offset: Offset::ZERO };
    let options = SubscribeOptions { start, ..SubscribeOptions::default() };
    session.subscribe(channel, options).await.unwrap()
}

/// Notes what a reader heard; where it is then.
pub(crate) fn note_item(journal: &Journal, who: Who, item: ChannelItem) -> u64 {
    match item {
        ChannelItem::Event { epoch, event } => {
            let id = id_of(&event.payload);
            let (channel, offset) = (event.channel.as_str().to_owned(), event.offset.0);
            journal.note(Note::Heard { who, channel, epoch, offset, id });
            offset
        }
        ChannelItem::Gap(gap) => {
            let offset = gap.offset.0;
            journal.note(Note::Gap { who, gap });
            offset
        }
        other => panic!("{who}: {other:?}"),
    }
}

/// A client that asks for commands, so many at once, each named after its number.
pub(crate) fn ask(
    journal: &Journal,
    session: Session,
    who: Who,
    until: Until,
    pace: Duration,
) -> JoinHandle<u64> {
    let journal = journal.clone();
    tokio::spawn(async move {
        let (pending, mut asked) = mpsc::channel(16);
        let settle = {
            let journal = journal.clone();
            tokio::spawn(async move {
                while let Some((id, pending)) = asked.recv().await {
                    let pending: mainstay_client::Pending<Payload> = pending;
                    let outcome = match pending.await {
                        Ok(result) => {
                            let text = Payload::text(&format!("Server processed command: {id:x}"));
                            assert_eq!(result, text, "the reply of another request");
                            Ran::Once
                        }
                        Err(failure) => ran(&failure),
                    };
                    journal.note(Note::Answered { who, id, outcome });
                }
            })
        };
        let mut count = 0;
        while !until.is_over(count) {
            count += 1;
            let id = (u64::from(who) << 32) | count;
            journal.note(Note::Asked { who, id });
            let sent = session.request(&format!("{id:x}"), payload(id)).await.unwrap();
            pending.send((id, sent)).await.unwrap();
            if !pace.is_zero() {
                sleep(pace).await;
            }
        }
        drop(pending);
        timeout(PATIENCE, settle).await.expect("outcomes of all requests").unwrap();
        count
    })
}

/// What a client knows from a failure.
pub(crate) fn ran(failure: &RequestFailure) -> Ran {
    match failure {
        RequestFailure::NeverRan(_) => Ran::Never,
        RequestFailure::Indeterminate => Ran::Perhaps,
        RequestFailure::Failed(failure)
            if matches!(failure.code, ErrorCode::Cancelled | ErrorCode::DeadlineExceeded) =>
        {
            Ran::Perhaps
        }
        other => panic!("{other}"),
    }
}

/// A payload that is no other's, of one of many sizes.
pub(crate) fn payload(id: u64) -> Payload {
    Payload::text(&text(id))
}

pub(crate) fn text(id: u64) -> String {
    let padding = (id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize;
    let beside = if LARGE_IDS.contains(&id) { 1_000 } else { 0 };
    format!("{id:016x}{}", "~".repeat(padding + beside))
}

/// The number of a payload, which is whole.
pub(crate) fn id_of(payload: &Payload) -> u64 {
    let written: String = serde_json::from_slice(&payload.bytes).unwrap();
    id_of_text(&written)
}

pub(crate) fn id_of_text(written: &str) -> u64 {
    let id = u64::from_str_radix(&written[..16], 16).unwrap();
    assert_eq!(written, text(id), "a payload is damaged");
    id
}

pub(crate) fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel).unwrap()
}
