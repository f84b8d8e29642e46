//! Packages of the operating system.

use std::process::Command;

use anyhow::{Result, bail};

use crate::shell::{self, run, say};

/// A package and how to see that what we need of it is there.
pub(crate) struct Package {
    /// Name in Debian and Ubuntu.
    pub(crate) name: &'static str,
    /// What it is for, for people on other systems.
    pub(crate) purpose: &'static str,
    /// A program on the search path, or an absolute file.
    pub(crate) proof: &'static str,
}

/// What the demo needs.
pub(crate) const DEMO: &[Package] = &[
    Package { name: "gcc", purpose: "a C compiler and linker", proof: "cc" },
    Package { name: "mmdebstrap", purpose: "makes the demo's Debian tree", proof: "mmdebstrap" },
    Package { name: "arch-test", purpose: "mmdebstrap asks it whether i386 programs run here", proof: "arch-test" },
];

/// What the tests need beside it.
pub(crate) const TEST: &[Package] = &[
    Package { name: "chromium", purpose: "a headless browser", proof: "chromium" },
    Package { name: "gcc-multilib", purpose: "gcc -m32, for guest programs", proof: "/usr/include/gnu/stubs-32.h" },
    Package { name: "e2fsprogs", purpose: "mke2fs and e2fsck judge our file system", proof: "/sbin/e2fsck" },
    Package { name: "openssl", purpose: "makes certificates for tests of TLS", proof: "openssl" },
    Package { name: "python3", purpose: "records terminal and guest traces", proof: "python3" },
];

/// What the tests in other engines need beside it.
pub(crate) const ENGINES: &[Package] = &[
    Package { name: "firefox-esr", purpose: "a headless browser", proof: "firefox-esr" },
    Package { name: "webkit2gtk-driver", purpose: "WebKitGTK and what drives it", proof: "WebKitWebDriver" },
    Package { name: "xvfb", purpose: "a display for WebKitGTK's browser", proof: "Xvfb" },
];

/// What the benchmarks need beside it.
pub(crate) const BENCH: &[Package] =
    &[Package { name: "qemu-user", purpose: "the speed to compare ours with", proof: "qemu-i386" }];

/// Installs those of the packages that are missing.
pub(crate) fn ensure(packages: &[Package]) -> Result<()> {
    let missing: Vec<&Package> = packages.iter().filter(|package| !is_there(package.proof)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if shell::find("apt-get").is_none() {
        for package in &missing {
            eprintln!("    please install {} ({})", package.name, package.purpose);
        }
        bail!("{} program(s) are missing and this system has no apt-get to install them with", missing.len());
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    say(&format!("installing with apt: {}", names.join(" ")));
    let mut prefix = Vec::new();
    if !shell::is_root() {
        if shell::find("sudo").is_none() {
            bail!("as root, please run: apt-get install {}", names.join(" "));
        }
        prefix.push("sudo");
    }
    let apt = |arguments: &[&str]| {
        let words: Vec<&str> = prefix.iter().copied().chain(["apt-get"]).chain(arguments.iter().copied()).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let mut install = vec!["-qq", "-o=Dpkg::Use-Pty=0", "install", "-y", "--no-install-recommends"];
    install.extend(&names);
    // A machine that has been up to date once needs no new lists.
    if run(&mut apt(&install)).is_err() {
        run(&mut apt(&["-qq", "update"]))?;
        run(&mut apt(&install))?;
    }
    if let Some(package) = missing.iter().find(|package| !is_there(package.proof)) {
        bail!("apt installed {} but {} is not there", package.name, package.proof);
    }
    Ok(())
}

/// The mirror this machine installs Debian packages from, read from apt itself.
pub(crate) fn mirror() -> Option<String> {
    let uris =
        shell::output(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI) $(ORIGIN)"])).ok()?;
    let main = |line: &str| {
        // The origin is only known once lists have been fetched.
        let (uri, origin) = line.split_once(' ')?;
        let uri = uri.trim_end_matches('/');
        let ours = origin.trim() == "Debian" || uri.ends_with("/debian");
        (ours && !uri.contains("security")).then(|| uri.to_owned())
    };
    uris.lines().find_map(main)
}

/// The mirror of Debian's security suite, if this machine uses it.
pub(crate) fn security_mirror() -> Option<String> {
    let uris = shell::output(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"])).ok()?;
    uris.lines().find(|uri| uri.contains("debian-security")).map(|uri| uri.trim_end_matches('/').to_owned())
}

fn is_there(proof: &str) -> bool {
    if proof.starts_with('/') { std::path::Path::new(proof).exists() } else { shell::find(proof).is_some() }
}
