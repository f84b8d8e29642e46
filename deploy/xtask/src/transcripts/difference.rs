//! Two texts side by side where they differ.

use std::fmt::Write;

/// How many lines are shown.
const SHOWN: usize = 40;
/// How far ahead a common line is looked for.
const AHEAD: usize = 200;

/// The lines that only one side has: `-` this computer's Linux, `+` Skiff.
pub(super) fn show(linux: &str, skiff: &str) -> String {
    let (linux, skiff): (Vec<&str>, Vec<&str>) = (linux.lines().collect(), skiff.lines().collect());
    let mut out = String::new();
    let mut shown = 0;
    let (mut here, mut there) = (0, 0);
    while (here < linux.len() || there < skiff.len()) && shown < SHOWN {
        if here < linux.len() && linux.get(here) == skiff.get(there) {
            (here, there) = (here + 1, there + 1);
            continue;
        }
        let (next_here, next_there) = meet(&linux, here, &skiff, there);
        for (number, line) in linux.iter().enumerate().take(next_here).skip(here) {
            let _ = writeln!(out, "    {:>4} - {line}", number + 1);
            shown += 1;
        }
        for (number, line) in skiff.iter().enumerate().take(next_there).skip(there) {
            let _ = writeln!(out, "    {:>4} + {line}", number + 1);
            shown += 1;
        }
        (here, there) = (next_here, next_there);
    }
    if shown >= SHOWN {
        out.push_str("    (and more)\n");
    }
    out
}

/// The nearest places from which both go on with the same line.
fn meet(linux: &[&str], here: usize, skiff: &[&str], there: usize) -> (usize, usize) {
    for distance in 1..AHEAD {
        for step in 0..=distance {
            let (at, other) = (here + step, there + distance - step);
            if at < linux.len() && linux.get(at) == skiff.get(other) {
                return (at, other);
            }
        }
    }
    (linux.len(), skiff.len())
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_differs_is_shown() {
        let text = super::show("a\nb\nc\nd\n", "a\nx\nc\nd\ne\n");
        assert_eq!(text, "       2 - b\n       2 + x\n       5 + e\n");
    }
}
