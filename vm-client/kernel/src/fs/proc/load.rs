//! The load average: how many tasks could run or waited for a disk, averaged over 1, 5 and 15 minutes.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::task::TaskState;
use crate::{Kernel, Result, SyscallCx};

/// Averages so far.
#[derive(Default)]
pub struct LoadAverage {
    averages: Cell<[f64; 3]>,
    started: Cell<bool>,
}

const PERIOD: Duration = Duration::from_secs(5);
const MINUTES: [f64; 3] = [1.0, 5.0, 15.0];

impl LoadAverage {
    /// Takes one more sample, which stands for the last [`PERIOD`].
    fn sample(&self, active: usize) {
        let mut averages = self.averages.get();
        for (average, minutes) in averages.iter_mut().zip(MINUTES) {
            let decay = (-PERIOD.as_secs_f64() / (minutes * 60.0)).exp();
            *average = *average * decay + active as f64 * (1.0 - decay);
        }
        self.averages.set(averages);
    }

    /// The three averages.
    pub fn get(&self) -> [f64; 3] {
        self.averages.get()
    }
}

/// Samples for as long as the kernel lives.
pub(super) fn start(kernel: &Kernel) {
    if !kernel.vfs.load_average.started.replace(true) {
        kernel.executor.spawn(sample(kernel.weak()));
    }
}

async fn sample(kernel: Weak<Kernel>) {
    loop {
        let Some(alive) = kernel.upgrade() else { return };
        alive.vfs.load_average.sample(active(&alive));
        let sleep = alive.timers.sleep_until(alive.now_monotonic() + PERIOD);
        drop(alive);
        sleep.await;
    }
}

fn active(kernel: &Rc<Kernel>) -> usize {
    let counts = |state| matches!(state, TaskState::Running | TaskState::DiskSleep);
    kernel
        .processes
        .tasks()
        .iter()
        .filter(|task| counts(task.state.get()) && !kernel.is_builtin_init(&task.group))
        .count()
}

/// How many tasks can run now.
pub(super) fn running(cx: &SyscallCx) -> usize {
    let tasks = cx.kernel.processes.tasks();
    let can_run = |task: &&Rc<crate::task::Task>| {
        task.state.get() == TaskState::Running && !cx.kernel.is_builtin_init(&task.group)
    };
    tasks.iter().filter(can_run).count()
}

pub(super) fn loadavg(cx: &SyscallCx) -> Result<Vec<u8>> {
    let [one, five, fifteen] = cx.kernel.vfs.load_average.get();
    let processes = &cx.kernel.processes;
    let (running, all, last) = (running(cx), processes.task_count(), processes.last_pid());
    Ok(format!("{one:.2} {five:.2} {fifteen:.2} {running}/{all} {last}\n").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_minute_shows_most_in_the_shortest_average() {
        let load = LoadAverage::default();
        for _ in 0..12 {
            load.sample(1);
        }
        let [one, five, fifteen] = load.get();
        // 1 - 1/e of a constant load after one time constant.
        assert!((one - 0.632).abs() < 0.001, "{one}");
        assert!(one > five && five > fifteen);
    }
}
