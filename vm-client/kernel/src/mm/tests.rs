use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use linux_abi::mman::{
    MADV_DONTNEED, MAP_ANONYMOUS, MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED,
    MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE, MS_SYNC, PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE,
};
use vm_mem::{FrameId, Mmu};
use vm_rt::{Io, WaitQueue};

use super::page_cache::PageSource;
use super::*;

const RW: u32 = PROT_READ | PROT_WRITE;
const ANON: u32 = MAP_PRIVATE | MAP_ANONYMOUS;

/// A file whose pages are there at once or only when the test lets them through.
struct FakeSource {
    data: RefCell<Vec<u8>>,
    reads: RefCell<Vec<u64>>,
    slow: RefCell<BTreeSet<u64>>,
    arrived: WaitQueue,
    broken: Cell<bool>,
}

impl FakeSource {
    fn new(data: Vec<u8>) -> Rc<Self> {
        Rc::new(Self {
            data: RefCell::new(data),
            reads: RefCell::default(),
            slow: RefCell::default(),
            arrived: WaitQueue::new(),
            broken: Cell::new(false),
        })
    }

    fn give(&self, index: u64, page: &mut [u8; PAGE_SIZE]) -> Result<(), Errno> {
        if self.broken.get() {
            return Err(Errno::EIO);
        }
        self.reads.borrow_mut().push(index);
        let data = self.data.borrow();
        let from = (index as usize * PAGE_SIZE).min(data.len());
        let to = (from + PAGE_SIZE).min(data.len());
        page.fill(0);
        page[..to - from].copy_from_slice(&data[from..to]);
        Ok(())
    }

    fn let_through(&self) {
        self.slow.borrow_mut().clear();
        self.arrived.wake_all();
    }
}

impl PageSource for FakeSource {
    fn size(&self) -> u64 {
        self.data.borrow().len() as u64
    }

    fn read_page<'a>(&'a self, index: u64, page: &'a mut [u8; PAGE_SIZE]) -> Io<'a, Result<(), Errno>> {
        if !self.slow.borrow().contains(&index) {
            return Io::ready(self.give(index, page));
        }
        Io::later(async move {
            while self.slow.borrow().contains(&index) {
                self.arrived.wait().await;
            }
            self.give(index, page)
        })
    }

    fn write_page<'a>(&'a self, index: u64, page: &'a [u8; PAGE_SIZE]) -> Io<'a, Result<(), Errno>> {
        let mut data = self.data.borrow_mut();
        let from = (index as usize * PAGE_SIZE).min(data.len());
        let to = (from + PAGE_SIZE).min(data.len());
        data[from..to].copy_from_slice(&page[..to - from]);
        Io::ready(Ok(()))
    }
}

struct FakeObject;

impl MappedObject for FakeObject {
    fn dev(&self) -> u64 {
        0x801
    }
    fn ino(&self) -> u64 {
        12
    }
    fn path(&self) -> Vec<u8> {
        b"/lib/file".to_vec()
    }
}

fn memory(frames: u32) -> Rc<Memory> {
    Memory::new(Rc::new(RefCell::new(Mmu::new(frames).unwrap())))
}

/// A file of that many bytes, each page filled with its number plus one.
fn file(memory: &Rc<Memory>, len: usize) -> (Rc<FakeSource>, Rc<MappedFile>) {
    let source = FakeSource::new((0..len).map(|at| (at / PAGE_SIZE + 1) as u8).collect());
    let cache = PageCache::new(memory, Rc::clone(&source) as Rc<dyn PageSource>);
    (source, Rc::new(MappedFile { cache, object: Rc::new(FakeObject) }))
}

fn poll<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// The result of something that must not wait.
fn now<T>(future: impl Future<Output = T>) -> T {
    poll(future).expect("this needs no waiting")
}

fn mmap(mm: &Mm, addr: u64, len: u64, prot: u32, flags: u32) -> Result<u64, Errno> {
    now(mm.mmap(addr, len, prot, flags, None, 0))
}

fn mmap_file(mm: &Mm, file: &Rc<MappedFile>, len: u64, prot: u32, flags: u32, first: u64) -> Result<u64, Errno> {
    now(mm.mmap(0, len, prot, flags, Some(Mapping::File { file: Rc::clone(file), writable: true }), first))
}

fn get(mm: &Mm, addr: u64) -> Result<u8, Errno> {
    let mut byte = [0];
    now(mm.read(VirtAddr(addr), &mut byte)).map(|()| byte[0])
}

fn set(mm: &Mm, addr: u64, value: u8) -> Result<(), Errno> {
    now(mm.write(VirtAddr(addr), &[value]))
}

fn fault(mm: &Mm, addr: u64, access: Access) -> Result<(), FaultError> {
    now(mm.fault(VirtAddr(addr), access))
}

/// The areas as start page, end page, writable.
fn layout(mm: &Mm) -> Vec<(u64, u64, bool)> {
    mm.areas().iter().map(|area| (area.start / PAGE, area.end / PAGE, area.prot.write)).collect()
}

#[test]
fn mappings_go_top_down_and_hints_and_fixed_addresses_are_followed() {
    let mm = Mm::new_i386(&memory(100), Limits::default());
    let first = mmap(&mm, 0, 0x1234, RW, ANON).unwrap();
    assert_eq!(first, 0xf7ff_c000);
    assert_eq!(mmap(&mm, 0, 0x1000, RW, ANON), Ok(0xf7ff_b000));
    assert_eq!(layout(&mm), [(0xf7ffb, 0xf7ffe, true)]);
    assert_eq!(mmap(&mm, 0x2000_0123, 0x1000, RW, ANON), Ok(0x2000_1000));
    assert_eq!(mmap(&mm, first, 0x1000, RW, ANON), Ok(0xf7ff_a000), "a hint that is taken");
    assert_eq!(mmap(&mm, first, 0x1000, RW, ANON | MAP_FIXED_NOREPLACE), Err(Errno::EEXIST));
    set(&mm, first, 7).unwrap();
    assert_eq!(mmap(&mm, first, 0x1000, PROT_READ, ANON | MAP_FIXED), Ok(first));
    assert_eq!(get(&mm, first), Ok(0));
    assert_eq!(mmap(&mm, 0x1000, 0x1000, RW, ANON | MAP_FIXED), Err(Errno::EPERM));
    assert_eq!(mmap(&mm, 0xffff_e000, 0x1000, RW, ANON | MAP_FIXED), Err(Errno::ENOMEM));
    assert_eq!(mmap(&mm, 0x2000_0001, 0x1000, RW, ANON | MAP_FIXED), Err(Errno::EINVAL));
    assert_eq!(mmap(&mm, 0, 0, RW, ANON), Err(Errno::EINVAL));
    assert_eq!(mmap(&mm, 0, 0x1000, RW, MAP_PRIVATE), Err(Errno::EBADF));
    assert_eq!(mmap(&mm, 0, 0x1000, RW, MAP_ANONYMOUS), Err(Errno::EINVAL));
}

#[test]
fn faults_tell_absent_from_forbidden() {
    let mm = Mm::new_i386(&memory(100), Limits::default());
    let at = mmap(&mm, 0, 0x2000, PROT_READ, ANON).unwrap();
    assert_eq!(fault(&mm, at, Access::Read), Ok(()));
    assert_eq!(fault(&mm, at, Access::Write), Err(FaultError::Forbidden));
    assert_eq!(fault(&mm, at, Access::Execute), Err(FaultError::Forbidden));
    assert_eq!(fault(&mm, at + 0x2000, Access::Read), Err(FaultError::NotMapped));
    assert_eq!(fault(&mm, 0xffff_f000, Access::Read), Err(FaultError::NotMapped));
    mm.mprotect(at, 0x1000, PROT_NONE).unwrap();
    assert_eq!(fault(&mm, at, Access::Read), Err(FaultError::Forbidden));
    mm.mprotect(at, 0x1000, PROT_EXEC).unwrap();
    assert_eq!(fault(&mm, at, Access::Execute), Ok(()));
    assert_eq!(get(&mm, at), Ok(0), "what can be executed can be read");
    mm.mprotect(at, 0x1000, PROT_WRITE).unwrap();
    assert_eq!((set(&mm, at, 3), get(&mm, at)), (Ok(()), Ok(3)));
}

#[test]
fn fork_shares_pages_until_first_write() {
    let memory = memory(100);
    let mm = Mm::new_i386(&memory, Limits::default());
    let at = mmap(&mm, 0, 0x3000, RW, ANON).unwrap();
    let shared = mmap(&mm, 0, 0x1000, RW, MAP_SHARED | MAP_ANONYMOUS).unwrap();
    (0..3).for_each(|page| set(&mm, at + page * PAGE, 1).unwrap());
    set(&mm, shared, 1).unwrap();
    let before = memory.stats().free;
    let child = mm.fork().unwrap();
    assert_eq!(memory.stats().free, before);
    set(&child, at, 2).unwrap();
    set(&mm, at + PAGE, 3).unwrap();
    set(&child, shared, 9).unwrap();
    assert_eq!(memory.stats().free, before - 2);
    assert_eq!((get(&mm, at), get(&child, at)), (Ok(1), Ok(2)));
    assert_eq!((get(&mm, at + PAGE), get(&child, at + PAGE)), (Ok(3), Ok(1)));
    assert_eq!(get(&mm, shared), Ok(9));
    drop(mm);
    // What only the child has left is written in place.
    let before = memory.stats().free;
    set(&child, at + 2 * PAGE, 4).unwrap();
    assert_eq!(memory.stats().free, before);
    assert_eq!(get(&child, at + PAGE), Ok(1));
    drop(child);
    assert_eq!(memory.stats(), MemoryStats { total: 100, free: 100, ..MemoryStats::default() });
}

#[test]
fn private_file_pages_are_the_page_caches_own_until_written() {
    let memory = memory(400);
    let (source, file) = file(&memory, 40 * PAGE_SIZE);
    let mm = Mm::new_i386(&memory, Limits::default());
    let other = Mm::new_i386(&memory, Limits::default());
    let at = mmap_file(&mm, &file, 40 * PAGE, RW, MAP_PRIVATE, 0).unwrap();
    let there = mmap_file(&other, &file, 40 * PAGE, PROT_READ, MAP_PRIVATE, 0).unwrap();
    assert_eq!(get(&mm, at + 5 * PAGE), Ok(6));
    assert_eq!(source.reads.borrow().len(), 32, "the neighbours came along, up to the end of the chunk");
    assert_eq!(mm.fault_counts(), FaultCounts { minor: 0, major: 1 });
    assert_eq!(mm.resident_pages().0, 10, "and were mapped around the fault, in its block of 16");
    assert_eq!(get(&other, there + 5 * PAGE), Ok(6));
    assert_eq!(memory.stats().free, 400 - 32);
    set(&mm, at + 5 * PAGE, 99).unwrap();
    assert_eq!(memory.stats().free, 400 - 33);
    assert_eq!(get(&other, there + 5 * PAGE), Ok(6));
    // The file changes under both: who did not store sees it.
    file.cache.update(5 * PAGE, &[77]);
    assert_eq!((get(&mm, at + 5 * PAGE), get(&other, there + 5 * PAGE)), (Ok(99), Ok(77)));
    assert_eq!(mm.resident_in(&mm.areas()[0]), (10, 1));
}

#[test]
fn neighbouring_file_pages_get_neighbouring_frames() {
    let memory = memory(400);
    let (_, file) = file(&memory, 32 * PAGE_SIZE);
    now(file.cache.load(20)).unwrap();
    let frames: Vec<u32> = (0..32).filter_map(|index| file.cache.peek(index)).map(|frame| frame.0).collect();
    assert_eq!(frames, (frames[0]..frames[0] + 32).collect::<Vec<_>>());
}

#[test]
fn a_slow_page_parks_the_fault_and_neighbours_are_not_waited_for() {
    let memory = memory(200);
    let (source, file) = file(&memory, 8 * PAGE_SIZE);
    source.slow.borrow_mut().extend([1, 4]);
    let mm = Mm::new_i386(&memory, Limits::default());
    let at = mmap_file(&mm, &file, 8 * PAGE, PROT_READ, MAP_PRIVATE, 0).unwrap();
    assert_eq!(get(&mm, at + 2 * PAGE), Ok(3));
    assert_eq!(*source.reads.borrow(), [2, 3]);
    let mut first = pin!(mm.fault(VirtAddr(at + PAGE), Access::Read));
    let mut second = pin!(mm.fault(VirtAddr(at + PAGE), Access::Read));
    assert_eq!(poll(first.as_mut()), None);
    assert_eq!(poll(second.as_mut()), None);
    source.let_through();
    assert_eq!(poll(first.as_mut()), Some(Ok(())));
    assert_eq!(poll(second.as_mut()), Some(Ok(())));
    assert_eq!(source.reads.borrow().iter().filter(|index| **index == 1).count(), 1, "one reader for all");
}

#[test]
fn an_area_unmapped_while_its_page_is_read_is_a_segmentation_fault() {
    let memory = memory(200);
    let (source, file) = file(&memory, PAGE_SIZE);
    source.slow.borrow_mut().insert(0);
    let mm = Mm::new_i386(&memory, Limits::default());
    let at = mmap_file(&mm, &file, PAGE, PROT_READ, MAP_PRIVATE, 0).unwrap();
    let mut waiting = pin!(mm.fault(VirtAddr(at), Access::Read));
    assert_eq!(poll(waiting.as_mut()), None);
    mm.munmap(at, PAGE).unwrap();
    source.let_through();
    assert_eq!(poll(waiting.as_mut()), Some(Err(FaultError::NotMapped)));
}

#[test]
fn a_page_written_while_it_is_read_is_read_again() {
    let memory = memory(200);
    let (source, file) = file(&memory, PAGE_SIZE);
    source.slow.borrow_mut().insert(0);
    let mut buf = [0; 4];
    let mut read = Box::pin(file.cache.read(0, &mut buf));
    assert!(poll(read.as_mut()).is_none());
    // The source has given its old content but the reader has not run yet when write(2) happens.
    source.data.borrow_mut()[..4].copy_from_slice(&[5; 4]);
    file.cache.update(0, &[5; 4]);
    source.let_through();
    assert_eq!(poll(read.as_mut()), Some(Ok(4)));
    drop(read);
    assert_eq!(source.reads.borrow().len(), 2);
    assert_eq!(buf, [5; 4]);
}

#[test]
fn behind_the_end_of_a_file_and_on_read_errors_there_is_a_bus_error() {
    let memory = memory(200);
    let (source, file) = file(&memory, PAGE_SIZE + 100);
    let mm = Mm::new_i386(&memory, Limits::default());
    let at = mmap_file(&mm, &file, 4 * PAGE, PROT_READ, MAP_SHARED, 0).unwrap();
    assert_eq!(get(&mm, at + PAGE + 99), Ok(2));
    assert_eq!(get(&mm, at + PAGE + 100), Ok(0), "the rest of the last page is zero");
    assert_eq!(fault(&mm, at + 2 * PAGE, Access::Read), Err(FaultError::Bus));
    source.data.borrow_mut().truncate(10);
    file.cache.truncate(10);
    assert_eq!(fault(&mm, at + PAGE, Access::Read), Err(FaultError::Bus));
    assert_eq!((get(&mm, at + 9), get(&mm, at + 10)), (Ok(1), Ok(0)));
    let (broken, file) = self::file(&memory, PAGE_SIZE);
    broken.broken.set(true);
    let at = mmap_file(&mm, &file, PAGE, PROT_READ, MAP_PRIVATE, 0).unwrap();
    assert_eq!(fault(&mm, at, Access::Read), Err(FaultError::Bus));
    assert_eq!(now(file.cache.read(0, &mut [0])), Err(Errno::EIO));
}

#[test]
fn stores_through_shared_mappings_reach_the_file_on_msync_and_after_munmap() {
    let memory = memory(200);
    let (source, file) = file(&memory, 3 * PAGE_SIZE);
    let mm = Mm::new_i386(&memory, Limits::default());
    let at = mmap_file(&mm, &file, 3 * PAGE, RW, MAP_SHARED, 0).unwrap();
    set(&mm, at + 1, 200).unwrap();
    let mut byte = [0];
    assert_eq!(now(file.cache.read(1, &mut byte)), Ok(1));
    assert_eq!(byte, [200], "read(2) sees it at once");
    assert_eq!(source.data.borrow()[1], 1);
    now(mm.msync(at, PAGE, MS_SYNC)).unwrap();
    assert_eq!(source.data.borrow()[1], 200);
    // The page stays mapped and writable; the next store is noticed again.
    set(&mm, at + 2, 201).unwrap();
    set(&mm, at + PAGE, 202).unwrap();
    mm.munmap(at, 3 * PAGE).unwrap();
    assert!(memory.has_watched());
    drop(file);
    now(memory.write_back());
    assert_eq!((source.data.borrow()[2], source.data.borrow()[PAGE_SIZE]), (201, 202));
    assert!(!memory.has_watched());
    assert_eq!(memory.stats().cached, 0, "nobody has the file open any more");
}

#[test]
fn dropping_an_address_space_keeps_what_it_stored() {
    let memory = memory(200);
    let (source, file) = file(&memory, PAGE_SIZE);
    let mm = Mm::new_i386(&memory, Limits::default());
    let at = mmap_file(&mm, &file, PAGE, RW, MAP_SHARED, 0).unwrap();
    set(&mm, at, 50).unwrap();
    drop(mm);
    now(file.cache.flush()).unwrap();
    assert_eq!(source.data.borrow()[0], 50);
}

#[test]
fn a_file_not_open_for_writing_cannot_be_mapped_so() {
    let memory = memory(200);
    let (_, file) = file(&memory, PAGE_SIZE);
    let mm = Mm::new_i386(&memory, Limits::default());
    let read_only = || Some(Mapping::File { file: Rc::clone(&file), writable: false });
    assert_eq!(now(mm.mmap(0, PAGE, RW, MAP_SHARED, read_only(), 0)), Err(Errno::EACCES));
    let at = now(mm.mmap(0, PAGE, PROT_READ, MAP_SHARED, read_only(), 0)).unwrap();
    assert_eq!(mm.mprotect(at, PAGE, RW), Err(Errno::EACCES));
    let at = now(mm.mmap(0, PAGE, RW, MAP_PRIVATE, read_only(), 0)).unwrap();
    assert_eq!(set(&mm, at, 1), Ok(()));
}

#[test]
fn clean_file_pages_are_recycled_before_memory_runs_out() {
    let memory = memory(64);
    let (source, file) = file(&memory, 256 * PAGE_SIZE);
    let mm = Mm::new_i386(&memory, Limits::default());
    let at = mmap_file(&mm, &file, 256 * PAGE, PROT_READ, MAP_PRIVATE, 0).unwrap();
    for _ in 0..2 {
        for page in 0..256 {
            assert_eq!(get(&mm, at + page * PAGE), Ok((page + 1) as u8));
        }
    }
    assert!(source.reads.borrow().len() >= 512);
    // Anonymous memory pushes out what is left of the file.
    let anonymous = mmap(&mm, 0, 60 * PAGE, RW, ANON).unwrap();
    for page in 0..60 {
        set(&mm, anonymous + page * PAGE, 1).unwrap();
    }
    for page in 0..60 {
        assert_eq!(get(&mm, anonymous + page * PAGE), Ok(1));
    }
}

#[test]
fn dirty_pages_are_written_before_they_are_recycled() {
    let memory = memory(64);
    let (source, file) = file(&memory, 128 * PAGE_SIZE);
    let mm = Mm::new_i386(&memory, Limits::default());
    let at = mmap_file(&mm, &file, 128 * PAGE, RW, MAP_SHARED, 0).unwrap();
    for page in 0..128 {
        set(&mm, at + page * PAGE, 100 + page as u8).unwrap();
    }
    for page in 0..128 {
        assert_eq!(get(&mm, at + page * PAGE), Ok(100 + page as u8));
    }
    now(file.cache.flush()).unwrap();
    let data = source.data.borrow();
    assert!((0..128).all(|page| data[page * PAGE_SIZE] == 100 + page as u8));
}

#[test]
fn running_out_of_memory_is_an_error_or_a_kill_and_never_a_panic() {
    let memory = memory(32);
    let mm = Mm::new_i386(&memory, Limits::default());
    assert_eq!(mmap(&mm, 0, 33 * PAGE, RW, ANON), Err(Errno::ENOMEM), "more than there can ever be");
    let at = mmap(&mm, 0, 64 * PAGE, RW, ANON | MAP_NORESERVE).unwrap();
    for page in 0..32 {
        set(&mm, at + page * PAGE, 1).unwrap();
    }
    assert_eq!(fault(&mm, at + 32 * PAGE, Access::Write), Err(FaultError::OutOfMemory));
    assert_eq!(set(&mm, at + 32 * PAGE, 1), Err(Errno::ENOMEM));
    let victim = Cell::new(0);
    let killed = Rc::new(victim);
    let counter = Rc::clone(&killed);
    memory.set_oom_killer(move || {
        counter.set(counter.get() + 1);
        OomOutcome::KilledCaller
    });
    assert_eq!(fault(&mm, at + 32 * PAGE, Access::Write), Err(FaultError::OutOfMemory));
    assert_eq!(killed.get(), 1);
    assert_eq!(PageCache::in_memory(&memory, 0).store(0, &[1]), Err(Errno::ENOSPC));
    mm.munmap(at, PAGE).unwrap();
    assert_eq!(set(&mm, at + 32 * PAGE, 1), Ok(()));
}

#[test]
fn who_waits_for_the_oom_victim_goes_on_when_its_memory_is_free() {
    let memory = memory(32);
    let fat = RefCell::new(Some(Mm::new_i386(&memory, Limits::default())));
    let at = mmap(fat.borrow().as_ref().unwrap(), 0, 31 * PAGE, RW, ANON).unwrap();
    (0..31).for_each(|page| set(fat.borrow().as_ref().unwrap(), at + page * PAGE, 1).unwrap());
    let mm = Mm::new_i386(&memory, Limits::default());
    let at = mmap(&mm, 0, 4 * PAGE, RW, ANON).unwrap();
    set(&mm, at, 1).unwrap();
    memory.set_oom_killer(|| OomOutcome::KilledOther);
    let mut waiting = pin!(mm.fault(VirtAddr(at + PAGE), Access::Write));
    assert_eq!(poll(waiting.as_mut()), None);
    drop(fat.take());
    assert_eq!(poll(waiting.as_mut()), Some(Ok(())));
}

#[test]
fn the_stack_grows_down_to_its_limit_and_keeps_a_gap() {
    let limits = Limits { stack: 64 * PAGE, ..Limits::default() };
    let mm = Mm::new_i386(&memory(100), limits);
    let top = 0xffff_e000;
    mm.map(Request {
        placement: Placement::Fixed(top - PAGE),
        len: PAGE,
        prot: vm_mem::Prot { read: true, write: true, execute: false },
        max_prot: map::ALL,
        visibility: Visibility::Private,
        backing: Backing::Anonymous,
        flags: vma::VmaFlags { grows_down: true, ..vma::VmaFlags::default() },
    })
    .unwrap();
    assert_eq!(set(&mm, top - 5 * PAGE, 1), Ok(()));
    assert_eq!(layout(&mm), [((top / PAGE) - 5, top / PAGE, true)]);
    assert_eq!(set(&mm, top - 64 * PAGE, 1), Ok(()));
    assert_eq!(fault(&mm, top - 64 * PAGE - 1, Access::Write), Err(FaultError::NotMapped));
    mm.set_limits(Limits { stack: 8 << 20, ..Limits::default() });
    mmap(&mm, top - 400 * PAGE, PAGE, RW, ANON | MAP_FIXED).unwrap();
    assert_eq!(set(&mm, top - 143 * PAGE, 1), Ok(()));
    assert_eq!(fault(&mm, top - 144 * PAGE, Access::Write), Err(FaultError::NotMapped), "too close to what is below");
}

#[test]
fn brk_moves_the_heap_and_refuses_what_is_taken() {
    let mm = Mm::new_i386(&memory(100), Limits::default());
    mm.set_layout(Layout { start_brk: 0x5000_0800, brk: 0x5000_0800, ..Layout::default() });
    assert_eq!(now(mm.brk(0)), 0x5000_0800);
    assert_eq!(now(mm.brk(0x5000_0900)), 0x5000_0900, "still in the program's last page");
    assert_eq!(now(mm.brk(0x5000_3001)), 0x5000_3001);
    assert_eq!(layout(&mm), [(0x50001, 0x50004, true)]);
    set(&mm, 0x5000_3000, 5).unwrap();
    assert_eq!(mm.area_name(&mm.areas()[0]), b"[heap]");
    mmap(&mm, 0x5000_6000, PAGE, RW, ANON | MAP_FIXED).unwrap();
    assert_eq!(now(mm.brk(0x5000_6001)), 0x5000_3001);
    assert_eq!(now(mm.brk(0x5000_2000)), 0x5000_2000);
    assert_eq!(fault(&mm, 0x5000_3000, Access::Read), Err(FaultError::NotMapped));
    assert_eq!(now(mm.brk(0x5000_4000)), 0x5000_4000);
    assert_eq!(get(&mm, 0x5000_3000), Ok(0), "what comes back is zero");
}

#[test]
fn mremap_grows_in_place_or_moves_with_the_content() {
    let mm = Mm::new_i386(&memory(100), Limits::default());
    let at = mmap(&mm, 0x2000_0000, 2 * PAGE, RW, ANON).unwrap();
    set(&mm, at, 1).unwrap();
    set(&mm, at + PAGE, 2).unwrap();
    assert_eq!(now(mm.mremap(at, 2 * PAGE, 4 * PAGE, 0, 0)), Ok(at));
    assert_eq!(set(&mm, at + 3 * PAGE, 3), Ok(()));
    mmap(&mm, at + 4 * PAGE, PAGE, PROT_READ, ANON | MAP_FIXED).unwrap();
    assert_eq!(now(mm.mremap(at, 4 * PAGE, 8 * PAGE, 0, 0)), Err(Errno::ENOMEM));
    let moved = now(mm.mremap(at, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE, 0)).unwrap();
    assert_ne!(moved, at);
    assert_eq!((get(&mm, moved), get(&mm, moved + PAGE), get(&mm, moved + 3 * PAGE)), (Ok(1), Ok(2), Ok(3)));
    assert_eq!(fault(&mm, at, Access::Read), Err(FaultError::NotMapped));
    assert_eq!(now(mm.mremap(moved, 8 * PAGE, PAGE, 0, 0)), Ok(moved));
    assert_eq!(fault(&mm, moved + PAGE, Access::Read), Err(FaultError::NotMapped));
    assert_eq!(now(mm.mremap(at, PAGE, PAGE, 0, 0)), Err(Errno::EFAULT));
}

#[test]
fn a_place_named_for_a_move_is_the_start_of_a_page_apart_from_the_old_one() {
    let mm = Mm::new_i386(&memory(100), Limits::default());
    let at = mmap(&mm, 0x2000_0000, 4 * PAGE, RW, ANON).unwrap();
    set(&mm, at, 1).unwrap();
    set(&mm, at + PAGE, 2).unwrap();
    let leave = MREMAP_MAYMOVE | MREMAP_DONTUNMAP;
    // Before 2.40, glibc passes whatever is on the stack as the place of a call with four arguments.
    for crooked in [0x1234_5678, 0x1001, at + PAGE, at, u64::from(u32::MAX) & !0xfff] {
        assert_eq!(now(mm.mremap(at, 4 * PAGE, 4 * PAGE, leave, crooked)), Err(Errno::EINVAL), "{crooked:#x}");
    }
    let moved = now(mm.mremap(at, 4 * PAGE, 4 * PAGE, leave, 0x3000_0000)).unwrap();
    assert_eq!(moved, 0x3000_0000);
    assert_eq!((get(&mm, moved), get(&mm, moved + PAGE), get(&mm, at)), (Ok(1), Ok(2), Ok(0)));
    let fixed = now(mm.mremap(moved, 4 * PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, 0x4000_0000)).unwrap();
    assert_eq!((fixed, get(&mm, fixed)), (0x4000_0000, Ok(1)));
    assert_eq!(fault(&mm, moved + PAGE, Access::Read), Err(FaultError::NotMapped));
}

#[test]
fn shrinking_may_cut_off_several_areas() {
    let mm = Mm::new_i386(&memory(100), Limits::default());
    let at = mmap(&mm, 0x2000_0000, 6 * PAGE, RW, ANON).unwrap();
    set(&mm, at, 1).unwrap();
    mm.mprotect(at + 3 * PAGE, PAGE, PROT_READ).unwrap();
    assert_eq!(now(mm.mremap(at, 6 * PAGE, 7 * PAGE, MREMAP_MAYMOVE, 0)), Err(Errno::EFAULT));
    assert_eq!(now(mm.mremap(at, 6 * PAGE, PAGE, 0, 0)), Ok(at));
    assert_eq!((get(&mm, at), mm.areas().len()), (Ok(1), 1));
}

#[test]
fn file_positions_survive_splitting_and_moving() {
    let memory = memory(200);
    let (_, file) = file(&memory, 10 * PAGE_SIZE);
    let mm = Mm::new_i386(&memory, Limits::default());
    let at = mmap_file(&mm, &file, 6 * PAGE, PROT_READ, MAP_PRIVATE, 2).unwrap();
    mm.mprotect(at + 2 * PAGE, PAGE, RW).unwrap();
    mm.munmap(at + 3 * PAGE, PAGE).unwrap();
    let moved = now(mm.mremap(at + 4 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | 2, 0x3000_0000)).unwrap();
    assert_eq!((get(&mm, at), get(&mm, at + 2 * PAGE), get(&mm, moved + PAGE)), (Ok(3), Ok(5), Ok(8)));
}

#[test]
fn madvise_dontneed_zeroes_anonymous_memory() {
    let memory = memory(100);
    let mm = Mm::new_i386(&memory, Limits::default());
    let at = mmap(&mm, 0, 3 * PAGE, RW, ANON).unwrap();
    (0..3).for_each(|page| set(&mm, at + page * PAGE, 1).unwrap());
    now(mm.madvise(at + PAGE, PAGE, MADV_DONTNEED)).unwrap();
    assert_eq!((get(&mm, at), get(&mm, at + PAGE), get(&mm, at + 2 * PAGE)), (Ok(1), Ok(0), Ok(1)));
    assert_eq!(now(mm.madvise(at, 4 * PAGE, MADV_DONTNEED)), Err(Errno::ENOMEM));
    assert_eq!(get(&mm, at), Ok(0), "what is mapped is done all the same");
    assert_eq!(mm.mincore(at, 3 * PAGE).map(|pages| pages.len()), Ok(3));
    assert_eq!(mm.mincore(at, 4 * PAGE), Err(Errno::ENOMEM));
}

#[test]
fn the_address_space_limit_and_commit_charge_are_kept() {
    let memory = memory(100);
    let mm = Mm::new_i386(&memory, Limits { address_space: 10 * PAGE, ..Limits::default() });
    let at = mmap(&mm, 0, 10 * PAGE, RW, ANON).unwrap();
    assert_eq!(mmap(&mm, 0, PAGE, RW, ANON), Err(Errno::ENOMEM));
    assert_eq!(mmap(&mm, at, 5 * PAGE, PROT_NONE, ANON | MAP_FIXED), Ok(at));
    assert_eq!(memory.stats().committed, 5);
    mm.mprotect(at, 5 * PAGE, RW).unwrap();
    assert_eq!(memory.stats().committed, 10);
    let child = mm.fork().unwrap();
    assert_eq!(memory.stats().committed, 20);
    drop(mm);
    child.munmap(at, 3 * PAGE).unwrap();
    assert_eq!(memory.stats().committed, 7);
}

#[test]
fn program_files_land_at_the_same_place_in_every_process() {
    let memory = memory(100);
    let (_, file) = file(&memory, PAGE_SIZE);
    let flags = MAP_PRIVATE | linux_abi::mman::MAP_DENYWRITE;
    let first = mmap_file(&Mm::new_i386(&memory, Limits::default()), &file, PAGE, PROT_READ, flags, 0).unwrap();
    let mm = Mm::new_i386(&memory, Limits::default());
    mmap(&mm, 0, 100 * PAGE, PROT_NONE, ANON).unwrap();
    assert_eq!(mmap_file(&mm, &file, PAGE, PROT_READ, flags, 0), Ok(first));
    assert_ne!(mmap_file(&mm, &file, PAGE, PROT_READ, flags, 0), Ok(first));
}

#[test]
fn kernel_frames_are_shared_until_somebody_stores() {
    let memory = memory(100);
    let frame = memory.mmu().borrow_mut().alloc_zeroed().unwrap();
    memory.mmu().borrow_mut().frame_mut(frame)[0] = 42;
    let frames: Rc<[FrameId]> = Rc::new([frame]);
    let mm = Mm::new_i386(&memory, Limits::default());
    let at = now(mm.mmap(
        0,
        2 * PAGE,
        PROT_READ | PROT_EXEC,
        MAP_PRIVATE,
        Some(Mapping::Frames { name: "[vdso]", frames }),
        0,
    ))
    .unwrap();
    assert_eq!(get(&mm, at), Ok(42));
    assert_eq!(fault(&mm, at + PAGE, Access::Read), Err(FaultError::Bus));
    mm.mprotect(at, PAGE, RW).unwrap();
    set(&mm, at, 1).unwrap();
    assert_eq!(memory.mmu().borrow().frame(frame)[0], 42);
}

#[test]
fn files_in_memory_have_holes_and_shrink() {
    let memory = memory(100);
    let cache = PageCache::in_memory(&memory, 0);
    assert_eq!(cache.store(3 * PAGE + 10, b"abc"), Ok(3));
    assert_eq!((cache.size(), cache.resident()), (3 * PAGE + 13, 1));
    assert_eq!(cache.missing(0, 4 * PAGE), 3);
    let mut buf = [9; 14];
    assert_eq!(now(cache.read(3 * PAGE, &mut buf)), Ok(13));
    assert_eq!(&buf, b"\0\0\0\0\0\0\0\0\0\0abc\x09");
    assert_eq!(now(cache.read(PAGE, &mut buf)), Ok(14));
    assert_eq!(buf, [0; 14]);
    cache.truncate(3 * PAGE + 11);
    cache.truncate(3 * PAGE + 14);
    assert_eq!(now(cache.read(3 * PAGE + 10, &mut buf)), Ok(4));
    assert_eq!(&buf[..4], b"a\0\0\0");
    cache.zero_range(PAGE, 4 * PAGE);
    assert_eq!(cache.resident(), 0);
    assert_eq!(cache.size(), 3 * PAGE + 14);
    drop(cache);
    assert_eq!(memory.stats(), MemoryStats { total: 100, free: 100, ..MemoryStats::default() });
}

#[test]
fn futex_words_in_shared_memory_are_one_word() {
    let memory = memory(100);
    let mm = Mm::new_i386(&memory, Limits::default());
    let shared = mmap(&mm, 0, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS).unwrap();
    let private = mmap(&mm, 0, PAGE, RW, ANON).unwrap();
    let child = mm.fork().unwrap();
    assert_eq!(mm.futex_key(shared + 8), child.futex_key(shared + 8));
    assert_ne!(mm.futex_key(private + 8), child.futex_key(private + 8));
    assert_eq!(mm.futex_key(0x1000), Err(Errno::EFAULT));
}

/// The programs' own trick: an arena is reserved and then opened piece by piece.
#[test]
fn reserved_memory_opened_piece_by_piece_is_one_area() {
    let mm = Mm::new_i386(&memory(100), Limits::default());
    let at = mmap(&mm, 0, 1 << 20, PROT_NONE, ANON | MAP_NORESERVE).unwrap();
    for page in 0..8 {
        mm.mprotect(at + page * PAGE, PAGE, RW).unwrap();
        set(&mm, at + page * PAGE, 1).unwrap();
    }
    assert_eq!(layout(&mm).len(), 2);
    assert_eq!(mm.mprotect(at + (1 << 20) - PAGE, 2 * PAGE, RW), Err(Errno::ENOMEM));
    assert_eq!(layout(&mm).len(), 3, "the part before the gap was changed");
}
