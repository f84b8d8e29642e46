//! What one more small file costs: the share of a 1 GB image's chunks that are new, after a rebuild from scratch, after a
//! rebuild with `--after`, and with `mke2fs -d`. Run by `cargo xtask bench layout [--megabytes N] [--from SOURCE] [--json FILE]`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use block_proto::{CHUNK_SIZE, Hash};
use image_tools::build::{BuildOptions, Size, build};
use image_tools::publish::diff::{Difference, diff};
use image_tools::publish::{Area, Origin, OriginRef, block_on};
use image_tools::{NoProgress, Source, Store};
use vm_block::remote::native::NativeOptions;

/// Free space of the disks; it changes nothing but the number of groups.
const FREE: u64 = 1 << 30;

struct Options {
    megabytes: u64,
    from: Option<Source>,
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = parse(std::env::args().skip(1))?;
    let dir =
        tempfile::Builder::new().prefix("layout-").tempdir_in(std::env::var_os("LAYOUT_DIR").unwrap_or(".".into()))?;
    let tree = dir.path().join("root");
    fs::create_dir(&tree)?;
    let what = match &options.from {
        None => {
            make_tree(&tree, options.megabytes << 20)?;
            format!("a made-up tree of {} MB", options.megabytes)
        }
        Some(Source::Tar(archive)) => {
            run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&tree).arg("--exclude=./dev/*"))?;
            archive.display().to_string()
        }
        Some(other) => bail!("only tar: sources are measured, not {other}"),
    };
    println!("one small file (5,000 bytes in /etc) added to {what}");
    let store = dir.path().join("store");
    let version = |tag: &str, after: Option<&str>| -> Result<f64> {
        let start = Instant::now();
        let after = after.map(|tag| format!("{}/bench@{tag}", store.display()).parse()).transpose()?;
        let options = BuildOptions {
            tags: vec![tag.to_owned()],
            size: Size::Free(FREE),
            level: 1,
            created: Some(1_700_000_000),
            after,
            ..BuildOptions::new("bench")
        };
        build(&Source::Dir(tree.clone()), &Store::create(&store)?, &options, &NoProgress)?;
        Ok(start.elapsed().as_secs_f64())
    };
    let made = version("one", None)?;
    let foreign = mke2fs(dir.path(), &tree)?;
    fs::create_dir_all(tree.join("etc"))?;
    fs::write(tree.join("etc/one-more-file"), noise(77, 5000))?;
    let after = version("after", Some("one"))?;
    let scratch = version("scratch", None)?;
    let again = mke2fs(dir.path(), &tree)?;

    let compare = |tag: &str| -> Result<Difference> {
        let image = |tag: &str| -> Result<(OriginRef, Origin)> {
            let image: OriginRef = format!("{}/bench@{tag}", store.display()).parse()?;
            let origin = Origin::open(&image, &Area::public(), &NativeOptions::default())?;
            Ok((image, origin))
        };
        let (one, other) = (image("one")?, image(tag)?);
        block_on(diff((&one.0, &one.1), (&other.0, &other.1), &NoProgress))
    };
    let rows = [("build --after", compare("after")?, after), ("build, from scratch", compare("scratch")?, scratch)];
    println!("{:<22} {:>8} {:>8} {:>9} {:>12} {:>9}", "", "chunks", "new", "share", "new stored", "time");
    for (name, difference, seconds) in &rows {
        let stored = difference.new_stored_bytes as f64 / 1e6;
        let (chunks, new, share) = (difference.chunks, difference.new_chunks, difference.new_share() * 100.0);
        println!("{name:<22} {chunks:>8} {new:>8} {share:>8.2}% {stored:>9.2} MB {seconds:>7.1} s");
    }
    let had: BTreeSet<&Hash> = foreign.iter().collect();
    let has: BTreeSet<&Hash> = again.iter().collect();
    let new = has.iter().filter(|hash| !had.contains(**hash)).count();
    let share = new as f64 * 100.0 / again.len().max(1) as f64;
    println!("{:<22} {:>8} {new:>8} {share:>8.2}%", "mke2fs -d", again.len());
    println!("the first build took {made:.1} s");
    if let Some(path) = options.json {
        let json = serde_json::json!({
            "tree": what,
            "after": rows[0].1, "after_share": rows[0].1.new_share(), "after_seconds": rows[0].2,
            "scratch": rows[1].1, "scratch_share": rows[1].1.new_share(),
            "mke2fs_chunks": again.len(), "mke2fs_new": new,
        });
        fs::write(path, serde_json::to_vec_pretty(&json)?)?;
    }
    Ok(())
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options { megabytes: 1000, from: None, json: None };
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} wants a value"));
        match word.as_str() {
            "--megabytes" => options.megabytes = value()?.parse()?,
            "--from" => options.from = Some(value()?.parse()?),
            "--json" => options.json = Some(value()?.into()),
            other => bail!("unknown option {other}"),
        }
    }
    Ok(options)
}

/// Files as systems have them: many small ones, most bytes in a few large ones, spread over directories. Half of each can be
/// compressed.
fn make_tree(root: &Path, bytes: u64) -> Result<()> {
    let mut random = 1_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    let (mut done, mut number) = (0, 0_u64);
    while done < bytes {
        // Sizes from 100 bytes to 12 MB, each order of magnitude about as likely as the next.
        let size = (100_f64 * 10_f64.powf((next() % 10_000) as f64 / 10_000.0 * 5.08)) as u64;
        let folder = root.join(format!("usr/part{:02}/dir{:03}", next() % 20, next() % 60));
        fs::create_dir_all(&folder)?;
        let mut content = noise(number, size as usize);
        content.iter_mut().skip(1).step_by(2).for_each(|byte| *byte = b' ');
        fs::write(folder.join(format!("file-{number}")), content)?;
        done += size;
        number += 1;
    }
    fs::create_dir_all(root.join("etc"))?;
    Ok(())
}

/// Bytes that do not repeat.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The chunks, zeros apart, of a disk made by mke2fs with everything fixed that can be.
fn mke2fs(dir: &Path, tree: &Path) -> Result<Vec<Hash>> {
    let disk = dir.join("foreign.ext2");
    let _ = fs::remove_file(&disk);
    let size = size_of(tree)? * 11 / 10 + FREE;
    File::create(&disk)?.set_len(size / 4096 * 4096)?;
    let uuid = "6fbcd6a1-5d1f-4c5e-9a43-6f7ad2d0f0aa";
    let mut command = Command::new("mke2fs");
    command.env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin");
    command.env("E2FSPROGS_FAKE_TIME", "1700000000").env("MKE2FS_CONFIG", "/dev/null");
    command.args(["-q", "-F", "-t", "ext2", "-b", "4096", "-I", "256", "-U", uuid]);
    run(command.args(["-E", &format!("hash_seed={uuid}"), "-d"]).arg(tree).arg(&disk))?;
    let file = File::open(&disk)?;
    let mut hashes = Vec::new();
    let mut buffer = vec![0; CHUNK_SIZE];
    for offset in (0..file.metadata()?.len()).step_by(CHUNK_SIZE) {
        let len = CHUNK_SIZE.min(usize::try_from(file.metadata()?.len() - offset)?);
        file.read_exact_at(&mut buffer[..len], offset)?;
        buffer[len..].fill(0);
        if buffer.iter().any(|byte| *byte != 0) {
            hashes.push(Hash::of(&buffer));
        }
    }
    fs::remove_file(disk)?;
    Ok(hashes)
}

fn size_of(tree: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(tree)? {
        let entry = entry?;
        let found = entry.path().symlink_metadata()?;
        bytes += if found.is_dir() { size_of(&entry.path())? + 4096 } else { found.len().next_multiple_of(4096) };
    }
    Ok(bytes)
}

fn run(command: &mut Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("{} cannot be run", command.get_program().to_string_lossy()))?;
    ensure!(status.success(), "{} failed ({status})", command.get_program().to_string_lossy());
    Ok(())
}
