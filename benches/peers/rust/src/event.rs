//! The event that is published, and how it is counted.

/// Stands once in each event, as its last byte, and nowhere else in what a server says. So events are
/// counted in the bytes as they come, however the server wraps, numbers and batches them.
pub const MARKER: u8 = b'~';

/// Bytes of an event.
pub const EVENT_BYTES: usize = 128;

/// An event: text that stands in a JSON string as it is.
pub fn event() -> String {
    let mut text: String = ('a'..='z').cycle().take(EVENT_BYTES - 1).collect();
    text.push(char::from(MARKER));
    text
}

/// The events that end in these bytes.
pub fn count_events(bytes: &[u8]) -> usize {
    memchr::memchr_iter(MARKER, bytes).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_counts_once_wherever_it_is_cut() {
        let event = event();
        assert_eq!(event.len(), EVENT_BYTES);
        for cut in 0..=EVENT_BYTES {
            let (head, tail) = event.as_bytes().split_at(cut);
            assert_eq!(count_events(head) + count_events(tail), 1);
        }
        assert_eq!(serde_json::Value::from(event.as_str()).to_string(), format!("\"{event}\""));
    }
}
