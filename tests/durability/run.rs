//! Crashes: programs change files in a machine whose overlay records every commit, and afterwards the disk is looked at as
//! it would be had everything ended after each of them.
//!
//! ```text
//!  guest program --says--> promises          (what must be on the disk from a commit on)
//!       \--ext2--> overlay --> recording --> commits
//!  for each state: base + first k commits -> mount (frees orphans) -> e2fsck -fn -> promises in force
//! ```
//!
//! A promise made when `fsync` returns counts from the last *strict* commit before it, so the states between are those in
//! which all relaxed commits after the last strict one are lost, and an `fsync` that were content with a relaxed commit
//! would be found out. Commits are lost from the end only: they are transactions of one log (IndexedDB keeps transactions
//! of one store in order, and LevelDB below it replays its log up to the first record that is missing).
//!
//! `SKIFF_CRASH_STATES` sets how many states a test looks at, and how many processes are killed; the default is for every
//! day, `cargo xtask durability` sets ten thousand and gives the Debian tree that the tests of real programs ([`debian`])
//! take theirs from.

mod debian;
mod image;
mod promise;
mod record;
mod replay;
mod session;

use std::rc::Rc;

use image::Image;
use record::Recording;

/// States each test looks at.
fn states_wanted() -> usize {
    let given = std::env::var("SKIFF_CRASH_STATES").ok();
    given.map_or(250, |text| text.parse().expect("SKIFF_CRASH_STATES is a number"))
}

/// Runs a program with different seeds until there were enough states, and looks at all of them.
fn crash_everywhere(program: &str, block_size: u32, rounds: u32) {
    let wanted = states_wanted();
    let (mut states, mut promises, mut seed) = (0, 0, 1_u32);
    while states < wanted {
        let image = Image::make(&format!("{program}-{block_size}"), block_size);
        let recording = Rc::new(Recording::default());
        let rounds = rounds.min(2 + (wanted - states) as u32);
        let command = [format!("/bin/{program}"), seed.to_string(), rounds.to_string()];
        let said = session::run(&image, &recording, &command, u64::from(seed));
        let counts = replay::look_at_all(&image, &recording.commits(), &said, &|_, _| {});
        let (count, strict) = (recording.count(), recording.strict_commits());
        println!("{program}, seed {seed}: {count} commits, {strict} strict; {} promises looked at", counts.promises);
        states += counts.states;
        promises += counts.promises;
        seed += 1;
    }
    assert!(promises > states, "a state has more than one promise on average: {promises} in {states}");
}

#[test]
fn every_crash_keeps_what_fsync_promised() {
    crash_everywhere("names", 4096, 600);
}

#[test]
fn every_crash_keeps_what_fsync_promised_with_small_blocks() {
    crash_everywhere("names", 1024, 600);
}

#[test]
fn killed_processes_leave_nothing_half_done() {
    let image = Image::make("kills", 4096);
    let recording = Rc::new(Recording::default());
    let command = ["/bin/kills".to_owned(), states_wanted().to_string(), "1".to_owned()];
    let said = session::run(&image, &recording, &command, 1);
    let counts = replay::look_at_last(&image, &recording.commits(), &said);
    assert_eq!(counts.states, 1);
}

#[test]
fn what_was_deleted_leaves_the_overlay() {
    let image = Image::make("churn", 4096);
    let recording = Rc::new(Recording::default());
    session::run(&image, &recording, &["/bin/churn".to_owned(), "10".to_owned(), "12".to_owned()], 1);
    let kept = recording.stored_bytes();
    assert!(kept < 4 << 20, "ten times 12 MiB were written and deleted, and {kept} bytes are left");
}

#[test]
fn thousands_of_new_inodes_and_then_more_programs() {
    let image = Image::make("inodes", 1024);
    let recording = Rc::new(Recording::default());
    let said = session::run(&image, &recording, &["/bin/inodes".to_owned(), "5000".to_owned()], 1);
    let counts = replay::look_at_last(&image, &recording.commits(), &said);
    assert_eq!(counts.states, 1);
}
