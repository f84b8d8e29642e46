//! prctl(2).

use std::rc::Rc;

use super::table::{Args, Row, wait};
use crate::task::cap;
use crate::{Errno, Result, SyscallCx};

pub(super) const ROWS: &[Row] =
    &[wait!(172, "prctl", prctl, "names, death signal, dumpable, capabilities, subreaper, no_new_privs, timer slack")];

mod pr {
    pub(super) const SET_PDEATHSIG: u64 = 1;
    pub(super) const GET_PDEATHSIG: u64 = 2;
    pub(super) const GET_DUMPABLE: u64 = 3;
    pub(super) const SET_DUMPABLE: u64 = 4;
    pub(super) const GET_KEEPCAPS: u64 = 7;
    pub(super) const SET_KEEPCAPS: u64 = 8;
    pub(super) const GET_TIMING: u64 = 13;
    pub(super) const SET_TIMING: u64 = 14;
    pub(super) const SET_NAME: u64 = 15;
    pub(super) const GET_NAME: u64 = 16;
    pub(super) const GET_SECCOMP: u64 = 21;
    pub(super) const SET_SECCOMP: u64 = 22;
    pub(super) const CAPBSET_READ: u64 = 23;
    pub(super) const CAPBSET_DROP: u64 = 24;
    pub(super) const GET_SECUREBITS: u64 = 27;
    pub(super) const SET_SECUREBITS: u64 = 28;
    pub(super) const SET_TIMERSLACK: u64 = 29;
    pub(super) const GET_TIMERSLACK: u64 = 30;
    pub(super) const SET_CHILD_SUBREAPER: u64 = 36;
    pub(super) const GET_CHILD_SUBREAPER: u64 = 37;
    pub(super) const SET_NO_NEW_PRIVS: u64 = 38;
    pub(super) const GET_NO_NEW_PRIVS: u64 = 39;
    pub(super) const GET_TID_ADDRESS: u64 = 40;
    pub(super) const SET_THP_DISABLE: u64 = 41;
    pub(super) const GET_THP_DISABLE: u64 = 42;
    pub(super) const CAP_AMBIENT: u64 = 47;
    pub(super) const SET_VMA: u64 = 0x5356_4d41;
    pub(super) const SET_PTRACER: u64 = 0x5961_6d61;
}

async fn prctl(cx: &SyscallCx, [option, a, b, c, d, _]: Args) -> Result<i64> {
    let (task, group) = (&cx.task, &cx.task.group);
    let flag = |set: bool| Ok(i64::from(set));
    let unused = |rest: &[u64]| if rest.iter().all(|word| *word == 0) { Ok(()) } else { Err(Errno::EINVAL) };
    match option {
        pr::SET_PDEATHSIG if a > 64 => Err(Errno::EINVAL),
        pr::SET_PDEATHSIG => {
            task.parent_death_signal.set(a as u32);
            Ok(0)
        }
        pr::GET_PDEATHSIG => {
            cx.write_u32(a, task.parent_death_signal.get()).await?;
            Ok(0)
        }
        pr::GET_DUMPABLE => Ok(i64::from(group.dumpable.get())),
        pr::SET_DUMPABLE if a > 1 => Err(Errno::EINVAL),
        pr::SET_DUMPABLE => {
            group.dumpable.set(a as u32);
            Ok(0)
        }
        pr::GET_KEEPCAPS => flag(task.keep_caps.get()),
        pr::SET_KEEPCAPS if a > 1 => Err(Errno::EINVAL),
        pr::SET_KEEPCAPS => {
            task.keep_caps.set(a == 1);
            Ok(0)
        }
        pr::GET_TIMING | pr::GET_SECUREBITS => Ok(0),
        pr::GET_SECCOMP => Ok(task.seccomp.borrow().as_ref().map_or(0, |seccomp| seccomp.mode()).into()),
        pr::SET_SECCOMP => super::seccomp::set_by_prctl(cx, a, b).await,
        pr::SET_TIMING => unused(&[a]).map(|()| 0),
        pr::SET_SECUREBITS if a == 0 && cx.creds().has(cap::SETPCAP) => Ok(0),
        pr::SET_SECUREBITS => Err(Errno::EPERM),
        pr::SET_NAME => {
            let name = cx.read_prefix(a, 15).await?;
            task.set_comm(&name);
            Ok(0)
        }
        pr::GET_NAME => {
            let mut name = task.comm.borrow().clone();
            name.resize(16, 0);
            cx.write_user(a, &name).await?;
            Ok(0)
        }
        pr::CAPBSET_READ => match u32::try_from(a) {
            Ok(number) if number <= cap::LAST => flag(cx.creds().cap_bounding >> number & 1 == 1),
            _ => Err(Errno::EINVAL),
        },
        pr::CAPBSET_DROP => drop_from_bounding_set(cx, a),
        pr::SET_TIMERSLACK => {
            task.timer_slack.set(if a == 0 { 50_000 } else { a });
            Ok(0)
        }
        pr::GET_TIMERSLACK => Ok(task.timer_slack.get() as i64),
        pr::SET_CHILD_SUBREAPER => {
            group.child_subreaper.set(a != 0);
            Ok(0)
        }
        pr::GET_CHILD_SUBREAPER => {
            cx.write_u32(a, u32::from(group.child_subreaper.get())).await?;
            Ok(0)
        }
        pr::SET_NO_NEW_PRIVS => {
            if a != 1 {
                return Err(Errno::EINVAL);
            }
            unused(&[b, c, d])?;
            task.no_new_privs.set(true);
            Ok(0)
        }
        pr::GET_NO_NEW_PRIVS => {
            unused(&[a, b, c, d])?;
            flag(task.no_new_privs.get())
        }
        pr::GET_TID_ADDRESS => {
            cx.write_u32(a, task.clear_child_tid.get() as u32).await?;
            Ok(0)
        }
        // No huge pages here: disabling them is what is the case.
        pr::SET_THP_DISABLE => unused(&[b, c, d]).map(|()| 0),
        pr::GET_THP_DISABLE => unused(&[a, b, c, d]).map(|()| 0),
        pr::CAP_AMBIENT => ambient(cx, a, b),
        // Names of anonymous mappings and the ptracer of Yama belong to options that kernels may lack.
        pr::SET_VMA | pr::SET_PTRACER => Err(Errno::EINVAL),
        other => {
            cx.kernel.count_missing("prctl", other, cx.task.comm_text());
            Err(Errno::EINVAL)
        }
    }
}

fn drop_from_bounding_set(cx: &SyscallCx, number: u64) -> Result<i64> {
    let creds = cx.creds();
    if !creds.has(cap::SETPCAP) {
        return Err(Errno::EPERM);
    }
    if number > u64::from(cap::LAST) {
        return Err(Errno::EINVAL);
    }
    let mut new = (*creds).clone();
    new.cap_bounding &= !(1 << number);
    *cx.task.creds.borrow_mut() = Rc::new(new);
    Ok(0)
}

fn ambient(cx: &SyscallCx, what: u64, number: u64) -> Result<i64> {
    const IS_SET: u64 = 1;
    const RAISE: u64 = 2;
    const LOWER: u64 = 3;
    const CLEAR_ALL: u64 = 4;
    let mut new = (*cx.creds()).clone();
    if what == CLEAR_ALL {
        new.cap_ambient = 0;
    } else {
        if number > u64::from(cap::LAST) {
            return Err(Errno::EINVAL);
        }
        let bit = 1u64 << number;
        match what {
            IS_SET => return Ok(i64::from(new.cap_ambient & bit != 0)),
            RAISE if new.cap_permitted & new.cap_inheritable & bit == 0 => return Err(Errno::EPERM),
            RAISE => new.cap_ambient |= bit,
            LOWER => new.cap_ambient &= !bit,
            _ => return Err(Errno::EINVAL),
        }
    }
    *cx.task.creds.borrow_mut() = Rc::new(new);
    Ok(0)
}
