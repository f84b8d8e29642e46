//! HTTP of a process.

use std::io;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use super::CONNECT_TIMEOUT;
use super::trust::{NativeOptions, Trust};
use crate::remote::host::{CacheMode, HttpReply, NetError, ReplyHeaders};

/// Time for a whole answer; objects are at most a megabyte.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection that was not used for so long may be dead without anybody knowing.
const IDLE: Duration = Duration::from_millis(800);

/// Makes requests and waits for their answers. Clones share connections.
#[derive(Clone)]
pub struct HttpClient {
    agent: ureq::Agent,
}

impl HttpClient {
    /// A client that is not connected yet.
    pub fn new(options: &NativeOptions) -> io::Result<Self> {
        Ok(Self::with(&Trust::new(options)?))
    }

    pub(super) fn with(trust: &Trust) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(ANSWER_TIMEOUT))
            .max_idle_age(IDLE)
            .user_agent("skiff");
        #[cfg(feature = "tls")]
        let config = config.tls_config(trust.http.clone());
        #[cfg(not(feature = "tls"))]
        let _ = trust;
        Self { agent: config.build().into() }
    }

    /// Fetches a URL. A body over `limit` bytes is an error.
    pub fn get(&self, url: &str, cache: CacheMode, limit: usize) -> Result<HttpReply, NetError> {
        read_reply(self.agent.get(url), cache, limit)
    }

    /// Fetches a part of it; the body is read only if that is what comes.
    pub fn get_range(&self, url: &str, part: &Range<u64>, cache: CacheMode) -> Result<HttpReply, NetError> {
        let limit = usize::try_from(part.end.saturating_sub(part.start)).unwrap_or(usize::MAX);
        let last = part.end.saturating_sub(1);
        read_reply(self.agent.get(url).header("Range", format!("bytes={}-{last}", part.start)), cache, limit)
    }
}

fn read_reply(
    mut request: ureq::RequestBuilder<ureq::typestate::WithoutBody>,
    cache: CacheMode,
    limit: usize,
) -> Result<HttpReply, NetError> {
    let ranged = request.headers_ref().is_some_and(|headers| headers.contains_key("range"));
    if cache == CacheMode::Reload {
        request = request.header("Cache-Control", "no-cache");
    }
    let trouble = |error: ureq::Error| NetError(error.to_string());
    let mut reply = request.call().map_err(trouble)?;
    let status = reply.status().as_u16();
    let header = |name: &str| reply.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let headers = ReplyHeaders {
        content_range: header("content-range"),
        content_encoding: header("content-encoding"),
        etag: header("etag"),
        last_modified: header("last-modified"),
    };
    if ranged && status != 206 {
        return Ok(HttpReply { status, body: Bytes::new(), headers });
    }
    let body = reply.body_mut().with_config().limit(limit as u64 + 1).read_to_vec().map_err(trouble)?;
    if body.len() > limit {
        return Err(NetError(format!("a body over {limit} bytes")));
    }
    Ok(HttpReply { status, body: body.into(), headers })
}
