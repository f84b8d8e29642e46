//! Where guest time goes: samples of the instruction pointer by file and function, and why guest code stopped.
//!
//! While it is on, the task loop runs guest code in pieces of about [`PERIOD`] instructions and tells [`Profile::note`] of each
//! run. A sample weighs the host time that the engine took since the one before, so that compiled and interpreted code are
//! counted by what they cost. Samples are kept by file and offset, and get names from the files' symbols ([`symbols`]) when
//! a [`Report`] is made; printed, it is a page of text ([`text`]). Off, it costs one test for each run of the engine.

mod symbols;
mod text;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use vm_cpu::{Cpu, Exit, Work, reg};

use crate::mm::vma::{Backing, MappedFile};
use crate::mm::{Mm, PageCache};
use symbols::Symbols;

/// Instructions between two samples, on average.
const PERIOD: u32 = 60_000;
/// Places are forgotten beyond so many; programs that make code could have any number.
const MOST_PLACES: usize = 20_000;

/// Something code can be in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Object {
    /// A file, by its place in the list.
    File(usize),
    /// Memory without a file, or the kernel's own pages.
    Memory(&'static str),
}

/// Why the engine stopped, in the order of [`REASONS`].
const REASONS: [&str; 5] = ["system call", "fault", "exception", "time stamp", "end of fuel"];

/// See the module.
#[derive(Default)]
pub struct Profile {
    on: Cell<bool>,
    until_sample: Cell<u32>,
    since_sample_ns: Cell<u64>,
    guest_ns: Cell<u64>,
    retired: Cell<u64>,
    samples: Cell<u64>,
    exits: [Cell<u64>; REASONS.len()],
    calls: RefCell<BTreeMap<u32, u64>>,
    files: RefCell<Vec<Rc<MappedFile>>>,
    places: RefCell<HashMap<(Object, u64), u64>>,
    /// By where compiled code begins.
    regions: RefCell<HashMap<(Object, u64), u64>>,
    /// What the engine had done when it began.
    before: RefCell<Option<Work>>,
}

/// A run of the engine, for [`Profile::note`].
pub(crate) struct Ran<'a> {
    /// Why it stopped.
    pub(crate) exit: &'a Exit,
    /// Instructions finished.
    pub(crate) retired: u64,
    /// Host time.
    pub(crate) ns: u64,
    /// Where the compiled code begins in which it stopped, if it did.
    pub(crate) region: Option<u64>,
}

/// What a profile says.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Host time in the engine.
    pub guest_ns: u64,
    /// Instructions finished.
    pub retired: u64,
    /// Samples taken.
    pub samples: u64,
    /// Why the engine stopped, and how often.
    pub exits: Vec<(&'static str, u64)>,
    /// System calls by name, and how often, most first.
    pub calls: Vec<(&'static str, u64)>,
    /// Where time went, by function (or by address where there is no name), most first.
    pub functions: Vec<Place>,
    /// The addresses that were met most.
    pub addresses: Vec<Place>,
    /// Where time went that was spent in compiled code, by where that begins, most first.
    pub regions: Vec<Place>,
    /// What the engine did meanwhile; nothing if it does not compile.
    pub work: Option<Work>,
}

/// A function or an address, and the time it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Path of the file, or what the memory is.
    pub object: String,
    /// Name of the function, with the distance from its start for an address; empty if it has none.
    pub symbol: String,
    /// Offset in the file, or the address in memory without a file.
    pub offset: u64,
    /// Host time.
    pub ns: u64,
}

impl Profile {
    /// Begins to measure, from nothing; `work` is what the engine did so far.
    pub fn start(&self, work: Option<Work>) {
        self.on.set(true);
        *self.before.borrow_mut() = work;
        for counter in
            [&self.since_sample_ns, &self.guest_ns, &self.retired, &self.samples].into_iter().chain(&self.exits)
        {
            counter.set(0);
        }
        self.until_sample.set(PERIOD);
        self.calls.borrow_mut().clear();
        self.files.borrow_mut().clear();
        self.places.borrow_mut().clear();
        self.regions.borrow_mut().clear();
    }

    /// Whether it measures.
    pub fn is_on(&self) -> bool {
        self.on.get()
    }

    /// How much fuel a run may have.
    pub(crate) fn fuel(&self, fuel: u32) -> u32 {
        fuel.min(self.until_sample.get()).max(1)
    }

    /// Whether a run that finished so many instructions is one for a sample.
    pub(crate) fn is_due(&self, retired: u64) -> bool {
        u64::from(self.until_sample.get()) <= retired
    }

    /// Notes a run of the engine. True when it ended for a sample.
    pub(crate) fn note(&self, mm: &Mm, cpu: &Cpu, ran: &Ran<'_>) -> bool {
        let Ran { exit, retired, ns, region } = *ran;
        let reason = match exit {
            Exit::Syscall(_) => {
                *self.calls.borrow_mut().entry(cpu.gpr[reg::RAX] as u32).or_default() += 1;
                0
            }
            Exit::Fault(_) => 1,
            Exit::Exception(_) => 2,
            Exit::ReadTsc { .. } => 3,
            Exit::OutOfFuel => 4,
        };
        let add = |counter: &Cell<u64>, more: u64| counter.set(counter.get() + more);
        add(&self.exits[reason], 1);
        add(&self.guest_ns, ns);
        add(&self.retired, retired);
        add(&self.since_sample_ns, ns);
        let left = self.until_sample.get().saturating_sub(u32::try_from(retired).unwrap_or(u32::MAX));
        self.until_sample.set(left);
        if left > 0 {
            return false;
        }
        add(&self.samples, 1);
        // The distance varies, or loops of a fitting length would always be met at the same place.
        let spread = (self.samples.get().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u32;
        self.until_sample.set(PERIOD / 2 + spread % PERIOD);
        let spent = self.since_sample_ns.replace(0);
        add_time(&self.places, self.place(mm, cpu.rip), spent);
        if let Some(start) = region {
            add_time(&self.regions, self.place(mm, start), spent);
        }
        matches!(exit, Exit::OutOfFuel)
    }

    fn place(&self, mm: &Mm, rip: u64) -> (Object, u64) {
        match mm.area_at(rip) {
            Some(area) => match &area.backing {
                Backing::File { file, first } => {
                    (Object::File(self.file(file)), first * 4096 + rip.saturating_sub(area.start))
                }
                Backing::Frames { name, .. } => (Object::Memory(name), rip.saturating_sub(area.start)),
                Backing::Anonymous => (Object::Memory("generated code"), rip),
            },
            None => (Object::Memory("nowhere"), rip),
        }
    }

    fn file(&self, file: &Rc<MappedFile>) -> usize {
        let mut files = self.files.borrow_mut();
        // Each open of a file is an object of its own; what counts is its pages.
        let known = files.iter().position(|other| Rc::ptr_eq(&other.cache, &file.cache));
        known.unwrap_or_else(|| {
            files.push(Rc::clone(file));
            files.len() - 1
        })
    }

    /// What was found so far; `work` is what the engine did. Reads the symbols of the files, so it may wait.
    pub async fn report(&self, work: Option<Work>) -> Report {
        let files = self.files.borrow().clone();
        let mut tables = Vec::new();
        for file in &files {
            let path = String::from_utf8_lossy(&file.object.path()).into_owned();
            tables.push((path, self.symbols(&file.cache).await));
        }
        let mut functions: HashMap<(String, String, u64), u64> = HashMap::new();
        let mut addresses = Vec::new();
        for (&place, &ns) in self.places.borrow().iter() {
            let Some((object, found)) = named(&tables, place) else { continue };
            // Nameless code is told apart by page.
            let (name, start) = found.clone().unwrap_or_else(|| (String::new(), place.1 & !0xfff));
            *functions.entry((object.clone(), name, start)).or_default() += ns;
            addresses.push(Place::new(object, found, place.1, ns));
        }
        let regions = self.regions.borrow();
        let regions = regions.iter().filter_map(|(&place, &ns)| {
            let (object, found) = named(&tables, place)?;
            Some(Place::new(object, found, place.1, ns))
        });
        let functions = functions.into_iter();
        let functions = functions.map(|((object, symbol, offset), ns)| Place { object, symbol, offset, ns }).collect();
        let calls = self.calls.borrow();
        let mut calls: Vec<(&str, u64)> =
            calls.iter().map(|(&number, &count)| (linux_abi::nr::i386::name(number).unwrap_or("?"), count)).collect();
        calls.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        Report {
            guest_ns: self.guest_ns.get(),
            retired: self.retired.get(),
            samples: self.samples.get(),
            exits: REASONS.into_iter().zip(self.exits.iter().map(Cell::get)).collect(),
            calls,
            functions: most(functions, 60),
            addresses: most(addresses, 100),
            regions: most(regions.collect(), 60),
            work: work.map(|work| since(&work, self.before.borrow().as_ref())),
        }
    }

    async fn symbols(&self, cache: &PageCache) -> Symbols {
        // A file that is no ELF file, or a damaged one, has no names.
        Symbols::read(cache).await.unwrap_or_default()
    }
}

impl Place {
    fn new(object: String, found: Option<(String, u64)>, offset: u64, ns: u64) -> Self {
        let symbol = found.map(|(name, start)| format!("{name}+{:#x}", offset.saturating_sub(start)));
        Self { object, symbol: symbol.unwrap_or_default(), offset, ns }
    }
}

/// What a place is in, and the function there with its start; nothing for a file that is not known any more.
fn named(tables: &[(String, Symbols)], (object, offset): (Object, u64)) -> Option<(String, Option<(String, u64)>)> {
    match object {
        Object::File(index) => tables.get(index).map(|(path, symbols)| (path.clone(), symbols.find(offset))),
        Object::Memory(name) => Some((name.to_owned(), None)),
    }
}

fn add_time(times: &RefCell<HashMap<(Object, u64), u64>>, place: (Object, u64), ns: u64) {
    let mut times = times.borrow_mut();
    let full = times.len() >= MOST_PLACES;
    match times.get_mut(&place) {
        Some(time) => *time += ns,
        None if full => *times.entry((Object::Memory("elsewhere"), 0)).or_default() += ns,
        None => drop(times.insert(place, ns)),
    }
}

/// What was done since an earlier moment.
fn since(now: &Work, before: Option<&Work>) -> Work {
    let Some(before) = before else { return now.clone() };
    let left = now.left.iter().map(|&(why, count)| {
        let earlier = before.left.iter().find(|(other, _)| *other == why).map_or(0, |(_, count)| *count);
        (why, count.saturating_sub(earlier))
    });
    Work {
        interpreting_ns: now.interpreting_ns.saturating_sub(before.interpreting_ns),
        compiling_ns: now.compiling_ns.saturating_sub(before.compiling_ns),
        interpreted: now.interpreted.saturating_sub(before.interpreted),
        left: left.collect(),
    }
}

fn most(mut places: Vec<Place>, count: usize) -> Vec<Place> {
    places.sort_by(|a, b| b.ns.cmp(&a.ns).then_with(|| (&a.object, a.offset).cmp(&(&b.object, b.offset))));
    places.truncate(count);
    places
}
