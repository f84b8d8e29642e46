//! Tasks and processes by number.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Pid, Task, ThreadGroup};
use crate::{Errno, Result};

/// Numbers below this are not given out a second time.
const RESERVED: Pid = 300;

/// Everything that has a process or thread number.
pub struct ProcessTable {
    tasks: RefCell<BTreeMap<Pid, Rc<Task>>>,
    groups: RefCell<BTreeMap<Pid, Rc<ThreadGroup>>>,
    last: Cell<Pid>,
    created: Cell<u64>,
    /// Largest number plus one (/proc/sys/kernel/pid_max).
    pub pid_max: Cell<Pid>,
    /// How many tasks there may be (/proc/sys/kernel/threads-max).
    pub max_tasks: usize,
}

impl ProcessTable {
    pub(crate) fn new(max_tasks: usize) -> Self {
        Self {
            tasks: RefCell::default(),
            groups: RefCell::default(),
            last: Cell::new(0),
            created: Cell::new(0),
            pid_max: Cell::new(4_194_304),
            max_tasks,
        }
    }

    /// The task with this thread number, zombie leaders too.
    pub fn task(&self, tid: Pid) -> Option<Rc<Task>> {
        self.tasks.borrow().get(&tid).cloned()
    }

    /// The process with this number, zombies too.
    pub fn group(&self, pid: Pid) -> Option<Rc<ThreadGroup>> {
        self.groups.borrow().get(&pid).cloned()
    }

    /// All processes in order of their numbers, zombies too.
    pub fn groups(&self) -> Vec<Rc<ThreadGroup>> {
        self.groups.borrow().values().cloned().collect()
    }

    /// All tasks in order of their numbers.
    pub fn tasks(&self) -> Vec<Rc<Task>> {
        self.tasks.borrow().values().cloned().collect()
    }

    /// The processes of a process group, zombies too.
    pub fn groups_of(&self, pgrp: Pid) -> Vec<Rc<ThreadGroup>> {
        self.groups.borrow().values().filter(|group| group.pgrp.get() == pgrp).cloned().collect()
    }

    /// Forgets every task and process, running or not: the machine is gone. Nobody is told.
    pub fn clear(&self) {
        let groups = std::mem::take(&mut *self.groups.borrow_mut());
        let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        for group in groups.values() {
            // A process and its threads refer to each other. Dropped outside the borrows.
            let threads = std::mem::take(&mut *group.threads.borrow_mut());
            let children = std::mem::take(&mut *group.children.borrow_mut());
            let tracees = std::mem::take(&mut *group.tracees.borrow_mut());
            drop((threads, children, tracees));
        }
        drop((tasks, groups));
    }

    /// How many tasks there are.
    pub fn task_count(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// How many tasks were ever made (`processes` in /proc/stat).
    pub fn created(&self) -> u64 {
        self.created.get()
    }

    /// The number given out last (/proc/loadavg).
    pub fn last_pid(&self) -> Pid {
        self.last.get()
    }

    /// Gives numbers from 1 on again, if only that one was given; tells whether it was so.
    pub(crate) fn start_again(&self) -> bool {
        let first = self.last.get() == 1;
        if first {
            self.last.set(0);
        }
        first
    }

    /// A number that no task, process, process group or session has.
    pub(crate) fn allocate(&self) -> Result<Pid> {
        if self.task_count() >= self.max_tasks {
            return Err(Errno::EAGAIN);
        }
        let groups = self.groups.borrow();
        let tasks = self.tasks.borrow();
        let taken = |pid: Pid| {
            tasks.contains_key(&pid)
                || groups.contains_key(&pid)
                || groups.values().any(|group| group.pgrp.get() == pid || group.session.borrow().sid == pid)
        };
        let mut pid = self.last.get();
        for _ in 0..self.pid_max.get() {
            pid += 1;
            if pid >= self.pid_max.get() {
                pid = RESERVED;
            }
            if !taken(pid) {
                self.last.set(pid);
                return Ok(pid);
            }
        }
        Err(Errno::EAGAIN)
    }

    pub(crate) fn insert_task(&self, task: Rc<Task>) {
        self.created.set(self.created.get() + 1);
        self.tasks.borrow_mut().insert(task.tid(), task);
    }

    pub(crate) fn insert_group(&self, group: Rc<ThreadGroup>) {
        self.groups.borrow_mut().insert(group.pid, group);
    }

    pub(crate) fn remove_task(&self, tid: Pid) -> Option<Rc<Task>> {
        self.tasks.borrow_mut().remove(&tid)
    }

    pub(crate) fn remove_group(&self, pid: Pid) -> Option<Rc<ThreadGroup>> {
        self.groups.borrow_mut().remove(&pid)
    }

    /// Gives the task another number: the thread that execs becomes the leader.
    pub(crate) fn renumber(&self, task: &Rc<Task>, tid: Pid) {
        let mut tasks = self.tasks.borrow_mut();
        tasks.remove(&task.tid());
        task.set_tid(tid);
        tasks.insert(tid, Rc::clone(task));
    }
}
