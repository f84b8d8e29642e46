//! What the page shows of the network.

use std::time::Duration;

/// How objects come, or do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Nothing has come or failed yet.
    #[default]
    Connecting,
    /// Over a WebSocket.
    Socket,
    /// Over HTTP alone.
    Http,
    /// Not at all; requests wait.
    Offline {
        /// Since when, by the host's monotonic clock.
        since: Duration,
    },
}

/// How things stand with an open image.
#[derive(Clone, Debug, Default)]
pub struct RemoteStatus {
    /// How objects come.
    pub link: Link,
    /// Bytes received, as sent (compressed).
    pub bytes: u64,
    /// Objects received and verified.
    pub objects: u64,
    /// Objects asked for that have not come.
    pub in_flight: usize,
    /// Those of them that somebody stands still for.
    pub demanded: usize,
    /// The round-trip time, when a WebSocket is open.
    pub rtt: Option<Duration>,
    /// How long the last demanded object took.
    pub last_wait: Option<Duration>,
    /// Connections that were lost.
    pub losses: u64,
    /// Objects that came and were refused, because they were not what was asked for.
    pub damaged: u64,
    /// Connections that were given up because what came over them made no sense.
    pub garbled: u64,
    /// The last thing that went wrong, in words.
    pub last_error: Option<String>,
}
