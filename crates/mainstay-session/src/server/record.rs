//! What is stored of a session.

use bytes::{BufMut, Bytes, BytesMut};
use mainstay_wire::session::{Epoch, Offset, Principal};
use thiserror::Error;

use super::TokenHash;
use super::bytes::{Reader, put_text};

/// What outlives the server's process. The session's id is the key that it is stored under.
#[derive(Clone, Debug)]
pub struct Record {
    /// Who the session belongs to.
    pub principal: Option<Principal>,
    /// How many connections it has had.
    pub generation: u64,
    /// The hash of the token that the last welcome carried.
    pub token: TokenHash,
    /// The hash of the token that the last hello carried, until the new one is known to have arrived.
    pub token_before: Option<TokenHash>,
    /// The highest request number that was accepted.
    pub accepted: u64,
    /// Whether the handler of that number was started and its outcome is not stored.
    pub is_started: bool,
    /// What the client calls itself.
    pub client: Box<str>,
    /// When the session began, in milliseconds since 1970.
    pub since_ms: u64,
    /// Since when it has no connection, in milliseconds since 1970; `None` while it has one.
    pub away_since_ms: Option<u64>,
    /// The last number of the server's commands to the client.
    pub command_count: u64,
    /// Where the principal's inbox stood when the session began: a client that never saw its
    /// `subscribed` frame goes on from there.
    pub inbox_from: Option<(Epoch, Offset)>,
    /// When it expired, in milliseconds since 1970. What is left then is a tombstone, which says how
    /// many requests were accepted.
    pub expired_at_ms: Option<u64>,
}

impl Record {
    /// Writes it down.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(256);
        out.put_u8(VERSION);
        let flags = [
            (self.principal.is_some(), PRINCIPAL),
            (self.token_before.is_some(), TOKEN_BEFORE),
            (self.is_started, STARTED),
            (self.away_since_ms.is_some(), AWAY),
            (self.inbox_from.is_some(), INBOX_FROM),
            (self.expired_at_ms.is_some(), EXPIRED),
        ];
        out.put_u8(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum());
        for number in [self.generation, self.accepted, self.since_ms, self.command_count] {
            out.put_u64(number);
        }
        out.put_slice(self.token.as_bytes());
        put_text(&mut out, &self.client);
        if let Some(principal) = &self.principal {
            put_text(&mut out, principal.as_str());
        }
        if let Some(token) = &self.token_before {
            out.put_slice(token.as_bytes());
        }
        if let Some(away_since_ms) = self.away_since_ms {
            out.put_u64(away_since_ms);
        }
        if let Some((epoch, offset)) = self.inbox_from {
            out.put_u64(epoch.0);
            out.put_u64(offset.0);
        }
        if let Some(expired_at_ms) = self.expired_at_ms {
            out.put_u64(expired_at_ms);
        }
        // A memory engine keeps it: no more of it than is used.
        Bytes::copy_from_slice(&out)
    }

    /// Reads what [`encode`](Record::encode) wrote.
    ///
    /// # Errors
    /// If the bytes are none of ours, or of a version that this program does not know.
    pub fn decode(bytes: Bytes) -> Result<Record, InvalidRecord> {
        let mut reader = Reader(bytes);
        match reader.u8() {
            Some(VERSION) => {}
            Some(version) => return Err(InvalidRecord::Version(version)),
            None => return Err(InvalidRecord::Damaged),
        }
        let record = read(&mut reader).ok_or(InvalidRecord::Damaged)?;
        if reader.is_empty() { Ok(record) } else { Err(InvalidRecord::Damaged) }
    }
}

fn read(reader: &mut Reader) -> Option<Record> {
    let flags = reader.u8()?;
    let (generation, accepted) = (reader.u64()?, reader.u64()?);
    let (since_ms, command_count) = (reader.u64()?, reader.u64()?);
    let token = TokenHash::from_bytes(reader.array()?);
    let client = reader.text()?.into();
    let is_set = |flag: u8| flags & flag != 0;
    let principal = match is_set(PRINCIPAL) {
        true => Some(Principal::parse(&reader.text()?).ok()?),
        false => None,
    };
    let token_before = match is_set(TOKEN_BEFORE) {
        true => Some(TokenHash::from_bytes(reader.array()?)),
        false => None,
    };
    let away_since_ms = if is_set(AWAY) { Some(reader.u64()?) } else { None };
    let inbox_from = match is_set(INBOX_FROM) {
        true => Some((Epoch(reader.u64()?), Offset(reader.u64()?))),
        false => None,
    };
    let expired_at_ms = if is_set(EXPIRED) { Some(reader.u64()?) } else { None };
    let is_started = is_set(STARTED);
    Some(Record {
        principal,
        generation,
        token,
        token_before,
        accepted,
        is_started,
        client,
        since_ms,
        away_since_ms,
        command_count,
        inbox_from,
        expired_at_ms,
    })
}

/// The store holds something that is no record of this program.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidRecord {
    /// Written by another version.
    #[error("a session's record has version {0}, which this program does not know")]
    Version(u8),
    /// Too short, too long, or of the wrong form.
    #[error("a session's record is damaged")]
    Damaged,
}

/// Raised with every change of the form.
const VERSION: u8 = 1;

const PRINCIPAL: u8 = 1;
const TOKEN_BEFORE: u8 = 2;
const STARTED: u8 = 4;
const AWAY: u8 = 8;
const INBOX_FROM: u8 = 16;
const EXPIRED: u8 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Record {
        Record {
            principal: Principal::parse("ann@example.org").ok(),
            generation: 3,
            token: TokenHash::from_bytes([1; 32]),
            token_before: Some(TokenHash::from_bytes([2; 32])),
            accepted: 4,
            is_started: true,
            client: "example/1.0".into(),
            since_ms: 5,
            away_since_ms: Some(6),
            command_count: 7,
            inbox_from: Some((Epoch(8), Offset(9))),
            expired_at_ms: Some(10),
        }
    }

    fn bare() -> Record {
        Record {
            principal: None,
            token_before: None,
            is_started: false,
            client: "".into(),
            away_since_ms: None,
            inbox_from: None,
            expired_at_ms: None,
            ..full()
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for record in [full(), bare()] {
            let read = Record::decode(record.encode()).unwrap();
            assert_eq!(format!("{read:?}"), format!("{record:?}"));
        }
    }

    #[test]
    fn a_record_cut_short_or_continued_is_damaged() {
        for record in [full(), bare()] {
            let bytes = record.encode();
            for length in 0..bytes.len() {
                let cut = Record::decode(bytes.slice(..length));
                assert_eq!(cut.err(), Some(InvalidRecord::Damaged), "{length} bytes");
            }
            let longer = Bytes::from([&bytes[..], b"x"].concat());
            assert_eq!(Record::decode(longer).err(), Some(InvalidRecord::Damaged));
        }
    }

    #[test]
    fn another_version_is_named() {
        let error = Record::decode(Bytes::from_static(&[9, 0, 0])).err();
        assert_eq!(error, Some(InvalidRecord::Version(9)));
    }
}
