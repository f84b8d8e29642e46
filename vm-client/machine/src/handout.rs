//! `/dev/skiff`: files that guest programs hand to the host.
//!
//! Each write(2) is the name of one file. It is opened there and then as the writer, with the writer's permissions and
//! errors; what the host gets is the open file, so renaming or removing it afterwards changes nothing. The `download`
//! command of the demo image writes there.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;

use linux_abi::fcntl::{AT_FDCWD, O_NONBLOCK, O_RDONLY};
use vm_kernel::vfs::special::Driver;
use vm_kernel::vfs::{File, FileType, IoMode, OpenFile, OpenFlags, Path, open};
use vm_kernel::{Errno, Result, SyscallCx};
use vm_rt::Io;

/// Major number of the device, from the range for local use (Linux's devices.txt: 240 to 254).
pub(crate) const MAJOR: u32 = 240;
/// Name of the device file in /dev.
pub(crate) const NAME: &[u8] = b"skiff";

/// What the host does with a file it is handed.
type Taker = Box<dyn Fn(Rc<OpenFile>)>;

/// Where handed-out files go.
#[derive(Default)]
pub(crate) struct Handout {
    taker: RefCell<Option<Taker>>,
}

impl Handout {
    pub(crate) fn set_taker(&self, taker: Option<Taker>) {
        *self.taker.borrow_mut() = taker;
    }
}

pub(crate) struct HandoutDriver(pub(crate) Rc<Handout>);

impl Driver for HandoutDriver {
    fn name(&self) -> &'static str {
        "skiff"
    }

    fn open<'a>(&'a self, _: &'a SyscallCx, _rdev: u64, _: &'a Path, _: OpenFlags) -> Io<'a, Result<Rc<dyn File>>> {
        // A host that takes no files has no such device.
        if self.0.taker.borrow().is_none() {
            return Io::ready(Err(Errno::ENODEV));
        }
        Io::ready(Ok(Rc::new(HandoutFile(Rc::clone(&self.0))) as Rc<dyn File>))
    }
}

struct HandoutFile(Rc<Handout>);

impl File for HandoutFile {
    fn write<'a>(&'a self, cx: &'a SyscallCx, _: IoMode, data: &'a [u8]) -> Io<'a, Result<usize>> {
        Io::later(async move {
            let name = data.strip_suffix(b"\n").unwrap_or(data);
            if name.contains(&0) {
                return Err(Errno::EINVAL);
            }
            let file = open::open(cx, AT_FDCWD, name, OpenFlags(O_RDONLY | O_NONBLOCK), 0).await?;
            match file.inode().metadata().file_type() {
                FileType::Regular => {}
                FileType::Directory => return Err(Errno::EISDIR),
                _ => return Err(Errno::EINVAL),
            }
            let taker = self.0.taker.borrow();
            taker.as_ref().ok_or(Errno::ENODEV)?(file);
            Ok(data.len())
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
