//! Debian trees: once as a folder for chroot(8), once as an image for machines.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::table::Set;
use crate::apt;
use crate::shell::{self, cargo, command, run, say};
use crate::stamp::{self, Fingerprint};

/// Where a set is.
pub(crate) struct Tree {
    /// Unpacked, never written to.
    pub(crate) root: PathBuf,
    /// `STORE/NAME` of the image.
    pub(crate) image: PathBuf,
}

/// Makes what is not there yet.
pub(super) fn prepare(set: &Set) -> Result<Tree> {
    let dir = shell::build_dir().join("transcripts");
    fs::create_dir_all(&dir)?;
    let archive = dir.join(format!("{}.tar", set.name));
    let (root, store) = (dir.join(format!("{}.root", set.name)), dir.join("store"));
    let customize = super::folder().join("customize.sh");
    let mut recipe = Fingerprint::new().text(&set.suite).text(&set.packages.join(" ")).text(&super::read(&customize)?);
    if let Some(build) = &set.build {
        recipe = recipe.path(&super::folder().join(build))?;
    }
    stamp::unless_done(&format!("transcripts-{}-tree", set.name), recipe, &[&archive], || {
        bootstrap(set, &archive, &customize)
    })?;
    let content = Fingerprint::new().path(&archive)?;
    stamp::unless_done(&format!("transcripts-{}-root", set.name), content, &[&root], || unpack(&archive, &root))?;
    stamp::unless_done(&format!("transcripts-{}-image", set.name), content, &[&store], || {
        say(&format!("making the image of {}", set.name));
        let mut tools = cargo();
        tools.args(["run", "--quiet", "-p", "image-tools", "--", "build", "-o"]).arg(&store);
        run(tools.args(["--name", &set.name, "--from"]).arg(format!("tar:{}", archive.display())))
    })?;
    Ok(Tree { root, image: store.join(&set.name) })
}

fn bootstrap(set: &Set, archive: &Path, customize: &Path) -> Result<()> {
    let mirror = std::env::var("SKIFF_MIRROR").ok().or_else(apt::mirror);
    let Some(mirror) = mirror else {
        bail!("found no Debian mirror in apt's configuration: please set SKIFF_MIRROR to its address")
    };
    say(&format!("bootstrapping the tree {} (some minutes)", set.name));
    let part = archive.with_extension("part.tar");
    let mut mmdebstrap = command("mmdebstrap");
    mmdebstrap.args(["--architectures=i386", "--variant=minbase", "--quiet"]);
    mmdebstrap.arg(format!("--include={}", set.packages.join(",")));
    // A fixed date makes the same packages give the same bytes.
    mmdebstrap.env("SOURCE_DATE_EPOCH", "1700000000");
    mmdebstrap.args(["--aptopt=Acquire::Languages \"none\"", "--dpkgopt=path-exclude=/usr/share/locale/*"]);
    mmdebstrap.arg(format!("--customize-hook={} \"$1\"", customize.display()));
    if let Some(build) = &set.build {
        let from = super::folder().join(build);
        let hook = format!("cp -r {} \"$1/tmp/{build}\" && chroot \"$1\" sh /tmp/{build}/build.sh", from.display());
        mmdebstrap.arg(format!("--customize-hook={hook}"));
    }
    mmdebstrap.arg(&set.suite).arg(&part).arg(format!("deb {mirror} {} main", set.suite));
    run(mmdebstrap.arg(format!("deb {mirror} {}-updates main", set.suite)))?;
    fs::rename(&part, archive).with_context(|| format!("writing {}", archive.display()))
}

fn unpack(archive: &Path, root: &Path) -> Result<()> {
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("removing {}", root.display()))?;
    }
    fs::create_dir_all(root)?;
    run(command("tar").args(["-x", "--numeric-owner", "-p", "-f"]).arg(archive).arg("-C").arg(root))
}
