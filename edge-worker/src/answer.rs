//! HTTP answers: headers that every answer has, bodies with validators and ranges, errors in words.

use block_proto::ReadError;
use block_proto::http::{self, Answer, Conditions};
use block_proto::key::{Key, Prefix};
use block_proto::route;
use bytes::Bytes;
use worker::{Headers, Method, Response, Result};

use crate::settings::Settings;

/// What of a request decides about the answer's headers.
pub struct Asked<'a> {
    /// The method.
    pub method: Method,
    /// The headers.
    pub headers: &'a Headers,
}

impl Asked<'_> {
    /// A header's text, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).ok().flatten()
    }

    /// The client's address, as the platform knows it; all of them together where it does not.
    pub fn address(&self) -> String {
        self.header("cf-connecting-ip").unwrap_or_default()
    }
}

/// Adds what answers about the store have in common: pages of permitted origins may read them, also pages under
/// `Cross-Origin-Embedder-Policy: require-corp`.
pub fn open_to_pages(response: Response, settings: &Settings, origin: Option<&str>) -> Result<Response> {
    // Headers of an answer that came from elsewhere cannot be changed, those of a copy can.
    let headers = response.headers().clone();
    headers.set("cross-origin-resource-policy", "cross-origin")?;
    headers.set("timing-allow-origin", "*")?;
    headers.set("x-content-type-options", "nosniff")?;
    headers.set("access-control-expose-headers", "etag, content-range, content-length")?;
    if settings.allow_origins.is_empty() {
        headers.set("access-control-allow-origin", "*")?;
    } else {
        headers.append("vary", "origin")?;
        if let Some(origin) = origin.filter(|origin| settings.origin_allowed(origin)) {
            headers.set("access-control-allow-origin", origin)?;
        }
    }
    Ok(response.with_headers(headers))
}

/// Answers the question a browser asks before a request that is not simple.
pub fn preflight() -> Result<Response> {
    Ok(Response::builder()
        .with_status(204)
        .with_header("access-control-allow-methods", "GET, HEAD, POST")?
        .with_header(
            "access-control-allow-headers",
            "range, authorization, cache-control, content-type, if-none-match",
        )?
        .with_header("access-control-max-age", "86400")?
        .empty())
}

/// Answers with stored bytes.
pub fn stored(stored: &Bytes, asked: &Asked<'_>, prefix: &Prefix, key: &Key) -> Result<Response> {
    // Of the stored bytes, not of the object: see block_proto::http::etag.
    let etag = http::etag(stored);
    let builder = Response::builder()
        .with_header("content-type", route::content_type(key))?
        .with_header("cache-control", route::cache_control(prefix, key))?
        .with_header("accept-ranges", "bytes")?
        .with_header("etag", &etag)?;
    let headers = ["if-none-match", "if-range", "range"].map(|name| asked.header(name));
    let [if_none_match, if_range, range] = headers.each_ref().map(Option::as_deref);
    let (builder, part) = match (Conditions { if_none_match, if_range, range }).answer(&etag, stored.len()) {
        Answer::NotModified => return Ok(builder.with_status(304).empty()),
        Answer::All => (builder, stored.clone()),
        Answer::Part(range) => {
            let place = format!("bytes {}-{}/{}", range.start, range.end - 1, stored.len());
            (builder.with_status(206).with_header("content-range", &place)?, stored.slice(range))
        }
        Answer::Unsatisfiable => {
            let response = problem(416, "the range is beyond the end")?;
            response.headers().set("content-range", &format!("bytes */{}", stored.len()))?;
            return Ok(response);
        }
    };
    Ok(if asked.method == Method::Head {
        builder.with_header("content-length", &part.len().to_string())?.empty()
    } else {
        builder.fixed(part.to_vec())
    })
}

/// Answers with an error, as `application/problem+json` (RFC 9457).
pub fn problem(status: u16, detail: &str) -> Result<Response> {
    let title = match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    };
    Ok(Response::builder()
        .with_status(status)
        .with_header("content-type", http::PROBLEM_TYPE)?
        .with_header("cache-control", "no-store")?
        .fixed(http::problem(status, title, detail).into_bytes()))
}

/// Answers that something could not be read.
pub fn unread(error: &ReadError) -> Result<Response> {
    match error {
        ReadError::NotFound => problem(404, "the store has no such object"),
        ReadError::Corrupt => problem(500, http::DAMAGED),
        ReadError::Unauthorized => {
            let response = problem(401, "a token is needed, and a good one")?;
            response.headers().set("www-authenticate", "Bearer")?;
            Ok(response)
        }
        ReadError::RateLimited(after) => {
            let response = problem(429, "too much, too fast")?;
            response.headers().set("retry-after", &after.as_secs().max(1).to_string())?;
            Ok(response)
        }
        ReadError::Upstream(text) => problem(502, text),
        ReadError::Budget => problem(503, "this invocation may do no more; ask again"),
    }
}
