//! Errors over HTTP, as `application/problem+json` (RFC 9457).

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use block_proto::{ReadError, http};

use crate::access::Refusal;

/// An error answer.
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    retry_after: Option<Duration>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_after: None }
    }

    /// Too much, too fast.
    pub(crate) fn limited(retry_after: Duration) -> Self {
        let retry_after = Some(retry_after);
        Self { retry_after, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too much, too fast") }
    }

    /// Not now.
    pub(crate) fn busy(detail: &str) -> Self {
        let retry_after = Some(Duration::from_secs(5));
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// The one answer to whatever is not there, or might as well not be.
    pub(crate) fn absent() -> Self {
        Self::new(StatusCode::NOT_FOUND, "the store has nothing of that name")
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotFound => Self::absent(),
            ReadError::Corrupt => Self::new(StatusCode::INTERNAL_SERVER_ERROR, http::DAMAGED),
            ReadError::Unauthorized => Self::new(StatusCode::UNAUTHORIZED, "not permitted"),
            ReadError::Upstream(text) => Self::new(StatusCode::BAD_GATEWAY, text),
            ReadError::RateLimited(after) => Self::limited(after),
            ReadError::Budget => Self::busy("the budget is used up"),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Token => Self::new(StatusCode::UNAUTHORIZED, "a valid token is needed"),
            Refusal::Absent => Self::absent(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("error");
        let body = http::problem(self.status.as_u16(), title, &self.detail);
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(http::PROBLEM_TYPE)),
            // Errors are never kept as answers.
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        let mut response = (self.status, headers, body).into_response();
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
