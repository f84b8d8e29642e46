//! How accesses of compiled code go, counted by code that does so if [`Options::count_accesses`](crate::engine::Options) is set:
//! how often each instruction compares with the window or looks into the flat table, and how often that fails.

use std::collections::HashMap;

/// How an access finds its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Way {
    /// By the window around the stack pointer.
    Window,
    /// By the flat table.
    Table,
}

impl Way {
    const ALL: [(Way, &'static str, &'static str); 2] = [
        (Way::Window, "compares with the window", "compares that missed it"),
        (Way::Table, "looks into the flat table", "looks that took the slow path"),
    ];
}

/// Instructions that are told apart at most; the others share a place.
const SITES: usize = 1 << 15;
/// Those told with the figures, most failures first.
const TOLD: usize = 24;

/// How often an instruction tried, and how often it failed.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
struct Site {
    tried: u64,
    failed: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Counts {
    sites: Box<[Site]>,
    numbers: HashMap<(u32, Way), usize>,
}

impl Default for Counts {
    fn default() -> Self {
        Self { sites: vec![Site::default(); SITES + Way::ALL.len()].into_boxed_slice(), numbers: HashMap::new() }
    }
}

impl Counts {
    /// Where the counter of an instruction is in memory that goes with each try, or with each failure.
    pub fn place(&mut self, rip: u32, way: Way, failures: bool) -> u32 {
        let known = self.numbers.len();
        let number = match self.numbers.get(&(rip, way)) {
            Some(&number) => number,
            None if known < SITES => {
                self.numbers.insert((rip, way), known);
                known
            }
            None => SITES + way as usize,
        };
        let site = &raw const self.sites[number];
        site as usize as u32 + if failures { 8 } else { 0 }
    }

    /// The sums, and what fails most.
    pub fn figures(&self) -> Vec<(String, f64)> {
        let of = |number: usize| self.sites.get(number).copied().unwrap_or_default();
        let mut figures = Vec::new();
        for (way, tries, failures) in Way::ALL {
            let all = self.numbers.iter().filter(|((_, other), _)| *other == way).map(|(_, &number)| of(number));
            let sum = all.chain([of(SITES + way as usize)]).fold(Site::default(), |sum, site| Site {
                tried: sum.tried + site.tried,
                failed: sum.failed + site.failed,
            });
            figures.push((tries.to_owned(), sum.tried as f64));
            figures.push((failures.to_owned(), sum.failed as f64));
        }
        let mut worst: Vec<_> = self.numbers.iter().map(|(&(rip, way), &number)| (rip, way, of(number))).collect();
        worst.retain(|(_, _, site)| site.failed > 0);
        worst.sort_by_key(|&(rip, _, site)| (std::cmp::Reverse(site.failed), rip));
        worst.truncate(TOLD);
        figures.extend(worst.into_iter().map(|(rip, way, site)| {
            let way = if way == Way::Window { "window" } else { "table" };
            (format!("{way} failed at {rip:#x}, of {} times", site.tried), site.failed as f64)
        }));
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_have_counters_of_their_own_until_there_are_too_many() {
        let mut counts = Counts::default();
        let first = counts.place(0x1000, Way::Window, false);
        assert_eq!(counts.place(0x1000, Way::Window, true), first + 8);
        assert_ne!(counts.place(0x1000, Way::Table, false), first);
        for n in 0..SITES as u32 {
            counts.place(0x2000 + n, Way::Table, false);
        }
        assert_eq!(counts.place(1, Way::Table, false), counts.place(2, Way::Table, false));
        assert_eq!(counts.place(0x1000, Way::Window, false), first);
    }

    #[test]
    fn figures_sum_up_and_name_what_fails_most() {
        let mut counts = Counts::default();
        for (rip, tried, failed) in [(0x1000, 10, 1), (0x2000, 5, 5), (0x3000, 100, 0)] {
            counts.place(rip, Way::Table, false);
            let number = counts.numbers[&(rip, Way::Table)];
            counts.sites[number] = Site { tried, failed };
        }
        let figures = counts.figures();
        let of = |name: &str| figures.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
        assert_eq!(of("looks into the flat table"), Some(115.0));
        assert_eq!(of("looks that took the slow path"), Some(6.0));
        assert_eq!(figures[4], ("table failed at 0x2000, of 5 times".to_owned(), 5.0));
        assert_eq!(figures.len(), 6);
    }
}
