//! The suites.

/// Where the tests of a suite come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
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
pub(super) struct Suite {
    /// Name, also of its folder in `tests/fidelity`.
    pub(super) name: &'static str,
    /// What it tests.
    pub(super) about: &'static str,
    /// Where it comes from.
    pub(super) source: Source,
    /// Longest time in Skiff, seconds.
    pub(super) patience: u64,
    /// Guest memory, MiB.
    pub(super) memory: u64,
}

/// All of them.
pub(super) const SUITES: &[Suite] = &[
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
];
