//! What an answer says when something is wrong.

use std::fmt;

use axum::response::{IntoResponse, Response};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use mainstay_server::session::ErrorCode;
use mainstay_server::{CallError, InvalidChannelName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::body::json;

/// Why a request came to nothing: a status for HTTP, a word for programs, a text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    code: ErrorCode,
    message: String,
}

/// The body of every answer that is no success.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ProblemBody {
    /// A word of PROTOCOL.md, "Words of failure".
    #[schema(example = "unreachable")]
    pub(crate) error: String,
    /// What exactly, for people.
    #[schema(example = "there is no such session")]
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Problem {
        Problem { status: status(code), code, message: message.into() }
    }

    /// The request is not what the API says.
    pub(crate) fn malformed(message: impl fmt::Display) -> Problem {
        Problem::new(ErrorCode::Malformed, message.to_string())
    }

    /// The same word with a status that says more.
    pub(crate) fn with_status(self, status: StatusCode) -> Problem {
        Problem { status, ..self }
    }

    /// The source answered something else than it was asked: a defect of ours.
    pub(crate) fn mismatch() -> Problem {
        Problem::new(ErrorCode::Internal, "the server answered something else")
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Problem {
        Problem::new(error.code, error.message)
    }
}

impl From<InvalidChannelName> for Problem {
    fn from(error: InvalidChannelName) -> Problem {
        Problem::new(ErrorCode::InvalidChannel, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody { error: self.code.word().to_owned(), message: self.message };
        let mut response = json(&body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let is_for_now =
            [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&self.status);
        if is_for_now {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        response
    }
}

/// The status that says most of what the word says.
fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::Malformed | ErrorCode::InvalidChannel | ErrorCode::NotSubscribed => {
            StatusCode::BAD_REQUEST
        }
        ErrorCode::NotPermitted => StatusCode::FORBIDDEN,
        ErrorCode::Unreachable => StatusCode::NOT_FOUND,
        ErrorCode::Cancelled | ErrorCode::NeverRan => StatusCode::CONFLICT,
        ErrorCode::TooBig => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::InboxFull
        | ErrorCode::TooManySubscriptions
        | ErrorCode::TooManyChannels
        | ErrorCode::TooManySessions => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Busy => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::StoreFailed => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// In seconds. Queues here empty within milliseconds once their cause is gone.
const RETRY_AFTER_S: &str = "1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_its_status_and_what_passes_by_itself_says_when_to_try_again() {
        for code in ErrorCode::ALL {
            let problem = Problem::new(*code, "x");
            let status = problem.status.as_u16();
            let response = problem.into_response();
            assert!((400..600).contains(&status), "{code}");
            let has_retry = response.headers().contains_key(RETRY_AFTER);
            assert_eq!(has_retry, status == 429 || status == 503, "{code}");
        }
        for (code, status) in [
            (ErrorCode::Malformed, 400),
            (ErrorCode::InvalidChannel, 400),
            (ErrorCode::NotPermitted, 403),
            (ErrorCode::Unreachable, 404),
            (ErrorCode::TooBig, 413),
            (ErrorCode::KeyReused, 422),
            (ErrorCode::InboxFull, 429),
            (ErrorCode::TooManyChannels, 429),
            (ErrorCode::Busy, 503),
            (ErrorCode::StoreFailed, 507),
            (ErrorCode::DeadlineExceeded, 504),
            (ErrorCode::Internal, 500),
        ] {
            assert_eq!(Problem::new(code, "").status.as_u16(), status, "{code}");
        }
    }
}
