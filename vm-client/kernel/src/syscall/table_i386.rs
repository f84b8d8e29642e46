//! The i386 table (`int 0x80`).

use super::table::{Row, build};
use super::{
    absent, aio, attr, directory, epoll, event_files, fcntl, fd, futex, identity, ipc, ldt, memory, mount, mqueue,
    names, namespace, open, pidfd, poll, prctl, process, ptrace, random, read_write, resource, schedule, seccomp,
    signal, socket, stat, sync, system, thread_area, time, timer, transfer, waitable_files, xattr,
};

/// Every topic's rows.
const TOPICS: &[&[Row]] = &[
    absent::ROWS,
    aio::ROWS,
    futex::ROWS,
    identity::ROWS,
    ipc::ROWS,
    mqueue::ROWS,
    memory::ROWS,
    pidfd::ROWS,
    poll::ROWS,
    prctl::ROWS,
    process::ROWS,
    ptrace::ROWS,
    seccomp::ROWS,
    random::ROWS,
    resource::ROWS,
    schedule::ROWS,
    signal::ROWS,
    socket::ROWS,
    system::ROWS,
    thread_area::ROWS,
    ldt::ROWS,
    time::ROWS,
    timer::ROWS,
    transfer::ROWS,
    attr::ROWS,
    directory::ROWS,
    epoll::ROWS,
    event_files::ROWS,
    fcntl::ROWS,
    fd::ROWS,
    mount::ROWS,
    names::ROWS,
    namespace::ROWS,
    open::ROWS,
    read_write::ROWS,
    stat::ROWS,
    sync::ROWS,
    waitable_files::ROWS,
    xattr::ROWS,
];

/// Makes the table, indexed by system call number.
pub fn table() -> Vec<Option<Row>> {
    build(TOPICS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use linux_abi::nr;

    #[test]
    fn every_row_has_a_number_of_its_own_and_linux_name_for_it() {
        let mut seen = std::collections::BTreeSet::new();
        for row in TOPICS.iter().flat_map(|rows| rows.iter()) {
            assert!(seen.insert(row.number), "{} appears twice", row.number);
            assert_eq!(nr::i386::name(row.number), Some(row.name));
        }
    }

    /// The list of what works, in words. `BLESS=1` writes it anew.
    #[test]
    fn the_list_of_calls_in_the_documentation_is_this_table() {
        use crate::syscall::table::Support;
        use std::fmt::Write as _;
        let mut text = String::from(
            "# System calls of i386\n\nMade from the table in `src/syscall` by its test (`BLESS=1`); do not edit. Numbers that are \
             not here answer ENOSYS, are\ncounted, and show in `vmrun --report`.\n\n| number | name | what is missing |\n|---|---|---|\n",
        );
        for row in table().into_iter().flatten() {
            let missing = match row.support {
                Support::Full => "",
                Support::Partial(note) => note,
            };
            let _ = writeln!(text, "| {} | `{}` | {missing} |", row.number, row.name);
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/SYSCALLS.md");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, &text).expect("the source tree can be written");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == text, "SYSCALLS.md is not what the table says: run this test with BLESS=1");
    }
}
