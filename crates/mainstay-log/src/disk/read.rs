//! Reading, each time from a view of everything committed.

use std::ops::Bound;

use bytes::Bytes;
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Offset, SessionId};
use redb::{Database, ReadTransaction, ReadableTableMetadata as _};

use super::row::{
    ChannelRow, Kind, decode_event, decode_key, decode_opaque, reply_key, reply_number,
};
use super::tables::{CHANNELS, EVENTS, KEYS, REPLIES, SESSIONS, begin_read, store};
use crate::{ChannelKeep, Key, LogError, ReadLimit, StoredEvent};

pub(super) fn events(
    database: &Database,
    salt: u64,
    channel: &ChannelName,
    from: Offset,
    limit: ReadLimit,
) -> Result<Vec<StoredEvent>, LogError> {
    let view = begin_read(database)?;
    let Some(ChannelRow { id, keep }) = channel_row(&view, salt, channel)? else {
        return Ok(Vec::new());
    };
    let mut events = Vec::new();
    let from = from.max(keep.first);
    if from > keep.head {
        return Ok(events);
    }
    let table = view.open_table(EVENTS).map_err(store)?;
    let mut rows = table.range((id, from.0)..=(id, keep.head.0)).map_err(store)?;
    let mut page = limit.page();
    for offset in from.0..=keep.head.0 {
        if !page.is_open() {
            break;
        }
        let row = rows.next().transpose();
        let event = match &row {
            // An event that should be here and is not is damage too.
            Ok(Some((key, row))) if key.value() == (id, offset) => {
                decode_event(id, offset, row.value()).ok()
            }
            _ => None,
        };
        match event {
            Some(event) if !page.takes(&event) => break,
            Some(event) => events.push(event),
            // What stands in front of the damage is good.
            None if !events.is_empty() => break,
            None => {
                row.map_err(store)?;
                return Err(LogError::Corrupt(format!("event {offset} of {channel}")));
            }
        }
    }
    Ok(events)
}

pub(super) fn channel(
    database: &Database,
    salt: u64,
    channel: &ChannelName,
) -> Result<Option<ChannelKeep>, LogError> {
    let row = channel_row(&begin_read(database)?, salt, channel)?;
    Ok(row.map(|row| row.keep))
}

pub(super) fn channels(
    database: &Database,
    salt: u64,
    after: Option<&ChannelName>,
    count_max: usize,
) -> Result<Vec<(ChannelName, ChannelKeep)>, LogError> {
    let table = begin_read(database)?.open_table(CHANNELS).map_err(store)?;
    let after = after.map_or(Bound::Unbounded, |name| Bound::Excluded(name.as_str()));
    let rows = table.range::<&str>((after, Bound::Unbounded)).map_err(store)?;
    let mut channels = Vec::new();
    for row in rows.take(count_max) {
        let (name, row) = row.map_err(store)?;
        let (name, row) = decode_channel(name.value(), salt, row.value())?;
        channels.push((name, row.keep));
    }
    Ok(channels)
}

pub(super) fn decode_channel(
    name: &str,
    salt: u64,
    row: &[u8],
) -> Result<(ChannelName, ChannelRow), LogError> {
    let row = ChannelRow::decode(name, salt, row).map_err(|damaged| damaged.at(name))?;
    let name = ChannelName::parse_any(name)
        .map_err(|error| LogError::Corrupt(format!("the channel {name:?}: {error}")))?;
    Ok((name, row))
}

pub(super) fn session(database: &Database, session: SessionId) -> Result<Option<Bytes>, LogError> {
    let table = begin_read(database)?.open_table(SESSIONS).map_err(store)?;
    let row = table.get(session.as_bytes()).map_err(store)?;
    let record = row.map(|row| decode_opaque(Kind::Session, session.as_bytes(), row.value()));
    record.transpose().map_err(|damaged| damaged.at(format_args!("session {session}")))
}

pub(super) fn sessions(
    database: &Database,
    after: Option<SessionId>,
    count_max: usize,
) -> Result<Vec<(SessionId, Bytes)>, LogError> {
    let table = begin_read(database)?.open_table(SESSIONS).map_err(store)?;
    let after = after.as_ref().map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_bytes()));
    let rows = table.range::<&[u8; 16]>((after, Bound::Unbounded)).map_err(store)?;
    let mut sessions = Vec::new();
    for row in rows {
        if sessions.len() >= count_max {
            break;
        }
        let (id, row) = row.map_err(store)?;
        if let Ok(record) = decode_opaque(Kind::Session, id.value(), row.value()) {
            sessions.push((SessionId::from_bytes(*id.value()), record));
        }
    }
    Ok(sessions)
}

pub(super) fn replies(
    database: &Database,
    session: SessionId,
) -> Result<Vec<(u64, Bytes)>, LogError> {
    let table = begin_read(database)?.open_table(REPLIES).map_err(store)?;
    let start = reply_key(session.as_bytes(), 0);
    let end = reply_key(session.as_bytes(), u64::MAX);
    let mut replies = Vec::new();
    for row in table.range::<&[u8; 24]>(&start..=&end).map_err(store)? {
        let (key, row) = row.map_err(store)?;
        let number = reply_number(key.value());
        let reply = decode_opaque(Kind::Reply, key.value(), row.value());
        let what = format_args!("reply {number} of session {session}");
        replies.push((number, reply.map_err(|damaged| damaged.at(what))?));
    }
    Ok(replies)
}

pub(super) fn reply_sizes(
    database: &Database,
    session: SessionId,
) -> Result<Vec<(u64, usize)>, LogError> {
    let table = begin_read(database)?.open_table(REPLIES).map_err(store)?;
    let start = reply_key(session.as_bytes(), 0);
    let end = reply_key(session.as_bytes(), u64::MAX);
    let mut sizes = Vec::new();
    for row in table.range::<&[u8; 24]>(&start..=&end).map_err(store)? {
        let (key, row) = row.map_err(store)?;
        let (key, row) = (key.value(), row.value());
        let bytes = decode_opaque(Kind::Reply, key, row).map_or(row.len(), |reply| reply.len());
        sizes.push((reply_number(key), bytes));
    }
    Ok(sizes)
}

pub(super) fn reply(
    database: &Database,
    session: SessionId,
    number: u64,
) -> Result<Option<Bytes>, LogError> {
    let table = begin_read(database)?.open_table(REPLIES).map_err(store)?;
    let key = reply_key(session.as_bytes(), number);
    let Some(row) = table.get(&key).map_err(store)? else { return Ok(None) };
    let reply = decode_opaque(Kind::Reply, &key, row.value());
    let what = format_args!("reply {number} of session {session}");
    reply.map(Some).map_err(|damaged| damaged.at(what))
}

pub(super) fn key(database: &Database, key: &Key, now_ms: u64) -> Result<Option<Bytes>, LogError> {
    let table = begin_read(database)?.open_table(KEYS).map_err(store)?;
    let Some(row) = table.get(&key[..]).map_err(store)? else { return Ok(None) };
    let (expires_at_ms, value) = decode_key(key, row.value()).map_err(|d| d.at("a key"))?;
    Ok((expires_at_ms > now_ms).then_some(value))
}

pub(super) fn key_count(database: &Database) -> Result<u64, LogError> {
    begin_read(database)?.open_table(KEYS).map_err(store)?.len().map_err(store)
}

fn channel_row(
    view: &ReadTransaction,
    salt: u64,
    channel: &ChannelName,
) -> Result<Option<ChannelRow>, LogError> {
    let table = view.open_table(CHANNELS).map_err(store)?;
    let row = table.get(channel.as_str()).map_err(store)?;
    let row = row.map(|row| ChannelRow::decode(channel.as_str(), salt, row.value()));
    row.transpose().map_err(|damaged| damaged.at(channel))
}
