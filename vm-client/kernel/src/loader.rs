//! Programs into memory: what execve(2) does before anything of the old program is gone.
//!
//! [`resolve`] follows `#!` lines ([`script`]) to an ELF file, [`load`] makes a new address space for it: segments ([`elf`]),
//! interpreter, [`vdso`] and the initial stack ([`stack`]). The caller replaces its address space by the result or, on an
//! error, goes on as if nothing had happened.

mod elf;
mod script;
mod stack;
pub(crate) mod vdso;

use std::rc::Rc;

use linux_abi::fcntl::AT_FDCWD;
use vm_mem::{Prot, VirtAddr};

use crate::mm::vma::{Backing, Visibility, VmaFlags};
use crate::mm::{self, Layout, Limits, MappedFile, Mm, PageCache, Placement};
use crate::task::Credentials;
use crate::vfs::{Follow, OpenFile, open};
use crate::{Errno, Result, SyscallCx};

use elf::{Header, Kind};

const PAGE: u64 = 4096;
/// Interpreters of interpreters are followed this far (Linux's limit).
const MAX_SCRIPTS: usize = 5;
/// Where position-independent programs with an interpreter go when nothing is randomised.
const PROGRAM_BASE: u64 = 0x5655_5000;
/// The initial stack area reaches this far below what is on it.
const STACK_ROOM: u64 = 128 << 10;

/// A program found by [`resolve`], ready to be loaded.
pub struct Program {
    /// The ELF file.
    pub file: Rc<OpenFile>,
    /// The name execve(2) was given (AT_EXECFN).
    pub name: Vec<u8>,
    /// The arguments, with those that `#!` lines put in front.
    pub argv: Vec<Vec<u8>>,
    header: Header,
}

/// A program in memory.
pub struct Image {
    /// Its address space.
    pub mm: Rc<Mm>,
    /// Where execution begins.
    pub entry: u64,
    /// The stack pointer to begin with.
    pub stack: u64,
}

/// Follows `#!` lines to an ELF file that can be loaded; ENOEXEC if there is none.
pub async fn resolve(cx: &SyscallCx, file: Rc<OpenFile>, name: Vec<u8>, argv: Vec<Vec<u8>>) -> Result<Program> {
    let mut file = file;
    let mut argv = argv;
    let mut script = name.clone();
    for _ in 0..=MAX_SCRIPTS {
        let mut start = vec![0; script::LINE_MAX];
        let len = cache_of(&file)?.read(0, &mut start).await?;
        start.truncate(len);
        if !start.starts_with(b"#!") {
            let header = elf::read(&*cache_of(&file)?, &start).await?;
            return Ok(Program { file, name, argv, header });
        }
        let line = script::parse(&start)?;
        let rest = argv.drain(..).skip(1).collect::<Vec<_>>();
        argv.push(line.interpreter.clone());
        argv.extend(line.argument);
        argv.push(script);
        argv.extend(rest);
        file = open::open_exec(cx, AT_FDCWD, &line.interpreter, Follow::Yes).await?;
        script = line.interpreter;
    }
    Err(Errno::ELOOP)
}

/// Makes an address space with the program in it. `secure` is AT_SECURE: the program must not trust its environment.
pub async fn load(
    cx: &SyscallCx,
    program: &Program,
    envp: &[Vec<u8>],
    creds: &Credentials,
    secure: bool,
    limits: Limits,
) -> Result<Image> {
    let header = &program.header;
    let interpreter = match &header.interpreter {
        Some(path) => Some(open_interpreter(cx, path).await?),
        None => None,
    };

    let mm = Mm::new_i386(&cx.kernel.memory, limits);
    // Programs that say nothing of their stack date from when readable meant executable.
    let stack_executable = header.stack_executable.unwrap_or(true);
    mm.set_read_implies_exec(header.stack_executable.is_none());

    // The stack first, so that nothing else takes its place.
    let top = mm.task_size();
    let room = STACK_ROOM.min(limits.stack).max(PAGE).next_multiple_of(PAGE);
    let strings = stack::Strings::new(&program.name, &program.argv, envp, top);
    let bottom = (strings.lowest().saturating_sub(room)) & !(PAGE - 1);
    mm.map(mm::Request {
        placement: Placement::Fixed(bottom),
        len: top - bottom,
        prot: Prot { read: true, write: true, execute: stack_executable },
        max_prot: ALL,
        visibility: Visibility::Private,
        backing: Backing::Anonymous,
        flags: VmaFlags { grows_down: true, ..VmaFlags::default() },
    })?;

    let file = mapped(&program.file)?;
    let base = match header.kind {
        Kind::Executable => 0,
        Kind::Dynamic if interpreter.is_some() => PROGRAM_BASE.next_multiple_of(header.align()),
        // An interpreter run by itself, or static: where libraries go, so that its heap has room.
        Kind::Dynamic => free_base(&mm, header, None)?,
    };
    let loaded = map_segments(&mm, header, &file, base).await?;
    let mut entry = header.entry.wrapping_add(base);
    let mut interpreter_base = 0;
    if let Some((file, header)) = &interpreter {
        let file = mapped(file)?;
        interpreter_base = free_base(&mm, header, Some(&file))?;
        map_segments(&mm, header, &file, interpreter_base).await?;
        entry = header.entry.wrapping_add(interpreter_base);
    }
    if entry >= mm.task_size() {
        return Err(Errno::ENOEXEC);
    }

    let vdso = cx.kernel.vdso()?.map(&mm)?;
    let heap = match (header.kind, &interpreter) {
        (Kind::Dynamic, None) => PROGRAM_BASE,
        _ => loaded.end,
    };
    let mut random = [0; 16];
    cx.kernel.host.entropy.fill(&mut random);
    let aux = stack::Aux {
        phdr: header.phdr_address().map_or(0, |at| at.wrapping_add(base)),
        phnum: header.phnum.into(),
        base: interpreter_base,
        entry: header.entry.wrapping_add(base),
        vdso,
        creds,
        secure,
        random,
    };
    let built = stack::build(&strings, &aux);
    mm.write(VirtAddr(built.pointer), &built.bytes).await?;
    mm.set_auxv(built.auxv);
    mm.set_layout(Layout {
        start_code: loaded.code.0,
        end_code: loaded.code.1,
        start_data: loaded.data.0,
        end_data: loaded.data.1,
        start_brk: heap,
        brk: heap,
        start_stack: built.pointer,
        arg_start: strings.arg_start(),
        arg_end: strings.env_start(),
        env_start: strings.env_start(),
        env_end: strings.env_end(),
        vdso,
    });
    mm.set_exe(Rc::clone(&program.file) as Rc<dyn mm::MappedObject>);
    Ok(Image { mm, entry, stack: built.pointer })
}

const ALL: Prot = Prot { read: true, write: true, execute: true };

async fn open_interpreter(cx: &SyscallCx, path: &[u8]) -> Result<(Rc<OpenFile>, Header)> {
    let file = open::open_exec(cx, AT_FDCWD, path, Follow::Yes).await?;
    let cache = cache_of(&file)?;
    let mut start = vec![0; script::LINE_MAX];
    let len = cache.read(0, &mut start).await?;
    start.truncate(len);
    match elf::read(&cache, &start).await {
        Ok(header) => Ok((file, header)),
        // Linux's word for a dynamic linker that is none.
        Err(Errno::ENOEXEC) => Err(Errno::ELIBBAD),
        Err(errno) => Err(errno),
    }
}

fn cache_of(file: &OpenFile) -> Result<Rc<PageCache>> {
    file.inode().page_cache().ok_or(Errno::EACCES)
}

fn mapped(file: &Rc<OpenFile>) -> Result<Rc<MappedFile>> {
    Ok(Rc::new(MappedFile { cache: cache_of(file)?, object: Rc::clone(file) as Rc<dyn mm::MappedObject> }))
}

/// An address for a position-independent program: an interpreter gets the same one in every process if it can.
fn free_base(mm: &Mm, header: &Header, file: Option<&MappedFile>) -> Result<u64> {
    let (first, end) = header.span().ok_or(Errno::ENOEXEC)?;
    let align = header.align();
    let len = end - first;
    let start = match file.and_then(|file| mm.stable_address(file, len)).filter(|at| at.is_multiple_of(align)) {
        Some(at) => at,
        None => mm.free_address(len + align - PAGE)?.next_multiple_of(align),
    };
    Ok(start.wrapping_sub(first))
}

/// Where the parts of a program came to be.
struct Loaded {
    code: (u64, u64),
    data: (u64, u64),
    /// The first page behind all.
    end: u64,
}

async fn map_segments(mm: &Mm, header: &Header, file: &Rc<MappedFile>, base: u64) -> Result<Loaded> {
    let mut loaded = Loaded { code: (u64::MAX, 0), data: (0, 0), end: 0 };
    for segment in &header.segments {
        let start = segment.vaddr.wrapping_add(base);
        let (file_end, end) = (start + segment.file_size, start + segment.mem_size);
        if end > mm.task_size() || start > mm.task_size() {
            return Err(Errno::ENOMEM);
        }
        let first_page = start & !(PAGE - 1);
        let file_pages_end = if segment.file_size > 0 { file_end.next_multiple_of(PAGE) } else { first_page };
        let execute = segment.prot.execute || segment.prot.read && header.stack_executable.is_none();
        let prot = Prot { execute, ..segment.prot };
        let map = |from: u64, to: u64, backing: Backing| {
            mm.map(mm::Request {
                placement: Placement::Fixed(from),
                len: to - from,
                prot,
                max_prot: ALL,
                visibility: Visibility::Private,
                backing,
                flags: VmaFlags::default(),
            })
        };
        if file_pages_end > first_page {
            let first = (segment.offset - (start - first_page)) / PAGE;
            map(first_page, file_pages_end, Backing::File { file: Rc::clone(file), first })?;
        }
        if segment.mem_size > segment.file_size {
            if segment.file_size > 0 && prot.write {
                // What follows the segment in the file must not show, to the end of the page: the dynamic linker takes
                // its first memory from there.
                let zeros = vec![0; (file_pages_end - file_end) as usize];
                mm.write(VirtAddr(file_end), &zeros).await?;
            }
            let zero_end = end.next_multiple_of(PAGE);
            if zero_end > file_pages_end {
                map(file_pages_end, zero_end, Backing::Anonymous)?;
            }
        }
        loaded.end = loaded.end.max(end.next_multiple_of(PAGE));
        if segment.prot.execute {
            loaded.code = (loaded.code.0.min(start), loaded.code.1.max(file_end));
        }
        if file_end >= loaded.data.1 {
            loaded.data = (start, file_end);
        }
    }
    if loaded.code.0 == u64::MAX {
        loaded.code = (0, 0);
    }
    Ok(loaded)
}
