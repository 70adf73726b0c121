//! Outcomes as they are stored.

use bytes::{BufMut, Bytes, BytesMut};
use mainstay_wire::session::{Epoch, ErrorCode, Failure, Offset, Outcome, Payload};

use super::bytes::{Reader, put_text};

/// Writes an outcome down. A payload is its last part and goes to the end, without a length.
pub fn encode_outcome(outcome: &Outcome) -> Bytes {
    let mut out = BytesMut::new();
    match outcome {
        Outcome::Done(payload) => {
            out.reserve(1 + payload.bytes.len());
            let is_json = *payload == Payload::from_json_bytes(payload.bytes.clone());
            out.put_u8(if is_json { DONE_JSON } else { DONE_BINARY });
            out.put_slice(&payload.bytes);
        }
        Outcome::Published { epoch, offset } => {
            out.put_u8(PUBLISHED);
            out.put_u64(epoch.0);
            out.put_u64(offset.0);
        }
        Outcome::Failed(failure) => {
            out.put_u8(FAILED);
            put_text(&mut out, failure.code.word());
            put_text(&mut out, &failure.message);
        }
        Outcome::Indeterminate => out.put_u8(INDETERMINATE),
    }
    out.freeze()
}

/// Reads what [`encode_outcome`] wrote; `None` if it is damaged.
pub fn decode_outcome(bytes: Bytes) -> Option<Outcome> {
    let mut reader = Reader(bytes);
    let outcome = match reader.u8()? {
        DONE_JSON => return Some(Outcome::Done(Payload::from_json_bytes(reader.0))),
        DONE_BINARY => return Some(Outcome::Done(Payload::binary(reader.0))),
        PUBLISHED => {
            Outcome::Published { epoch: Epoch(reader.u64()?), offset: Offset(reader.u64()?) }
        }
        FAILED => {
            let code = ErrorCode::parse(&reader.text()?)?;
            Outcome::Failed(Failure { code, message: reader.text()? })
        }
        INDETERMINATE => Outcome::Indeterminate,
        _ => return None,
    };
    reader.is_empty().then_some(outcome)
}

const DONE_JSON: u8 = 1;
const DONE_BINARY: u8 = 2;
const PUBLISHED: u8 = 3;
const FAILED: u8 = 4;
const INDETERMINATE: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_read_as_it_was_written() {
        let mut outcomes = vec![
            Outcome::Done(Payload::text("it works")),
            Outcome::Done(Payload::binary(vec![0, 255])),
            Outcome::Done(Payload::binary(Bytes::new())),
            Outcome::Published { epoch: Epoch(7), offset: Offset(8) },
            Outcome::Indeterminate,
        ];
        for code in ErrorCode::ALL {
            let failure = Failure { code: *code, message: code.explanation().to_owned() };
            outcomes.push(Outcome::Failed(failure));
        }
        for outcome in outcomes {
            assert_eq!(decode_outcome(encode_outcome(&outcome)), Some(outcome));
        }
    }

    #[test]
    fn a_damaged_outcome_is_none() {
        let published = encode_outcome(&Outcome::Published { epoch: Epoch(7), offset: Offset(8) });
        for bytes in [&[][..], &[9], &published[..9], &[INDETERMINATE, 0], &[FAILED, 0, 0]] {
            assert_eq!(decode_outcome(Bytes::copy_from_slice(bytes)), None, "{bytes:?}");
        }
    }
}
