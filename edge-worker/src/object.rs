//! A Durable Object in front of each socket: the same pump, but it sleeps while nothing is asked.
//!
//! The platform keeps the socket open while the object is asleep and out of memory. What a session is then (nothing owed,
//! only its credit and its permissions) is noted on the socket, and the next message wakes an object that reads the note.

use std::cell::RefCell;
use std::rc::Rc;

use block_proto::key::Prefix;
use block_proto::{RestingSession, ServerSession};
use serde::{Deserialize, Serialize};
use worker::{
    DurableObject, Env, Error, Request, Response, Result, State, WebSocket, WebSocketIncomingMessage, WebSocketPair,
    console_error, console_log, durable_object,
};

use crate::entry::{read_settings, split_url};
use crate::pump::{self, Life, Pump};
use crate::tiers::Edge;
use crate::upgrade::{self, Visitor};
use crate::{answer, isolate};

/// The binding of the objects.
const OBJECTS: &str = "SOCKETS_OBJECT";

/// Has a socket served by an object of its own, made near the client.
pub async fn forward(request: Request, env: &Env) -> Result<Response> {
    let Ok(objects) = env.durable_object(OBJECTS) else {
        console_error!(
            "SOCKETS is \"object\", but the durable_objects binding {OBJECTS} is missing: see wrangler.toml"
        );
        return answer::problem(500, "this deployment is not set up right; its log says what is wrong");
    };
    objects.unique_id()?.get_stub()?.fetch_with_request(request).await
}

/// What is noted on a sleeping socket.
#[derive(Debug, Serialize, Deserialize)]
pub struct Nap {
    session: RestingSession,
    origin: Option<String>,
    address: String,
    prefix: String,
    permitted: Vec<String>,
    #[serde(default)]
    until: Option<u64>,
    #[serde(default)]
    host: String,
}

impl Nap {
    /// Notes a session and its visitor.
    pub fn new(session: RestingSession, visitor: &Visitor) -> Self {
        let name = |prefix: &Prefix| prefix.tenant_name().unwrap_or("").to_owned();
        Self {
            session,
            origin: visitor.origin.clone(),
            address: visitor.address.clone(),
            prefix: name(&visitor.prefix),
            permitted: visitor.permitted.iter().map(name).collect(),
            until: visitor.until,
            host: visitor.host.clone(),
        }
    }

    fn visitor(&self) -> Option<Visitor> {
        Some(Visitor {
            origin: self.origin.clone(),
            address: self.address.clone(),
            host: self.host.clone(),
            prefix: self.prefix.parse().ok()?,
            permitted: self.permitted.iter().map(|prefix| prefix.parse().ok()).collect::<Option<_>>()?,
            until: self.until,
        })
    }
}

/// The object of one socket.
#[durable_object(websocket)]
pub struct SocketObject {
    state: State,
    env: Env,
    pump: RefCell<Option<Rc<Pump>>>,
}

impl SocketObject {
    /// The pump of our socket; made from the note on it if we have slept.
    fn pump(&self, socket: &WebSocket) -> Result<Rc<Pump>> {
        if let Some(pump) = &*self.pump.borrow() {
            return Ok(Rc::clone(pump));
        }
        let lost = || Error::from("the session is lost");
        let nap: Nap = socket.deserialize_attachment()?.ok_or_else(lost)?;
        let visitor = nap.visitor().ok_or_else(lost)?;
        let settings = read_settings(&self.env).map_err(Error::from)?;
        if settings.log {
            console_log!("{{\"what\":\"woken\"}}");
        }
        let edge = Edge::open(settings, &self.env, &visitor.host, None).map_err(Error::from)?;
        let now = isolate::now();
        // The client is there already: it is not sent away for others.
        let (seat, sessions) = isolate::sit_down(now, usize::MAX).ok_or_else(lost)?;
        let session = ServerSession::wake(pump::config(&edge, sessions), nap.session, now);
        let pump = Pump::new(edge, socket.clone(), session, visitor, Life::Object, seat);
        *self.pump.borrow_mut() = Some(Rc::clone(&pump));
        Ok(pump)
    }
}

impl DurableObject for SocketObject {
    fn new(state: State, env: Env) -> Self {
        Self { state, env, pump: RefCell::default() }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        let settings = read_settings(&self.env).map_err(Error::from)?;
        let url = request.inner().url();
        let (host, path, _) = split_url(&url);
        let Some((prefix, _)) = block_proto::route::route(path) else { return answer::problem(404, "nothing here") };
        let visitor = match upgrade::admit(&request, &settings, host, prefix)? {
            Ok(visitor) => visitor,
            Err(refusal) => return Ok(refusal),
        };
        let edge = Edge::open(settings, &self.env, host, None).map_err(Error::from)?;
        let now = isolate::now();
        let Some((seat, sessions)) = isolate::sit_down(now, edge.settings.max_sessions) else {
            return answer::problem(503, "too many sessions");
        };
        let pair = WebSocketPair::new()?;
        upgrade::prepare(&pair.server);
        self.state.accept_web_socket(&pair.server);
        let session = ServerSession::new(pump::config(&edge, sessions), pump::number(), now);
        let pump = Pump::new(edge, pair.server, session, visitor, Life::Object, seat);
        *self.pump.borrow_mut() = Some(Rc::clone(&pump));
        pump.step();
        upgrade::switched(pair.client)
    }

    async fn websocket_message(&self, socket: WebSocket, message: WebSocketIncomingMessage) -> Result<()> {
        match self.pump(&socket) {
            Ok(pump) => match message {
                WebSocketIncomingMessage::Binary(message) => pump.message(&message),
                WebSocketIncomingMessage::String(_) => pump.text_message(),
            },
            // The client connects anew and asks again for what it is owed.
            Err(error) => {
                console_error!("{error}");
                socket.close(Some(1011), Some("the session is lost"))?;
            }
        }
        Ok(())
    }

    async fn websocket_close(&self, socket: WebSocket, code: usize, _: String, _: bool) -> Result<()> {
        let code = u16::try_from(code).unwrap_or(1006);
        match self.pump(&socket) {
            Ok(pump) => pump.closed(code),
            // Nothing was under way, or it is gone: there is nobody to tell.
            Err(_) => drop(socket.close(Some(1000), Some(""))),
        }
        Ok(())
    }

    async fn websocket_error(&self, socket: WebSocket, error: Error) -> Result<()> {
        console_log!("a socket broke: {error}");
        DurableObject::websocket_close(self, socket, 1006, String::new(), false).await
    }
}
