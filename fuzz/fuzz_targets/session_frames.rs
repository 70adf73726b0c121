//! Any bytes as a frame of the session dialect, in both encodings and from both sides: what is read
//! is written and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mainstay_wire::session::Encoding;

fuzz_target!(|bytes: &[u8]| {
    for encoding in Encoding::ALL {
        let mut out = Vec::new();
        if let Ok(frame) = encoding.decode_client(bytes) {
            encoding.encode_client(&frame, &mut out);
            assert_eq!(encoding.decode_client(&out), Ok(frame));
        }
        out.clear();
        if let Ok(frame) = encoding.decode_server(bytes) {
            encoding.encode_server(&frame, &mut out);
            assert_eq!(encoding.decode_server(&out), Ok(frame));
        }
    }
});
