//! Numbers with meanings: error codes, reasons, and the close codes that go with them.

/// Why a request or a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// A message that is not a frame, or not one for now. Fatal.
    BadFrame,
    /// No common version. Fatal.
    Version,
    /// The token does not permit this image. Fatal.
    Unauthorized,
    /// The page's origin is not on the list. Fatal.
    Origin,
    /// The store has no such object; fatal if it is the manifest of HELLO.
    NotFound,
    /// Too much, too fast.
    RateLimited,
    /// Not now; try again.
    Busy,
    /// The stored object failed the server's own check.
    Corrupt,
    /// The object or message is too long.
    TooLarge,
    /// The server dropped the request, because the client asked or because it is going away.
    Cancelled,
    /// The session's budget is used up; comes with GOAWAY.
    Budget,
    /// The server's own source failed; try again.
    Upstream,
    /// Something newer.
    Unknown(u16),
}

const ERROR_CODES: [ErrorCode; 12] = [
    ErrorCode::BadFrame,
    ErrorCode::Version,
    ErrorCode::Unauthorized,
    ErrorCode::Origin,
    ErrorCode::NotFound,
    ErrorCode::RateLimited,
    ErrorCode::Busy,
    ErrorCode::Corrupt,
    ErrorCode::TooLarge,
    ErrorCode::Cancelled,
    ErrorCode::Budget,
    ErrorCode::Upstream,
];

impl ErrorCode {
    /// Every known code, in the order of their numbers.
    pub const ALL: [ErrorCode; 12] = ERROR_CODES;

    /// The number in the frame.
    pub fn number(self) -> u16 {
        match self {
            Self::Unknown(number) => number,
            known => ERROR_CODES.iter().position(|code| *code == known).map_or(0, |at| at as u16 + 1),
        }
    }

    /// The meaning of a number.
    pub fn from_number(number: u16) -> Self {
        let at = usize::from(number).checked_sub(1);
        at.and_then(|at| ERROR_CODES.get(at).copied()).unwrap_or(Self::Unknown(number))
    }

    /// A word for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadFrame => "bad_frame",
            Self::Version => "version",
            Self::Unauthorized => "unauthorized",
            Self::Origin => "origin",
            Self::NotFound => "not_found",
            Self::RateLimited => "rate_limited",
            Self::Busy => "busy",
            Self::Corrupt => "corrupt",
            Self::TooLarge => "too_large",
            Self::Cancelled => "cancelled",
            Self::Budget => "budget",
            Self::Upstream => "upstream",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The WebSocket close code when this ends a connection.
    pub fn close_code(self) -> u16 {
        match self {
            Self::BadFrame => 1002,
            Self::TooLarge => 1009,
            Self::Version => 4400,
            Self::Unauthorized => 4401,
            Self::Origin => 4403,
            Self::NotFound => 4404,
            Self::RateLimited | Self::Budget => 4429,
            _ => 1011,
        }
    }
}

/// Why a server asks its clients to go elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GoAwayReason {
    /// It is being stopped or replaced.
    Shutdown,
    /// The session's budget is used up; a new one has a fresh budget.
    Budget,
    /// It has too many sessions.
    Overload,
    /// Something newer.
    Unknown(u16),
}

impl GoAwayReason {
    /// The number in the frame.
    pub fn number(self) -> u16 {
        match self {
            Self::Shutdown => 1,
            Self::Budget => 2,
            Self::Overload => 3,
            Self::Unknown(number) => number,
        }
    }

    /// The meaning of a number.
    pub fn from_number(number: u16) -> Self {
        match number {
            1 => Self::Shutdown,
            2 => Self::Budget,
            3 => Self::Overload,
            other => Self::Unknown(other),
        }
    }
}
