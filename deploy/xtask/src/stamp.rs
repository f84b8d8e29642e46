//! Steps that are skipped while their inputs stay the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};

use crate::shell;

/// A digest of a step's inputs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of nothing.
    pub(crate) fn new() -> Self {
        // FNV-1a: unlike the standard library's hasher it stays the same from one compiler to the next.
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds a text.
    pub(crate) fn text(mut self, text: &str) -> Self {
        for byte in text.bytes().chain([0]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self
    }

    /// Adds a file, or every file below a folder, by name, size and time of change. Names starting with a dot and
    /// `node_modules` are left out.
    pub(crate) fn path(self, path: &Path) -> Result<Self> {
        let meta = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?;
        if !meta.is_dir() {
            let changed = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            return Ok(self.text(&format!("{} {} {}", path.display(), meta.len(), changed.as_nanos())));
        }
        let mut names: Vec<PathBuf> =
            fs::read_dir(path)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
        names.sort();
        let mut sum = self;
        for name in names {
            let base = name.file_name().unwrap_or_default().to_string_lossy();
            if !base.starts_with('.') && base != "node_modules" {
                sum = sum.path(&name)?;
            }
        }
        Ok(sum)
    }
}

/// Runs `step` unless it already succeeded with this fingerprint and all of `products` are still there. Tells whether it
/// ran.
pub(crate) fn unless_done(
    name: &str,
    inputs: Fingerprint,
    products: &[&Path],
    step: impl FnOnce() -> Result<()>,
) -> Result<bool> {
    let stamp = shell::build_dir().join("stamps").join(name);
    let wanted = format!("{:016x}\n", inputs.0);
    if products.iter().all(|product| product.exists()) && fs::read_to_string(&stamp).is_ok_and(|found| found == wanted)
    {
        return Ok(false);
    }
    step()?;
    fs::create_dir_all(stamp.parent().unwrap_or(&stamp))?;
    fs::write(&stamp, wanted).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_changes_with_every_input_and_their_borders() {
        let of = |texts: &[&str]| texts.iter().fold(Fingerprint::new(), |sum, text| sum.text(text)).0;
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        assert_ne!(of(&["a", "b"]), of(&["ab"]));
        assert_ne!(of(&["a"]), of(&["a", ""]));
    }
}
