//! The tables, and what stands in them.

use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable, TableDefinition, TableHandle,
};

use super::row::{Damaged, Identity, State};
use crate::LogError;

/// `"identity"` and `"state"`.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// By name.
pub(super) const CHANNELS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("channels");
/// By the channel's id and the offset, so that a channel is read, trimmed and deleted as one range.
pub(super) const EVENTS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("events");
/// By id.
pub(super) const SESSIONS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("sessions");
/// By the session's id and the number.
pub(super) const REPLIES: TableDefinition<'_, &[u8; 24], &[u8]> = TableDefinition::new("replies");
/// By the key.
pub(super) const KEYS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("keys");
/// The same keys by the moment at which they expire.
pub(super) const EXPIRIES: TableDefinition<'_, (u64, &[u8]), ()> = TableDefinition::new("expiries");

pub(super) const IDENTITY: &str = "identity";
pub(super) const STATE: &str = "state";

/// The format of the tables and rows. Another number is refused, not guessed at.
pub(super) const SCHEMA: u32 = 1;

/// What redb says, as what it means to a caller.
pub(super) fn store(error: impl Into<redb::Error>) -> LogError {
    match error.into() {
        redb::Error::Corrupted(message) => LogError::Corrupt(message),
        redb::Error::ValueTooLarge(bytes) => {
            LogError::Misuse(format!("{bytes} bytes are too many for one value"))
        }
        error @ (redb::Error::TableTypeMismatch { .. } | redb::Error::TableDoesNotExist(_)) => {
            LogError::Corrupt(error.to_string())
        }
        error => LogError::Failed(error.to_string()),
    }
}

/// A view of everything committed.
pub(super) fn begin_read(database: &Database) -> Result<ReadTransaction, LogError> {
    database.begin_read().map_err(store)
}

pub(super) fn read_identity(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Option<Identity>, LogError> {
    let row = meta.get(IDENTITY).map_err(store)?;
    let identity = row.map(|row| Identity::decode(row.value())).transpose();
    identity.map_err(|Damaged| Damaged.at("the log's identity"))
}

pub(super) fn read_state(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<State, LogError> {
    let row = meta.get(STATE).map_err(store)?;
    let state = row.ok_or(Damaged).and_then(|row| State::decode(row.value()));
    state.map_err(|Damaged| Damaged.at("the log's state"))
}

/// Whether the database holds no table at all, as one does whose making was interrupted.
pub(super) fn is_blank(transaction: &ReadTransaction) -> Result<bool, LogError> {
    Ok(transaction.list_tables().map_err(store)?.next().is_none())
}

/// Whether it holds a table of that name.
pub(super) fn has_table(transaction: &ReadTransaction, name: &str) -> Result<bool, LogError> {
    Ok(transaction.list_tables().map_err(store)?.any(|table| table.name() == name))
}
