//! What is deployed with the Worker as static assets: the page, and for deployments without R2 the store.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell::{self, say};

/// Cloudflare's limits (Workers limits page, read in November 2026): files of a deployment on the free and on the paid
/// plan, and bytes of one file.
const MOST_FILES: (usize, usize) = (20_000, 100_000);
const MOST_BYTES: u64 = 25 << 20;

/// Where wrangler finds the assets; `deploy/wrangler.toml` names it.
fn folder() -> PathBuf {
    shell::build_dir().join("assets")
}

/// Makes the folder with the page alone.
pub(crate) fn page(site: &Path) -> Result<()> {
    make(&[site])
}

/// Makes the folder with the page and a store, and checks that they may be deployed.
pub(crate) fn page_and_store(site: &Path, store: &Path) -> Result<()> {
    make(&[site, store])
}

fn make(parts: &[&Path]) -> Result<()> {
    let folder = folder();
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let mut files = 0;
    for part in parts {
        files += copy(part, &folder)?;
    }
    let (free, paid) = MOST_FILES;
    if files > paid {
        bail!("{files} files, but a deployment has at most {paid}: use R2 for this store");
    }
    let plan = if files > free {
        format!(", more than the {free} of the free plan: the paid plan is needed")
    } else {
        String::new()
    };
    say(&format!("{files} files are in {}{plan}", folder.display()));
    Ok(())
}

/// Links (or copies) a folder's files, returns how many.
fn copy(from: &Path, to: &Path) -> Result<usize> {
    fs::create_dir_all(to)?;
    let mut files = 0;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            files += copy(&path, &target)?;
            continue;
        }
        // The platform compresses what it sends.
        if path.extension().is_some_and(|kind| kind == "br" || kind == "gz") {
            continue;
        }
        let len = entry.metadata()?.len();
        if len > MOST_BYTES {
            bail!("{} has {len} bytes, but an asset has at most {MOST_BYTES}: use R2 for this store", path.display());
        }
        if fs::hard_link(&path, &target).is_err() {
            fs::copy(&path, &target).with_context(|| format!("copying {}", path.display()))?;
        }
        files += 1;
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_large_is_named_and_compressed_twins_are_left_out() {
        let dir = std::env::temp_dir().join(format!("skiff-assets-{}", std::process::id()));
        let (from, to) = (dir.join("from"), dir.join("to"));
        fs::create_dir_all(from.join("o/ab")).expect("makes folders");
        for name in ["index.html", "index.html.br", "index.html.gz", "o/ab/abcd"] {
            fs::write(from.join(name), b"x").expect("writes");
        }
        assert_eq!(copy(&from, &to).expect("copies"), 2);
        let large = fs::File::create(from.join("o/ab/large")).expect("creates");
        large.set_len(MOST_BYTES + 1).expect("grows");
        let error = copy(&from, &dir.join("again")).expect_err("is too large").to_string();
        assert!(error.contains("large") && error.contains("R2"), "{error}");
        fs::remove_dir_all(&dir).expect("cleans up");
    }
}
