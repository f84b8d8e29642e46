//! Errors over HTTP, as `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use block_proto::ReadError;

/// An error answer.
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotFound => Self::new(StatusCode::NOT_FOUND, "the store has no such object"),
            ReadError::Corrupt => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the stored object is damaged"),
            ReadError::Unauthorized => Self::new(StatusCode::UNAUTHORIZED, "not permitted"),
            ReadError::Upstream(text) => Self::new(StatusCode::BAD_GATEWAY, text),
            ReadError::RateLimited(_) => Self::new(StatusCode::TOO_MANY_REQUESTS, "too much, too fast"),
            ReadError::Budget => Self::new(StatusCode::SERVICE_UNAVAILABLE, "the budget is used up"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("error");
        // Details are our own words, without quotes or control characters.
        let clean: String = self.detail.chars().filter(|c| !matches!(c, '"' | '\\') && !c.is_control()).collect();
        let status = self.status.as_u16();
        let body = format!("{{\"status\":{status},\"title\":\"{title}\",\"detail\":\"{clean}\"}}\n");
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        (self.status, headers, body).into_response()
    }
}
