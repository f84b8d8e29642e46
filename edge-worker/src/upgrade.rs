//! How a request becomes a WebSocket: who may, and who it is then.

use std::time::Duration;

use block_proto::key::Prefix;
use block_proto::{SUBPROTOCOL, ServerSession};
use worker::web_sys::BinaryType;
use worker::{Env, Request, Response, Result, WebSocket, WebSocketPair, console_error};

use crate::answer::{self, Asked};
use crate::isolate;
use crate::pump::{Life, Pump, config, number};
use crate::settings::Settings;
use crate::tiers::Edge;

/// Who connects, and to which part of the store.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The page's origin.
    pub origin: Option<String>,
    /// The client's address.
    pub address: String,
    /// The host that was asked.
    pub host: String,
    /// The part of the store that the path names.
    pub prefix: Prefix,
    /// The parts that may be read, once HELLO was accepted.
    pub permitted: Vec<Prefix>,
    /// When that ends, in seconds since 1970, if it does.
    pub until: Option<u64>,
}

impl Visitor {
    /// When the permission ends.
    pub fn end(&self) -> Option<Duration> {
        self.until.map(Duration::from_secs)
    }
}

/// Checks what must be right before a connection becomes a WebSocket; `Err` is the refusal.
pub fn admit(
    request: &Request,
    settings: &Settings,
    host: &str,
    prefix: Prefix,
) -> Result<std::result::Result<Visitor, Response>> {
    let asked = Asked { method: request.method(), headers: request.headers() };
    let lists = |name: &str, is_it: &dyn Fn(&str) -> bool| {
        asked.header(name).is_some_and(|list| list.split(',').any(|item| is_it(item.trim())))
    };
    if !lists("upgrade", &|word| word.eq_ignore_ascii_case("websocket")) {
        let response = answer::problem(426, "this is a WebSocket")?;
        response.headers().set("upgrade", "websocket")?;
        return Ok(Err(response));
    }
    // WebSockets are not covered by CORS: the page's origin is checked here or nowhere.
    let origin = asked.header("origin");
    if origin.as_deref().is_some_and(|origin| !settings.origin_allowed(origin)) {
        return Ok(Err(answer::problem(403, "this origin may not connect")?));
    }
    // Names of subprotocols are compared as they are: a client would refuse an answer that is written differently.
    if !lists("sec-websocket-protocol", &|word| word == SUBPROTOCOL) {
        return Ok(Err(answer::problem(400, "the subprotocol vmdisk.v1 must be offered")?));
    }
    Ok(Ok(Visitor {
        origin,
        address: asked.address(),
        host: host.to_owned(),
        prefix,
        permitted: Vec::new(),
        until: None,
    }))
}

/// Answers `GET /v1/ws` in the Worker itself.
pub fn upgrade(request: &Request, env: Env, settings: Settings, host: &str, prefix: Prefix) -> Result<Response> {
    let visitor = match admit(request, &settings, host, prefix)? {
        Ok(visitor) => visitor,
        Err(refusal) => return Ok(refusal),
    };
    let now = isolate::now();
    let Some((seat, sessions)) = isolate::sit_down(now, settings.max_sessions) else {
        let response = answer::problem(503, "too many sessions")?;
        response.headers().set("retry-after", "5")?;
        return Ok(response);
    };
    let edge = match Edge::open(settings, &env, host, None) {
        Ok(edge) => edge,
        Err(text) => {
            isolate::stand_up(seat);
            console_error!("{text}");
            return answer::problem(500, "this deployment is not set up right; its log says what is wrong");
        }
    };
    let pair = WebSocketPair::new()?;
    prepare(&pair.server);
    let session = ServerSession::new(config(&edge, sessions), number(), now);
    Pump::new(edge, pair.server, session, visitor, Life::Invocation, seat).start()?;
    switched(pair.client)
}

/// Has messages come as bytes: since 2026-03-17 they would come as `Blob`, whose bytes are a promise.
pub fn prepare(server: &WebSocket) {
    server.as_ref().set_binary_type(BinaryType::Arraybuffer);
}

/// The answer that makes a connection a WebSocket.
pub fn switched(client: WebSocket) -> Result<Response> {
    let response = Response::from_websocket(client)?;
    response.headers().set("sec-websocket-protocol", SUBPROTOCOL)?;
    Ok(response)
}
