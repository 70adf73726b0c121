//! Any bytes as a frame of the session dialect, in both encodings and from both sides: what is read
//! is written and read again as the same, and plain JSON is read as it is the long way.
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
    if let Some(unusual) = unusual(bytes) {
        let client = Encoding::Json.decode_client(&unusual).ok();
        assert_eq!(Encoding::Json.decode_client(bytes).ok(), client);
        let server = Encoding::Json.decode_server(&unusual).ok();
        assert_eq!(Encoding::Json.decode_server(bytes).ok(), server);
    }
});

/// The same message with a member more that means nothing, and whose name is escaped: such a one is
/// read the long way.
fn unusual(json: &[u8]) -> Option<Vec<u8>> {
    let end = json.iter().rposition(|byte| *byte == b'}')?;
    Some([&json[..end], br#","\u007e":0"#, &json[end..]].concat())
}
