//! How rows are written: numbers big-endian, and a checksum over the table, the key and the value, so
//! that neither damaged nor misplaced bytes are ever taken for data.

use bytes::Bytes;
use mainstay_wire::session::{Epoch, Offset, Payload, PayloadKind};

use crate::{ChannelKeep, ChannelRecord, LogError, StoredEvent};

/// Which table a row belongs to; part of its checksum.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Identity = 1,
    State = 2,
    Channel = 3,
    Event = 4,
    Session = 5,
    Reply = 6,
    Key = 7,
}

/// What a log is, and of which format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) schema: u32,
    pub(super) log_id: u64,
    /// Mixed into every epoch that is given and taken.
    pub(super) salt: u64,
    pub(super) standing: Standing,
}

/// Whether a log has been opened since it was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Live = 0,
    Copy = 1,
}

impl Identity {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = Row::new(Kind::Identity, b"");
        row.put(&self.schema.to_be_bytes());
        row.put(&self.log_id.to_be_bytes());
        row.put(&self.salt.to_be_bytes());
        row.put(&[self.standing as u8]);
        row.finish()
    }

    pub(super) fn decode(row: &[u8]) -> Result<Identity, Damaged> {
        let mut rest = open(Kind::Identity, b"", row)?;
        Ok(Identity {
            schema: u32::from_be_bytes(take(&mut rest)?),
            log_id: u64::from_be_bytes(take(&mut rest)?),
            salt: u64::from_be_bytes(take(&mut rest)?),
            standing: match take::<1>(&mut rest)? {
                [0] => Standing::Live,
                [1] => Standing::Copy,
                _ => return Err(Damaged),
            },
        })
    }
}

/// What changes with every commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// How many commits there have been.
    pub(super) commit_count: u64,
    /// What the next channel's events are filed under.
    pub(super) channel_id_next: u64,
}

impl State {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = Row::new(Kind::State, b"");
        row.put(&self.commit_count.to_be_bytes());
        row.put(&self.channel_id_next.to_be_bytes());
        row.finish()
    }

    pub(super) fn decode(row: &[u8]) -> Result<State, Damaged> {
        let mut rest = open(Kind::State, b"", row)?;
        Ok(State {
            commit_count: u64::from_be_bytes(take(&mut rest)?),
            channel_id_next: u64::from_be_bytes(take(&mut rest)?),
        })
    }
}

/// A channel: what is kept of it, and what its events are filed under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChannelRow {
    pub(super) id: u64,
    pub(super) keep: ChannelKeep,
}

impl ChannelRow {
    pub(super) fn encode(&self, name: &str, salt: u64) -> Vec<u8> {
        let mut row = Row::new(Kind::Channel, name.as_bytes());
        let keep = &self.keep;
        let numbers = [self.id, keep.record.epoch.0 ^ salt, keep.first.0, keep.head.0, keep.bytes];
        numbers.iter().for_each(|number| row.put(&number.to_be_bytes()));
        row.put(&keep.record.settings);
        row.finish()
    }

    pub(super) fn decode(name: &str, salt: u64, row: &[u8]) -> Result<ChannelRow, Damaged> {
        let mut rest = open(Kind::Channel, name.as_bytes(), row)?;
        let mut number = || take(&mut rest).map(u64::from_be_bytes);
        let (id, epoch) = (number()?, Epoch(number()? ^ salt));
        let (first, head, bytes) = (Offset(number()?), Offset(number()?), number()?);
        let record = ChannelRecord { epoch, settings: Bytes::copy_from_slice(rest) };
        Ok(ChannelRow { id, keep: ChannelKeep { record, first, head, bytes } })
    }
}

/// Writes an event, filed under its channel's id.
pub(super) fn encode_event(id: u64, event: &StoredEvent) -> Vec<u8> {
    let mut row = Row::new(Kind::Event, &event_key(id, event.offset.0));
    row.bytes.reserve(EVENT_OVERHEAD + event.payload.bytes.len());
    row.put(&event.at_ms.to_be_bytes());
    row.put(&[match event.payload.kind {
        PayloadKind::Json => 0,
        PayloadKind::Binary => 1,
    }]);
    row.put(&event.payload.bytes);
    row.finish()
}

pub(super) fn decode_event(id: u64, offset: u64, row: &[u8]) -> Result<StoredEvent, Damaged> {
    let mut rest = open(Kind::Event, &event_key(id, offset), row)?;
    let at_ms = u64::from_be_bytes(take(&mut rest)?);
    let kind = match take::<1>(&mut rest)? {
        [0] => PayloadKind::Json,
        [1] => PayloadKind::Binary,
        _ => return Err(Damaged),
    };
    let payload = Payload { kind, bytes: Bytes::copy_from_slice(rest) };
    Ok(StoredEvent { offset: Offset(offset), at_ms, payload })
}

/// The bytes of payload in an event's row.
pub(super) fn event_bytes(row: &[u8]) -> u64 {
    row.len().saturating_sub(EVENT_OVERHEAD) as u64
}

/// Writes bytes that mean nothing here.
pub(super) fn encode_opaque(kind: Kind, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut row = Row::new(kind, key);
    row.put(value);
    row.finish()
}

pub(super) fn decode_opaque(kind: Kind, key: &[u8], row: &[u8]) -> Result<Bytes, Damaged> {
    Ok(Bytes::copy_from_slice(open(kind, key, row)?))
}

/// Writes an idempotency key's value and its end.
pub(super) fn encode_key(key: &[u8], value: &[u8], expires_at_ms: u64) -> Vec<u8> {
    let mut row = Row::new(Kind::Key, key);
    row.put(&expires_at_ms.to_be_bytes());
    row.put(value);
    row.finish()
}

pub(super) fn decode_key(key: &[u8], row: &[u8]) -> Result<(u64, Bytes), Damaged> {
    let mut rest = open(Kind::Key, key, row)?;
    let expires_at_ms = u64::from_be_bytes(take(&mut rest)?);
    Ok((expires_at_ms, Bytes::copy_from_slice(rest)))
}

/// What a reply is filed under.
pub(super) fn reply_key(session: &[u8; 16], number: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(session);
    key[16..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The number in a reply's key.
pub(super) fn reply_number(key: &[u8; 24]) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&key[16..]);
    u64::from_be_bytes(number)
}

/// A row whose bytes are not those that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

impl Damaged {
    /// The error that names the row.
    pub(super) fn at(self, what: impl std::fmt::Display) -> LogError {
        LogError::Corrupt(format!("{what} is not what was written"))
    }
}

struct Row {
    bytes: Vec<u8>,
    checksum: crc32fast::Hasher,
}

impl Row {
    fn new(kind: Kind, key: &[u8]) -> Row {
        Row { bytes: vec![0; CHECKSUM_BYTES], checksum: checksum(kind, key) }
    }

    fn put(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(part);
    }

    fn finish(mut self) -> Vec<u8> {
        self.checksum.update(&self.bytes[CHECKSUM_BYTES..]);
        self.bytes[..CHECKSUM_BYTES].copy_from_slice(&self.checksum.finalize().to_be_bytes());
        self.bytes
    }
}

/// What stands behind the checksum, if that is right.
fn open<'row>(kind: Kind, key: &[u8], row: &'row [u8]) -> Result<&'row [u8], Damaged> {
    let (expected, value) = row.split_first_chunk().ok_or(Damaged)?;
    let mut checksum = checksum(kind, key);
    checksum.update(value);
    if checksum.finalize().to_be_bytes() == *expected { Ok(value) } else { Err(Damaged) }
}

fn checksum(kind: Kind, key: &[u8]) -> crc32fast::Hasher {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&[kind as u8]);
    checksum.update(key);
    checksum
}

fn event_key(id: u64, offset: u64) -> [u8; 16] {
    ((u128::from(id) << 64) | u128::from(offset)).to_be_bytes()
}

fn take<const COUNT: usize>(rest: &mut &[u8]) -> Result<[u8; COUNT], Damaged> {
    let (taken, behind) = rest.split_first_chunk().ok_or(Damaged)?;
    *rest = behind;
    Ok(*taken)
}

const CHECKSUM_BYTES: usize = 4;
/// The checksum, the time and the kind.
const EVENT_OVERHEAD: usize = CHECKSUM_BYTES + 8 + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_wrong_place_is_noticed() {
        let payload = Payload::text("hello");
        let event = StoredEvent { offset: Offset(3), at_ms: 77, payload };
        let row = encode_event(9, &event);
        assert_eq!(decode_event(9, 3, &row), Ok(event));
        assert_eq!(event_bytes(&row), 7);
        assert_eq!(decode_event(9, 4, &row), Err(Damaged));
        assert_eq!(decode_event(8, 3, &row), Err(Damaged));
        for bit in 0..row.len() * 8 {
            let mut row = row.clone();
            row[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_event(9, 3, &row), Err(Damaged));
        }
        for length in 0..row.len() {
            assert_eq!(decode_event(9, 3, &row[..length]), Err(Damaged));
        }
        let key = encode_key(b"k", b"v", 5);
        assert_eq!(decode_key(b"k", &key), Ok((5, Bytes::from_static(b"v"))));
        assert_eq!(decode_key(b"j", &key), Err(Damaged));
    }

    #[test]
    fn what_is_written_of_a_log_and_a_channel_is_read_back() {
        let identity = Identity { schema: 1, log_id: u64::MAX, salt: 77, standing: Standing::Copy };
        assert_eq!(Identity::decode(&identity.encode()), Ok(identity));
        let state = State { commit_count: 5, channel_id_next: 6 };
        assert_eq!(State::decode(&state.encode()), Ok(state));
        let record = ChannelRecord { epoch: Epoch(9), settings: Bytes::from_static(b"s") };
        let keep = ChannelKeep { record, first: Offset(1), head: Offset(2), bytes: 3 };
        let mut channel = ChannelRow { id: 4, keep };
        let row = channel.encode("news", 5);
        assert_eq!(ChannelRow::decode("news", 5, &row), Ok(channel.clone()));
        channel.keep.record.epoch = Epoch(9 ^ 5);
        assert_eq!(ChannelRow::decode("news", 0, &row), Ok(channel), "another salt, another epoch");
    }
}
