//! sysfs: what programs ask of /sys without devices: how many processors there are, the loopback interface, and loop
//! devices ([`block`]).

mod block;

use std::rc::Rc;

use super::generated::{Entry, Fixed, GeneratedFs, constant, directory};
use crate::{Kernel, Result, SyscallCx};

const MAGIC: u32 = 0x6265_6572;

/// Makes a sysfs of a kernel.
pub fn new(kernel: &Kernel) -> Rc<GeneratedFs> {
    let dev = kernel.vfs.new_device_number();
    let Entry::Directory(root) = Entry::fixed(ROOT) else { unreachable!("a list of fixed entries is a directory") };
    GeneratedFs::new("sysfs", MAGIC, dev, root, kernel.now_realtime())
}

const ROOT: &[Fixed] = &[
    block::LINKS,
    directory!("bus", &[]),
    directory!("class", CLASS),
    directory!("dev", DEV),
    directory!("devices", DEVICES),
    directory!("firmware", &[]),
    directory!("fs", FS),
    directory!("kernel", KERNEL),
    directory!("module", &[]),
    directory!("power", &[]),
];

const CLASS: &[Fixed] =
    &[block::CLASS, directory!("drm", &[]), directory!("input", &[]), directory!("net", NET), directory!("tty", &[])];

const NET: &[Fixed] = &[directory!("lo", LOOPBACK)];

const LOOPBACK: &[Fixed] = &[
    constant!("address", "00:00:00:00:00:00\n"),
    constant!("broadcast", "00:00:00:00:00:00\n"),
    constant!("carrier", "1\n"),
    constant!("dev_id", "0x0\n"),
    constant!("flags", "0x9\n"),
    constant!("ifindex", "1\n"),
    constant!("iflink", "1\n"),
    constant!("mtu", "65536\n"),
    constant!("operstate", "unknown\n"),
    directory!("statistics", LOOPBACK_STATISTICS),
    constant!("tx_queue_len", "1000\n"),
    constant!("type", "772\n"),
    constant!("uevent", "INTERFACE=lo\nIFINDEX=1\n"),
];

const LOOPBACK_STATISTICS: &[Fixed] = &[
    crate::fs::generated::file!("rx_bytes", loopback_bytes),
    constant!("rx_dropped", "0\n"),
    constant!("rx_errors", "0\n"),
    crate::fs::generated::file!("rx_packets", loopback_packets),
    crate::fs::generated::file!("tx_bytes", loopback_bytes),
    constant!("tx_dropped", "0\n"),
    constant!("tx_errors", "0\n"),
    crate::fs::generated::file!("tx_packets", loopback_packets),
];

fn loopback_packets(cx: &SyscallCx) -> Result<Vec<u8>> {
    Ok(format!("{}\n", cx.kernel.net.loopback.so_far().0).into_bytes())
}

fn loopback_bytes(cx: &SyscallCx) -> Result<Vec<u8>> {
    Ok(format!("{}\n", cx.kernel.net.loopback.so_far().1).into_bytes())
}

const DEV: &[Fixed] = &[block::NUMBERS, directory!("char", &[])];

const DEVICES: &[Fixed] = &[directory!("system", SYSTEM), directory!("virtual", VIRTUAL)];

const VIRTUAL: &[Fixed] = &[block::DEVICES];

const SYSTEM: &[Fixed] = &[directory!("cpu", CPU), directory!("node", NODE)];

const CPU: &[Fixed] = &[
    directory!("cpu0", CPU0),
    constant!("isolated", "\n"),
    constant!("kernel_max", "0\n"),
    constant!("offline", "\n"),
    constant!("online", "0\n"),
    constant!("possible", "0\n"),
    constant!("present", "0\n"),
];

const CPU0: &[Fixed] = &[directory!("topology", TOPOLOGY)];

const TOPOLOGY: &[Fixed] = &[
    constant!("core_cpus", "1\n"),
    constant!("core_cpus_list", "0\n"),
    constant!("core_id", "0\n"),
    constant!("core_siblings", "1\n"),
    constant!("core_siblings_list", "0\n"),
    constant!("physical_package_id", "0\n"),
    constant!("thread_siblings", "1\n"),
    constant!("thread_siblings_list", "0\n"),
];

const NODE: &[Fixed] = &[
    constant!("has_cpu", "0\n"),
    constant!("has_memory", "0\n"),
    directory!("node0", NODE0),
    constant!("online", "0\n"),
    constant!("possible", "0\n"),
];

const NODE0: &[Fixed] =
    &[constant!("cpulist", "0\n"), constant!("cpumap", "1\n"), crate::fs::generated::file!("meminfo", node_meminfo)];

fn node_meminfo(cx: &SyscallCx) -> Result<Vec<u8>> {
    let stats = cx.kernel.memory.stats();
    let rows = [("MemTotal", stats.total), ("MemFree", stats.free), ("MemUsed", stats.total - stats.free)];
    let line =
        |(name, pages): &(&str, u32)| format!("Node 0 {:<15}{:>8} kB\n", format!("{name}:"), u64::from(*pages) * 4);
    Ok(rows.iter().map(line).collect::<String>().into_bytes())
}

const FS: &[Fixed] = &[];

const KERNEL: &[Fixed] = &[directory!("mm", MM)];

const MM: &[Fixed] = &[directory!("transparent_hugepage", HUGEPAGE)];

const HUGEPAGE: &[Fixed] =
    &[constant!("enabled", "always madvise [never]\n"), constant!("hpage_pmd_size", "2097152\n")];
