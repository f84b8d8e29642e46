//! The demo image: a Debian 12 i386 tree from `mmdebstrap`, made into a store by image-tools.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell::{self, cargo, command, run, say};
use crate::stamp::{self, Fingerprint};
use crate::{apt, setup};

/// The image's name in the store.
pub(crate) const NAME: &str = "debian";
const SUITE: &str = "bookworm";

/// Makes the image unless it is there, and returns the store's folder.
pub(crate) fn build(options: &[String]) -> Result<PathBuf> {
    let options = Options::parse(options)?;
    let store = shell::build_dir().join("store");
    let recipe = shell::root().join("deploy/demo");
    let read =
        |name: &str| fs::read_to_string(recipe.join(name)).with_context(|| format!("reading deploy/demo/{name}"));
    let (packages, customize) = (read("packages.txt")?, read("customize.sh")?);
    let packages: Vec<&str> = packages.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();

    let archive = shell::build_dir().join("demo/root.tar");
    if options.rebuild && archive.exists() {
        fs::remove_file(&archive)?;
    }
    let tree = Fingerprint::new().text(SUITE).text(&packages.join(" ")).text(&customize);
    let tree = options.mirror.iter().fold(tree, |sum, mirror| sum.text(mirror));
    let fresh = stamp::unless_done("demo-tree", tree, &[&archive], || {
        setup::for_demo()?;
        say("bootstrapping Debian 12 i386 (about two minutes)");
        let hook = format!("--customize-hook={} \"$1\"", recipe.join("customize.sh").display());
        bootstrap(&archive, "minbase", &packages, &[hook], options.mirror.as_deref())
    })?;
    if fresh && store.exists() {
        fs::remove_dir_all(&store)?;
    }
    stamp::unless_done("demo-store", tree.path(&archive)?, &[&store], || {
        say("making the demo image");
        let mut tools = cargo();
        tools.args(["run", "--quiet", "-p", "image-tools", "--", "build", "-o"]).arg(&store);
        run(tools.args(["--name", NAME, "--from"]).arg(format!("tar:{}", archive.display())))
    })?;
    Ok(store)
}

struct Options {
    mirror: Option<String>,
    rebuild: bool,
}

impl Options {
    /// Reads the options of `image`; those that only `demo` knows are skipped.
    fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self { mirror: std::env::var("SKIFF_MIRROR").ok(), rebuild: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--rebuild" => options.rebuild = true,
                "--no-serve" => {}
                "--port" => drop(words.next()),
                "--mirror" => options.mirror = Some(words.next().context("--mirror wants an address")?.clone()),
                other => bail!("unknown option {other:?}; see cargo xtask help"),
            }
        }
        Ok(options)
    }
}

/// Makes a tree of Debian packages as one tar file, with more options for mmdebstrap. Debian's security suite is used when
/// its i386 part agrees with the main one.
pub(crate) fn bootstrap(
    archive: &Path,
    variant: &str,
    packages: &[&str],
    options: &[String],
    mirror: Option<&str>,
) -> Result<()> {
    let given = mirror.map(str::to_owned);
    let mirror = given.clone().or_else(apt::mirror);
    let Some(mirror) = mirror else { bail!("found no Debian mirror in apt's configuration: please give --mirror URL") };
    if let Some(parent) = archive.parent() {
        fs::create_dir_all(parent)?;
    }
    let main = [format!("deb {mirror} {SUITE} main"), format!("deb {mirror} {SUITE}-updates main")];
    let security = if given.is_none() { apt::security_mirror() } else { None };
    let security = security.map(|mirror| format!("deb {mirror} {SUITE}-security main"));
    let attempt = |sources: &[String]| {
        let part = archive.with_extension("part.tar");
        let mut mmdebstrap = command("mmdebstrap");
        mmdebstrap.args(["--architectures=i386", "--quiet"]).arg(format!("--variant={variant}"));
        mmdebstrap.arg(format!("--include={}", packages.join(",")));
        // A fixed date makes the same packages give the same bytes.
        mmdebstrap.env("SOURCE_DATE_EPOCH", "1700000000");
        mmdebstrap.args(["--aptopt=Acquire::Languages \"none\"", "--dpkgopt=path-exclude=/usr/share/man/*"]);
        mmdebstrap.args(options);
        mmdebstrap.arg(SUITE).arg(&part).args(sources);
        run(&mut mmdebstrap)?;
        fs::rename(&part, archive).with_context(|| format!("writing {}", archive.display()))
    };
    let Some(security) = security else { return attempt(&main) };
    let all: Vec<String> = main.iter().cloned().chain([security]).collect();
    if attempt(&all).is_ok() {
        return Ok(());
    }
    say("Debian's security suite for i386 cannot be used with the main one now; using the main suite alone");
    attempt(&main)
}
