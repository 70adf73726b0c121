//! What the ways that every event and request goes cost in allocations.

use allocation_counter::measure;
use mainstay_wire::ChannelName;
use mainstay_wire::session::*;

#[test]
fn an_event_is_written_into_the_room_that_is_there() {
    for payload in [Payload::text("it works"), Payload::binary(vec![7; 1000])] {
        let event = ServerFrame::Event(Event {
            channel: ChannelName::parse("news").expect("a name"),
            offset: Offset(42),
            at_ms: 1_780_000_000_000,
            payload,
        });
        for encoding in Encoding::ALL {
            let mut out = Vec::with_capacity(4096);
            let info = measure(|| encoding.encode_server(&event, &mut out));
            assert_eq!(info.count_total, 0, "{encoding:?}");
            assert_eq!(encoding.decode_server(&out), Ok(event.clone()));
        }
    }
}

#[test]
fn reading_allocates_what_the_frame_keeps() {
    let payload = format!("[{}0]", "{\"a\":[1,2,3]},".repeat(500));
    for (json, count_max) in [
        // The command, the payload, and serde_json's stack of open brackets.
        (format!(r#"{{"type":"request","number":1,"command":"c","payload":{payload}}}"#), 3),
        // The channel, the payload, the stack.
        (format!(r#"{{"type":"publish","number":1,"channel":"a","payload":{payload}}}"#), 3),
    ] {
        let info = measure(|| {
            Encoding::Json.decode_client(json.as_bytes()).expect("a frame");
        });
        assert!(info.count_total <= count_max, "{} for {count_max}", info.count_total);
        let bytes_max = u64::try_from(json.len()).expect("a length") + 100;
        assert!(info.bytes_total <= bytes_max, "{} of {bytes_max}", info.bytes_total);
    }
}
