//! The standard library for wasm32-unknown-unknown.
//!
//! `rustup target add` is the way where its download server can be reached. Elsewhere the library is built from the Rust
//! sources with cargo's build-std and put where rustup would have put it, so that a plain `cargo build --target
//! wasm32-unknown-unknown` works from then on. The sources of the exact compiler version come from the toolchain itself
//! (rust-src), an archive named by `SKIFF_RUST_LIBRARY_SRC`, an archive beside the project, or Debian's source package.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::shell::{self, output, run, say};

const TARGET: &str = "wasm32-unknown-unknown";
const SMOKE: &str = "#[unsafe(no_mangle)] pub extern \"C\" fn f(n: usize) -> usize { vec![1u8; n].len() }\n";

/// Makes the target work.
pub(crate) fn ensure() -> Result<()> {
    if works() {
        return Ok(());
    }
    let add = |command: &mut Command| shell::succeeds_within(command, Duration::from_secs(90));
    if shell::find("rustup").is_some() {
        say("installing the wasm32 target with rustup");
        if add(Command::new("rustup").args(["target", "add", TARGET])) && works() {
            return Ok(());
        }
    }
    let toolchain = Toolchain::ask()?;
    say(&format!(
        "rustup cannot install it here: building the wasm32 library of Rust {} from source",
        toolchain.version
    ));
    let library = toolchain.library()?;
    toolchain.build(&library)?;
    if !works() {
        bail!("the library built from {} does not link", library.display());
    }
    Ok(())
}

/// Tells whether the compiler finds a library for the target and can link with it.
fn works() -> bool {
    let dir = shell::build_dir().join("smoke");
    let source = dir.join("smoke.rs");
    if fs::create_dir_all(&dir).is_err() || fs::write(&source, SMOKE).is_err() {
        return false;
    }
    // The answer depends on the compiler only, and asking takes half a second.
    let Ok(toolchain) = Toolchain::ask() else { return false };
    let stamp = dir.join("works-with");
    if toolchain.lib_dir().is_dir() && fs::read_to_string(&stamp).is_ok_and(|found| found == toolchain.identity()) {
        return true;
    }
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "--crate-type", "cdylib", "--target", TARGET, "-o"]);
    rustc.arg(dir.join("smoke.wasm")).arg(&source);
    let good = shell::succeeds_within(&mut rustc, Duration::from_secs(60));
    // Only saves time: a stamp that cannot be written is asked for again.
    let _ = if good { fs::write(&stamp, toolchain.identity()) } else { Ok(()) };
    good
}

struct Toolchain {
    sysroot: PathBuf,
    version: String,
    commit: String,
}

impl Toolchain {
    fn ask() -> Result<Self> {
        let sysroot = output(Command::new("rustc").args(["--print", "sysroot"])).context("Rust is missing")?;
        let about = output(Command::new("rustc").arg("-vV"))?;
        let field = |name: &str| {
            let line = about.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned()).with_context(|| format!("rustc -vV has no {name}"))
        };
        Ok(Self { sysroot: PathBuf::from(sysroot.trim()), version: field("release:")?, commit: field("commit-hash:")? })
    }

    fn identity(&self) -> String {
        format!("{} {} {}\n", self.sysroot.display(), self.version, self.commit)
    }

    fn rustlib(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib")
    }

    fn lib_dir(&self) -> PathBuf {
        self.rustlib().join(TARGET).join("lib")
    }

    /// The `library` folder of this compiler's sources, put where build-std looks for it.
    fn library(&self) -> Result<PathBuf> {
        let library = self.rustlib().join("src/rust/library");
        if is_library(&library) {
            return Ok(library);
        }
        let work = fresh_dir("rust-library")?;
        let given = std::env::var_os("SKIFF_RUST_LIBRARY_SRC").map(PathBuf::from);
        let source = match given.or_else(|| self.archive_beside_project()) {
            Some(source) => source,
            None => self.debian_source(&work)?,
        };
        say(&format!("unpacking {}", source.display()));
        let unpacked = if source.is_dir() {
            [source.clone(), source.join("library")].into_iter().find(|dir| is_library(dir))
        } else {
            let mut tar = Command::new("tar");
            tar.arg("-C").arg(&work).arg("-xf").arg(&source).args([
                "--wildcards",
                "--strip-components=1",
                "*/library/*",
            ]);
            run(&mut tar)?;
            Some(work.join("library")).filter(|dir| is_library(dir))
        };
        let Some(unpacked) = unpacked else { bail!("{} holds no Rust library sources", source.display()) };
        if let Some(parent) = library.parent() {
            fs::create_dir_all(parent)?;
        }
        run(Command::new("cp").arg("-a").arg(&unpacked).arg(&library))?;
        // The archive is a hundred megabytes; what cannot be removed is removed next time.
        let _ = fs::remove_dir_all(&work);
        Ok(library)
    }

    fn archive_beside_project(&self) -> Option<PathBuf> {
        let name = format!("rust-library-{}.tar.xz", self.version);
        let root = shell::root();
        [root.join("../shared/toolchain"), root.join("build")]
            .into_iter()
            .map(|dir| dir.join(&name))
            .find(|f| f.is_file())
    }

    /// Fetches the orig tarball of Debian's `rustc` source package of our version, with a configuration of apt's own
    /// that has the machine's mirror and the suites that carry new compilers, and leaves the machine's as it is.
    fn debian_source(&self, work: &Path) -> Result<PathBuf> {
        let help = "set SKIFF_RUST_LIBRARY_SRC to an archive of the Rust sources of this version";
        let Some(mirror) = crate::apt::mirror() else {
            bail!("found no sources of Rust {} for the wasm32 target: {help}", self.version);
        };
        say(&format!("looking for Rust {} among Debian's source packages", self.version));
        let state = work.join("apt");
        fs::create_dir_all(state.join("lists/partial"))?;
        let suites = ["stable", "stable-backports", "testing", "unstable", "experimental"];
        let sources: String =
            suites.iter().map(|suite| format!("deb-src [trusted=yes] {mirror} {suite} main\n")).collect();
        fs::write(state.join("sources.list"), sources)?;
        let apt = |program: &str| {
            let mut command = Command::new(program);
            command.current_dir(work);
            for (key, path) in [("SourceList", "sources.list"), ("SourceParts", "none")] {
                command.arg("-o").arg(format!("Dir::Etc::{key}={}", state.join(path).display()));
            }
            command.arg("-o").arg(format!("Dir::State::Lists={}", state.join("lists").display()));
            command.args(["-o", "APT::Sandbox::User=root"]);
            command
        };
        // A suite that a mirror does not carry is no reason to give up.
        let _ = apt("apt-get").args(["-qq", "update"]).status();
        for package in ["rustc", "rustc-web", &format!("rustc-{}", minor_of(&self.version))] {
            let found = output(apt("apt-cache").args(["showsrc", "--only-source", package])).unwrap_or_default();
            let versions = found.lines().filter_map(|line| line.strip_prefix("Version: "));
            for version in versions.filter(|version| version.starts_with(&self.version)) {
                let mut source = apt("apt-get");
                source.args(["-qq", "source", "--download-only", "--tar-only", "--only-source"]);
                // A mirror may list a version that it no longer has.
                if run(source.arg(format!("{package}={version}"))).is_err() {
                    continue;
                }
                let mut files = fs::read_dir(work)?.filter_map(|entry| Some(entry.ok()?.path()));
                if let Some(tarball) = files.find(|file| file.to_string_lossy().contains(".orig.tar")) {
                    return Ok(tarball);
                }
            }
        }
        bail!("Debian has no sources of Rust {}: {help}", self.version)
    }

    fn build(&self, library: &Path) -> Result<()> {
        let work = fresh_dir("std-for-wasm")?;
        fs::create_dir_all(work.join("src"))?;
        fs::write(
            work.join("Cargo.toml"),
            "[package]\nname = \"std-for-wasm\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n",
        )?;
        fs::write(work.join("src/lib.rs"), "")?;
        let flags = format!(
            "-Cembed-bitcode=yes -Cdebuginfo=0 --remap-path-prefix={}=/rustc/{}/library",
            library.display(),
            self.commit
        );
        let mut cargo = shell::cargo();
        cargo
            .current_dir(&work)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", flags)
            .env("CARGO_TARGET_DIR", work.join("target"));
        // The feature set that the distributed library has.
        cargo.args(["build", "--quiet", "--release", "--target", TARGET]);
        cargo.args([
            "-Zbuild-std=std,panic_abort,panic_unwind,proc_macro,test",
            "-Zbuild-std-features=backtrace,panic-unwind",
        ]);
        run(&mut cargo)?;
        self.install(&work.join("target").join(TARGET).join("release/deps"))?;
        // Temporary; what cannot be removed is removed next time.
        let _ = fs::remove_dir_all(&work);
        Ok(())
    }

    fn install(&self, built: &Path) -> Result<()> {
        let lib_dir = self.lib_dir();
        let next = lib_dir.with_extension("new");
        let _ = fs::remove_dir_all(&next);
        fs::create_dir_all(&next)?;
        for entry in fs::read_dir(built)? {
            let file = entry?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let wanted = name.starts_with("lib") && (name.ends_with(".rlib") || name.ends_with(".rmeta"));
            if wanted && !name.starts_with("libstd_for_wasm") {
                fs::copy(&file, next.join(&name))?;
            }
        }
        let _ = fs::remove_dir_all(&lib_dir);
        fs::rename(&next, &lib_dir).with_context(|| format!("installing into {}", lib_dir.display()))?;
        self.tell_rustup()
    }

    /// Writes what rustup would have written, so that it counts the target as installed.
    fn tell_rustup(&self) -> Result<()> {
        let components = self.rustlib().join("components");
        if !components.is_file() {
            return Ok(());
        }
        let component = format!("rust-std-{TARGET}");
        let mut files: Vec<String> = fs::read_dir(self.lib_dir())?
            .filter_map(|entry| {
                Some(format!("file:lib/rustlib/{TARGET}/lib/{}\n", entry.ok()?.file_name().to_string_lossy()))
            })
            .collect();
        files.sort();
        fs::write(self.rustlib().join(format!("manifest-{component}")), files.concat())?;
        let listed = fs::read_to_string(&components)?;
        if !listed.lines().any(|line| line == component) {
            writeln!(fs::OpenOptions::new().append(true).open(&components)?, "{component}")?;
        }
        let config = self.rustlib().join("multirust-config.toml");
        let entry = format!("[[components]]\npkg = \"rust-std\"\ntarget = \"{TARGET}\"\n");
        if config.is_file() && !fs::read_to_string(&config)?.contains(&entry) {
            write!(fs::OpenOptions::new().append(true).open(&config)?, "\n{entry}is_extension = false\n")?;
        }
        Ok(())
    }
}

fn is_library(dir: &Path) -> bool {
    dir.join("std/Cargo.toml").is_file() && dir.join("Cargo.lock").is_file()
}

fn minor_of(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

fn fresh_dir(name: &str) -> Result<PathBuf> {
    let dir = shell::build_dir().join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}
