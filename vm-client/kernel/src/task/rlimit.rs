//! Resource limits (getrlimit(2)).

/// No limit.
pub const RLIM_INFINITY: u64 = u64::MAX;

/// A soft and a hard limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// What is enforced.
    pub soft: u64,
    /// How far the soft limit may be raised.
    pub hard: u64,
}

/// The resources, numbered as Linux does on x86.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of getrlimit(2)")]
pub enum Resource {
    Cpu = 0,
    Fsize = 1,
    Data = 2,
    Stack = 3,
    Core = 4,
    Rss = 5,
    Nproc = 6,
    Nofile = 7,
    Memlock = 8,
    As = 9,
    Locks = 10,
    Sigpending = 11,
    Msgqueue = 12,
    Nice = 13,
    Rtprio = 14,
    Rttime = 15,
}

/// How many resources there are.
pub(crate) const COUNT: usize = 16;

/// The limits of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rlimits([Rlimit; COUNT]);

impl Rlimits {
    /// What init starts with, as Linux does it; `max_tasks` is how many tasks the machine allows.
    pub fn new(max_tasks: u64) -> Self {
        const FREE: Rlimit = Rlimit { soft: RLIM_INFINITY, hard: RLIM_INFINITY };
        let mut limits = [FREE; COUNT];
        let both = |value| Rlimit { soft: value, hard: value };
        limits[Resource::Stack as usize].soft = 8 << 20;
        limits[Resource::Core as usize].soft = 0;
        limits[Resource::Nproc as usize] = both(max_tasks / 2);
        limits[Resource::Nofile as usize] = Rlimit { soft: 1024, hard: 4096 };
        limits[Resource::Memlock as usize] = both(8 << 20);
        limits[Resource::Sigpending as usize] = both(max_tasks / 2);
        limits[Resource::Msgqueue as usize] = both(819_200);
        limits[Resource::Nice as usize] = both(0);
        limits[Resource::Rtprio as usize] = both(0);
        Self(limits)
    }

    /// A limit.
    pub fn get(&self, resource: Resource) -> Rlimit {
        self.0[resource as usize]
    }

    /// The soft limit.
    pub fn soft(&self, resource: Resource) -> u64 {
        self.get(resource).soft
    }

    /// A limit by number, if there is such a resource.
    pub fn by_number(&mut self, number: usize) -> Option<&mut Rlimit> {
        self.0.get_mut(number)
    }

    /// All limits in order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Rlimit> {
        self.0.iter()
    }
}
