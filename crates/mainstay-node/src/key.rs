//! Idempotency keys: a call that is made again with its key is carried out once.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use mainstay_log::Write;
use mainstay_wire::ChannelName;
use mainstay_wire::session::{Epoch, ErrorCode, Failure, Offset, Payload, PayloadKind};
use sha2::{Digest, Sha256};

use crate::timer::Timer;
use crate::{Answer, CallError, Node, Target};

pub(crate) type Places = Vec<(ChannelName, Epoch, Offset)>;

/// What a call asked for, in short: the same key with something else is no repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; FINGERPRINT_BYTES]);

impl Fingerprint {
    pub(crate) fn of_publish(channels: &[ChannelName], payload: &Payload) -> Fingerprint {
        Fingerprint::of(channels.iter().map(|channel| channel.as_str().to_owned()), payload)
    }

    pub(crate) fn of_send(to: &Target, payload: &Payload) -> Fingerprint {
        let to = match to {
            Target::Session(session) => format!(" session {session}"),
            Target::Principal(principal) => format!(" principal {principal}"),
            Target::Connection(connection) => format!(" connection {}", connection.0),
        };
        Fingerprint::of([to], payload)
    }

    /// No name has a line's end, so that where to and what are apart.
    fn of(to: impl IntoIterator<Item = String>, payload: &Payload) -> Fingerprint {
        let mut hash = Sha256::new();
        for name in to {
            hash.update(name);
            hash.update(b"\n");
        }
        hash.update(match payload.kind {
            PayloadKind::Json => b"\njson\n",
            PayloadKind::Binary => b"\ndata\n",
        });
        hash.update(&payload.bytes);
        let mut short = [0; FINGERPRINT_BYTES];
        short.copy_from_slice(&hash.finalize()[..FINGERPRINT_BYTES]);
        Fingerprint(short)
    }
}

/// How many events are remembered under keys, by the second in which that ends.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    by_second: VecDeque<(u64, usize)>,
    count: usize,
}

impl Remembered {
    pub(crate) fn add(&mut self, expires_at_ms: u64, count: usize) {
        let second = expires_at_ms / 1000;
        match self.by_second.back_mut() {
            Some((last, counted)) if *last == second => *counted += count,
            _ => self.by_second.push_back((second, count)),
        }
        self.count += count;
    }

    fn count(&mut self, now_ms: u64) -> usize {
        while let Some((second, count)) = self.by_second.front()
            && *second < now_ms / 1000
        {
            self.count -= count;
            self.by_second.pop_front();
        }
        self.count
    }
}

impl Node {
    /// Does something once for each idempotency key.
    pub(crate) fn once(
        &mut self,
        now_ms: u64,
        key: Option<(Bytes, Fingerprint)>,
        act: impl FnOnce(&mut Node) -> Result<Places, Failure>,
    ) -> Result<Answer, CallError> {
        if let Some((key, fingerprint)) = &key
            && let Some((known, places)) = self.known_key(now_ms, key)?
        {
            return match known == *fingerprint {
                true => Ok(Answer::Published(places)),
                false => Err(key_reused()),
            };
        }
        if let Some((key, _)) = &key {
            self.check_key(now_ms, key)?;
        }
        let places = act(self).map_err(|f| CallError { code: f.code, message: f.message })?;
        if let Some((key, fingerprint)) = key {
            let expires_at_ms = now_ms + self.config.key_expiry_ms;
            let value = encode(fingerprint, &places);
            self.staged.keys.insert(key.clone(), (fingerprint, places.clone()));
            self.key_count += 1;
            self.remembered.add(expires_at_ms, places.len());
            self.staged.writes.push(Write::PutKey { key, value, expires_at_ms });
            if self.last_key_at_ms.replace(now_ms).is_none() {
                self.timers.arm(expires_at_ms, Timer::Keys);
            }
        }
        Ok(Answer::Published(places))
    }

    /// Whether one more key may be remembered, and this one.
    fn check_key(&mut self, now_ms: u64, key: &Bytes) -> Result<(), CallError> {
        if key.len() > KEY_BYTES_MAX {
            let message = format!("an idempotency key has at most {KEY_BYTES_MAX} bytes");
            return Err(CallError { code: ErrorCode::Malformed, message });
        }
        let count_max = self.config.key_count_max;
        if self.remembered.count(now_ms) >= count_max {
            let message = format!("{count_max} events are remembered by their keys already");
            return Err(CallError { code: ErrorCode::Busy, message });
        }
        Ok(())
    }

    fn known_key(
        &mut self,
        now_ms: u64,
        key: &Bytes,
    ) -> Result<Option<(Fingerprint, Places)>, CallError> {
        if let Some(staged) = self.staged.keys.get(key) {
            return Ok(Some(staged.clone()));
        }
        let stored = self.log.key(key, now_ms).map_err(|error| {
            let message = error.to_string();
            CallError { code: ErrorCode::StoreFailed, message }
        })?;
        Ok(stored.and_then(decode))
    }
}

fn key_reused() -> CallError {
    let message = "this idempotency key was used with another request".to_owned();
    CallError { code: ErrorCode::KeyReused, message }
}

/// What is remembered under a key.
fn encode(Fingerprint(fingerprint): Fingerprint, places: &Places) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(&fingerprint);
    for (name, epoch, offset) in places {
        out.put_u64(epoch.0);
        out.put_u64(offset.0);
        // A name has at most some hundred bytes.
        out.put_u16(u16::try_from(name.as_str().len()).unwrap_or(u16::MAX));
        out.put_slice(name.as_str().as_bytes());
    }
    out.freeze()
}

fn decode(mut bytes: Bytes) -> Option<(Fingerprint, Places)> {
    let mut fingerprint = [0; FINGERPRINT_BYTES];
    bytes.try_copy_to_slice(&mut fingerprint).ok()?;
    let mut places = Vec::new();
    while bytes.has_remaining() {
        let epoch = Epoch(bytes.try_get_u64().ok()?);
        let offset = Offset(bytes.try_get_u64().ok()?);
        let length = usize::from(bytes.try_get_u16().ok()?);
        if length > bytes.remaining() {
            return None;
        }
        let name = bytes.split_to(length);
        let name = ChannelName::parse_any(std::str::from_utf8(&name).ok()?).ok()?;
        places.push((name, epoch, offset));
    }
    Some((Fingerprint(fingerprint), places))
}

/// A hash or a name with a number, and what it is kept apart by.
const KEY_BYTES_MAX: usize = 256;
/// Enough that nobody finds two calls with the same by accident, or soon by intent.
const FINGERPRINT_BYTES: usize = 16;
