//! The request that a command server answers.

use serde::{Deserialize, Serialize};

/// One message, in either direction.
#[derive(Debug, Deserialize, Serialize)]
pub struct Command {
    #[serde(rename = "requestID")]
    request_id: i64,
    command: String,
    #[serde(rename = "someOtherThing")]
    some_other_thing: String,
    success: bool,
}

/// The reply to a request, or nothing to what is none.
pub fn answer(request: &[u8]) -> Option<String> {
    let mut command: Command = serde_json::from_slice(request).ok()?;
    command.some_other_thing = format!("Server processed command: {}", command.command);
    command.success = true;
    serde_json::to_string(&command).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_repeats_number_and_command() {
        let request = br#"{"requestID":7,"command":"x","someOtherThing":"y","success":false}"#;
        let reply = r#"{"requestID":7,"command":"x","someOtherThing":"Server processed command: x","success":true}"#;
        assert_eq!(answer(request).as_deref(), Some(reply));
        assert_eq!(answer(b"x"), None);
    }
}
