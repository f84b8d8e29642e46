//! Programs into memory. (Owned by the memory engineer; this is the contract execve(2) compiles against.)

use std::rc::Rc;

use crate::mm::{Limits, Mm};
use crate::task::Credentials;
use crate::vfs::OpenFile;
use crate::{Errno, Result, SyscallCx};

/// A program to load: its file and how it is called, `#!` lines resolved.
pub struct Program {
    /// The ELF file.
    pub file: Rc<OpenFile>,
    /// The name it was found by.
    pub name: Vec<u8>,
    /// Arguments.
    pub argv: Vec<Vec<u8>>,
}

/// A program in memory.
pub struct Image {
    /// Its address space.
    pub mm: Rc<Mm>,
    /// Where it begins.
    pub entry: u64,
    /// The stack pointer it begins with.
    pub stack: u64,
}

/// Follows `#!` lines to the program that is to run.
pub async fn resolve(cx: &SyscallCx, file: Rc<OpenFile>, name: Vec<u8>, argv: Vec<Vec<u8>>) -> Result<Program> {
    let _ = cx;
    Ok(Program { file, name, argv })
}

/// Makes an address space of a program.
pub async fn load(
    cx: &SyscallCx,
    program: &Program,
    envp: &[Vec<u8>],
    creds: &Credentials,
    secure: bool,
    limits: Limits,
) -> Result<Image> {
    let _ = (cx, program, envp, creds, secure, limits);
    Err(Errno::ENOEXEC)
}

impl Mm {
    /// Where the vDSO has `__kernel_sigreturn` or `__kernel_rt_sigreturn`, if it is mapped.
    pub fn sigreturn_address(&self, rt: bool) -> Option<u64> {
        let _ = rt;
        None
    }
}
