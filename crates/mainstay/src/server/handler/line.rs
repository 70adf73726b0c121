//! What is said to a handler, and what a program says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mainstay_server::Request;
use mainstay_server::session::{Payload, PayloadKind};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Serialize)]
struct RequestObject<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    key: Option<String>,
    session: Option<String>,
    principal: Option<&'a str>,
    connection: String,
    deadline_ms: u64,
    command: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
}

/// A request as a line.
pub(super) fn write_request(id: u64, request: &Request) -> Vec<u8> {
    let mut line = request_object(Some(id), request);
    line.push(b'\n');
    line
}

/// A request as a JSON object without line breaks. The payload of the command dialect is a JSON string.
pub(super) fn request_object(id: Option<u64>, request: &Request) -> Vec<u8> {
    let session = request.session.as_ref();
    let text = || Payload::text(&request.payload);
    let payload = session.map_or_else(text, |session| session.payload.clone());
    let json = match payload.kind {
        PayloadKind::Json => serde_json::from_slice::<&RawValue>(&payload.bytes).ok(),
        PayloadKind::Binary => None,
    };
    // JSON may hold line breaks between its tokens, and a line may not.
    let compact = json.filter(|json| json.get().contains(['\n', '\r'])).and_then(|json| {
        let value: serde_json::Value = serde_json::from_str(json.get()).ok()?;
        serde_json::value::to_raw_value(&value).ok()
    });
    let object = RequestObject {
        id,
        key: request.idempotency_key(),
        session: session.map(|session| session.session.to_string()),
        principal: session.and_then(|session| session.principal.as_ref()).map(|who| who.as_str()),
        connection: request.connection.to_string(),
        deadline_ms: request.timeout.as_millis() as u64,
        command: &request.command,
        payload: compact.as_deref().or(json),
        data: json.is_none().then(|| STANDARD.encode(&payload.bytes)),
    };
    serde_json::to_vec(&object).unwrap_or_default()
}

/// Tells the program that nobody waits for a request any more.
pub(super) fn write_cancel(id: u64) -> Vec<u8> {
    format!("{{\"cancel\":{id}}}\n").into_bytes()
}

/// What the program answers.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) id: u64,
    pub(super) result: Result<Payload, String>,
}

#[derive(Deserialize)]
struct AnswerLine<'a> {
    id: u64,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    data: Option<String>,
    error: Option<String>,
}

/// Reads an answer: `id` with one of `result`, `data` (base64) and `error`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read_answer(line: &[u8]) -> Result<Answer, String> {
    let answer: AnswerLine<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let result = match (answer.result, answer.data, answer.error) {
        (Some(result), None, None) => Ok(Payload::from_json_bytes(result.get().to_owned())),
        (None, Some(data), None) => {
            let bytes = STANDARD.decode(data).map_err(|error| error.to_string())?;
            Ok(Payload::binary(bytes))
        }
        (None, None, Some(error)) => Err(error),
        (None, None, None) => Ok(Payload::NULL),
        _ => return Err("more than one of result, data and error".to_owned()),
    };
    Ok(Answer { id: answer.id, result })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_results_or_errors() {
        let read = |line: &str| read_answer(line.as_bytes());
        let result = |id, payload| Ok(Answer { id, result: Ok(payload) });
        assert_eq!(
            read(r#"{"id": 7, "result": {"a": 1}}"#),
            result(7, Payload::from_json_bytes(r#"{"a": 1}"#))
        );
        assert_eq!(read(r#"{"id": 7, "data": "/w=="}"#), result(7, Payload::binary(vec![0xff])));
        assert_eq!(read(r#"{"id": 7}"#), result(7, Payload::NULL));
        assert_eq!(
            read(r#"{"id": 7, "error": "no"}"#),
            Ok(Answer { id: 7, result: Err("no".to_owned()) })
        );
        for line in ["", "hello", "[]", "{}", r#"{"id": 1, "data": "?"}"#] {
            assert!(read(line).is_err(), "{line}");
        }
        assert!(read(r#"{"id": 1, "result": 1, "error": "x"}"#).is_err());
    }
}
