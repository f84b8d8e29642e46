//! The Worker's handler: settings, routes, and the report at the end.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use block_proto::frame::ServerFrame;
use block_proto::http;
use block_proto::key::{Key, Prefix};
use block_proto::route::{self, Route};
use block_proto::{Hash, ReadError};
use futures_util::{StreamExt, stream};
use worker::{Context, Env, Error, Method, Request, Response, Result, console_error, event};

use crate::answer::{self, Asked};
use crate::memory::ObjectId;
use crate::settings::{Settings, Sockets};
use crate::tally::Outcome;
use crate::tiers::Edge;
use crate::{access, isolate, object, source, upgrade};

/// Reads of a batch at once; the budget has as many subrequests open anyway.
const BATCH_READS: usize = 5;

/// The request number in the frames of a batch.
const BATCH_REQUEST: u32 = 1;

/// The exported handler.
#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> Result<Response> {
    let settings = match read_settings(&env) {
        Ok(settings) => settings,
        Err(text) => {
            console_error!("{text}");
            return answer::problem(500, "this deployment is not set up right; its log says what is wrong");
        }
    };
    let origin = request.headers().get("origin")?;
    let response = respond(request, env, context, settings.clone()).await?;
    // A switched protocol has no headers for pages.
    if response.status_code() == 101 {
        return Ok(response);
    }
    answer::open_to_pages(response, &settings, origin.as_deref())
}

/// Reads the settings from the bindings.
pub fn read_settings(env: &Env) -> std::result::Result<Settings, String> {
    Settings::read(|name| env.var(name).ok().map(|text| text.to_string()))
}

/// Host, path and query of a request's URL, which the platform has made absolute and normal.
pub fn split_url(url: &str) -> (&str, &str, Option<&str>) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let at = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at(at);
    (host, if path.is_empty() { "/" } else { path }, query)
}

async fn respond(mut request: Request, env: Env, context: Context, settings: Settings) -> Result<Response> {
    let started = isolate::now();
    let url = request.inner().url();
    let (host, path, query) = split_url(&url);
    let routed = route::route(path);
    if request.method() == Method::Options && routed.is_some() {
        return answer::preflight();
    }
    let allowed: &[Method] = match routed {
        Some((_, Route::Batch)) => &[Method::Post],
        _ => &[Method::Get, Method::Head],
    };
    if !allowed.contains(&request.method()) {
        let response = answer::problem(405, "this path has no such method")?;
        response.headers().set("allow", if allowed.len() == 1 { "POST" } else { "GET, HEAD" })?;
        return Ok(response);
    }
    let Some((prefix, route)) = routed else {
        return match path {
            "/healthz" | "/readyz" => Response::ok("ok\n"),
            _ => page(request, &env).await,
        };
    };
    if route == Route::Socket {
        return match settings.sockets {
            Sockets::Off => answer::problem(501, "no WebSocket here: this deployment speaks HTTP"),
            Sockets::Worker => upgrade::upgrade(&request, env, settings, host, prefix),
            Sockets::Object => object::forward(request, &env).await,
        };
    }
    let edge = match Edge::open(settings, &env, host, Some(context)) {
        Ok(edge) => edge,
        Err(text) => {
            console_error!("{text}");
            return answer::problem(500, "this deployment is not set up right; its log says what is wrong");
        }
    };
    let asked = Asked { method: request.method(), headers: request.headers() };
    let origin = asked.header("origin");
    let authorization = asked.header("authorization");
    let token = route::token(authorization.as_deref(), query).map(str::as_bytes);
    let may = access::prefixes(&edge.settings.token_keys, &prefix, token, isolate::now().as_secs(), origin.as_deref());
    match may {
        // The path says where to look; a token only permits it.
        Ok((permitted, _)) if permitted.contains(&prefix) => {}
        Ok(_) => return answer::unread(&ReadError::NotFound),
        Err(error) => return answer::unread(&error),
    }
    let what = match route {
        Route::Key(Key::Object(_)) => "object",
        Route::Key(_) => "tag",
        Route::Batch | Route::Socket => "batch",
    };
    let response = match route {
        Route::Batch => {
            let length = asked.header("content-length").and_then(|text| text.parse::<usize>().ok());
            if length.is_some_and(|length| length > http::BATCH_LIMIT) {
                return answer::problem(413, "a batch is 1 to 64 hashes of 32 bytes each");
            }
            let fresh = fresh_for(&asked);
            let body = request.bytes().await?;
            return answer_batch(edge, prefix, &body, fresh, started);
        }
        Route::Key(key) => answer_key(&edge, &asked, &prefix, &key).await?,
        Route::Socket => answer::problem(426, "this is a WebSocket")?,
    };
    report(&edge, what, response.status_code(), started);
    Ok(response)
}

async fn page(request: Request, env: &Env) -> Result<Response> {
    match source::page(env) {
        Some(assets) => assets.fetch_request(request).await,
        None => answer::problem(404, "nothing here"),
    }
}

async fn answer_key(edge: &Rc<Edge>, asked: &Asked<'_>, prefix: &Prefix, key: &Key) -> Result<Response> {
    let read = match key {
        Key::Object(hash) => {
            let id = ObjectId { prefix: prefix.clone(), hash: *hash };
            edge.read(&id, fresh_for(asked).as_deref()).await.map(|(stored, _)| stored)
        }
        Key::Tag { name, tag } => edge.record(&prefix.tag(name, tag)).await,
        Key::Boots(manifest) => edge.record(&prefix.boots(manifest)).await,
    };
    match read {
        Ok(stored) => {
            let mut tally = edge.tally.borrow_mut();
            tally.objects += 1;
            tally.bytes += stored.len() as u64;
            answer::stored(&stored, asked, prefix, key)
        }
        Err(error) => {
            edge.tally.borrow_mut().errors += 1;
            answer::unread(&error)
        }
    }
}

/// The address of a request that says FRESH.
fn fresh_for(asked: &Asked<'_>) -> Option<String> {
    asked.header("cache-control").is_some_and(|header| route::wants_fresh(&header)).then(|| asked.address())
}

/// Answers a batch as its objects come in.
fn answer_batch(
    edge: Rc<Edge>,
    prefix: Prefix,
    body: &[u8],
    fresh: Option<String>,
    started: Duration,
) -> Result<Response> {
    let Some(hashes) = http::batch(body) else {
        return answer::problem(400, "a batch is 1 to 64 hashes of 32 bytes each");
    };
    let (total, done) = (hashes.len(), Rc::new(Cell::new(0)));
    let hashes: Vec<(u16, Hash)> = (0..).zip(hashes).collect();
    let answers = stream::iter(hashes)
        .map(move |(index, hash)| {
            let (edge, id, done) = (Rc::clone(&edge), ObjectId { prefix: prefix.clone(), hash }, Rc::clone(&done));
            let fresh = fresh.clone();
            async move {
                let read = edge.read(&id, fresh.as_deref()).await;
                done.set(done.get() + 1);
                let last = done.get() == total;
                let frame = match read {
                    Ok((envelope, tier)) => {
                        let mut tally = edge.tally.borrow_mut();
                        tally.objects += 1;
                        tally.bytes += envelope.len() as u64;
                        ServerFrame::Block { request: BATCH_REQUEST, index, last, tier, envelope }
                    }
                    Err(error) => {
                        edge.tally.borrow_mut().errors += 1;
                        error.frame(BATCH_REQUEST, Some(index))
                    }
                };
                if last {
                    report(&edge, "batch", 200, started);
                }
                Ok::<Vec<u8>, Error>(http::batch_item(&frame))
            }
        })
        .buffer_unordered(BATCH_READS);
    Response::builder()
        .with_header("content-type", http::FRAMES_TYPE)?
        .with_header("cache-control", "no-store")?
        .from_stream(answers)
}

fn report(edge: &Edge, what: &str, status: u16, started: Duration) {
    let outcome = Outcome {
        what,
        status,
        subrequests: edge.budget.spent(),
        subrequests_at_once: edge.budget.most_open(),
        ms: u64::try_from(isolate::now().saturating_sub(started).as_millis()).unwrap_or(u64::MAX),
    };
    edge.tally.borrow().report(&edge.env, edge.settings.log, &outcome);
}

#[cfg(test)]
mod tests {
    use super::split_url;

    #[test]
    fn a_url_comes_apart() {
        assert_eq!(split_url("https://h.org/a/b?c=/d"), ("h.org", "/a/b", Some("c=/d")));
        assert_eq!(split_url("http://127.0.0.1:8787/"), ("127.0.0.1:8787", "/", None));
        assert_eq!(split_url("https://h.org?x"), ("h.org", "/", Some("x")));
    }
}
