//! Any bytes, cut anywhere, read as they do in one piece, and never past a limit.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use mainstay_wire::deflate::Inflater;
use mainstay_wire::frame::Compression;
use mainstay_wire::{Limits, Message, Reader, Role, Violation};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    is_client: bool,
    is_deflate: bool,
    /// Sizes of the pieces, over and over.
    pieces: [u8; 3],
    bytes: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let mut inflater = Inflater::default();
    let whole = read(&input, [usize::MAX; 3], &mut inflater);
    let pieces = input.pieces.map(|size| usize::from(size).max(1));
    let in_pieces = read(&input, pieces, &mut inflater);
    assert_eq!(whole, in_pieces);
});

/// What was said, and what was wrong at last.
fn read(
    input: &Input<'_>,
    pieces: [usize; 3],
    inflater: &mut Inflater,
) -> (Vec<String>, Option<Violation>) {
    let sender = if input.is_client { Role::Client } else { Role::Server };
    let compression = if input.is_deflate { Compression::Deflate } else { Compression::Plain };
    let mut reader = Reader::new(sender, compression);
    let limits =
        Limits { message_bytes_max: MESSAGE_BYTES_MAX, fragment_count_max: 3, ..Limits::default() };
    let mut said = Vec::new();
    let mut bytes = input.bytes.to_vec();
    let mut rest = bytes.as_mut_slice();
    for size in pieces.iter().cycle() {
        let (mut piece, after) = rest.split_at_mut((*size).min(rest.len()));
        rest = after;
        loop {
            match reader.read(&mut piece, &limits, inflater) {
                Ok(Some(message)) => said.push(within_limits(&message)),
                Ok(None) => break,
                Err(violation) => return (said, Some(violation)),
            }
        }
        assert!(piece.is_empty(), "all input is used up");
        if rest.is_empty() {
            break;
        }
    }
    (said, None)
}

fn within_limits(message: &Message<'_>) -> String {
    let (length, length_max) = match message {
        Message::Text(text) => (text.len(), MESSAGE_BYTES_MAX),
        Message::Binary(payload) => (payload.len(), MESSAGE_BYTES_MAX),
        Message::Ping(payload) | Message::Pong(payload) => (payload.len(), 125),
        Message::Close(frame) => (frame.as_ref().map_or(0, |frame| frame.reason.len()), 123),
    };
    assert!(length <= length_max, "{length} bytes in {message:?}");
    format!("{message:?}")
}

const MESSAGE_BYTES_MAX: usize = 300;
