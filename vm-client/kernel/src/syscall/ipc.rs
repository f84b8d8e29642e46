//! System V IPC: shared memory, semaphores and messages (sysvipc(7)).
//!
//! Both doors of i386 lead here: ipc(2), which glibc uses, and the direct calls, which musl uses. The structures are those with
//! IPC_64; nobody asks for the older ones since Linux 2.4.

use std::time::Duration;

use linux_abi::layout::Writer;

use super::table::{Args, Row, now, wait};
use super::time::{read_timespec32, read_timespec64};
use crate::ipc::sem::{Operation, SEMMNI, SEMMNS, SEMMSL, SEMOPM, SEMVMX, Set, WaitsFor};
use crate::ipc::shm::{SHM_DEST, SHM_LOCKED, SHMMAX, SHMMNI, Segment};
use crate::ipc::{Ids, Object, Perm, READ, msg, shm};
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    wait!(117, "ipc", ipc, "IPC_64 structures only"),
    now!(393, "semget", semget),
    wait!(394, "semctl", semctl),
    now!(395, "shmget", shmget, "no huge pages"),
    wait!(396, "shmctl", shmctl),
    now!(397, "shmat", shmat),
    now!(398, "shmdt", shmdt),
    now!(399, "msgget", msgget),
    wait!(400, "msgsnd", msgsnd),
    wait!(401, "msgrcv", msgrcv, "no MSG_COPY"),
    wait!(402, "msgctl", msgctl),
    wait!(420, "semtimedop_time64", semtimedop_time64),
];

/// Commands of the ctl calls.
mod command {
    pub(super) const RMID: u32 = 0;
    pub(super) const SET: u32 = 1;
    pub(super) const STAT: u32 = 2;
    pub(super) const INFO: u32 = 3;
    pub(super) const MSG_STAT: u32 = 11;
    pub(super) const MSG_INFO: u32 = 12;
    pub(super) const MSG_STAT_ANY: u32 = 13;
    pub(super) const SHM_LOCK: u32 = 11;
    pub(super) const SHM_UNLOCK: u32 = 12;
    pub(super) const SHM_STAT: u32 = 13;
    pub(super) const SHM_INFO: u32 = 14;
    pub(super) const SHM_STAT_ANY: u32 = 15;
    pub(super) const GETPID: u32 = 11;
    pub(super) const GETVAL: u32 = 12;
    pub(super) const GETALL: u32 = 13;
    pub(super) const GETNCNT: u32 = 14;
    pub(super) const GETZCNT: u32 = 15;
    pub(super) const SETVAL: u32 = 16;
    pub(super) const SETALL: u32 = 17;
    pub(super) const SEM_STAT: u32 = 18;
    pub(super) const SEM_INFO: u32 = 19;
    pub(super) const SEM_STAT_ANY: u32 = 20;
    /// The caller's structures are the newer ones.
    pub(super) const IPC_64: u32 = 0x100;
}

/// The one call of glibc.
async fn ipc(cx: &SyscallCx, [call, first, second, third, ptr, fifth]: Args) -> Result<i64> {
    let version = call >> 16;
    match call & 0xffff {
        1 => semop(cx, first, ptr, second, None).await,
        2 => semget(cx, [first, second, third, 0, 0, 0]),
        3 => {
            let argument = u64::from(cx.read_u32(ptr).await?);
            control_sem(cx, first, second, third, argument, Door::Old).await
        }
        4 => {
            let timeout = if fifth == 0 { None } else { Some(read_timespec32(cx, fifth).await?.to_duration()) };
            semop(cx, first, ptr, second, timeout).await
        }
        11 => msgsnd(cx, [first, ptr, second, third, 0, 0]).await,
        12 if version == 0 => {
            let (to, kind) = (cx.read_u32(ptr).await?, cx.read_u32(ptr.wrapping_add(4)).await?);
            msgrcv(cx, [first, u64::from(to), second, u64::from(kind), third, 0]).await
        }
        12 => msgrcv(cx, [first, ptr, second, fifth, third, 0]).await,
        13 => msgget(cx, [first, second, 0, 0, 0, 0]),
        14 => control_msg(cx, first, second, ptr, Door::Old).await,
        21 if version == 1 => Err(Errno::EINVAL),
        21 => {
            let at = shmat(cx, [first, ptr, second, 0, 0, 0])?;
            cx.write_u32(third, at as u32).await?;
            Ok(0)
        }
        22 => shmdt(cx, [ptr, 0, 0, 0, 0, 0]),
        23 => shmget(cx, [first, second, third, 0, 0, 0]),
        24 => control_shm(cx, first, second, ptr, Door::Old).await,
        other => {
            cx.kernel.count_missing("ipc call", other as u32, cx.task.comm_text());
            Err(Errno::ENOSYS)
        }
    }
}

/// How a ctl call came in: only through ipc(2) its command tells the version of the structures.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Old,
    Direct,
}

/// The command without its version.
fn command_of(cx: &SyscallCx, command: u64, door: Door) -> Result<u32> {
    let given = command as u32;
    let plain = given & !command::IPC_64;
    let has_structure = !matches!(plain, command::RMID);
    if door == Door::Old
        && given & command::IPC_64 == 0
        && has_structure
        && matches!(plain, command::SET..=command::INFO)
    {
        cx.kernel.count_missing("ipc command without IPC_64", plain, cx.task.comm_text());
        return Err(Errno::EINVAL);
    }
    Ok(plain)
}

/// Bytes of `struct ipc64_perm`.
const PERM: usize = 36;

fn put_perm(w: &mut Writer<'_>, perm: &Perm) {
    for (index, word) in [perm.key, perm.uid, perm.gid, perm.cuid, perm.cgid].into_iter().enumerate() {
        w.u32(4 * index, word);
    }
    w.u16(20, perm.mode as u16);
    w.u16(24, perm.seq as u16);
}

/// A time of 64 bits in two words.
fn put_time(w: &mut Writer<'_>, at: usize, seconds: i64) {
    w.u64(at, seconds as u64);
}

/// What IPC_SET brings: owner, group and mode.
async fn read_perm(cx: &SyscallCx, at: u64) -> Result<(u32, u32, u32)> {
    let mut raw = [0; PERM];
    cx.read_user(at, &mut raw).await?;
    let r = linux_abi::layout::Reader::new(&raw);
    Ok((r.u32(4), r.u32(8), u32::from(r.u16(20))))
}

fn set_perm(object: &impl Object, (uid, gid, mode): (u32, u32, u32)) {
    let perm = object.perm().get();
    object.perm().set(Perm { uid, gid, mode: perm.mode & !0o777 | mode & 0o777, ..perm });
}

/// The object that a STAT command names: by number for the owner's own, by index for the programs that list all.
fn named<T: Object>(
    cx: &SyscallCx,
    ids: &Ids<T>,
    id: u64,
    by_index: bool,
    check: bool,
) -> Result<(std::rc::Rc<T>, i64)> {
    let object = if by_index { ids.at(id as u32)? } else { ids.get(id as u32)? };
    if check {
        object.perm().get().check(&cx.creds(), READ)?;
    }
    let result = if by_index { i64::from(object.id()) } else { 0 };
    Ok((object, result))
}

// ---- shared memory ----

fn shmget(cx: &SyscallCx, [key, size, flags, ..]: Args) -> Result<i64> {
    const HUGETLB: u32 = 0o4000;
    let kernel = &cx.kernel;
    shm::purge(kernel);
    let flags = flags as u32;
    let fits = |segment: &Segment| if segment.size < size { Err(Errno::EINVAL) } else { Ok(()) };
    let id = kernel.ipc.shm.get_or_make(cx, key as u32, flags, fits, |perm| {
        if size == 0 || size > SHMMAX {
            return Err(Errno::EINVAL);
        }
        if flags & HUGETLB != 0 || size / 4096 > u64::from(kernel.memory.stats().total) {
            return Err(Errno::ENOMEM);
        }
        Ok(Segment::new(kernel, perm, size, cx.task.pid()))
    })?;
    Ok(i64::from(id))
}

fn shmat(cx: &SyscallCx, [id, addr, flags, ..]: Args) -> Result<i64> {
    shm::purge(&cx.kernel);
    let segment = cx.kernel.ipc.shm.get(id as u32)?;
    let at = segment.attach(&cx.mm(), &cx.creds(), addr, flags as u32)?;
    segment.attached.set(cx.now().sec);
    segment.last_pid.set(cx.task.pid());
    Ok(at as i64)
}

fn shmdt(cx: &SyscallCx, [addr, ..]: Args) -> Result<i64> {
    let segment = shm::detach(&cx.kernel, &cx.mm(), addr)?;
    segment.detached.set(cx.now().sec);
    segment.last_pid.set(cx.task.pid());
    drop(segment);
    shm::purge(&cx.kernel);
    Ok(0)
}

async fn shmctl(cx: &SyscallCx, [id, command, at, ..]: Args) -> Result<i64> {
    control_shm(cx, id, command, at, Door::Direct).await
}

async fn control_shm(cx: &SyscallCx, id: u64, command: u64, at: u64, door: Door) -> Result<i64> {
    let kernel = &cx.kernel;
    if (id as i32) < 0 || (command as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    shm::purge(kernel);
    let ids = &kernel.ipc.shm;
    let command = command_of(cx, command, door)?;
    match command {
        command::INFO => {
            let mut raw = [0; 36];
            let mut w = Writer::new(&mut raw);
            for (index, value) in
                [SHMMAX as u32, 1, SHMMNI as u32, SHMMNI as u32, SHMMAX as u32].into_iter().enumerate()
            {
                w.u32(4 * index, value);
            }
            cx.write_user(at, &raw).await?;
            Ok(i64::from(ids.count().1))
        }
        command::SHM_INFO => {
            let all = ids.list();
            let mut raw = [0; 24];
            let mut w = Writer::new(&mut raw);
            w.u32(0, all.len() as u32);
            w.u32(4, all.iter().map(|segment| segment.pages()).sum::<u64>() as u32);
            w.u32(8, all.iter().map(|segment| segment.resident()).sum::<u64>() as u32);
            cx.write_user(at, &raw).await?;
            Ok(i64::from(ids.count().1))
        }
        command::STAT | command::SHM_STAT | command::SHM_STAT_ANY => {
            let (segment, result) = named(cx, ids, id, command != command::STAT, command != command::SHM_STAT_ANY)?;
            let mut raw = [0; 84];
            let mut w = Writer::new(&mut raw);
            put_perm(&mut w, &segment.perm().get());
            w.u32(36, segment.size as u32);
            put_time(&mut w, 40, segment.attached.get());
            put_time(&mut w, 48, segment.detached.get());
            put_time(&mut w, 56, segment.changed.get());
            w.u32(64, segment.creator as u32);
            w.u32(68, segment.last_pid.get() as u32);
            w.u32(72, segment.attachments(kernel));
            cx.write_user(at, &raw).await?;
            Ok(result)
        }
        command::SET => {
            let new = read_perm(cx, at).await?;
            let segment = ids.get(id as u32)?;
            segment.perm().get().check_owner(&cx.creds())?;
            set_perm(&*segment, new);
            segment.changed.set(cx.now().sec);
            Ok(0)
        }
        command::RMID => {
            let segment = ids.get(id as u32)?;
            segment.perm().get().check_owner(&cx.creds())?;
            segment.remove();
            drop(segment);
            shm::purge(kernel);
            Ok(0)
        }
        command::SHM_LOCK | command::SHM_UNLOCK => {
            const IPC_LOCK: u32 = 14;
            let segment = ids.get(id as u32)?;
            let (perm, creds) = (segment.perm().get(), cx.creds());
            if !creds.capable(IPC_LOCK) && creds.euid != perm.uid && creds.euid != perm.cuid {
                return Err(Errno::EPERM);
            }
            // Nothing is ever swapped out: locking is what is the case.
            let locked = if command == command::SHM_LOCK { SHM_LOCKED } else { 0 };
            segment.perm().set(Perm { mode: perm.mode & !SHM_LOCKED | locked, ..perm });
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

// ---- semaphores ----

fn semget(cx: &SyscallCx, [key, count, flags, ..]: Args) -> Result<i64> {
    let count = count as u32;
    if count > SEMMSL {
        return Err(Errno::EINVAL);
    }
    let fits = |set: &Set| if (set.len() as u32) < count { Err(Errno::EINVAL) } else { Ok(()) };
    let id = cx.kernel.ipc.sem.get_or_make(cx, key as u32, flags as u32, fits, |perm| {
        if count == 0 {
            return Err(Errno::EINVAL);
        }
        Ok(Set::new(&cx.kernel, perm, count as usize))
    })?;
    Ok(i64::from(id))
}

async fn semtimedop_time64(cx: &SyscallCx, [id, at, count, timeout, ..]: Args) -> Result<i64> {
    let timeout = if timeout == 0 { None } else { Some(read_timespec64(cx, timeout).await?.to_duration()) };
    semop(cx, id, at, count, timeout).await
}

async fn semop(cx: &SyscallCx, id: u64, at: u64, count: u64, timeout: Option<Duration>) -> Result<i64> {
    let count = count as u32 as usize;
    if count == 0 || (id as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    if count > SEMOPM {
        return Err(Errno::E2BIG);
    }
    let mut raw = vec![0; 6 * count];
    cx.read_user(at, &mut raw).await?;
    let mut operations = Vec::with_capacity(count);
    for one in raw.as_chunks::<6>().0 {
        let half = |low: u8, high: u8| u16::from_le_bytes([low, high]);
        operations.push(Operation {
            number: half(one[0], one[1]),
            change: half(one[2], one[3]) as i16,
            flags: u32::from(half(one[4], one[5])),
        });
    }
    let set = cx.kernel.ipc.sem.get(id as u32)?;
    if operations.iter().any(|operation| usize::from(operation.number) >= set.len()) {
        return Err(Errno::EFBIG);
    }
    let changes = operations.iter().any(|operation| operation.change != 0);
    set.perm().get().check(&cx.creds(), if changes { crate::ipc::WRITE } else { READ })?;
    set.operate(cx, &operations, timeout).await?;
    Ok(0)
}

async fn semctl(cx: &SyscallCx, [id, number, command, argument, ..]: Args) -> Result<i64> {
    control_sem(cx, id, number, command, argument, Door::Direct).await
}

async fn control_sem(cx: &SyscallCx, id: u64, number: u64, command: u64, at: u64, door: Door) -> Result<i64> {
    let kernel = &cx.kernel;
    if (id as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let ids = &kernel.ipc.sem;
    let command = command_of(cx, command, door)?;
    match command {
        command::INFO | command::SEM_INFO => {
            let all = ids.list();
            let used: usize = all.iter().map(|set| set.len()).sum();
            let (last, more) =
                if command == command::SEM_INFO { (all.len() as u32, used as u32) } else { (20, SEMVMX as u32) };
            // semmap, semmni, semmns, semmnu, semmsl, semopm, semume, semusz, semvmx, semaem
            let words = [
                SEMMNS,
                SEMMNI as u32,
                SEMMNS,
                SEMMNS,
                SEMMSL,
                SEMOPM as u32,
                SEMOPM as u32,
                last,
                SEMVMX as u32,
                more,
            ];
            let mut raw = [0; 40];
            let mut w = Writer::new(&mut raw);
            for (index, word) in words.into_iter().enumerate() {
                w.u32(4 * index, word);
            }
            cx.write_user(at, &raw).await?;
            Ok(i64::from(ids.count().1))
        }
        command::STAT | command::SEM_STAT | command::SEM_STAT_ANY => {
            let (set, result) = named(cx, ids, id, command != command::STAT, command != command::SEM_STAT_ANY)?;
            let mut raw = [0; 64];
            let mut w = Writer::new(&mut raw);
            put_perm(&mut w, &set.perm().get());
            put_time(&mut w, 36, set.operated.get());
            put_time(&mut w, 44, set.changed.get());
            w.u32(52, set.len() as u32);
            cx.write_user(at, &raw).await?;
            Ok(result)
        }
        command::SET => {
            let new = read_perm(cx, at).await?;
            let set = ids.get(id as u32)?;
            set.perm().get().check_owner(&cx.creds())?;
            set_perm(&*set, new);
            set.changed.set(cx.now().sec);
            Ok(0)
        }
        command::RMID => {
            let set = ids.get(id as u32)?;
            set.perm().get().check_owner(&cx.creds())?;
            ids.remove(&set);
            set.remove();
            Ok(0)
        }
        command::GETALL => {
            let (set, _) = named(cx, ids, id, false, true)?;
            let values: Vec<u8> =
                set.semaphores.borrow().iter().flat_map(|semaphore| (semaphore.value as u16).to_le_bytes()).collect();
            cx.write_user(at, &values).await?;
            Ok(0)
        }
        command::SETALL => {
            let set = ids.get(id as u32)?;
            set.perm().get().check(&cx.creds(), crate::ipc::WRITE)?;
            let mut raw = vec![0; 2 * set.len()];
            cx.read_user(at, &mut raw).await?;
            let values: Vec<i32> =
                raw.as_chunks::<2>().0.iter().map(|two| i32::from(u16::from_le_bytes(*two))).collect();
            set.set_values(kernel, cx.task.pid(), None, &values)?;
            Ok(0)
        }
        command::SETVAL => {
            let set = ids.get(id as u32)?;
            let value = at as i32;
            if !(0..=SEMVMX).contains(&value) {
                return Err(Errno::ERANGE);
            }
            if number as usize >= set.len() {
                return Err(Errno::EINVAL);
            }
            set.perm().get().check(&cx.creds(), crate::ipc::WRITE)?;
            set.set_values(kernel, cx.task.pid(), Some(number as usize), &[value])?;
            Ok(0)
        }
        command::GETVAL | command::GETPID | command::GETNCNT | command::GETZCNT => {
            let (set, _) = named(cx, ids, id, false, true)?;
            let semaphore = *set.semaphores.borrow().get(number as usize).ok_or(Errno::EINVAL)?;
            let waiting = |what| set.waiting(number as u16, what) as i64;
            Ok(match command {
                command::GETVAL => i64::from(semaphore.value),
                command::GETPID => i64::from(semaphore.last_pid),
                command::GETNCNT => waiting(WaitsFor::More),
                _ => waiting(WaitsFor::Zero),
            })
        }
        _ => Err(Errno::EINVAL),
    }
}

// ---- messages ----

fn msgget(cx: &SyscallCx, [key, flags, ..]: Args) -> Result<i64> {
    let id = cx.kernel.ipc.msg.get_or_make(
        cx,
        key as u32,
        flags as u32,
        |_| Ok(()),
        |perm| Ok(msg::Queue::new(&cx.kernel, perm)),
    )?;
    Ok(i64::from(id))
}

async fn msgsnd(cx: &SyscallCx, [id, at, size, flags, ..]: Args) -> Result<i64> {
    let size = size as u32 as usize;
    let kind = cx.read_u32(at).await? as i32;
    if (id as i32) < 0 || size > msg::MSGMAX || kind < 1 {
        return Err(Errno::EINVAL);
    }
    let mut text = vec![0; size];
    cx.read_user(at.wrapping_add(4), &mut text).await?;
    let queue = cx.kernel.ipc.msg.get(id as u32)?;
    queue.send(cx, msg::Message { kind, text }, flags as u32).await?;
    Ok(0)
}

async fn msgrcv(cx: &SyscallCx, [id, at, size, kind, flags, _]: Args) -> Result<i64> {
    if (id as i32) < 0 || (size as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let queue = cx.kernel.ipc.msg.get(id as u32)?;
    let message = queue.receive(cx, size as u32 as usize, kind as i32, flags as u32).await?;
    cx.write_user(at, &message.kind.to_le_bytes()).await?;
    cx.write_user(at.wrapping_add(4), &message.text).await?;
    Ok(message.text.len() as i64)
}

async fn msgctl(cx: &SyscallCx, [id, command, at, ..]: Args) -> Result<i64> {
    control_msg(cx, id, command, at, Door::Direct).await
}

async fn control_msg(cx: &SyscallCx, id: u64, command: u64, at: u64, door: Door) -> Result<i64> {
    if (id as i32) < 0 || (command as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let ids = &cx.kernel.ipc.msg;
    let command = command_of(cx, command, door)?;
    match command {
        command::INFO | command::MSG_INFO => {
            let all = ids.list();
            let used = command == command::MSG_INFO;
            let queued: usize = all.iter().map(|queue| queue.len()).sum();
            let bytes: u32 = all.iter().map(|queue| queue.bytes.get()).sum();
            let (pool, map, headers) = if used {
                (all.len() as u32, queued as u32, bytes)
            } else {
                // MSGPOOL and MSGMAP as Linux computes them from MSGMNI and MSGMNB.
                (msg::MSGMNI as u32 * msg::MSGMNB / 1024, msg::MSGMNB, msg::MSGMNB)
            };
            let mut raw = [0; 32];
            let mut w = Writer::new(&mut raw);
            let words = [pool, map, msg::MSGMAX as u32, msg::MSGMNB, msg::MSGMNI as u32, 16, headers];
            for (index, word) in words.into_iter().enumerate() {
                w.u32(4 * index, word);
            }
            w.u16(28, 0xffff);
            cx.write_user(at, &raw).await?;
            Ok(i64::from(ids.count().1))
        }
        command::STAT | command::MSG_STAT | command::MSG_STAT_ANY => {
            let (queue, result) = named(cx, ids, id, command != command::STAT, command != command::MSG_STAT_ANY)?;
            let mut raw = [0; 88];
            let mut w = Writer::new(&mut raw);
            put_perm(&mut w, &queue.perm().get());
            put_time(&mut w, 36, queue.sent.get());
            put_time(&mut w, 44, queue.received.get());
            put_time(&mut w, 52, queue.changed.get());
            w.u32(60, queue.bytes.get());
            w.u32(64, queue.len() as u32);
            w.u32(68, queue.most.get());
            w.u32(72, queue.last_sender.get() as u32);
            w.u32(76, queue.last_receiver.get() as u32);
            cx.write_user(at, &raw).await?;
            Ok(result)
        }
        command::SET => {
            const SYS_RESOURCE: u32 = 24;
            let new = read_perm(cx, at).await?;
            let most = cx.read_u32(at.wrapping_add(68)).await?;
            let queue = ids.get(id as u32)?;
            queue.perm().get().check_owner(&cx.creds())?;
            if most > msg::MSGMNB && !cx.creds().capable(SYS_RESOURCE) {
                return Err(Errno::EPERM);
            }
            set_perm(&*queue, new);
            queue.most.set(most);
            queue.changed.set(cx.now().sec);
            queue.resized();
            Ok(0)
        }
        command::RMID => {
            let queue = ids.get(id as u32)?;
            queue.perm().get().check_owner(&cx.creds())?;
            ids.remove(&queue);
            queue.remove();
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

// ---- /proc/sysvipc ----

/// /proc/sysvipc/shm.
pub(crate) fn list_shm(cx: &SyscallCx) -> Result<Vec<u8>> {
    shm::purge(&cx.kernel);
    let mut out = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n".to_owned();
    for segment in cx.kernel.ipc.shm.list() {
        let p = segment.perm().get();
        let rss = segment.resident() * 4096;
        out += &format!(
            "{:10} {:10}  {:4o} {:21} {:5} {:5}  {:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10} {rss:21} {:21}\n",
            p.key as i32,
            segment.id(),
            p.mode & (0o777 | SHM_DEST | SHM_LOCKED),
            segment.size,
            segment.creator,
            segment.last_pid.get(),
            segment.attachments(&cx.kernel),
            p.uid,
            p.gid,
            p.cuid,
            p.cgid,
            segment.attached.get(),
            segment.detached.get(),
            segment.changed.get(),
            0,
        );
    }
    Ok(out.into_bytes())
}

/// /proc/sysvipc/sem.
pub(crate) fn list_sem(cx: &SyscallCx) -> Result<Vec<u8>> {
    let mut out = "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n".to_owned();
    for set in cx.kernel.ipc.sem.list() {
        let p = set.perm().get();
        out += &format!(
            "{:10} {:10}  {:4o} {:10} {:5} {:5} {:5} {:5} {:10} {:10}\n",
            p.key as i32,
            set.id(),
            p.mode,
            set.len(),
            p.uid,
            p.gid,
            p.cuid,
            p.cgid,
            set.operated.get(),
            set.changed.get(),
        );
    }
    Ok(out.into_bytes())
}

/// /proc/sysvipc/msg.
pub(crate) fn list_msg(cx: &SyscallCx) -> Result<Vec<u8>> {
    let mut out = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n".to_owned();
    for queue in cx.kernel.ipc.msg.list() {
        let p = queue.perm().get();
        out += &format!(
            "{:10} {:10}  {:4o}  {:10} {:10} {:5} {:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10}\n",
            p.key as i32,
            queue.id(),
            p.mode,
            queue.bytes.get(),
            queue.len(),
            queue.last_sender.get(),
            queue.last_receiver.get(),
            p.uid,
            p.gid,
            p.cuid,
            p.cgid,
            queue.sent.get(),
            queue.received.get(),
            queue.changed.get(),
        );
    }
    Ok(out.into_bytes())
}
