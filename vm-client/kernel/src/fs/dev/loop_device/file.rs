//! Loop devices as device files: their driver, reading and writing, ioctl(2) (loop(4)).

use std::any::Any;
use std::rc::Rc;

use linux_abi::stat;
use vm_rt::Io;

use super::{COUNT, Info, LoopDevice, SECTOR, lo};
use crate::task::cap;
use crate::vfs::special::Driver;
use crate::vfs::{File, IoMode, OpenFlags, Path};
use crate::{Errno, Result, SyscallCx};

/// The driver of the devices themselves.
pub(in crate::fs::dev) struct LoopDriver;

impl Driver for LoopDriver {
    fn name(&self) -> &'static str {
        "loop"
    }

    fn open<'a>(
        &'a self,
        cx: &'a SyscallCx,
        rdev: u64,
        _path: &'a Path,
        flags: OpenFlags,
    ) -> Io<'a, Result<Rc<dyn File>>> {
        let device = cx.kernel.loops.get(&cx.kernel, stat::minor(rdev));
        Io::ready(device.map(|device| {
            device.enter();
            Rc::new(LoopFile { device, writable: flags.writable() }) as Rc<dyn File>
        }))
    }
}

/// An open loop device.
struct LoopFile {
    device: Rc<LoopDevice>,
    writable: bool,
}

impl Drop for LoopFile {
    fn drop(&mut self) {
        self.device.leave();
    }
}

impl LoopFile {
    async fn control(&self, cx: &SyscallCx, request: u32, arg: u64) -> Result<i64> {
        const LOOP_SET_FD: u32 = 0x4c00;
        const LOOP_CLR_FD: u32 = 0x4c01;
        const LOOP_SET_STATUS64: u32 = 0x4c04;
        const LOOP_GET_STATUS64: u32 = 0x4c05;
        const LOOP_SET_CAPACITY: u32 = 0x4c07;
        const LOOP_SET_DIRECT_IO: u32 = 0x4c08;
        const LOOP_SET_BLOCK_SIZE: u32 = 0x4c09;
        const LOOP_CONFIGURE: u32 = 0x4c0a;
        const BLKROGET: u32 = 0x125e;
        const BLKGETSIZE: u32 = 0x1260;
        const BLKFLSBUF: u32 = 0x1261;
        const BLKSSZGET: u32 = 0x1268;
        const BLKIOMIN: u32 = 0x1278;
        const BLKIOOPT: u32 = 0x1279;
        const BLKALIGNOFF: u32 = 0x127a;
        const BLKPBSZGET: u32 = 0x127b;
        const BLKBSZGET: u32 = 0x8004_1270;
        const BLKGETSIZE64: u32 = 0x8004_1272;
        let device = &self.device;
        match request {
            LOOP_SET_FD => device.attach(cx, arg as u32, None, self.writable)?,
            LOOP_CONFIGURE => {
                let fd = cx.read_u32(arg).await?;
                let info = Info::read(cx, arg + 8).await?;
                device.attach(cx, fd, Some(&info), self.writable && info.flags & lo::READ_ONLY == 0)?;
            }
            LOOP_CLR_FD => {
                if !device.is_attached() {
                    return Err(Errno::ENXIO);
                }
                if device.users.get() > 1 {
                    // Others have it open: the last of them clears it.
                    if let Some(backing) = device.backing.borrow_mut().as_mut() {
                        backing.flags |= lo::AUTOCLEAR;
                    }
                } else {
                    if let Some(backing) = device.backing.borrow_mut().as_mut() {
                        backing.flags &= !lo::AUTOCLEAR;
                    }
                    device.clear().await;
                }
            }
            LOOP_SET_STATUS64 => device.set_status(&Info::read(cx, arg).await?).await?,
            LOOP_GET_STATUS64 => cx.write_user(arg, &device.status()?).await?,
            LOOP_SET_CAPACITY => {
                device.place()?;
                device.measure();
            }
            LOOP_SET_DIRECT_IO if arg == 0 => drop(device.place()?),
            LOOP_SET_DIRECT_IO => return Err(Errno::EINVAL),
            LOOP_SET_BLOCK_SIZE if arg == SECTOR => drop(device.place()?),
            LOOP_SET_BLOCK_SIZE => return Err(Errno::EINVAL),
            BLKROGET => cx.write_u32(arg, u32::from(device.flags() & lo::READ_ONLY != 0)).await?,
            BLKGETSIZE => {
                let sectors = u32::try_from(device.size.get() / SECTOR).map_err(|_| Errno::EFBIG)?;
                cx.write_u32(arg, sectors).await?;
            }
            BLKGETSIZE64 => cx.write_user(arg, &device.size.get().to_le_bytes()).await?,
            BLKSSZGET | BLKPBSZGET | BLKIOMIN => cx.write_u32(arg, SECTOR as u32).await?,
            BLKIOOPT | BLKALIGNOFF => cx.write_u32(arg, 0).await?,
            BLKBSZGET => cx.write_u32(arg, 4096).await?,
            BLKFLSBUF if cx.creds().capable(cap::SYS_ADMIN) => device.sync().await?,
            BLKFLSBUF => return Err(Errno::EACCES),
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }
}

impl File for LoopFile {
    fn read<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        Io::later(async move {
            match cx.task.killable(self.device.read(mode.offset, buf)).await? {
                // Without a file the device is empty.
                Err(Errno::ENXIO) => Ok(0),
                done => done,
            }
        })
    }

    fn write<'a>(&'a self, _cx: &'a SyscallCx, mode: IoMode, data: &'a [u8]) -> Io<'a, Result<usize>> {
        Io::later(self.device.write(mode.offset, data))
    }

    fn ioctl<'a>(&'a self, cx: &'a SyscallCx, request: u32, arg: u64) -> Io<'a, Result<i64>> {
        Io::later(self.control(cx, request, arg))
    }

    fn seekable(&self) -> bool {
        true
    }

    fn size(&self) -> u64 {
        self.device.size.get()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// /dev/loop-control
pub(in crate::fs::dev) struct LoopControl;

impl File for LoopControl {
    fn ioctl<'a>(&'a self, cx: &'a SyscallCx, request: u32, arg: u64) -> Io<'a, Result<i64>> {
        const LOOP_CTL_ADD: u32 = 0x4c80;
        const LOOP_CTL_REMOVE: u32 = 0x4c81;
        const LOOP_CTL_GET_FREE: u32 = 0x4c82;
        Io::ready(match request {
            LOOP_CTL_GET_FREE => cx.kernel.loops.free(&cx.kernel).map(i64::from),
            LOOP_CTL_ADD if arg < u64::from(COUNT) => Err(Errno::EEXIST),
            LOOP_CTL_ADD => Err(Errno::ENOSPC),
            LOOP_CTL_REMOVE => Err(Errno::EBUSY),
            _ => Err(Errno::ENOSYS),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
