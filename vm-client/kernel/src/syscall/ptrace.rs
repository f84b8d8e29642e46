//! ptrace(2), process_vm_readv(2), process_vm_writev(2), kcmp(2).

use std::rc::Rc;

use super::table::{Args, Row, wait};
use super::user_buffer::UserBuffer;
use crate::mm::Mm;
use crate::ptrace::{self, request};
use crate::{Errno, Result, SyscallCx};

pub(super) const ROWS: &[Row] = &[
    wait!(26, "ptrace", sys_ptrace),
    wait!(347, "process_vm_readv", process_vm_readv),
    wait!(348, "process_vm_writev", process_vm_writev),
    super::table::now!(349, "kcmp", kcmp),
];

async fn sys_ptrace(cx: &SyscallCx, [request, pid, addr, data, ..]: Args) -> Result<i64> {
    request::run(cx, request as u32, pid as i32, addr, data).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    FromThem,
    ToThem,
}

async fn process_vm_readv(cx: &SyscallCx, args: Args) -> Result<i64> {
    transfer(cx, args, Direction::FromThem).await
}

async fn process_vm_writev(cx: &SyscallCx, args: Args) -> Result<i64> {
    transfer(cx, args, Direction::ToThem).await
}

async fn transfer(
    cx: &SyscallCx,
    [pid, local, local_count, remote, remote_count, flags]: Args,
    direction: Direction,
) -> Result<i64> {
    const PIECE: usize = 64 << 10;
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let mut local = UserBuffer::iovec(cx, local, local_count).await?;
    let remote = UserBuffer::iovec(cx, remote, remote_count).await?;
    if local.len() == 0 || remote.len() == 0 {
        return Ok(0);
    }
    let task = cx.kernel.processes.task(pid as i32).ok_or(Errno::ESRCH)?;
    ptrace::check_access(cx, &task)?;
    let theirs: Rc<Mm> = task.mm().ok_or(Errno::ESRCH)?;
    let mut left = local.len();
    let mut done = 0;
    for part in remote.segments() {
        let mut at = 0;
        while at < part.len && left > 0 {
            let want = (part.len - at).min(left).min(PIECE);
            let addr = part.addr + at as u64;
            let moved = async {
                match direction {
                    Direction::FromThem => {
                        let mut data = vec![0; want];
                        let got = theirs.read_some(addr, &mut data).await?;
                        data.truncate(got);
                        local.put(cx, &data).await?;
                        Ok(got)
                    }
                    Direction::ToThem => {
                        let data = local.take(cx, want).await?;
                        theirs.write_some(addr, &data).await
                    }
                }
            };
            match moved.await {
                Ok(count) => {
                    done += count;
                    at += count;
                    left -= count;
                    if count < want {
                        return Ok(done as i64);
                    }
                }
                Err(_) if done > 0 => return Ok(done as i64),
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(done as i64)
}

/// Whether two tasks share something: 0 if so, else 1 or 2 for an order that stays.
fn kcmp(cx: &SyscallCx, [first, second, kind, index1, index2, _]: Args) -> Result<i64> {
    let find = |pid: u64| cx.kernel.processes.task(pid as i32).ok_or(Errno::ESRCH);
    let (first, second) = (find(first)?, find(second)?);
    ptrace::check_access(cx, &first)?;
    ptrace::check_access(cx, &second)?;
    let order = |a: usize, b: usize| match a.cmp(&b) {
        std::cmp::Ordering::Equal => 0,
        std::cmp::Ordering::Less => 1,
        std::cmp::Ordering::Greater => 2,
    };
    let file = |task: &crate::task::Task, fd: u64| {
        task.fd_table().get_any(fd as i32).map(|file| Rc::as_ptr(&file).cast::<()>() as usize)
    };
    let mm = |task: &crate::task::Task| task.mm().map_or(0, |mm| Rc::as_ptr(&mm) as usize);
    Ok(match kind {
        0 => order(file(&first, index1)?, file(&second, index2)?),
        1 => order(mm(&first), mm(&second)),
        2 => order(Rc::as_ptr(&first.fd_table()) as usize, Rc::as_ptr(&second.fd_table()) as usize),
        3 => order(Rc::as_ptr(&first.fs_context()) as usize, Rc::as_ptr(&second.fs_context()) as usize),
        4 => {
            let hand = |task: &crate::task::Task| Rc::as_ptr(&*task.group.sighand.borrow()) as usize;
            order(hand(&first), hand(&second))
        }
        5 | 6 => order(Rc::as_ptr(&first.group) as usize, Rc::as_ptr(&second.group) as usize),
        _ => return Err(Errno::EINVAL),
    })
}
