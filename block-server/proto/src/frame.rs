//! The messages of `vmdisk.v1`. One frame is one binary WebSocket message: `u8 type, u8 flags, u16 aux, u32 req`, body.

use std::time::Duration;

use bytes::Bytes;

use crate::Hash;
use crate::wire::Reader;

mod code;

pub use code::{ErrorCode, GoAwayReason};

/// Bytes before a frame's body.
pub const HEADER: usize = 8;

/// The most hashes one GET may carry.
pub const MAX_BATCH: usize = 64;

/// The protocol version spoken here (the minor one; the subprotocol name is the major one).
pub const VERSION: u16 = 1;

const HELLO: u8 = 0x01;
const GET: u8 = 0x02;
const CANCEL: u8 = 0x03;
const CREDIT: u8 = 0x04;
const PROFILE: u8 = 0x05;
const PING: u8 = 0x7E;
const PONG: u8 = 0x7F;
const WELCOME: u8 = 0x81;
const BLOCK: u8 = 0x82;
const ERROR: u8 = 0x83;
const GOAWAY: u8 = 0x84;

/// The flag of a GET that wants the origin asked, whatever is cached.
const FRESH: u8 = 1 << 3;

/// The flag of a WELCOME that says recorded boots are welcome.
const WANTS_PROFILES: u8 = 1 << 0;

/// The aux value that stands for the whole request.
const WHOLE: u16 = 0xFFFF;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// It ends early or has bytes too many.
    #[error("frame of type {kind:#04x} and {len} bytes has the wrong length")]
    Length {
        /// The type byte.
        kind: u8,
        /// Bytes of the message.
        len: usize,
    },
    /// Nobody knows this type, or it belongs to the other side.
    #[error("unknown frame type {0:#04x}")]
    Type(u8),
    /// A GET for nothing or for too much.
    #[error("a GET of {0} hashes, not 1 to {MAX_BATCH}")]
    Batch(u16),
    /// A name that is reserved.
    #[error("request number 0 is the connection's own")]
    Request,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    Text,
}

/// The first message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Lowest minor version spoken.
    pub version_min: u16,
    /// Highest minor version spoken.
    pub version_max: u16,
    /// Bytes of BLOCK bodies the server may send before the first CREDIT.
    pub window: u32,
    /// The longest message the client takes.
    pub max_message: u32,
    /// Bit n: codec n is understood.
    pub codecs: u32,
    /// The image to be read.
    pub manifest: Hash,
    /// Permission for private images; empty for public ones.
    pub token: Bytes,
}

/// The answer to HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The minor version of this session.
    pub version: u16,
    /// The most hashes a GET may carry.
    pub max_batch: u16,
    /// The most requests that may be open.
    pub max_open: u16,
    /// Seconds of silence after which the server closes.
    pub idle_s: u16,
    /// The most credit the server keeps.
    pub window_max: u32,
    /// Chunks this session may still be good for; 0 means no limit is known.
    pub budget_chunks: u32,
    /// A number for logs.
    pub session: u64,
    /// Whether the server takes PROFILE.
    pub wants_profiles: bool,
}

/// A line of a recorded boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The chunk.
    pub chunk: u32,
    /// Milliseconds since the start.
    pub ms: u16,
}

/// Client to server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// Opens the session.
    Hello(Hello),
    /// Asks for objects.
    Get {
        /// Chosen by the client, unique among open requests, not 0.
        request: u32,
        /// 0 demand, 3 read-ahead, 6 boot, 7 idle.
        priority: u8,
        /// Whether caches are to be dropped for these hashes and the origin is to be read: what came before was wrong.
        fresh: bool,
        /// The objects.
        hashes: Vec<Hash>,
    },
    /// Takes back a request or one hash of it; nothing is owed for what was not sent yet.
    Cancel {
        /// The request.
        request: u32,
        /// One hash, or all.
        index: Option<u16>,
    },
    /// Lets the server send this many more bytes of BLOCK bodies.
    Credit(u32),
    /// Offers a recorded boot.
    Profile(Vec<Touch>),
    /// Asks for a sign of life.
    Ping(u64),
    /// Answers one.
    Pong(u64),
}

/// Where the server had an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// In memory.
    Memory,
    /// In a cache.
    Cache,
    /// In the store itself.
    Origin,
}

/// Server to client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerFrame {
    /// Accepts HELLO.
    Welcome(Welcome),
    /// Brings an object.
    Block {
        /// The request it answers.
        request: u32,
        /// The hash of it that it answers.
        index: u16,
        /// Whether nothing more is owed for the request.
        last: bool,
        /// Where it was found.
        tier: Tier,
        /// The stored object.
        envelope: Bytes,
    },
    /// Tells that something failed.
    Error {
        /// The request, or 0 for the connection.
        request: u32,
        /// One hash of it, or all.
        index: Option<u16>,
        /// What failed.
        code: ErrorCode,
        /// When it may be worth trying again.
        retry_after: Duration,
        /// In words.
        text: String,
    },
    /// Asks the client to go on over another connection; open requests are still answered.
    GoAway {
        /// Why.
        reason: GoAwayReason,
        /// When to reconnect.
        reconnect_after_ms: u32,
        /// Answers that will still come.
        open_answered: u32,
    },
    /// Asks for a sign of life.
    Ping(u64),
    /// Answers one.
    Pong(u64),
}

fn header(kind: u8, flags: u8, aux: u16, request: u32, body: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + body);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&aux.to_le_bytes());
    out.extend_from_slice(&request.to_le_bytes());
    out
}

fn echo(kind: u8, value: u64) -> Vec<u8> {
    let mut out = header(kind, 0, 0, 0, 8);
    out.extend_from_slice(&value.to_le_bytes());
    out
}

fn count16(len: usize) -> u16 {
    u16::try_from(len).expect("callers keep lists within their limits")
}

impl ClientFrame {
    /// Writes the message.
    pub fn emit(&self) -> Vec<u8> {
        match self {
            Self::Hello(hello) => {
                let mut out = header(HELLO, 0, 0, 0, 50 + hello.token.len());
                out.extend_from_slice(&hello.version_min.to_le_bytes());
                out.extend_from_slice(&hello.version_max.to_le_bytes());
                out.extend_from_slice(&hello.window.to_le_bytes());
                out.extend_from_slice(&hello.max_message.to_le_bytes());
                out.extend_from_slice(&hello.codecs.to_le_bytes());
                out.extend_from_slice(hello.manifest.as_bytes());
                out.extend_from_slice(&count16(hello.token.len()).to_le_bytes());
                out.extend_from_slice(&hello.token);
                out
            }
            Self::Get { request, priority, fresh, hashes } => {
                let flags = priority & 7 | if *fresh { FRESH } else { 0 };
                let mut out = header(GET, flags, count16(hashes.len()), *request, 32 * hashes.len());
                hashes.iter().for_each(|hash| out.extend_from_slice(hash.as_bytes()));
                out
            }
            Self::Cancel { request, index } => header(CANCEL, 0, index.unwrap_or(WHOLE), *request, 0),
            Self::Credit(bytes) => {
                let mut out = header(CREDIT, 0, 0, 0, 4);
                out.extend_from_slice(&bytes.to_le_bytes());
                out
            }
            Self::Profile(touches) => {
                let mut out = header(PROFILE, 0, count16(touches.len()), 0, 6 * touches.len());
                for touch in touches {
                    out.extend_from_slice(&touch.chunk.to_le_bytes());
                    out.extend_from_slice(&touch.ms.to_le_bytes());
                }
                out
            }
            Self::Ping(value) => echo(PING, *value),
            Self::Pong(value) => echo(PONG, *value),
        }
    }

    /// Parses a message. Unknown flags are ignored.
    pub fn parse(message: &[u8]) -> Result<Self, FrameError> {
        let mut reader = Reader::new(message);
        let kind = reader.u8().ok_or(FrameError::Length { kind: 0, len: 0 })?;
        let length = FrameError::Length { kind, len: message.len() };
        let (flags, aux, request) = head(&mut reader).ok_or(length)?;
        let frame = match kind {
            HELLO => Self::Hello(hello(&mut reader).ok_or(length)?),
            GET => {
                if aux == 0 || usize::from(aux) > MAX_BATCH {
                    return Err(FrameError::Batch(aux));
                }
                if request == 0 {
                    return Err(FrameError::Request);
                }
                let hashes: Option<_> = (0..aux).map(|_| reader.array().map(Hash::from_bytes)).collect();
                Self::Get { request, priority: flags & 7, fresh: flags & FRESH != 0, hashes: hashes.ok_or(length)? }
            }
            CANCEL => Self::Cancel { request, index: (aux != WHOLE).then_some(aux) },
            CREDIT => Self::Credit(reader.u32().ok_or(length)?),
            PROFILE => {
                let touch = |reader: &mut Reader<'_>| Some(Touch { chunk: reader.u32()?, ms: reader.u16()? });
                if reader.remaining() != usize::from(aux) * 6 {
                    return Err(length);
                }
                Self::Profile((0..aux).map(|_| touch(&mut reader)).collect::<Option<_>>().ok_or(length)?)
            }
            PING => Self::Ping(reader.u64().ok_or(length)?),
            PONG => Self::Pong(reader.u64().ok_or(length)?),
            other => return Err(FrameError::Type(other)),
        };
        if reader.remaining() == 0 { Ok(frame) } else { Err(length) }
    }
}

fn head(reader: &mut Reader<'_>) -> Option<(u8, u16, u32)> {
    Some((reader.u8()?, reader.u16()?, reader.u32()?))
}

fn hello(reader: &mut Reader<'_>) -> Option<Hello> {
    Some(Hello {
        version_min: reader.u16()?,
        version_max: reader.u16()?,
        window: reader.u32()?,
        max_message: reader.u32()?,
        codecs: reader.u32()?,
        manifest: Hash::from_bytes(reader.array()?),
        token: {
            let len = reader.u16()?;
            Bytes::copy_from_slice(reader.take(usize::from(len))?)
        },
    })
}

impl ServerFrame {
    /// Writes the message.
    pub fn emit(&self) -> Vec<u8> {
        match self {
            Self::Welcome(welcome) => {
                let mut out = header(WELCOME, u8::from(welcome.wants_profiles) * WANTS_PROFILES, 0, 0, 24);
                out.extend_from_slice(&welcome.version.to_le_bytes());
                out.extend_from_slice(&welcome.max_batch.to_le_bytes());
                out.extend_from_slice(&welcome.max_open.to_le_bytes());
                out.extend_from_slice(&welcome.idle_s.to_le_bytes());
                out.extend_from_slice(&welcome.window_max.to_le_bytes());
                out.extend_from_slice(&welcome.budget_chunks.to_le_bytes());
                out.extend_from_slice(&welcome.session.to_le_bytes());
                out
            }
            Self::Block { request, index, last, tier, envelope } => {
                let flags = u8::from(*last) | (*tier as u8) << 1;
                let mut out = header(BLOCK, flags, *index, *request, envelope.len());
                out.extend_from_slice(envelope);
                out
            }
            Self::Error { request, index, code, retry_after, text } => {
                let mut out = header(ERROR, 0, index.unwrap_or(WHOLE), *request, 4 + text.len());
                out.extend_from_slice(&code.number().to_le_bytes());
                let tenths = u16::try_from(retry_after.as_millis().div_ceil(100)).unwrap_or(u16::MAX);
                out.extend_from_slice(&tenths.to_le_bytes());
                out.extend_from_slice(text.as_bytes());
                out
            }
            Self::GoAway { reason, reconnect_after_ms, open_answered } => {
                let mut out = header(GOAWAY, 0, reason.number(), 0, 8);
                out.extend_from_slice(&reconnect_after_ms.to_le_bytes());
                out.extend_from_slice(&open_answered.to_le_bytes());
                out
            }
            Self::Ping(value) => echo(PING, *value),
            Self::Pong(value) => echo(PONG, *value),
        }
    }

    /// Parses a message; a BLOCK's envelope shares its memory. Unknown flags are ignored.
    pub fn parse(message: &Bytes) -> Result<Self, FrameError> {
        let mut reader = Reader::new(message);
        let kind = reader.u8().ok_or(FrameError::Length { kind: 0, len: 0 })?;
        let length = FrameError::Length { kind, len: message.len() };
        let (flags, aux, request) = head(&mut reader).ok_or(length)?;
        let frame = match kind {
            WELCOME => Self::Welcome(welcome(&mut reader, flags).ok_or(length)?),
            BLOCK => {
                let tier = match flags >> 1 & 3 {
                    0 => Tier::Memory,
                    1 => Tier::Cache,
                    _ => Tier::Origin,
                };
                let envelope = message.slice_ref(reader.rest());
                return Ok(Self::Block { request, index: aux, last: flags & 1 != 0, tier, envelope });
            }
            ERROR => {
                let (code, tenths) = reader.u16().zip(reader.u16()).ok_or(length)?;
                let text = std::str::from_utf8(reader.rest()).map_err(|_| FrameError::Text)?.to_owned();
                let retry_after = Duration::from_millis(u64::from(tenths) * 100);
                let (index, code) = ((aux != WHOLE).then_some(aux), ErrorCode::from_number(code));
                return Ok(Self::Error { request, index, code, retry_after, text });
            }
            GOAWAY => {
                let (reconnect_after_ms, open_answered) = reader.u32().zip(reader.u32()).ok_or(length)?;
                Self::GoAway { reason: GoAwayReason::from_number(aux), reconnect_after_ms, open_answered }
            }
            PING => Self::Ping(reader.u64().ok_or(length)?),
            PONG => Self::Pong(reader.u64().ok_or(length)?),
            other => return Err(FrameError::Type(other)),
        };
        if reader.remaining() == 0 { Ok(frame) } else { Err(length) }
    }
}

fn welcome(reader: &mut Reader<'_>, flags: u8) -> Option<Welcome> {
    Some(Welcome {
        version: reader.u16()?,
        max_batch: reader.u16()?,
        max_open: reader.u16()?,
        idle_s: reader.u16()?,
        window_max: reader.u32()?,
        budget_chunks: reader.u32()?,
        session: reader.u64()?,
        wants_profiles: flags & WANTS_PROFILES != 0,
    })
}

#[cfg(test)]
mod tests;
