//! What can go wrong with a store.

use std::fmt::Write;

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is nothing under this key.
    #[error("{0}: not in the store")]
    NotFound(String),
    /// What lies there is not the version that was to be replaced.
    #[error("{0}: changed meanwhile by somebody else")]
    Changed(String),
    /// What lies there is larger than the caller takes.
    #[error("{key}: {size} bytes, at most {limit} are taken")]
    TooLarge {
        /// The key.
        key: String,
        /// Its size in bytes.
        size: u64,
        /// Bytes taken.
        limit: u64,
    },
    /// The key is not one.
    #[error("{0}: not a key")]
    Key(String),
    /// The store refuses.
    #[error("{0}: no permission (for a bucket: are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY right?)")]
    Denied(String),
    /// The store cannot be opened at all.
    #[error("{0}")]
    Open(String),
    /// The store or the way to it failed; the same may work later.
    #[error("{0}")]
    Failed(String),
}

impl StoreError {
    /// Whether trying again may help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    pub(crate) fn from_object_store(key: &str, error: object_store::Error) -> Self {
        use object_store::Error;
        let key = key.to_owned();
        match error {
            Error::NotFound { .. } => Self::NotFound(key),
            Error::Precondition { .. } | Error::AlreadyExists { .. } => Self::Changed(key),
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Self::Denied(key),
            Error::InvalidPath { .. } => Self::Key(key),
            other => Self::Failed(format!("{key}: {}", chain(&other))),
        }
    }
}

/// An error and what is behind it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
