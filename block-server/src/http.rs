//! Everything of the store by URL: objects, tags, recorded boots, many objects at once, and the way to the socket.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, FromRequestParts, Request, State, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use block_proto::frame::ServerFrame;
use block_proto::http::{Answer, BATCH_LIMIT, Conditions, FRAMES_TYPE};
use block_proto::key::{Key, Prefix};
use block_proto::route::{self, Route};
use block_proto::{Hash, ReadError, http};
use futures_util::stream::{self, StreamExt};

use crate::access::Grant;
use crate::peer::Asker;
use crate::problem::Problem;
use crate::server::Shared;
use crate::{peer, socket};

/// Reads of one batch under way at once.
const BATCH_READS: usize = 8;
/// What asking for something that is not there costs, in objects: it is never cached.
const ABSENT_COST: u32 = 10;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) asker: Asker,
}

/// Any path of the store. Paths are taken as they come; see [`route::route`].
pub(crate) async fn store_request(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(socket): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let address = peer::address(socket, &parts.headers, &shared.trusted_proxies);
    let peer = Peer { address, asker: Asker::of(address) };
    let Some((prefix, route)) = route::route(parts.uri.path()) else {
        return counted(&shared, "other", Problem::absent().into_response());
    };
    let name = match &route {
        Route::Key(Key::Object(_)) => "object",
        Route::Key(Key::Tag { .. }) => "tag",
        Route::Key(Key::Boots(_)) => "boots",
        Route::Batch => "batch",
        Route::Socket => "ws",
    };
    let reading = matches!(parts.method, Method::GET | Method::HEAD);
    let response = match route {
        Route::Key(key) if reading => serve_key(&shared, peer, &prefix, &key, &parts).await,
        Route::Batch if parts.method == Method::POST => serve_batch(&shared, peer, &prefix, &parts, body).await,
        Route::Socket if parts.method == Method::GET => {
            match WebSocketUpgrade::from_request_parts(&mut parts, &shared).await {
                Ok(upgrade) => Ok(socket::upgrade(&shared, peer, prefix, &parts.headers, upgrade)),
                Err(_) => Err(Problem::new(StatusCode::BAD_REQUEST, "this is for WebSockets, version 13")),
            }
        }
        _ => Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "not this way")),
    };
    counted(&shared, name, response.unwrap_or_else(Problem::into_response))
}

/// `GET /healthz`: the process answers.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: new requests are welcome.
pub(crate) async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    if shared.is_stopping() { Problem::busy("stopping").into_response() } else { "ok\n".into_response() }
}

/// `GET /metrics`, on the listener of its own.
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], shared.metrics.text()).into_response()
}

/// Anything else, when no static files are served.
pub(crate) async fn nothing_here() -> Response {
    Problem::absent().into_response()
}

pub(crate) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn counted(shared: &Shared, route: &'static str, response: Response) -> Response {
    shared.metrics.http_request(route, response.status().as_u16());
    response
}

/// What the request may read: its token is in a header or in the query, which is why no URL is ever logged.
fn grant(shared: &Shared, prefix: &Prefix, parts: &Parts) -> Result<Grant, Problem> {
    let token = route::token(text(&parts.headers, header::AUTHORIZATION), parts.uri.query());
    let origin = text(&parts.headers, header::ORIGIN);
    let (grant, _) = shared.access.grant(prefix, token.map(str::as_bytes), origin)?;
    // A URL names its prefix: what else a token would open is not in it.
    Ok(Grant { prefixes: vec![prefix.clone()], ..grant })
}

fn is_fresh(headers: &HeaderMap) -> bool {
    text(headers, header::CACHE_CONTROL).is_some_and(route::wants_fresh)
}

fn allowed(shared: &Shared, peer: Peer, grant: &Grant, objects: u32) -> Result<(), Problem> {
    shared.buckets.objects(peer.asker, grant.token, objects).map_err(|wait| {
        shared.metrics.limited("objects");
        Problem::limited(wait)
    })
}

async fn serve_key(
    shared: &Shared,
    peer: Peer,
    prefix: &Prefix,
    key: &Key,
    parts: &Parts,
) -> Result<Response, Problem> {
    let grant = grant(shared, prefix, parts)?;
    allowed(shared, peer, &grant, 1)?;
    let (bytes, etag) = match key {
        Key::Object(hash) => {
            let start = Instant::now();
            let found = shared.object(peer, &grant, hash, Urgency { demand: true, fresh: is_fresh(&parts.headers) });
            let (stored, _) = found.await?;
            shared.metrics.read_took(start.elapsed());
            (stored.envelope.clone(), stored.etag.clone())
        }
        key => {
            let fresh = is_fresh(&parts.headers) && shared.buckets.fresh(peer.asker).is_ok();
            let record = shared.tiers.record(prefix, key, fresh).await;
            let record = record.inspect_err(|error| shared.charge_absent(peer, &grant, error))?;
            let etag = http::etag(&record);
            (record, HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("\"\"")))
        }
    };
    let caching = HeaderValue::from_static(route::cache_control(prefix, key));
    let response = body(bytes, &parts.headers, etag, caching, HeaderValue::from_static(route::content_type(key)));
    if parts.method != Method::HEAD && response.status().is_success() && matches!(key, Key::Object(_)) {
        shared.metrics.http_object(response.body().size_hint().exact().unwrap_or(0));
    }
    Ok(response)
}

/// Answers with bytes: validators, ranges, caching.
fn body(bytes: Bytes, headers: &HeaderMap, etag: HeaderValue, caching: HeaderValue, kind: HeaderValue) -> Response {
    let conditions = Conditions {
        if_none_match: text(headers, header::IF_NONE_MATCH),
        if_range: text(headers, header::IF_RANGE),
        range: text(headers, header::RANGE),
    };
    let len = bytes.len();
    let mut response = match conditions.answer(etag.to_str().unwrap_or(""), len) {
        Answer::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Answer::All => bytes.into_response(),
        Answer::Part(range) => {
            let place = format!("bytes {}-{}/{len}", range.start, range.end - 1);
            let part = Body::from(bytes.slice(range));
            (StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, place)], part).into_response()
        }
        Answer::Unsatisfiable => {
            let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "the range is beyond the end");
            return ([(header::CONTENT_RANGE, format!("bytes */{len}"))], problem).into_response();
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, caching);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::ETAG, etag);
    response
}

/// `POST /v1/batch`: answers as they come, each behind its length.
async fn serve_batch(
    shared: &Arc<Shared>,
    peer: Peer,
    prefix: &Prefix,
    parts: &Parts,
    body: Body,
) -> Result<Response, Problem> {
    let grant = Arc::new(grant(shared, prefix, parts)?);
    let too_long = |_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("at most {BATCH_LIMIT} bytes"));
    let asked = axum::body::to_bytes(body, BATCH_LIMIT).await.map_err(too_long)?;
    let Some(hashes) = http::batch(&asked) else {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "1 to 64 hashes of 32 bytes are wanted"));
    };
    allowed(shared, peer, &grant, u32::try_from(hashes.len()).unwrap_or(u32::MAX))?;
    let urgency = Urgency { demand: true, fresh: is_fresh(&parts.headers) };
    let (count, last) = (hashes.len(), Arc::new(std::sync::atomic::AtomicUsize::new(hashes.len())));
    let answers = (0..).zip(hashes).take(count).map({
        let shared = Arc::clone(shared);
        move |(index, hash)| {
            let (shared, grant, left) = (Arc::clone(&shared), Arc::clone(&grant), Arc::clone(&last));
            async move {
                let found = shared.object(peer, &grant, &hash, urgency).await;
                let last = left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 1;
                let frame = match found {
                    Ok((stored, tier)) => {
                        shared.metrics.http_object(stored.envelope.len() as u64);
                        ServerFrame::Block { request: 1, index, last, tier, envelope: stored.envelope.clone() }
                    }
                    Err(error) => error.frame(1, Some(index)),
                };
                Ok::<_, std::convert::Infallible>(Bytes::from(http::batch_item(&frame)))
            }
        }
    });
    let answers = Body::from_stream(stream::iter(answers).buffer_unordered(BATCH_READS));
    let headers = [(header::CONTENT_TYPE, FRAMES_TYPE), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, answers).into_response())
}

/// How an object is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Urgency {
    pub(crate) demand: bool,
    pub(crate) fresh: bool,
}

impl Shared {
    /// Reads an object for somebody who may have as many.
    pub(crate) async fn object(
        &self,
        peer: Peer,
        grant: &Grant,
        hash: &Hash,
        urgency: Urgency,
    ) -> Result<(Arc<crate::tiers::Stored>, block_proto::frame::Tier), ReadError> {
        if urgency.fresh {
            self.buckets.fresh(peer.asker).map_err(|wait| {
                self.metrics.limited("fresh");
                ReadError::RateLimited(wait)
            })?;
            self.metrics.fresh();
            return self.tiers.fresh(&grant.prefixes, hash).await;
        }
        let found = self.tiers.object(&grant.prefixes, hash, urgency.demand).await;
        found.inspect_err(|error| self.charge_absent(peer, grant, error))
    }

    fn charge_absent(&self, peer: Peer, grant: &Grant, error: &ReadError) {
        if *error == ReadError::NotFound {
            // Whether there was so much left does not matter: the next request finds out.
            let _ = self.buckets.objects(peer.asker, grant.token, ABSENT_COST);
        }
    }
}
