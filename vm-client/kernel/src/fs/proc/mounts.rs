//! Mount tables of a process.

use std::rc::Rc;

use crate::task::Task;
use crate::vfs::mount::flags;
use crate::vfs::{Mount, Path};
use crate::{Kernel, Result, SyscallCx};

/// Space, tab, newline and backslash as octal escapes.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\\') {
            out.extend_from_slice(format!("\\{byte:03o}").as_bytes());
        } else {
            out.push(*byte);
        }
    }
}

fn mount_options(mount: &Mount, read_only: bool) -> String {
    let mut options = String::from(if read_only { "ro" } else { "rw" });
    for (flag, name) in [
        (flags::NOSUID, ",nosuid"),
        (flags::NODEV, ",nodev"),
        (flags::NOEXEC, ",noexec"),
        (flags::NOATIME, ",noatime"),
        (flags::NODIRATIME, ",nodiratime"),
        (flags::RELATIME, ",relatime"),
    ] {
        if mount.flags() & flag != 0 {
            options.push_str(name);
        }
    }
    options
}

fn super_options(mount: &Mount) -> String {
    let mut options = String::from(if mount.fs().read_only() { "ro" } else { "rw" });
    let own = mount.fs().options();
    if !own.is_empty() {
        options.push(',');
        options.push_str(&own);
    }
    options
}

/// The mounts that a process can see, each with its place below the process's root.
fn visible(kernel: &Kernel, root: &Path) -> Vec<(Rc<Mount>, Vec<u8>)> {
    let place = |mount: Rc<Mount>| {
        let top = Path { mount: Rc::clone(&mount), dentry: Rc::clone(&mount.root) };
        let point = top.display(root);
        (!point.starts_with(b"(unreachable)")).then_some((mount, point))
    };
    kernel.vfs.mounts.list().into_iter().filter_map(place).collect()
}

pub(super) fn mounts(cx: &SyscallCx, task: &Task) -> Result<Vec<u8>> {
    let root = task.fs_context().root();
    let mut out = Vec::new();
    for (mount, point) in visible(&cx.kernel, &root) {
        escape(mount.source.as_bytes(), &mut out);
        out.push(b' ');
        escape(&point, &mut out);
        // Unlike mountinfo, this counts a file system that has become read-only.
        let mut options = mount_options(&mount, mount.read_only());
        let own = mount.fs().options();
        if !own.is_empty() {
            options.push(',');
            options.push_str(&own);
        }
        out.extend_from_slice(format!(" {} {options} 0 0\n", mount.fs().name()).as_bytes());
    }
    Ok(out)
}

pub(super) fn mountinfo(cx: &SyscallCx, task: &Task) -> Result<Vec<u8>> {
    let root = task.fs_context().root();
    let mut out = Vec::new();
    for (mount, point) in visible(&cx.kernel, &root) {
        let parent = mount.point().map_or(mount.id, |point| point.mount.id);
        let dev = mount.root.inode().metadata().dev;
        let (major, minor) = (linux_abi::stat::major(dev), linux_abi::stat::minor(dev));
        out.extend_from_slice(format!("{} {parent} {major}:{minor} ", mount.id).as_bytes());
        escape(&mount.root.path_in_fs(), &mut out);
        out.push(b' ');
        escape(&point, &mut out);
        out.extend_from_slice(
            format!(" {} - {} ", mount_options(&mount, mount.flags() & flags::RDONLY != 0), mount.fs().name())
                .as_bytes(),
        );
        escape(mount.source.as_bytes(), &mut out);
        out.extend_from_slice(format!(" {}\n", super_options(&mount)).as_bytes());
    }
    Ok(out)
}

pub(super) fn mountstats(cx: &SyscallCx, task: &Task) -> Result<Vec<u8>> {
    let root = task.fs_context().root();
    let mut out = Vec::new();
    for (mount, point) in visible(&cx.kernel, &root) {
        out.extend_from_slice(b"device ");
        escape(mount.source.as_bytes(), &mut out);
        out.extend_from_slice(b" mounted on ");
        escape(&point, &mut out);
        out.extend_from_slice(format!(" with fstype {}\n", mount.fs().name()).as_bytes());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn spaces_are_octal() {
        let mut out = Vec::new();
        escape(b"a b\\", &mut out);
        assert_eq!(out, b"a\\040b\\134");
    }
}
