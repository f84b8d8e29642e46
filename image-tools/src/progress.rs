//! How far the work has come, told to whoever shows it.

/// Shows the steps of an operation.
pub trait Progress: Sync {
    /// Begins a step of `total` units (bytes, mostly); `None` if nobody knows.
    fn step(&self, what: &str, total: Option<u64>) -> Box<dyn Step>;
}

/// One step; done when dropped.
pub trait Step: Send + Sync {
    /// So many units more are done.
    fn advance(&self, units: u64);
}

/// Shows nothing.
pub struct NoProgress;

impl Progress for NoProgress {
    fn step(&self, _what: &str, _total: Option<u64>) -> Box<dyn Step> {
        Box::new(Silent)
    }
}

struct Silent;

impl Step for Silent {
    fn advance(&self, _units: u64) {}
}
