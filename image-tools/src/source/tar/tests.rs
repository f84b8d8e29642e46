//! Archives made by GNU tar from real files, and archives made by an enemy.

use std::fs;
use std::io::{Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use super::*;
use crate::source::data::{Data, DataReader};

fn archive(dir: &Path, options: &[&str], names: &[&str]) -> Extent {
    let tar = dir.join("test.tar");
    let status = Command::new("tar").arg("-C").arg(dir).arg("-cf").arg(&tar).args(options).args(names).status();
    assert!(status.expect("GNU tar is there").success());
    Extent::whole(fs::File::open(tar).expect("opens")).expect("has a length")
}

fn content(archive: &Extent, entry: &Entry) -> Vec<u8> {
    let data = Data::Pieces(archive.file.clone(), entry.pieces.clone());
    let mut bytes = vec![0xEE; entry.size as usize];
    DataReader::default().read(&data, 0, &mut bytes).expect("reads");
    bytes
}

fn find<'a>(entries: &'a [Entry], path: &str) -> &'a Entry {
    let trimmed = |entry: &&Entry| entry.path.strip_suffix(b"/").unwrap_or(&entry.path) == path.as_bytes();
    entries.iter().find(trimmed).unwrap_or_else(|| panic!("no {path}"))
}

#[test]
fn every_format_keeps_names_links_modes_owners_and_times() {
    let dir = tempfile::tempdir().expect("makes a directory");
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let root = dir.path();
    fs::create_dir(root.join("d".repeat(120))).expect("makes it");
    for (name, bytes) in [("small", b"abc".as_slice()), (long.as_str(), b"long name"), ("empty", b"")] {
        fs::write(root.join(name), bytes).expect("writes");
    }
    symlink("t".repeat(300), root.join("link")).expect("links");
    fs::hard_link(root.join("small"), root.join("twin")).expect("links");
    assert!(Command::new("mkfifo").arg(root.join("pipe")).status().expect("runs").success());
    assert!(Command::new("chmod").arg("4751").arg(root.join("small")).status().expect("runs").success());
    let touch =
        Command::new("touch").args(["-h", "-d", "2001-02-03 04:05:06.789 UTC"]).arg(root.join("small")).status();
    assert!(touch.expect("runs").success());
    let long_dir = "d".repeat(120);
    let names = ["small", "twin", "empty", "link", "pipe", &long_dir];
    for format in ["gnu", "pax", "oldgnu"] {
        let archive = archive(root, &[&format!("--format={format}")], &names);
        let entries = scan(&archive).expect(format);
        assert_eq!(entries.len(), 7, "{format}");
        let small = find(&entries, "small");
        let host = fs::metadata(root.join("small")).expect("is there");
        assert_eq!((small.kind.clone(), content(&archive, small)), (Kind::File, b"abc".to_vec()));
        assert_eq!((small.mode, small.uid, small.gid), (0o4751, host.uid(), host.gid()));
        let nsec = if format == "pax" { 789_000_000 } else { 0 };
        assert_eq!(small.mtime, Time { sec: 981_173_106, nsec }, "{format}");
        assert_eq!(find(&entries, "twin").kind, Kind::HardLink(b"small".to_vec()));
        assert_eq!(content(&archive, find(&entries, &long)), b"long name");
        assert_eq!(find(&entries, "link").kind, Kind::Symlink("t".repeat(300).into_bytes()));
        assert_eq!(find(&entries, "pipe").kind, Kind::Fifo);
        assert_eq!(find(&entries, "empty").size, 0);
        assert_eq!(find(&entries, &long_dir).kind, Kind::Directory);
    }
}

#[test]
fn devices_keep_their_numbers() {
    let dir = tempfile::tempdir().expect("makes a directory");
    for format in ["gnu", "pax", "ustar"] {
        let tar = dir.path().join("dev.tar");
        let status = Command::new("tar").args(["-C", "/dev", "--format", format, "-cf"]).arg(&tar).arg("null").status();
        assert!(status.expect("GNU tar is there").success());
        let archive = Extent::whole(fs::File::open(&tar).expect("opens")).expect("has a length");
        let entries = scan(&archive).expect("scans");
        assert_eq!(entries[0].kind, Kind::CharDevice(DeviceNumber { major: 1, minor: 3 }));
        assert_eq!(entries[0].mode, 0o666);
    }
}

#[test]
fn all_four_sparse_formats_give_back_the_file() {
    let dir = tempfile::tempdir().expect("makes a directory");
    let path = dir.path().join("sparse");
    let file = fs::File::create(&path).expect("makes it");
    // Enough runs for extension blocks, a start that is a hole, and an end that is one.
    for n in 1..60_u64 {
        file.write_all_at(format!("run {n}").as_bytes(), n * 300_000).expect("writes");
    }
    file.set_len(20_000_000).expect("grows");
    let expected = fs::read(&path).expect("reads");
    for options in [
        &["--format=gnu"][..],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let options = [options, &["--sparse"]].concat();
        let archive = archive(dir.path(), &options, &["sparse"]);
        let entries = scan(&archive).expect("scans");
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].path, b"sparse", "{options:?}");
        assert!(entries[0].pieces.len() > 20, "{options:?} is not sparse");
        assert!(content(&archive, &entries[0]) == expected, "{options:?}");
    }
}

#[test]
fn binary_attributes_survive_line_ends() {
    let dir = tempfile::tempdir().expect("makes a directory");
    let path = dir.path().join("file");
    fs::write(&path, b"x").expect("writes");
    let value = b"one\ntwo\n\x00\xff three=3\n";
    match rustix::fs::lsetxattr(&path, "user.test", value, rustix::fs::XattrFlags::empty()) {
        Ok(()) => {
            let archive = archive(dir.path(), &["--format=pax", "--xattrs"], &["file"]);
            let entries = scan(&archive).expect("scans");
            assert_eq!(entries[0].xattrs.get(&b"user.test"[..]), Some(&value.to_vec()));
        }
        // This machine's temporary files have none: the same record by hand.
        Err(_) => {
            let record = [b"SCHILY.xattr.user.test=".as_slice(), value, b"\n"].concat();
            let len = record.len() + 3;
            let records = parse_records(&[format!("{len} ").as_bytes(), &record].concat()).expect("parses");
            assert_eq!(records, [(b"SCHILY.xattr.user.test".to_vec(), value.to_vec())]);
        }
    }
}

#[test]
fn numbers_and_times_are_read_as_written() {
    assert_eq!(number(b"0000644\0").expect("reads"), 0o644);
    assert_eq!(number(b" 644 \0").expect("reads"), 0o644);
    assert_eq!(number(b"\x80\0\0\0\0\0\0\x03\0\0\0\0").expect("reads"), 3 << 32);
    assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe").expect("reads"), -2);
    assert!(number(b"12x").is_err());
    assert!(number(b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
    assert_eq!(time(b"1.5").expect("reads"), Time { sec: 1, nsec: 500_000_000 });
    assert_eq!(time(b"-1.25").expect("reads"), Time { sec: -2, nsec: 750_000_000 });
    assert_eq!(time(b"12.1234567899").expect("reads"), Time { sec: 12, nsec: 123_456_789 });
    assert!(time(b"now").is_err());
}

#[test]
fn damaged_archives_are_refused_and_never_panic() {
    let dir = tempfile::tempdir().expect("makes a directory");
    let long = "n".repeat(150);
    fs::write(dir.path().join(&long), vec![7; 5000]).expect("writes");
    let file = fs::File::create(dir.path().join("sparse")).expect("makes it");
    file.write_all_at(b"x", 1 << 20).expect("writes");
    let tar = archive(dir.path(), &["--format=pax", "--sparse"], &[&long, "sparse"]);
    let good = tar.bytes(1 << 30).expect("reads");
    let mut seed = 99_u32;
    for _ in 0..4000 {
        let mut bad = good.clone();
        for _ in 0..3 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = (seed >> 8) as usize % bad.len().min(4096);
            bad[at] = (seed >> 3) as u8;
            // Most damage must get past the checksum.
            let block = at / 512 * 512;
            let sum: u32 = bad[block..block + 512]
                .iter()
                .enumerate()
                .map(|(n, byte)| if (148..156).contains(&n) { 32 } else { u32::from(*byte) })
                .sum();
            if bad[block + 257..block + 262] == *b"ustar" {
                bad[block + 148..block + 155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            }
        }
        let mut file = tempfile::tempfile().expect("makes a file");
        file.write_all(&bad[..bad.len() - (seed as usize % 3) * 700]).expect("writes");
        file.rewind().expect("seeks");
        let extent = Extent::whole(file).expect("has a length");
        if let Ok(entries) = scan(&extent) {
            for entry in entries.iter().filter(|entry| entry.size < 1 << 22) {
                let data = Data::Pieces(extent.file.clone(), entry.pieces.clone());
                let mut bytes = vec![0; entry.size as usize];
                let _ = DataReader::default().read(&data, 0, &mut bytes);
            }
        }
    }
    let text = tempfile::NamedTempFile::new().expect("makes a file");
    fs::write(text.path(), "x".repeat(2000)).expect("writes");
    assert!(scan(&Extent::whole(fs::File::open(text.path()).expect("opens")).expect("has a length")).is_err());
}
