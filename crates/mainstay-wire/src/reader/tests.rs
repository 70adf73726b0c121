use super::*;
use crate::deflate::Deflater;
use crate::frame::encode_frame;
use proptest::prelude::*;

const KEY: Option<[u8; 4]> = Some([0xa1, 0x02, 0xf3, 0x44]);

fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(opcode, Compression::Plain, KEY, payload, &mut out);
    if !fin {
        out[0] &= 0x7f;
    }
    out
}

fn deflated(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = frame(fin, opcode, payload);
    out[0] |= 0x40;
    out
}

/// Feeds `bytes` in pieces of `size` and collects what comes out.
fn read_all(
    bytes: &[u8],
    size: usize,
    limits: &Limits,
) -> Result<Vec<Message<'static>>, (Violation, usize)> {
    let mut reader = Reader::new(Role::Client, Compression::Deflate);
    let mut inflater = Inflater::default();
    let mut messages = Vec::new();
    for (index, piece) in bytes.chunks(size.max(1)).enumerate() {
        let mut piece = piece.to_vec();
        let mut input = piece.as_mut_slice();
        loop {
            match reader.read(&mut input, limits, &mut inflater) {
                Ok(Some(message)) => messages.push(owned(message)),
                Ok(None) => break,
                Err(violation) => return Err((violation, index)),
            }
        }
        assert!(input.is_empty(), "all input is used up");
    }
    Ok(messages)
}

fn owned(message: Message<'_>) -> Message<'static> {
    match message {
        Message::Text(text) => Message::Text(text.into_owned().into()),
        Message::Binary(bytes) => Message::Binary(bytes.into_owned().into()),
        Message::Ping(bytes) => Message::Ping(bytes.into_owned().into()),
        Message::Pong(bytes) => Message::Pong(bytes.into_owned().into()),
        Message::Close(frame) => Message::Close(
            frame.map(|f| CloseFrame { code: f.code, reason: f.reason.into_owned().into() }),
        ),
    }
}

fn conversation() -> (Vec<u8>, Vec<Message<'static>>) {
    let compressed = Deflater::default().deflate("squeeze ".repeat(99).as_bytes(), 15);
    let (left, right) = compressed.split_at(compressed.len() / 2);
    let bytes = [
        frame(true, Opcode::Text, "Grüße".as_bytes()),
        frame(false, Opcode::Binary, b"one "),
        frame(true, Opcode::Ping, b"are you there"),
        frame(false, Opcode::Continuation, b""),
        frame(true, Opcode::Continuation, b"two"),
        frame(true, Opcode::Binary, &[7; 300]),
        deflated(false, Opcode::Text, left),
        frame(true, Opcode::Continuation, right),
        frame(true, Opcode::Text, b""),
        frame(true, Opcode::Pong, b""),
        frame(true, Opcode::Close, &CloseFrame::encode(1000, "bye")),
    ]
    .concat();
    let messages = vec![
        Message::Text("Grüße".into()),
        Message::Ping(b"are you there".into()),
        Message::Binary(b"one two".into()),
        Message::Binary(vec![7; 300].into()),
        Message::Text("squeeze ".repeat(99).into()),
        Message::Text("".into()),
        Message::Pong(b"".into()),
        Message::Close(Some(CloseFrame { code: 1000, reason: "bye".into() })),
    ];
    (bytes, messages)
}

#[test]
fn a_conversation_reads_the_same_in_pieces_of_any_size() {
    let (bytes, messages) = conversation();
    for size in 1..=bytes.len() {
        assert_eq!(read_all(&bytes, size, &Limits::default()).as_ref(), Ok(&messages));
    }
}

#[test]
fn a_message_in_one_piece_is_borrowed_and_nothing_is_kept() {
    let mut reader = Reader::new(Role::Client, Compression::Plain);
    let mut bytes = frame(true, Opcode::Text, b"hello");
    let mut input = bytes.as_mut_slice();
    let message = reader.read(&mut input, &Limits::default(), &mut Inflater::default());
    assert!(matches!(message, Ok(Some(Message::Text(Cow::Borrowed("hello"))))));
    assert_eq!(reader.data.capacity() + reader.control.capacity(), 0);
    assert!(!reader.is_in_message());
}

#[test]
fn fragments_must_belong_together() {
    let limits = Limits::default();
    let alone = frame(true, Opcode::Continuation, b"x");
    assert_eq!(read_all(&alone, 99, &limits), Err((Violation::UnexpectedContinuation, 0)));
    let mixed = [frame(false, Opcode::Text, b"a"), frame(true, Opcode::Binary, b"b")].concat();
    assert_eq!(read_all(&mixed, 99, &limits), Err((Violation::ExpectedContinuation, 0)));
}

#[test]
fn bad_text_is_refused_on_its_first_bad_byte() {
    let limits = Limits::default();
    let bad = b"\xce\xba\xed\xa0\x80 and a long harmless rest";
    // Six bytes of head, then one byte at a time: the surrogate shows at the payload's fourth byte.
    assert_eq!(
        read_all(&frame(true, Opcode::Text, bad), 1, &limits),
        Err((Violation::InvalidUtf8, 6 + 3))
    );
    let cut = frame(true, Opcode::Text, b"\xce");
    assert_eq!(read_all(&cut, 99, &limits), Err((Violation::InvalidUtf8, 0)));
    assert_eq!(read_all(&cut, 1, &limits), Err((Violation::InvalidUtf8, 6)));
}

#[test]
fn every_announced_length_over_the_limit_is_refused_before_its_payload() {
    let limits = Limits { message_bytes_max: 1000, ..Limits::default() };
    let lengths = [
        1001,
        u64::from(u32::MAX) >> 1,
        1 << 31,
        u64::from(u32::MAX),
        1 << 32,
        (1 << 32) + 1,
        u64::MAX >> 1,
    ];
    for payload_bytes in lengths {
        for opcode in [Opcode::Text, Opcode::Binary] {
            let mut head = Vec::new();
            let compression = Compression::Plain;
            FrameHead { fin: true, compression, opcode, mask: KEY, payload_bytes }
                .encode(&mut head);
            let bytes_max = 1000;
            let refused = Err((Violation::MessageTooBig { bytes_max }, 0));
            assert_eq!(read_all(&head, 99, &limits), refused);
        }
    }
    let whole = frame(true, Opcode::Binary, &[0; 1000]);
    assert!(read_all(&whole, 64, &limits).is_ok(), "the limit itself is allowed");
}

#[test]
fn fragments_are_limited_together_in_bytes_and_in_count() {
    let limits = Limits { message_bytes_max: 100, fragment_count_max: 8, ..Limits::default() };
    let mut bytes = frame(false, Opcode::Text, &[b'a'; 60]);
    bytes.extend(frame(false, Opcode::Continuation, &[b'a'; 41]));
    let refused = Err((Violation::MessageTooBig { bytes_max: 100 }, 0));
    assert_eq!(read_all(&bytes, 999, &limits), refused);

    let mut empty = frame(false, Opcode::Binary, b"");
    for _ in 0..7 {
        empty.extend(frame(false, Opcode::Continuation, b""));
    }
    assert_eq!(read_all(&empty, 999, &limits), Ok(vec![]), "eight fragments are allowed");
    empty.extend(frame(false, Opcode::Continuation, b""));
    let refused = Err((Violation::TooManyFragments { count_max: 8 }, 0));
    assert_eq!(read_all(&empty, 999, &limits), refused);
}

#[test]
fn a_compressed_message_is_limited_by_what_it_becomes() {
    let limits = Limits { message_bytes_max: 1000, ..Limits::default() };
    let small = Deflater::default().deflate(&[b'a'; 1000], 15);
    assert!(read_all(&deflated(true, Opcode::Text, &small), 3, &limits).is_ok());
    let bomb = Deflater::default().deflate(&[b'a'; 1001], 15);
    let refused = read_all(&deflated(true, Opcode::Text, &bomb), 999, &limits);
    assert_eq!(refused, Err((Violation::MessageTooBig { bytes_max: 1000 }, 0)));
    let garbage = deflated(true, Opcode::Text, &[0x07, 0xff]);
    assert_eq!(read_all(&garbage, 999, &limits), Err((Violation::InvalidDeflate, 0)));
    let not_text = Deflater::default().deflate(b"\xff\xfe", 15);
    let refused = read_all(&deflated(true, Opcode::Text, &not_text), 999, &limits);
    assert_eq!(refused, Err((Violation::InvalidUtf8, 0)));
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_give_the_same_messages_or_the_same_violation(
        bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1usize..50,
    ) {
        let limits = Limits { message_bytes_max: 100, fragment_count_max: 3, ..Limits::default() };
        let whole = read_all(&bytes, bytes.len(), &limits).map_err(|(violation, _)| violation);
        let pieces = read_all(&bytes, size, &limits).map_err(|(violation, _)| violation);
        prop_assert_eq!(whole, pieces);
    }
}
