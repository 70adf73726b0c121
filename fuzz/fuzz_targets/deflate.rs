//! Any bytes inflate within the limit or not at all, and whatever is deflated inflates to itself.
#![no_main]

use std::cell::RefCell;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use mainstay_wire::Violation;
use mainstay_wire::deflate::{Deflater, Inflater, WINDOW_BITS_MAX, WINDOW_BITS_MIN};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    window_bits: u8,
    /// How often the bytes come, so that there is something to compress and blocks fill.
    repeat: u16,
    bytes_max: u16,
    bytes: &'a [u8],
}

thread_local! {
    /// As on a thread of a server, the same for every message, whatever they have been through.
    static PAIR: RefCell<(Deflater, Inflater)> = RefCell::default();
}

fuzz_target!(|input: Input<'_>| PAIR.with_borrow_mut(|(deflater, inflater)| {
    let bytes_max = usize::from(input.bytes_max);
    match inflater.inflate(input.bytes, bytes_max) {
        Ok(out) => assert!(out.len() <= bytes_max, "{} bytes", out.len()),
        Err(Violation::InvalidDeflate | Violation::MessageTooBig { .. }) => {}
        Err(violation) => panic!("{violation}"),
    }

    let repeat = usize::from(input.repeat).min(PAYLOAD_BYTES_MAX / input.bytes.len().max(1));
    let payload = input.bytes.repeat(repeat);
    let window_count = WINDOW_BITS_MAX - WINDOW_BITS_MIN + 1;
    let deflated = deflater.deflate(&payload, WINDOW_BITS_MIN + input.window_bits % window_count);
    assert_eq!(inflater.inflate(&deflated, payload.len()).as_ref(), Ok(&payload));
    if let Some(bytes_max) = payload.len().checked_sub(1) {
        let refused = inflater.inflate(&deflated, bytes_max);
        assert_eq!(refused, Err(Violation::MessageTooBig { bytes_max }));
    }
}));

/// More than one of the inflater's blocks.
const PAYLOAD_BYTES_MAX: usize = 20_000;
