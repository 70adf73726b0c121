//! What every engine must do: each clause of the contract as a test, and random histories compared
//! with a naive model.
//!
//! An engine's tests implement [`Subject`] and expand [`log_suite!`](crate::log_suite).

#![expect(clippy::expect_used, reason = "a test states its expectations with expect")]
#![expect(missing_docs, reason = "a clause's name is its sentence")]

use bytes::Bytes;
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Epoch, Offset, Payload, SessionId};

use crate::{ChannelKeep, ChannelRecord, Log, LogError, ReadLimit, StoredEvent, Write};

pub mod histories;

/// An engine under test, empty at first.
pub trait Subject {
    /// The engine.
    fn log(&mut self) -> &mut dyn Log;

    /// Closes the engine and opens it again over the same storage. One that forgets does nothing.
    fn reopen(&mut self);
}

/// One test for each clause. `$subject` is an expression that makes a `suite::Subject`, and
/// `$histories` how many random histories it is told.
#[macro_export]
macro_rules! log_suite {
    ($module:ident, $subject:expr, $histories:expr) => {
        $crate::log_suite! { $module, $subject, $histories;
            offsets_start_at_one_and_have_no_holes
            appending_to_an_unknown_channel_is_misuse
            a_commit_takes_effect_wholly_or_not_at_all
            later_writes_of_a_commit_see_earlier_ones
            an_empty_commit_changes_nothing
            putting_a_channel_again_keeps_its_events
            reading_stops_at_either_limit
            reading_gives_the_first_event_even_if_it_is_over_the_limits
            reading_begins_at_the_first_kept_event
            reading_past_the_head_or_an_unknown_channel_gives_nothing
            trimming_forgets_events_and_keeps_the_head
            trimming_everything_leaves_the_next_offset
            deleting_a_channel_forgets_its_events
            channels_are_listed_by_name_in_pages
            sessions_are_kept_as_they_were_put
            sessions_are_listed_by_id_in_pages
            replies_are_kept_by_number_and_dropped_below
            deleting_a_session_forgets_its_replies
            keys_are_found_until_they_expire
            expired_keys_are_dropped_oldest_first_and_in_slices
            keys_that_were_put_for_too_long_are_capped
            forgetting_what_is_not_there_changes_nothing
            payloads_of_every_size_and_kind_survive
            names_that_begin_alike_are_apart
        }
    };
    ($module:ident, $subject:expr, $histories:expr; $($clause:ident)+) => {
        mod $module {
            use super::*;

            $(#[test]
            fn $clause() {
                $crate::suite::$clause(&mut $subject);
            })+

            #[test]
            fn random_histories_agree_with_the_model() {
                $crate::suite::histories::agree_with_the_model(|| $subject, $histories);
            }
        }
    };
}

pub fn offsets_start_at_one_and_have_no_holes(subject: &mut dyn Subject) {
    let news = channel("news");
    subject.log().commit(&[put(&news, 7)]).expect("put");
    for wrong in [0, 2, u64::MAX] {
        misused(subject, &[append(&news, wrong, "x")]);
    }
    subject.log().commit(&[append(&news, 1, "a")]).expect("the first is 1");
    for wrong in [0, 1, 3] {
        misused(subject, &[append(&news, wrong, "x")]);
    }
    subject.log().commit(&[append(&news, 2, "b")]).expect("the next");
    subject.reopen();
    assert_eq!(offsets(subject, &news, 0), [1, 2]);
    assert_eq!(keep(subject, &news), Some(kept(7, 1, 2, 2)));
}

pub fn appending_to_an_unknown_channel_is_misuse(subject: &mut dyn Subject) {
    misused(subject, &[append(&channel("news"), 1, "a")]);
    assert_eq!(keep(subject, &channel("news")), None);
}

pub fn a_commit_takes_effect_wholly_or_not_at_all(subject: &mut dyn Subject) {
    let (news, session) = (channel("news"), SessionId::from_bytes([1; 16]));
    subject.log().commit(&[put(&news, 7), append(&news, 1, "a")]).expect("set up");
    misused(
        subject,
        &[
            append(&news, 2, "b"),
            put(&channel("other"), 8),
            Write::PutSession { session, record: Bytes::from_static(b"s") },
            Write::PutReply { session, number: 1, reply: Bytes::from_static(b"r") },
            put_key("k", "v", 100),
            Write::Trim { channel: news.clone(), below: Offset(2) },
            append(&news, 9, "not the next"),
        ],
    );
    for _ in 0..2 {
        assert_eq!(keep(subject, &news), Some(kept(7, 1, 1, 1)));
        assert_eq!(keep(subject, &channel("other")), None);
        assert_eq!(subject.log().session(session).expect("read"), None);
        assert_eq!(subject.log().replies(session).expect("read"), []);
        assert_eq!(key(subject, "k", 0), None);
        subject.reopen();
    }
    subject.log().commit(&[append(&news, 2, "b")]).expect("misuse is not fatal");
}

pub fn later_writes_of_a_commit_see_earlier_ones(subject: &mut dyn Subject) {
    let (news, session) = (channel("news"), SessionId::from_bytes([1; 16]));
    subject
        .log()
        .commit(&[
            put(&news, 7),
            append(&news, 1, "a"),
            Write::Trim { channel: news.clone(), below: Offset(2) },
            append(&news, 2, "bb"),
            put(&news, 8),
            Write::PutReply { session, number: 1, reply: Bytes::from_static(b"1") },
            Write::DeleteSession { session },
            Write::PutReply { session, number: 2, reply: Bytes::from_static(b"2") },
            put_key("k", "old", 10),
            put_key("k", "new", 20),
            Write::DropExpiredKeys { now_ms: 10, count_max: 9 },
        ])
        .expect("commit");
    subject.reopen();
    assert_eq!(keep(subject, &news), Some(kept(8, 2, 2, 2)));
    assert_eq!(offsets(subject, &news, 0), [2]);
    let replies = subject.log().replies(session).expect("read");
    assert_eq!(replies, [(2, Bytes::from_static(b"2"))]);
    assert_eq!(key(subject, "k", 10), Some("new".to_owned()));

    let delete = Write::DeleteChannel { channel: news.clone() };
    misused(subject, &[delete.clone(), append(&news, 3, "c")]);
    subject.log().commit(&[delete, put(&news, 9), append(&news, 1, "z")]).expect("begins anew");
    subject.reopen();
    assert_eq!(keep(subject, &news), Some(kept(9, 1, 1, 1)));
    assert_eq!(payloads(subject, &news), ["z"]);
}

pub fn an_empty_commit_changes_nothing(subject: &mut dyn Subject) {
    subject.log().commit(&[]).expect("nothing to do");
    subject.reopen();
    assert_eq!(subject.log().channels(None, 9).expect("read"), []);
}

pub fn putting_a_channel_again_keeps_its_events(subject: &mut dyn Subject) {
    let news = channel("news");
    subject.log().commit(&[put(&news, 7), append(&news, 1, "a")]).expect("commit");
    let settings = Bytes::from_static(b"settings \0\xff");
    let record = ChannelRecord { epoch: Epoch(u64::MAX), settings };
    let write = Write::PutChannel { channel: news.clone(), record: record.clone() };
    subject.log().commit(&[write]).expect("commit");
    subject.reopen();
    let expected = ChannelKeep { record, first: Offset(1), head: Offset(1), bytes: 1 };
    assert_eq!(keep(subject, &news), Some(expected));
    assert_eq!(payloads(subject, &news), ["a"]);
}

pub fn reading_stops_at_either_limit(subject: &mut dyn Subject) {
    let news = ten_events(subject);
    let mut read = |from, count_max, bytes_max| {
        let limit = ReadLimit { count_max, bytes_max };
        let events = subject.log().read(&news, Offset(from), limit).expect("read");
        events.iter().map(|event| event.offset.0).collect::<Vec<_>>()
    };
    assert_eq!(read(1, 3, 999), [1, 2, 3]);
    assert_eq!(read(4, 2, 999), [4, 5]);
    assert_eq!(read(1, 99, 6), [1, 2, 3], "two bytes each");
    assert_eq!(read(1, 99, 7), [1, 2, 3]);
    assert_eq!(read(9, 99, 999), [9, 10]);
    assert_eq!(read(1, usize::MAX, usize::MAX).len(), 10);
}

pub fn reading_gives_the_first_event_even_if_it_is_over_the_limits(subject: &mut dyn Subject) {
    let news = ten_events(subject);
    for limit in [(0, 0), (1, 0), (0, 99), (9, 1)] {
        let limit = ReadLimit { count_max: limit.0, bytes_max: limit.1 };
        let events = subject.log().read(&news, Offset(5), limit).expect("read");
        assert_eq!(events.iter().map(|e| e.offset.0).collect::<Vec<_>>(), [5], "{limit:?}");
    }
}

pub fn reading_begins_at_the_first_kept_event(subject: &mut dyn Subject) {
    let news = ten_events(subject);
    let trim = Write::Trim { channel: news.clone(), below: Offset(8) };
    subject.log().commit(&[trim]).expect("trim");
    for from in [0, 1, 7, 8] {
        assert_eq!(offsets(subject, &news, from), [8, 9, 10], "from {from}");
    }
    assert_eq!(offsets(subject, &news, 10), [10]);
}

pub fn reading_past_the_head_or_an_unknown_channel_gives_nothing(subject: &mut dyn Subject) {
    let news = ten_events(subject);
    for from in [11, 12, u64::MAX] {
        assert_eq!(offsets(subject, &news, from), [0; 0], "from {from}");
    }
    assert_eq!(offsets(subject, &channel("other"), 0), [0; 0]);
}

pub fn trimming_forgets_events_and_keeps_the_head(subject: &mut dyn Subject) {
    let news = ten_events(subject);
    for (below, first, bytes) in [(0, 1, 20), (1, 1, 20), (4, 4, 14), (2, 4, 14), (10, 10, 2)] {
        let trim = Write::Trim { channel: news.clone(), below: Offset(below) };
        subject.log().commit(&[trim]).expect("trim");
        subject.reopen();
        assert_eq!(keep(subject, &news), Some(kept(7, first, 10, bytes)), "below {below}");
    }
}

pub fn trimming_everything_leaves_the_next_offset(subject: &mut dyn Subject) {
    let news = ten_events(subject);
    for below in [11, u64::MAX] {
        let trim = Write::Trim { channel: news.clone(), below: Offset(below) };
        subject.log().commit(&[trim]).expect("trim");
        subject.reopen();
        assert_eq!(keep(subject, &news), Some(kept(7, 11, 10, 0)));
        assert_eq!(offsets(subject, &news, 0), [0; 0]);
    }
    misused(subject, &[append(&news, 1, "x")]);
    subject.log().commit(&[append(&news, 11, "k")]).expect("the next");
    assert_eq!(keep(subject, &news), Some(kept(7, 11, 11, 1)));

    let quiet = channel("quiet");
    let trim = Write::Trim { channel: quiet.clone(), below: Offset(5) };
    subject.log().commit(&[put(&quiet, 3), trim]).expect("trim what never had an event");
    assert_eq!(keep(subject, &quiet), Some(kept(3, 1, 0, 0)));
}

pub fn deleting_a_channel_forgets_its_events(subject: &mut dyn Subject) {
    let news = ten_events(subject);
    let other = channel("other");
    subject.log().commit(&[put(&other, 1), append(&other, 1, "o")]).expect("commit");
    subject.log().commit(&[Write::DeleteChannel { channel: news.clone() }]).expect("delete");
    subject.reopen();
    assert_eq!(keep(subject, &news), None);
    assert_eq!(offsets(subject, &news, 0), [0; 0]);
    subject.log().commit(&[put(&news, 2)]).expect("put");
    assert_eq!(keep(subject, &news), Some(kept(2, 1, 0, 0)));
    assert_eq!(offsets(subject, &news, 0), [0; 0], "old events do not come back");
    assert_eq!(payloads(subject, &other), ["o"]);
}

pub fn channels_are_listed_by_name_in_pages(subject: &mut dyn Subject) {
    let names = ["Z", "a", "a/b", "a0", "b"].map(channel);
    for name in names.iter().rev() {
        subject.log().commit(&[put(name, 1), append(name, 1, "xyz")]).expect("commit");
    }
    subject.reopen();
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = subject.log().channels(after.as_ref(), 2).expect("list");
        assert!(page.len() <= 2);
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        listed.extend(page);
    }
    assert_eq!(listed, names.map(|name| (name, kept(1, 1, 1, 3))));
    assert_eq!(subject.log().channels(None, 0).expect("list"), []);
    let behind = subject.log().channels(Some(&channel("a1")), 9).expect("list");
    assert_eq!(behind.len(), 1, "behind a name that does not exist");
}

pub fn sessions_are_kept_as_they_were_put(subject: &mut dyn Subject) {
    let session = SessionId::from_bytes([9; 16]);
    for record in [&b"first"[..], b"", &[0xff; 5000]] {
        let record = Bytes::copy_from_slice(record);
        let write = Write::PutSession { session, record: record.clone() };
        subject.log().commit(&[write]).expect("put");
        subject.reopen();
        assert_eq!(subject.log().session(session).expect("read"), Some(record));
    }
    subject.log().commit(&[Write::DeleteSession { session }]).expect("delete");
    subject.reopen();
    assert_eq!(subject.log().session(session).expect("read"), None);
}

pub fn sessions_are_listed_by_id_in_pages(subject: &mut dyn Subject) {
    for first_byte in [200, 3, 1, 255, 0] {
        let session = session(first_byte);
        let write = Write::PutSession { session, record: Bytes::from(vec![first_byte]) };
        subject.log().commit(&[write]).expect("put");
    }
    subject.reopen();
    let page = subject.log().sessions(None, 2).expect("list");
    assert_eq!(page.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1].map(session));
    let page = subject.log().sessions(Some(session(1)), 9).expect("list");
    assert_eq!(page.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [3, 200, 255].map(session));
    assert_eq!(page[2].1[..], [255]);
    assert_eq!(subject.log().sessions(Some(session(255)), 9).expect("list"), []);
}

pub fn replies_are_kept_by_number_and_dropped_below(subject: &mut dyn Subject) {
    let put = |first_byte, number| Write::PutReply {
        session: session(first_byte),
        number,
        reply: Bytes::from(format!("{first_byte} {number}")),
    };
    let all = [put(1, 2), put(1, 300), put(1, u64::MAX), put(2, 1), put(1, 1), put(0, 7)];
    subject.log().commit(&all).expect("put");
    let numbers = |subject: &mut dyn Subject, first_byte| {
        let replies = subject.log().replies(session(first_byte)).expect("read");
        replies.iter().for_each(|(n, r)| assert_eq!(r, format!("{first_byte} {n}").as_bytes()));
        let sizes = subject.log().reply_sizes(session(first_byte)).expect("read");
        assert!(sizes.iter().eq(&replies.iter().map(|(n, r)| (*n, r.len())).collect::<Vec<_>>()));
        replies.into_iter().map(|(number, _)| number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(subject, 1), [1, 2, 300, u64::MAX]);
    for number in [1, 300, u64::MAX] {
        let reply = subject.log().reply(session(1), number).expect("read");
        assert_eq!(reply, Some(Bytes::from(format!("1 {number}"))));
    }
    assert_eq!(subject.log().reply(session(1), 7).expect("read"), None, "that is another's");
    for (below, left) in [(0, 4), (1, 4), (2, 3), (300, 2), (u64::MAX, 1)] {
        let drop = Write::DropReplies { session: session(1), below };
        subject.log().commit(&[drop]).expect("drop");
        subject.reopen();
        assert_eq!(numbers(subject, 1).len(), left, "below {below}");
    }
    assert_eq!(numbers(subject, 2), [1]);
    assert_eq!(numbers(subject, 0), [7]);
    subject.log().commit(&[put(2, 1)]).expect("put again");
    assert_eq!(numbers(subject, 2), [1]);
}

pub fn deleting_a_session_forgets_its_replies(subject: &mut dyn Subject) {
    for first_byte in [1, 2, 3] {
        let (session, reply) = (session(first_byte), Bytes::from_static(b"r"));
        let number = u64::MAX;
        let put = Write::PutReply { session, number, reply: reply.clone() };
        let put_session = Write::PutSession { session, record: reply };
        subject.log().commit(&[put, put_session]).expect("put");
    }
    subject.log().commit(&[Write::DeleteSession { session: session(2) }]).expect("delete");
    subject.reopen();
    for (first_byte, count) in [(1, 1), (2, 0), (3, 1)] {
        let replies = subject.log().replies(session(first_byte)).expect("read");
        assert_eq!(replies.len(), count);
    }
}

pub fn keys_are_found_until_they_expire(subject: &mut dyn Subject) {
    subject.log().commit(&[put_key("k", "v", 1000)]).expect("put");
    subject.reopen();
    assert_eq!(key(subject, "k", 999), Some("v".to_owned()));
    assert_eq!(key(subject, "k", 1000), None);
    assert_eq!(key(subject, "k2", 0), None);
    subject.log().commit(&[put_key("k", "w", 500)]).expect("put again");
    assert_eq!(key(subject, "k", 499), Some("w".to_owned()));
    assert_eq!(key(subject, "k", 500), None, "the later put counts");
    subject.log().commit(&[put_key("k", "x", 2000)]).expect("put again");
    let drop = Write::DropExpiredKeys { now_ms: 1999, count_max: 9 };
    subject.log().commit(&[drop]).expect("drop");
    assert_eq!(key(subject, "k", 0), Some("x".to_owned()), "the former expiries are forgotten");
}

pub fn keys_that_were_put_for_too_long_are_capped(subject: &mut dyn Subject) {
    for (name, expires_at_ms) in [("a", 10), ("b", 20), ("c", 30), ("d", u64::MAX)] {
        subject.log().commit(&[put_key(name, name, expires_at_ms)]).expect("put");
    }
    subject.log().commit(&[Write::CapKeys { latest_ms: 20 }]).expect("capped");
    let mut there = |now_ms| ["a", "b", "c", "d"].map(|name| key(subject, name, now_ms).is_some());
    assert_eq!(there(9), [true, true, true, true], "none is lost");
    assert_eq!(there(19), [false, true, true, true], "what expires earlier still does");
    assert_eq!(there(20), [false; 4]);
    let drop = Write::DropExpiredKeys { now_ms: 20, count_max: 3 };
    subject.log().commit(&[drop]).expect("dropped");
    let left = ["a", "b", "c", "d"].map(|name| key(subject, name, 0).is_some());
    assert_eq!(left, [false, false, false, true], "they are listed by their new expiry");
    assert_eq!(subject.log().key_count().expect("read"), 1);
}

pub fn expired_keys_are_dropped_oldest_first_and_in_slices(subject: &mut dyn Subject) {
    for (name, expires_at_ms) in [("d", 40), ("a", 10), ("c", 30), ("b", 20)] {
        subject.log().commit(&[put_key(name, name, expires_at_ms)]).expect("put");
    }
    let mut left = |now_ms, count_max| {
        let drop = Write::DropExpiredKeys { now_ms, count_max };
        subject.log().commit(&[drop]).expect("drop");
        subject.reopen();
        ["a", "b", "c", "d"].map(|name| key(subject, name, 0).is_some())
    };
    assert_eq!(left(9, 9), [true, true, true, true]);
    assert_eq!(left(30, 0), [true, true, true, true]);
    assert_eq!(left(30, 2), [false, false, true, true], "the oldest first");
    assert_eq!(left(30, 9), [false, false, false, true]);
}

pub fn forgetting_what_is_not_there_changes_nothing(subject: &mut dyn Subject) {
    let (news, session) = (channel("news"), session(1));
    subject
        .log()
        .commit(&[
            Write::Trim { channel: news.clone(), below: Offset(9) },
            Write::DeleteChannel { channel: news.clone() },
            Write::DeleteSession { session },
            Write::DropReplies { session, below: 9 },
            Write::DropExpiredKeys { now_ms: u64::MAX, count_max: usize::MAX },
        ])
        .expect("no error");
    subject.reopen();
    assert_eq!(keep(subject, &news), None);
}

pub fn payloads_of_every_size_and_kind_survive(subject: &mut dyn Subject) {
    let news = channel("news");
    subject.log().commit(&[put(&news, 1)]).expect("put");
    let payloads = [
        Payload::NULL,
        Payload::binary(Bytes::new()),
        Payload::from_json_bytes(Bytes::new()),
        Payload::text("ä\0\u{10ffff}"),
        Payload::binary(vec![0; 4096]),
        Payload::binary((0..300_000u32).map(|n| n as u8).collect::<Vec<_>>()),
    ];
    let events: Vec<_> = (1..)
        .zip(&payloads)
        .map(|(offset, payload)| StoredEvent {
            offset: Offset(offset),
            at_ms: u64::MAX - offset,
            payload: payload.clone(),
        })
        .collect();
    for event in &events {
        let write = Write::Append { channel: news.clone(), event: event.clone() };
        subject.log().commit(&[write]).expect("append");
    }
    subject.reopen();
    let read = subject.log().read(&news, Offset(1), EVERYTHING).expect("read");
    assert_eq!(read, events);
    let bytes = payloads.iter().map(|payload| payload.bytes.len() as u64).sum();
    assert_eq!(keep(subject, &news), Some(kept(1, 1, 6, bytes)));
}

pub fn names_that_begin_alike_are_apart(subject: &mut dyn Subject) {
    let inbox = ChannelName::session_inbox(session(5));
    let long = channel(&"n".repeat(128));
    let names = [channel("n"), channel("n/"), channel("nn"), inbox, long];
    for name in &names {
        let mark = name.as_str();
        subject.log().commit(&[put(name, 1), append(name, 1, mark)]).expect("commit");
    }
    subject.log().commit(&[Write::DeleteChannel { channel: channel("nn") }]).expect("delete");
    subject.reopen();
    for name in &names {
        let expected: &[&str] = if name.as_str() == "nn" { &[] } else { &[name.as_str()] };
        assert_eq!(payloads(subject, name), expected);
    }
}

fn ten_events(subject: &mut dyn Subject) -> ChannelName {
    let news = channel("news");
    let appends = (1..=10).map(|offset| append(&news, offset, "ab"));
    let writes: Vec<_> = [put(&news, 7)].into_iter().chain(appends).collect();
    subject.log().commit(&writes).expect("set up");
    subject.reopen();
    news
}

fn misused(subject: &mut dyn Subject, writes: &[Write]) {
    let error = subject.log().commit(writes).expect_err("refused");
    assert!(matches!(error, LogError::Misuse(_)) && !error.is_fatal(), "{error}");
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).expect("a name")
}

fn session(first_byte: u8) -> SessionId {
    let mut bytes = [0; 16];
    bytes[0] = first_byte;
    SessionId::from_bytes(bytes)
}

fn put(channel: &ChannelName, epoch: u64) -> Write {
    let record = ChannelRecord { epoch: Epoch(epoch), settings: Bytes::new() };
    Write::PutChannel { channel: channel.clone(), record }
}

fn append(channel: &ChannelName, offset: u64, text: &str) -> Write {
    let payload = Payload::binary(Bytes::copy_from_slice(text.as_bytes()));
    let event =
        StoredEvent { offset: Offset(offset), at_ms: 1_700_000_000_000 + offset % 7, payload };
    Write::Append { channel: channel.clone(), event }
}

fn put_key(key: &str, value: &str, expires_at_ms: u64) -> Write {
    let copy = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Write::PutKey { key: copy(key), value: copy(value), expires_at_ms }
}

fn key(subject: &mut dyn Subject, key: &str, now_ms: u64) -> Option<String> {
    let found = subject.log().key(&Bytes::copy_from_slice(key.as_bytes()), now_ms).expect("read");
    found.map(|value| String::from_utf8_lossy(&value).into_owned())
}

fn keep(subject: &mut dyn Subject, channel: &ChannelName) -> Option<ChannelKeep> {
    subject.log().channel(channel).expect("read")
}

fn kept(epoch: u64, first: u64, head: u64, bytes: u64) -> ChannelKeep {
    let record = ChannelRecord { epoch: Epoch(epoch), settings: Bytes::new() };
    ChannelKeep { record, first: Offset(first), head: Offset(head), bytes }
}

fn offsets(subject: &mut dyn Subject, channel: &ChannelName, from: u64) -> Vec<u64> {
    let events = subject.log().read(channel, Offset(from), EVERYTHING).expect("read");
    events.iter().map(|event| event.offset.0).collect()
}

fn payloads(subject: &mut dyn Subject, channel: &ChannelName) -> Vec<String> {
    let events = subject.log().read(channel, Offset::ZERO, EVERYTHING).expect("read");
    let text = |event: &StoredEvent| String::from_utf8_lossy(&event.payload.bytes).into_owned();
    events.iter().map(text).collect()
}

const EVERYTHING: ReadLimit = ReadLimit { count_max: usize::MAX, bytes_max: usize::MAX };
