//! Objects and tags by URL.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use block_proto::{Hash, valid_name, valid_tag};
use bytes::Bytes;

use crate::problem::Problem;
use crate::range::{self, Wanted};
use crate::server::Shared;

/// Objects never change: any cache may keep one for ever, and nothing on the way may touch its bytes.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable, no-transform");
const OBJECT_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.vmdisk.object");
const SHORT_LIVED: HeaderValue = HeaderValue::from_static("public, max-age=60");

/// `GET|HEAD /v1/o/{hash}`.
pub(crate) async fn object(
    State(shared): State<Arc<Shared>>,
    Path(hash): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let response = match hash.parse() {
        Ok(hash) => serve_object(&shared, &hash, &method, &headers).await,
        Err(_) => Problem::new(StatusCode::BAD_REQUEST, "a hash is 64 lower-case hex digits").into_response(),
    };
    counted(&shared, "object", response)
}

/// `GET|HEAD /o/{hh}/{hash}`: the same under its key, as on a static host.
pub(crate) async fn object_by_key(
    State(shared): State<Arc<Shared>>,
    Path((prefix, hash)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let response = match hash.parse() {
        Ok(parsed) if hash.starts_with(&prefix) && prefix.len() == 2 => {
            serve_object(&shared, &parsed, &method, &headers).await
        }
        _ => Problem::new(StatusCode::NOT_FOUND, "no such key").into_response(),
    };
    counted(&shared, "object", response)
}

/// `GET /v1/images/{name}/tags/{tag}`.
pub(crate) async fn tag(
    State(shared): State<Arc<Shared>>,
    Path((name, tag)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let response = serve_tag(&shared, &name, &tag, &headers).await;
    counted(&shared, "tag", response)
}

/// `GET /t/{name}/{tag}.json`: the same under its key.
pub(crate) async fn tag_by_key(
    State(shared): State<Arc<Shared>>,
    Path((name, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let response = match file.strip_suffix(".json") {
        Some(tag) => serve_tag(&shared, &name, tag, &headers).await,
        None => Problem::new(StatusCode::NOT_FOUND, "no such key").into_response(),
    };
    counted(&shared, "tag", response)
}

/// `GET /healthz`: the process answers.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], shared.metrics.text()).into_response()
}

/// Anything else, when no static files are served.
pub(crate) async fn nothing_here() -> Response {
    Problem::new(StatusCode::NOT_FOUND, "nothing here").into_response()
}

fn counted(shared: &Shared, route: &'static str, response: Response) -> Response {
    shared.metrics.http_request(route, response.status().as_u16());
    response
}

async fn serve_object(shared: &Shared, hash: &Hash, method: &Method, headers: &HeaderMap) -> Response {
    let start = Instant::now();
    let stored = match shared.store.object(hash).await {
        Ok(stored) => stored,
        Err(error) => return Problem::from(error).into_response(),
    };
    shared.metrics.read_took(start.elapsed().as_secs_f64());
    let response = body(stored, headers, IMMUTABLE, OBJECT_TYPE);
    if *method != Method::HEAD && response.status().is_success() {
        shared.metrics.http_object(response.body().size_hint().exact().unwrap_or(0));
    }
    response
}

async fn serve_tag(shared: &Shared, name: &str, tag: &str, headers: &HeaderMap) -> Response {
    if !valid_name(name) || !valid_tag(tag) {
        return Problem::new(StatusCode::NOT_FOUND, "no image can have this name and tag").into_response();
    }
    match shared.store.tag(name, tag).await {
        Ok(record) => body(record, headers, SHORT_LIVED, HeaderValue::from_static("application/json")),
        Err(error) => Problem::from(error).into_response(),
    }
}

/// Answers with bytes: validators, ranges, caching.
fn body(bytes: Bytes, headers: &HeaderMap, caching: HeaderValue, kind: HeaderValue) -> Response {
    // Of the stored bytes, not of the object: two stores may have compressed it differently, and ranges must not mix.
    let etag = format!("\"{}\"", blake3::hash(&bytes).to_hex());
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let matches = |list: &str| {
        list.split(',').any(|tag| matches!(tag.trim().trim_start_matches("W/"), t if t == etag || t == "*"))
    };
    let mut response = if text(header::IF_NONE_MATCH).is_some_and(matches) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let fresh = text(header::IF_RANGE).is_none_or(|tag| tag == etag);
        let wanted =
            text(header::RANGE).filter(|_| fresh).map_or(Wanted::All, |range| range::parse(range, bytes.len()));
        match wanted {
            Wanted::All => bytes.into_response(),
            Wanted::Part(range) => {
                let place = format!("bytes {}-{}/{}", range.start, range.end - 1, bytes.len());
                let part = Body::from(bytes.slice(range));
                (StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, place)], part).into_response()
            }
            Wanted::Unsatisfiable => {
                let place = format!("bytes */{}", bytes.len());
                let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "the range is beyond the end");
                return ([(header::CONTENT_RANGE, place)], problem).into_response();
            }
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, caching);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}
