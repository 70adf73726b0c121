//! Bodies: reading requests within limits, writing answers, and payloads in both.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use mainstay_server::session::{Encoding, ErrorCode, Payload, ServerFrame};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::problem::Problem;

/// Reads a whole body: what is sent at length or drop by drop is given up.
pub(crate) async fn read(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let reading = Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Problem::new(ErrorCode::TooBig, format!("a body has at most {bytes_max} bytes")))
        }
        Ok(Err(error)) => Err(Problem::malformed(error)),
        Err(_) => Err(Problem::malformed("the body took too long")
            .with_status(http::StatusCode::REQUEST_TIMEOUT)),
    }
}

/// Reads a JSON body.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(Problem::malformed)
}

/// A payload as the session dialect has it: JSON in `payload`, or base64 in `data`.
pub(crate) fn payload(
    json: Option<Box<RawValue>>,
    data: Option<String>,
    bytes_max: usize,
) -> Result<Payload, Problem> {
    let payload = match (json, data) {
        (Some(_), Some(_)) => {
            return Err(Problem::malformed("a payload stands in payload or in data, not in both"));
        }
        (None, None) => Payload::NULL,
        (Some(json), None) => Payload::from_json_bytes(String::from(Box::<str>::from(json))),
        (None, Some(data)) => {
            let bytes = STANDARD.decode(data).map_err(|_| Problem::malformed("data: no base64"))?;
            Payload::binary(bytes)
        }
    };
    check_size(payload, bytes_max)
}

/// A body that is the payload itself.
pub(crate) fn raw_payload(
    body: Bytes,
    content_type: Option<&HeaderValue>,
    bytes_max: usize,
) -> Result<Payload, Problem> {
    let kind = content_type.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind != "application/json" && !kind.ends_with("+json") {
        return check_size(Payload::binary(body), bytes_max);
    }
    let json: Box<RawValue> = parse(&body)?;
    payload(Some(json), None, bytes_max)
}

fn check_size(payload: Payload, bytes_max: usize) -> Result<Payload, Problem> {
    if payload.bytes.len() > bytes_max {
        let message = format!("a payload has at most {bytes_max} bytes");
        return Err(Problem::new(ErrorCode::TooBig, message));
    }
    Ok(payload)
}

/// A frame of the session dialect as a part of an answer.
pub(crate) fn frame(frame: &ServerFrame) -> Result<Box<RawValue>, Problem> {
    let mut text = Vec::new();
    Encoding::Json.encode_server(frame, &mut text);
    String::from_utf8(text)
        .ok()
        .and_then(|text| RawValue::from_string(text).ok())
        .ok_or_else(|| Problem::new(ErrorCode::Internal, "a payload is no JSON"))
}

/// An answer with a JSON body.
pub(crate) fn json<T: Serialize>(value: &T) -> Response {
    // Only maps with keys that are no texts fail to serialise, and there are none.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A body of the largest size arrives within this on any link that is worth having.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
