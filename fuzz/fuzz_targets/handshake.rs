//! Any bytes as a request and as an answer: the end of a head is found at the same place however it
//! is cut, and whatever is accepted or refused has an answer that parses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mainstay_wire::handshake::{
    AcceptOptions, DeflateSupport, Dial, DialError, DialOptions, HeadError, HeadLimits, HeadScan,
    OriginPolicy, Refusal, RequestHead, ResponseHead, UpgradeRequest, accept,
};

fuzz_target!(|bytes: &[u8]| {
    let found = scan(bytes, bytes.len());
    assert_eq!(found, scan(bytes, 1), "byte by byte");
    assert_eq!(found, scan(bytes, 7), "in pieces");
    let Ok(Some(head_bytes)) = found else { return };
    let head = &bytes[..head_bytes];

    let answer = serve(head).unwrap_or_else(|refusal| {
        assert!((400..600).contains(&refusal.status()), "{refusal}");
        refusal.response()
    });
    let end = HeadScan::default().scan(&answer, &LIMITS).expect("our own head").expect("whole");
    let answer = ResponseHead::parse(&answer[..end], &LIMITS).expect("our own answer");
    dial_finish(&answer);
    if let Ok(answer) = ResponseHead::parse(head, &LIMITS) {
        dial_finish(&answer);
    }
});

/// Scans `bytes` as they come in pieces of `size`.
fn scan(bytes: &[u8], size: usize) -> Result<Option<usize>, HeadError> {
    let mut scan = HeadScan::default();
    let mut end = 0;
    loop {
        end = (end + size.max(1)).min(bytes.len());
        let found = scan.scan(&bytes[..end], &LIMITS)?;
        if found.is_some() || end == bytes.len() {
            return Ok(found);
        }
    }
}

fn serve(head: &[u8]) -> Result<Vec<u8>, Refusal> {
    let options = AcceptOptions {
        subprotocols: vec!["one".to_owned(), "two".to_owned()],
        deflate: DeflateSupport::On,
        origins: OriginPolicy::SameOrigin,
    };
    let head = RequestHead::parse(head, &LIMITS)?;
    let accepted = accept(UpgradeRequest::from(&head), &options)?;
    assert!(!head.has_body(), "its bytes would be taken for frames");
    Ok(accepted.response())
}

fn dial_finish(answer: &ResponseHead<'_>) {
    let options = DialOptions {
        subprotocols: vec!["one".to_owned()],
        deflate: DeflateSupport::On,
        ..DialOptions::default()
    };
    let dial = Dial::new("a", "/", *b"the sample nonce", &options).expect("good options");
    match dial.finish(answer) {
        Ok(_) => assert_eq!(answer.status(), 101),
        Err(DialError::Refused { status, .. }) => assert_ne!(status, 101),
        Err(_) => {}
    }
}

const LIMITS: HeadLimits = HeadLimits { head_bytes_max: 2048, header_count_max: 20 };
