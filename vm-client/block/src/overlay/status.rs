//! How an overlay is doing.

use crate::{BlockDevice, BlockError, OverlayStore, PAGE_SIZE};

use super::Overlay;

/// Memory beyond the cap for operations without data when the store is full, so that files can be removed.
pub(super) const SPARE: u64 = 8 << 20;
/// Failed commits in a row before the device becomes read-only.
pub(super) const MOST_FAILURES: u32 = 6;

/// Whether changes reach the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverlayState {
    /// They do.
    Healthy,
    /// The last commit failed and is tried again.
    Retrying(BlockError),
    /// They no longer do, for this reason; writes are refused and what was written stays readable.
    ReadOnly(BlockError),
}

/// Counters and state, for a status line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayStatus {
    /// Bytes written but not stored yet.
    pub unstored_bytes: u64,
    /// Bytes in the store.
    pub stored_bytes: u64,
    /// Bytes sent to the store since it was opened.
    pub committed_bytes: u64,
    /// Commits since it was opened.
    pub commits: u64,
    /// Whether changes reach the store.
    pub state: OverlayState,
}

#[derive(Default)]
pub(super) struct Health {
    pub(super) failures: u32,
    pub(super) last: Option<BlockError>,
    pub(super) committed_bytes: u64,
    pub(super) commits: u64,
}

impl Health {
    /// Why writes are refused, if they are.
    pub(super) fn refusal(&self) -> Option<BlockError> {
        match &self.last {
            Some(BlockError::Fenced) => Some(BlockError::Fenced),
            // A full store may get room again.
            Some(BlockError::StoreFull) => None,
            Some(other) if self.failures >= MOST_FAILURES => Some(other.clone()),
            _ => None,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.last == Some(BlockError::StoreFull)
    }
}

impl<B: BlockDevice, S: OverlayStore> Overlay<B, S> {
    /// Counters and state.
    pub fn status(&self) -> OverlayStatus {
        let health = self.health.borrow();
        let state = match (health.refusal(), &health.last) {
            (Some(error), _) => OverlayState::ReadOnly(error),
            (None, Some(error)) => OverlayState::Retrying(error.clone()),
            (None, None) => OverlayState::Healthy,
        };
        OverlayStatus {
            unstored_bytes: self.unstored_bytes(),
            stored_bytes: self.stored.borrow().len() * PAGE_SIZE as u64,
            committed_bytes: health.committed_bytes,
            commits: health.commits,
            state,
        }
    }
}
