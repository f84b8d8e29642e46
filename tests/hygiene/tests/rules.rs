//! The rules of CONTRIBUTING.md that a program can check.

use std::collections::BTreeMap;

use hygiene::{Tree, code, dependencies};

/// What each crate of ours may use, from the bottom up. Direction only: a crate need not use all of it.
const DIRECTION: &[(&str, &[&str])] = &[
    ("vm-rt", &[]),
    ("linux-abi", &[]),
    ("vm-mem", &[]),
    ("block-proto", &[]),
    ("vm-cpu", &["vm-mem"]),
    ("vm-jit", &["vm-cpu", "vm-mem"]),
    ("vm-block", &["block-proto", "vm-rt"]),
    ("ext2", &["vm-block", "vm-rt"]),
    ("vm-net", &["vm-rt"]),
    ("vm-kernel", &["vm-cpu", "ext2", "vm-block", "vm-net", "vm-mem", "vm-rt", "linux-abi"]),
    (
        "vm-machine",
        &["vm-kernel", "vm-jit", "vm-cpu", "ext2", "vm-block", "vm-net", "vm-mem", "vm-rt", "linux-abi", "block-proto"],
    ),
    ("vm-browser", &["vm-machine", "vm-kernel", "ext2", "vm-block", "vm-rt", "block-proto", "linux-abi"]),
    ("block-server", &["block-proto"]),
    ("edge-worker", &["block-proto"]),
    ("image-tools", &["block-proto", "ext2", "vm-block", "vm-rt"]),
    ("xtask", &[]),
    ("hygiene", &[]),
];

/// Files that may hold `unsafe`, and how much of it. The numbers only go down.
const UNSAFE: &[(&str, usize)] = &[("vm-client/mem/src/", 40), ("vm-client/browser/src/code.rs", 4)];

/// A file of code longer than this needs a cut. Tables and tests are counted apart.
const LONGEST: usize = 1000;

#[test]
fn crates_point_downwards() {
    let tree = Tree::read();
    let allowed: BTreeMap<&str, &[&str]> = DIRECTION.iter().copied().collect();
    let mut wrong = Vec::new();
    for (file, manifest) in tree.files("Cargo.toml") {
        let (name, uses) = dependencies(manifest);
        let Some(allowed) = allowed.get(&name[..]) else { continue };
        for other in uses.iter().filter(|other| DIRECTION.iter().any(|(ours, _)| ours == other)) {
            if !allowed.contains(&&other[..]) {
                wrong.push(format!("{file}: {name} must not depend on {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_stays_where_it_is() {
    let tree = Tree::read();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (file, text) in tree.files(".rs") {
        let code = code(text);
        // What is compiled natively for tests only, such as recorders, is no part of the product.
        if file.starts_with("tests/") {
            continue;
        }
        let count = code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| *word == "unsafe").count();
        if count > 0 {
            let place = UNSAFE.iter().find(|(place, _)| file.starts_with(place));
            let (place, _) = place.unwrap_or_else(|| panic!("{file} holds unsafe code"));
            *counts.entry(place).or_default() += count;
        }
    }
    for (place, most) in UNSAFE {
        let found = counts.get(place).copied().unwrap_or(0);
        assert!(found <= *most, "{place} holds `unsafe` {found} times, {most} are allowed");
    }
}

#[test]
fn files_stay_short() {
    let tree = Tree::read();
    let code_files = tree.files(".rs").chain(tree.files(".js")).chain(tree.files(".mjs"));
    let long: Vec<String> = code_files
        .filter(|(file, _)| !file.contains("/tests/") && !file.ends_with("tests.rs") && !file.contains("table"))
        .map(|(file, text)| (file, text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(file, lines)| format!("{file} has {lines} lines"))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn no_address_of_a_registry_or_a_machine() {
    // Spelt in two halves, so that this file does not break its own rule.
    let forbidden = [
        ["registry.", "npmjs"],
        ["deb.", "debian.org"],
        ["security.", "debian.org"],
        ["ftp.", "debian.org"],
        ["static.", "crates.io"],
        ["index.", "crates.io"],
        ["files.", "pythonhosted"],
        ["pypi.", "org"],
        ["/work", "/"],
        ["/root/", ".cargo"],
        ["/root/", ".rustup"],
        ["/tmp/", "bash_jobs"],
    ]
    .map(|halves| halves.concat());
    let tree = Tree::read();
    let mut wrong = Vec::new();
    for (file, text) in tree.files("") {
        // Cargo writes the index's address into its lock file itself.
        if file.ends_with("Cargo.lock") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = forbidden.iter().find(|word| line.contains(&word[..])) {
                // A guest's own /root/work and the like are no paths of ours.
                if !line.contains(&format!("/root{word}")) {
                    wrong.push(format!("{file}:{}: {word}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn code_is_ascii() {
    let tree = Tree::read();
    let mut wrong = Vec::new();
    for (file, text) in tree.files(".rs").chain(tree.files(".md")).chain(tree.files(".js")) {
        if let Some((number, _)) = text.lines().enumerate().find(|(_, line)| !line.is_ascii()) {
            wrong.push(format!("{file}:{}", number + 1));
        }
    }
    assert!(wrong.is_empty(), "not ASCII:\n{}", wrong.join("\n"));
}

#[test]
fn every_crate_says_what_it_is() {
    let tree = Tree::read();
    for (file, manifest) in tree.files("Cargo.toml") {
        let Some(folder) = file.strip_suffix("Cargo.toml").filter(|_| manifest.contains("[package]")) else { continue };
        let heads = ["src/lib.rs", "src/main.rs"].map(|name| format!("{folder}{name}"));
        let head = heads.iter().find_map(|name| tree.file(name)).unwrap_or_else(|| panic!("{file} has no source"));
        assert!(head.starts_with("//! ") && !head.contains("To be written"), "{folder} does not open with what it is");
    }
}

#[test]
fn every_package_has_the_licence() {
    let tree = Tree::read();
    for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(tree.exists(name), "{name} is missing");
    }
    for (file, manifest) in tree.files("Cargo.toml") {
        let ours =
            ["license.workspace = true", "license = \"MIT OR Apache-2.0\""].iter().any(|line| manifest.contains(line));
        assert!(ours || !manifest.contains("[package]"), "{file} names no licence");
    }
    let package = tree.file("vm-client/browser/npm/package.json").expect("the npm package is there");
    assert!(package.contains("\"license\": \"MIT OR Apache-2.0\""));
}

#[test]
fn nothing_is_left_to_be_done_by_a_panic() {
    let tree = Tree::read();
    let mut wrong = Vec::new();
    for (file, text) in tree.files(".rs").filter(|(file, _)| !file.starts_with("tests/")) {
        let code = code(text);
        for word in ["todo!", "unimplemented!", "dbg!", "#[allow("] {
            if code.contains(word) {
                wrong.push(format!("{file}: {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn both_halves_of_wasm_bindgen_are_one_version() {
    let tree = Tree::read();
    let version = |file: &str, name: &str| {
        let text = tree.file(file).unwrap_or_else(|| panic!("{file} is there"));
        let line = text.lines().find(|line| line.starts_with(&format!("{name} = \"=")));
        line.and_then(|line| line.split('"').nth(1)).map(str::to_owned).unwrap_or_else(|| panic!("{file} pins {name}"))
    };
    assert_eq!(version("Cargo.toml", "wasm-bindgen"), version("deploy/bindgen/Cargo.toml", "wasm-bindgen-cli-support"),);
}
