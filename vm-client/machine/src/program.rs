//! Programs the host starts.

use std::rc::Rc;

use linux_abi::fcntl;
use linux_abi::siginfo::SigInfo;
use linux_abi::signal::Signal;
use linux_abi::stat;
use vm_kernel::task::{Credentials, NewSession, Pid, StartProgram, ThreadGroup, WaitStatus};
use vm_kernel::vfs::{Anonymous, FdTable, File, Follow, OnExec, OpenFile, OpenFlags, walk};
use vm_kernel::{Errno, Kernel, Result};
use vm_rt::WaitQueue;

use crate::stream::{Input, InputFile, Output, StreamSink};

/// What to run and how.
pub struct Program {
    /// Path of the program, or a name to be looked up in `PATH`.
    pub file: String,
    /// Arguments, the program's name first.
    pub argv: Vec<String>,
    /// Environment, each `NAME=value`.
    pub envp: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Descriptors 0 to 2.
    pub stdio: Stdio,
}

/// What descriptors 0 to 2 of a program are.
pub enum Stdio {
    /// A virtual terminal, which becomes the program's controlling terminal if it is free.
    Console(usize),
    /// Streams of the host.
    Streams(Rc<dyn StreamSink>),
}

/// Where programs are looked up when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program that was started.
pub struct Running {
    kernel: Rc<Kernel>,
    group: Rc<ThreadGroup>,
    input: Rc<Input>,
    drained: Rc<WaitQueue>,
}

impl Running {
    /// Its process number.
    pub fn pid(&self) -> Pid {
        self.group.pid
    }

    /// Gives it input. Bytes that it has not read yet are kept, however many.
    pub fn write_stdin(&self, bytes: &[u8]) {
        self.input.push(bytes);
    }

    /// Bytes of input it has not read yet.
    pub fn stdin_queued(&self) -> usize {
        self.input.len()
    }

    /// Ends its input.
    pub fn close_stdin(&self) {
        self.input.end();
    }

    /// Tells that the sink takes output again, or that it has closed.
    pub fn stream_drained(&self) {
        self.drained.wake_all();
    }

    /// Sends it and its process group a signal.
    pub fn kill(&self, signal: Signal) {
        if !self.group.is_zombie() {
            self.kernel.send_signal_pgrp(self.group.pgrp.get(), SigInfo::kernel(signal));
            if self.group.pgrp.get() != self.group.pid {
                self.kernel.send_signal_group(&self.group, SigInfo::kernel(signal));
            }
        }
    }

    /// Waits until it has ended and takes its status, as wait4(2) would.
    pub async fn wait(&self) -> WaitStatus {
        self.kernel.wait_host(&self.group).await
    }
}

/// Starts a program.
pub(crate) async fn start(kernel: &Rc<Kernel>, program: Program) -> Result<Running> {
    let input = Rc::new(Input::default());
    let drained = Rc::new(WaitQueue::new());
    let files = FdTable::new(&kernel.vfs);
    let tty = match &program.stdio {
        Stdio::Console(vt) => {
            let tty = kernel.consoles.get(*vt).ok_or(Errno::ENXIO)?;
            let terminal = tty.open_unchecked();
            let cx = kernel.init_context()?;
            let path = walk::resolve(&cx, fcntl::AT_FDCWD, tty.name().path().as_bytes(), Follow::Yes).await?;
            let file = OpenFile::new(&kernel.vfs, terminal, path, OpenFlags(fcntl::O_RDWR));
            for _ in 0..3 {
                insert(&files, &file)?;
            }
            Some(tty)
        }
        Stdio::Streams(sink) => {
            let stream = |fd: i32| -> Rc<dyn File> {
                match fd {
                    0 => Rc::new(InputFile(Rc::clone(&input))),
                    _ => Rc::new(Output { fd, sink: Rc::clone(sink), drained: Rc::clone(&drained) }),
                }
            };
            let creds = Credentials::new(program.uid, program.gid);
            for fd in 0..3 {
                let path =
                    kernel.vfs.anonymous_path(Anonymous::Pipe, stat::S_IFIFO | 0o600, &creds, kernel.now_realtime());
                let flags = OpenFlags(if fd == 0 { fcntl::O_RDONLY } else { fcntl::O_WRONLY });
                insert(&files, &OpenFile::new(&kernel.vfs, stream(fd), path, flags))?;
            }
            None
        }
    };
    let mut last = Errno::ENOENT;
    for candidate in candidates(&program.file, &program.envp) {
        let start = StartProgram {
            file: candidate.into_bytes(),
            argv: program.argv.iter().map(|arg| arg.clone().into_bytes()).collect(),
            envp: program.envp.iter().map(|var| var.clone().into_bytes()).collect(),
            cwd: program.cwd.clone().into_bytes(),
            uid: program.uid,
            gid: program.gid,
            files: files.fork(),
            session: NewSession { tty: tty.clone() },
        };
        match kernel.start(start).await {
            Ok(group) => return Ok(Running { kernel: Rc::clone(kernel), group, input, drained }),
            // As execvp(3): a name that cannot be run does not end the search, but is what is reported.
            Err(error @ (Errno::ENOENT | Errno::ENOTDIR)) => {
                if last != Errno::EACCES {
                    last = error;
                }
            }
            Err(Errno::EACCES) => last = Errno::EACCES,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn insert(files: &FdTable, file: &Rc<OpenFile>) -> Result<()> {
    files.insert_from(0, Rc::clone(file), OnExec::Keep, 3).map(drop)
}

fn candidates(file: &str, envp: &[String]) -> Vec<String> {
    if file.contains('/') {
        return vec![file.to_owned()];
    }
    let path = envp.iter().find_map(|var| var.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    path.split(':').map(|dir| if dir.is_empty() { format!("./{file}") } else { format!("{dir}/{file}") }).collect()
}
