//! What /proc/cpuinfo says of the processor.

/// The text of /proc/cpuinfo.
pub(crate) fn text() -> String {
    String::new()
}
