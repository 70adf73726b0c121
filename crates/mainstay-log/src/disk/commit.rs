//! One commit: all writes in one transaction.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::Bytes;
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Offset, SessionId};
use redb::{Database, Durability, ReadableTable as _, Table, WriteTransaction};

use super::row::{
    ChannelRow, Kind, State, decode_key, encode_event, encode_key, encode_opaque, event_bytes,
    reply_key,
};
use super::tables::{
    CHANNELS, EVENTS, EXPIRIES, KEYS, META, REPLIES, SESSIONS, STATE, read_state, store,
};
use crate::validate::follows;
use crate::{ChannelKeep, ChannelRecord, Key, LogError, StoredEvent, Write};

/// Applies writes and makes them durable. An error before the transaction is committed leaves the
/// storage as it was.
pub(super) fn commit(database: &Database, salt: u64, writes: &[Write]) -> Result<(), LogError> {
    let transaction = begin(database)?;
    let applied = apply(&transaction, salt, writes);
    if let Err(error) = applied {
        transaction.abort().map_err(store)?;
        return Err(error);
    }
    transaction.commit().map_err(store)
}

/// A transaction that is on disk when its commit returns, survives a second power cut during the
/// recovery from a first, and leaves behind what a restart needs to begin without reading everything.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, LogError> {
    let mut transaction = database.begin_write().map_err(store)?;
    transaction.set_durability(Durability::Immediate).map_err(store)?;
    transaction.set_two_phase_commit(true);
    transaction.set_quick_repair(true);
    Ok(transaction)
}

fn apply(transaction: &WriteTransaction, salt: u64, writes: &[Write]) -> Result<(), LogError> {
    let mut meta = transaction.open_table(META).map_err(store)?;
    let state = read_state(&meta)?;
    let mut channels = Channels {
        channels: transaction.open_table(CHANNELS).map_err(store)?,
        events: transaction.open_table(EVENTS).map_err(store)?,
        salt,
        channel_id_next: state.channel_id_next,
        touched: HashMap::new(),
        appended: Vec::new(),
    };
    let mut sessions = Sessions { transaction, sessions: None, replies: None };
    let mut keys = Keys { transaction, tables: None };
    for write in writes {
        match write {
            Write::PutChannel { channel, record } => channels.put(channel, record)?,
            Write::Append { channel, event } => channels.append(channel, event)?,
            Write::Trim { channel, below } => channels.trim(channel, *below)?,
            Write::DeleteChannel { channel } => channels.delete(channel)?,
            Write::PutSession { session, record } => sessions.put(*session, record)?,
            Write::DeleteSession { session } => sessions.delete(*session)?,
            Write::PutReply { session, number, reply } => {
                sessions.put_reply(*session, *number, reply)?;
            }
            Write::DropReplies { session, below } => sessions.drop_replies(*session, *below)?,
            Write::PutKey { key, value, expires_at_ms } => keys.put(key, value, *expires_at_ms)?,
            Write::CapKeys { latest_ms } => keys.cap(*latest_ms)?,
            Write::DropExpiredKeys { now_ms, count_max } => keys.drop(*now_ms, *count_max)?,
        }
    }
    let channel_id_next = channels.finish()?;
    let state = State { commit_count: state.commit_count + 1, channel_id_next };
    meta.insert(STATE, &state.encode()[..]).map_err(store)?;
    Ok(())
}

struct Channels<'transaction, 'writes> {
    channels: Table<'transaction, &'static str, &'static [u8]>,
    events: Table<'transaction, (u64, u64), &'static [u8]>,
    salt: u64,
    channel_id_next: u64,
    /// Rows as they stand so far; each is written once, at the end.
    touched: HashMap<&'writes ChannelName, Option<ChannelRow>>,
    /// Events that are not in the table yet: sorted, they touch each page of it once.
    appended: Vec<(u64, &'writes StoredEvent)>,
}

impl<'writes> Channels<'_, 'writes> {
    fn put(&mut self, name: &'writes ChannelName, record: &ChannelRecord) -> Result<(), LogError> {
        let (id, record) = (self.channel_id_next, record.clone());
        match self.row(name)? {
            Some(row) => row.keep.record = record,
            unknown => {
                let (first, head) = (Offset(1), Offset::ZERO);
                let keep = ChannelKeep { record, first, head, bytes: 0 };
                *unknown = Some(ChannelRow { id, keep });
                self.channel_id_next += 1;
            }
        }
        Ok(())
    }

    fn append(
        &mut self,
        name: &'writes ChannelName,
        event: &'writes StoredEvent,
    ) -> Result<(), LogError> {
        let row = self.row(name)?;
        follows(name, row.as_ref().map(|row| row.keep.head), event.offset)?;
        if let Some(row) = row {
            row.keep.head = event.offset;
            row.keep.bytes += event.payload.bytes.len() as u64;
            let id = row.id;
            self.appended.push((id, event));
        }
        Ok(())
    }

    fn trim(&mut self, name: &'writes ChannelName, below: Offset) -> Result<(), LogError> {
        let Some(row) = self.row(name)? else { return Ok(()) };
        let (id, first, below) = (row.id, row.keep.first, below.min(row.keep.head.next()));
        if below <= first {
            return Ok(());
        }
        self.write_appended()?;
        let mut bytes = 0;
        let range = (id, first.0)..(id, below.0);
        for removed in self.events.extract_from_if(range, |_, _| true).map_err(store)? {
            let (_, value) = removed.map_err(store)?;
            bytes += event_bytes(value.value());
        }
        if let Some(row) = self.row(name)? {
            row.keep.first = below;
            row.keep.bytes = row.keep.bytes.saturating_sub(bytes);
        }
        Ok(())
    }

    fn delete(&mut self, name: &'writes ChannelName) -> Result<(), LogError> {
        let Some(row) = self.row(name)?.take() else { return Ok(()) };
        self.write_appended()?;
        let range = (row.id, 0)..=(row.id, u64::MAX);
        self.events.retain_in(range, |_, _| false).map_err(store)
    }

    fn row(&mut self, name: &'writes ChannelName) -> Result<&mut Option<ChannelRow>, LogError> {
        Ok(match self.touched.entry(name) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let row = self.channels.get(name.as_str()).map_err(store)?;
                let row = row.map(|row| ChannelRow::decode(name.as_str(), self.salt, row.value()));
                unknown.insert(row.transpose().map_err(|damaged| damaged.at(name))?)
            }
        })
    }

    fn write_appended(&mut self) -> Result<(), LogError> {
        self.appended.sort_by_key(|(id, event)| (*id, event.offset));
        for (id, event) in self.appended.drain(..) {
            let row = encode_event(id, event);
            self.events.insert((id, event.offset.0), &row[..]).map_err(store)?;
        }
        Ok(())
    }

    /// Writes what has changed, and says what the next channel is filed under.
    fn finish(mut self) -> Result<u64, LogError> {
        self.write_appended()?;
        let mut touched: Vec<_> = self.touched.into_iter().collect();
        touched.sort_by_key(|(name, _)| *name);
        for (name, row) in touched {
            let name = name.as_str();
            match row {
                Some(row) => {
                    let row = row.encode(name, self.salt);
                    self.channels.insert(name, &row[..]).map_err(store)?;
                }
                None => drop(self.channels.remove(name).map_err(store)?),
            }
        }
        Ok(self.channel_id_next)
    }
}

/// Tables are opened when first needed: an opened table costs a commit a little even if unchanged.
struct Sessions<'transaction> {
    transaction: &'transaction WriteTransaction,
    sessions: Option<Table<'transaction, &'static [u8; 16], &'static [u8]>>,
    replies: Option<Table<'transaction, &'static [u8; 24], &'static [u8]>>,
}

impl<'transaction> Sessions<'transaction> {
    fn put(&mut self, session: SessionId, record: &Bytes) -> Result<(), LogError> {
        let row = encode_opaque(Kind::Session, session.as_bytes(), record);
        self.sessions()?.insert(session.as_bytes(), &row[..]).map_err(store)?;
        Ok(())
    }

    fn delete(&mut self, session: SessionId) -> Result<(), LogError> {
        self.sessions()?.remove(session.as_bytes()).map_err(store)?;
        let start = reply_key(session.as_bytes(), 0);
        let end = reply_key(session.as_bytes(), u64::MAX);
        self.replies()?.retain_in::<&[u8; 24], _>(&start..=&end, |_, _| false).map_err(store)
    }

    fn put_reply(
        &mut self,
        session: SessionId,
        number: u64,
        reply: &Bytes,
    ) -> Result<(), LogError> {
        let key = reply_key(session.as_bytes(), number);
        let row = encode_opaque(Kind::Reply, &key, reply);
        self.replies()?.insert(&key, &row[..]).map_err(store)?;
        Ok(())
    }

    fn drop_replies(&mut self, session: SessionId, below: u64) -> Result<(), LogError> {
        let start = reply_key(session.as_bytes(), 0);
        let end = reply_key(session.as_bytes(), below);
        self.replies()?.retain_in::<&[u8; 24], _>(&start..&end, |_, _| false).map_err(store)
    }

    fn sessions(
        &mut self,
    ) -> Result<&mut Table<'transaction, &'static [u8; 16], &'static [u8]>, LogError> {
        open(&mut self.sessions, || self.transaction.open_table(SESSIONS))
    }

    fn replies(
        &mut self,
    ) -> Result<&mut Table<'transaction, &'static [u8; 24], &'static [u8]>, LogError> {
        open(&mut self.replies, || self.transaction.open_table(REPLIES))
    }
}

struct Keys<'transaction> {
    transaction: &'transaction WriteTransaction,
    tables: Option<KeyTables<'transaction>>,
}

struct KeyTables<'transaction> {
    keys: Table<'transaction, &'static [u8], &'static [u8]>,
    expiries: Table<'transaction, (u64, &'static [u8]), ()>,
}

impl<'transaction> Keys<'transaction> {
    fn put(&mut self, key: &Key, value: &Bytes, expires_at_ms: u64) -> Result<(), LogError> {
        let KeyTables { keys, expiries } = self.tables()?;
        let row = encode_key(key, value, expires_at_ms);
        let before = keys.insert(&key[..], &row[..]).map_err(store)?;
        if let Some(before) = before {
            let (before_ms, _) = decode_key(key, before.value()).map_err(|d| d.at("a key"))?;
            expiries.remove((before_ms, &key[..])).map_err(store)?;
        }
        expiries.insert((expires_at_ms, &key[..]), ()).map_err(store)?;
        Ok(())
    }

    fn cap(&mut self, latest_ms: u64) -> Result<(), LogError> {
        let KeyTables { keys, expiries } = self.tables()?;
        let mut later = Vec::new();
        for row in expiries.range((latest_ms, &[][..])..).map_err(store)? {
            let (row, ()) = row.map(|(row, end)| (row, end.value())).map_err(store)?;
            let (expires_at_ms, key) = row.value();
            if expires_at_ms > latest_ms {
                later.push((expires_at_ms, key.to_vec()));
            }
        }
        for (expires_at_ms, key) in later {
            expiries.remove((expires_at_ms, &key[..])).map_err(store)?;
            expiries.insert((latest_ms, &key[..]), ()).map_err(store)?;
            let row = match keys.get(&key[..]).map_err(store)? {
                Some(row) => {
                    let (_, value) = decode_key(&key, row.value()).map_err(|d| d.at("a key"))?;
                    encode_key(&key, &value, latest_ms)
                }
                None => continue,
            };
            keys.insert(&key[..], &row[..]).map_err(store)?;
        }
        Ok(())
    }

    fn drop(&mut self, now_ms: u64, count_max: usize) -> Result<(), LogError> {
        let KeyTables { keys, expiries } = self.tables()?;
        for _ in 0..count_max {
            let key = match expiries.first().map_err(store)? {
                Some((first, _)) if first.value().0 <= now_ms => {
                    (first.value().0, first.value().1.to_vec())
                }
                _ => break,
            };
            expiries.remove((key.0, &key.1[..])).map_err(store)?;
            keys.remove(&key.1[..]).map_err(store)?;
        }
        Ok(())
    }

    fn tables(&mut self) -> Result<&mut KeyTables<'transaction>, LogError> {
        open(&mut self.tables, || {
            Ok(KeyTables {
                keys: self.transaction.open_table(KEYS)?,
                expiries: self.transaction.open_table(EXPIRIES)?,
            })
        })
    }
}

fn open<T>(
    table: &mut Option<T>,
    open: impl FnOnce() -> Result<T, redb::TableError>,
) -> Result<&mut T, LogError> {
    let opened = match table.take() {
        Some(table) => table,
        None => open().map_err(store)?,
    };
    Ok(table.insert(opened))
}
