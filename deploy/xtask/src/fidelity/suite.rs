//! The suites.

/// Where the tests of a suite come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// A Debian source package, by name; the build gets its unpacked folder.
    Debian(&'static str),
    /// Packages that are part of the tree already.
    Installed,
    /// A checkout that the caller has: no registry carries it.
    Given {
        /// The environment variable that names the folder.
        variable: &'static str,
        /// Where people find it.
        home: &'static str,
    },
}

/// A suite of tests.
#[derive(Debug)]
pub(crate) struct Suite {
    /// Name, also of its folder in `tests/fidelity`.
    pub(crate) name: &'static str,
    /// What it tests.
    pub(crate) about: &'static str,
    /// Where it comes from.
    pub(crate) source: Source,
    /// Longest time in Skiff, seconds.
    pub(crate) patience: u64,
    /// Guest memory, MiB.
    pub(crate) memory: u64,
}

/// All of them.
pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: "qemu",
        about: "QEMU's programs for i386: every kind of instruction, byte for byte",
        source: Source::Debian("qemu"),
        patience: 1800,
        memory: 512,
    },
    Suite {
        name: "libc-test",
        about: "musl's libc-test, linked statically with glibc",
        source: Source::Given { variable: "SKIFF_LIBC_TEST", home: "https://wiki.musl-libc.org/libc-test.html" },
        patience: 1800,
        memory: 512,
    },
    Suite {
        name: "busybox",
        about: "busybox's testsuite, for Debian's binary",
        source: Source::Debian("busybox"),
        patience: 3600,
        memory: 512,
    },
    Suite {
        name: "stress-ng",
        about: "a few verified operations of each of stress-ng's stressors",
        source: Source::Installed,
        patience: 7200,
        memory: 512,
    },
    Suite {
        name: "bash",
        about: "bash's own tests, for Debian's binary",
        source: Source::Debian("bash"),
        patience: 3600,
        memory: 512,
    },
    Suite {
        name: "testfloat",
        about: "Berkeley TestFloat's vectors through the processor's arithmetic",
        source: Source::Debian("qemu"),
        patience: 7200,
        memory: 512,
    },
    Suite {
        name: "ltp",
        about: "the Linux Test Project's programs for system calls",
        source: Source::Given { variable: "SKIFF_LTP", home: "https://github.com/linux-test-project/ltp" },
        patience: 14400,
        memory: 512,
    },
    Suite {
        name: "python",
        about: "Python's own tests that are about the system",
        source: Source::Installed,
        patience: 28800,
        memory: 512,
    },
];
