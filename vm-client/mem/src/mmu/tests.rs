use super::*;
use crate::{PageFault, VirtAddr};

const RW: Prot = Prot { read: true, write: true, execute: false };
const RX: Prot = Prot { read: true, write: false, execute: true };
const RWX: Prot = Prot { read: true, write: true, execute: true };
const R: Prot = Prot { read: true, write: false, execute: false };

fn fault(addr: u64, access: Access, cause: FaultCause) -> PageFault {
    PageFault { addr: VirtAddr(addr), access, cause }
}

/// A machine with one active space of `bits` bits and writable pages.
fn with_pages(bits: u8, pages: &[u64]) -> (Mmu, MmId) {
    let mut mmu = Mmu::new(256).unwrap();
    let mm = mmu.create_space(bits);
    mmu.activate(mm);
    for page in pages {
        let frame = mmu.alloc_zeroed().unwrap();
        mmu.map(mm, Vpn(*page), frame, RW);
    }
    (mmu, mm)
}

#[test]
fn values_are_little_endian_and_cross_pages() {
    for bits in [32, 48] {
        let (mut mmu, mm) = with_pages(bits, &[0x10, 0x11]);
        mmu.store(VirtAddr(0x10ffd), 0x1122_3344_5566_7788_u64).unwrap();
        assert_eq!(mmu.load::<u8>(VirtAddr(0x10ffd)), Ok(0x88));
        assert_eq!(mmu.load::<u32>(VirtAddr(0x10fff)), Ok(0x3344_5566));
        assert_eq!(mmu.load::<u64>(VirtAddr(0x10ffd)), Ok(0x1122_3344_5566_7788));
        assert!(mmu.mapping(mm, Vpn(0x10)).unwrap().dirty);
        mmu.store(VirtAddr(0x10000), u128::MAX - 1).unwrap();
        assert_eq!(mmu.load(VirtAddr(0x10000)), Ok(u128::MAX - 1));
    }
}

#[test]
fn a_store_over_a_missing_or_read_only_page_changes_nothing() {
    for bits in [32, 48] {
        let (mut mmu, mm) = with_pages(bits, &[1]);
        let at = VirtAddr(0x1ffe);
        assert_eq!(mmu.store(at, 0xffff_ffff_u32), Err(fault(0x2000, Access::Write, FaultCause::NotMapped)));
        let frame = mmu.alloc_zeroed().unwrap();
        mmu.map(mm, Vpn(2), frame, R);
        assert_eq!(mmu.store(at, 0xffff_ffff_u32), Err(fault(0x2000, Access::Write, FaultCause::Forbidden)));
        assert_eq!(mmu.check_store(at, 3), Err(fault(0x2000, Access::Write, FaultCause::Forbidden)));
        assert_eq!(mmu.check_store(at, 2), Ok(()));
        assert_eq!(mmu.load::<u32>(at), Ok(0));
    }
}

#[test]
fn the_top_of_the_address_space_does_not_wrap() {
    let (mut mmu, _) = with_pages(32, &[0, 0xfffff]);
    let at = VirtAddr(0xffff_fffe);
    assert_eq!(mmu.load::<u16>(at), Ok(0));
    assert_eq!(mmu.load::<u32>(at), Err(fault(1 << 32, Access::Read, FaultCause::NotMapped)));
    assert_eq!(mmu.load::<u8>(VirtAddr(u64::MAX)), Err(fault(u64::MAX, Access::Read, FaultCause::NotMapped)));
}

#[test]
fn without_an_active_space_everything_faults() {
    let (mut mmu, mm) = with_pages(32, &[1]);
    mmu.destroy_space(mm);
    assert_eq!(mmu.load::<u8>(VirtAddr(0x1000)), Err(fault(0x1000, Access::Read, FaultCause::NotMapped)));
    assert_eq!(mmu.free_frames(), (256, 256));
}

#[test]
fn protection_takes_effect_at_once() {
    for bits in [32, 48] {
        let (mut mmu, mm) = with_pages(bits, &[5]);
        mmu.store(VirtAddr(0x5000), 1_u8).unwrap();
        mmu.protect(mm, Vpn(5), R);
        assert_eq!(mmu.store(VirtAddr(0x5000), 2_u8), Err(fault(0x5000, Access::Write, FaultCause::Forbidden)));
        mmu.protect(mm, Vpn(5), Prot::default());
        assert_eq!(mmu.load::<u8>(VirtAddr(0x5000)), Err(fault(0x5000, Access::Read, FaultCause::Forbidden)));
        mmu.protect(mm, Vpn(5), RW);
        assert_eq!(mmu.load::<u8>(VirtAddr(0x5000)), Ok(1));
        mmu.unmap(mm, Vpn(5));
        assert_eq!(mmu.load::<u8>(VirtAddr(0x5000)), Err(fault(0x5000, Access::Read, FaultCause::NotMapped)));
    }
}

#[test]
fn switching_spaces_switches_memory_even_with_more_spaces_than_tables() {
    let mut mmu = Mmu::new(256).unwrap();
    let spaces: Vec<MmId> = (0..40).map(|n| mmu.create_space(if n % 5 == 4 { 48 } else { 32 })).collect();
    for (value, mm) in spaces.iter().enumerate() {
        let frame = mmu.alloc_zeroed().unwrap();
        mmu.map(*mm, Vpn(7), frame, RW);
        mmu.activate(*mm);
        mmu.store(VirtAddr(0x7000), value as u32).unwrap();
    }
    for (value, mm) in spaces.iter().enumerate().rev() {
        mmu.activate(*mm);
        assert_eq!(mmu.load::<u32>(VirtAddr(0x7000)), Ok(value as u32));
    }
    // A change made while the space had no table is seen when it has one again.
    mmu.unmap(spaces[1], Vpn(7));
    mmu.activate(spaces[1]);
    assert!(mmu.load::<u32>(VirtAddr(0x7000)).is_err());
}

#[test]
fn cleaning_reaches_every_alias() {
    let (mut mmu, first) = with_pages(32, &[3]);
    let second = mmu.create_space(32);
    mmu.clone_range(first, second, Vpn(0)..Vpn(100), Sharing::Shared);
    let frame = mmu.mapping(first, Vpn(3)).unwrap().frame;
    assert_eq!(mmu.refs(frame), 2);
    mmu.store(VirtAddr(0x3000), 1_u8).unwrap();
    mmu.activate(second);
    mmu.store(VirtAddr(0x3001), 1_u8).unwrap();
    assert!(mmu.clean(frame));
    assert!(!mmu.clean(frame));
    mmu.store(VirtAddr(0x3001), 2_u8).unwrap();
    assert!(mmu.mapping(second, Vpn(3)).unwrap().dirty);
    assert!(!mmu.mapping(first, Vpn(3)).unwrap().dirty);
    mmu.activate(first);
    mmu.store(VirtAddr(0x3001), 3_u8).unwrap();
    assert!(mmu.mapping(first, Vpn(3)).unwrap().dirty);
    mmu.retain(frame);
    mmu.unmap_everywhere(frame);
    assert_eq!((mmu.mapping(first, Vpn(3)), mmu.mapping(second, Vpn(3))), (None, None));
    assert_eq!(mmu.refs(frame), 1);
    assert!(mmu.load::<u8>(VirtAddr(0x3001)).is_err());
}

#[test]
fn copy_on_write_clones_forbid_stores_on_both_sides() {
    let (mut mmu, parent) = with_pages(32, &[3, 9]);
    mmu.store(VirtAddr(0x3000), 5_u8).unwrap();
    let child = mmu.create_space(32);
    mmu.clone_range(parent, child, Vpn(0)..Vpn(9), Sharing::CopyOnWrite);
    let refused = Err(fault(0x3000, Access::Write, FaultCause::Forbidden));
    assert_eq!(mmu.store(VirtAddr(0x3000), 6_u8), refused);
    mmu.store(VirtAddr(0x9000), 1_u8).unwrap();
    mmu.activate(child);
    assert_eq!(mmu.store(VirtAddr(0x3000), 6_u8), refused);
    assert_eq!(mmu.load::<u8>(VirtAddr(0x3000)), Ok(5));
    assert_eq!(mmu.mapping(child, Vpn(9)), None);
    // The kernel copies and maps anew.
    let copy = mmu.alloc_copy(mmu.mapping(child, Vpn(3)).unwrap().frame).unwrap();
    mmu.map(child, Vpn(3), copy, RW);
    mmu.store(VirtAddr(0x3000), 6_u8).unwrap();
    mmu.activate(parent);
    assert_eq!(mmu.load::<u8>(VirtAddr(0x3000)), Ok(5));
}

#[test]
fn stores_to_code_are_recorded_through_every_alias_and_the_kernel() {
    for bits in [32, 48] {
        let (mut mmu, mm) = with_pages(bits, &[1]);
        let frame = mmu.mapping(mm, Vpn(1)).unwrap().frame;
        mmu.retain(frame);
        mmu.map(mm, Vpn(8), frame, RX);
        // Warm: the fast path is open before the page holds code.
        mmu.store(VirtAddr(0x1000), 0x90_u8).unwrap();
        assert_eq!(mmu.code_frame(VirtAddr(0x8000)), Ok(frame));
        assert!(!mmu.has_code_writes());
        mmu.store(VirtAddr(0x1010), 1_u32).unwrap();
        mmu.store(VirtAddr(0x1014), 1_u32).unwrap();
        assert!(mmu.has_code_writes());
        assert_eq!(mmu.take_code_writes(), [(frame, 0x10..0x18)]);
        mmu.copy_out(mm, VirtAddr(0x1ffe), &[1, 2]).unwrap();
        assert_eq!(mmu.take_code_writes(), [(frame, 0xffe..0x1000)]);
        mmu.frame_mut(frame)[0] = 1;
        assert_eq!(mmu.take_code_writes(), [(frame, 0..0x1000)]);
        mmu.clear_code(frame);
        mmu.store(VirtAddr(0x1010), 1_u32).unwrap();
        assert!(!mmu.has_code_writes());
    }
}

#[test]
fn a_freed_code_frame_counts_as_written() {
    let (mut mmu, mm) = with_pages(32, &[]);
    let frame = mmu.alloc_zeroed().unwrap();
    mmu.map(mm, Vpn(1), frame, RX);
    mmu.code_frame(VirtAddr(0x1000)).unwrap();
    mmu.unmap(mm, Vpn(1));
    assert_eq!(mmu.take_code_writes(), [(frame, 0..0x1000)]);
}

#[test]
fn fetch_stops_at_what_cannot_be_executed() {
    let (mut mmu, mm) = with_pages(32, &[]);
    let frame = mmu.alloc_zeroed().unwrap();
    mmu.frame_mut(frame)[0xffe..].copy_from_slice(&[0xeb, 0xfe]);
    mmu.map(mm, Vpn(1), frame, RX);
    let mut code = [0; 15];
    assert_eq!(mmu.fetch(VirtAddr(0x1ffe), &mut code), Ok(2));
    assert_eq!(code[..2], [0xeb, 0xfe]);
    assert_eq!(mmu.fetch(VirtAddr(0x1000), &mut code), Ok(15));
    mmu.protect(mm, Vpn(1), R);
    assert_eq!(mmu.fetch(VirtAddr(0x1ffe), &mut code), Err(fault(0x1ffe, Access::Execute, FaultCause::Forbidden)));
}

#[test]
fn the_code_epoch_is_the_spaces_own_and_moves_when_code_goes_away() {
    let (mut mmu, first) = with_pages(32, &[1]);
    let frame = mmu.alloc_zeroed().unwrap();
    mmu.map(first, Vpn(2), frame, RWX);
    let epoch = mmu.code_epoch();
    mmu.unmap(first, Vpn(1));
    assert_eq!(mmu.code_epoch(), epoch, "data went away");
    let second = mmu.create_space(32);
    mmu.activate(second);
    assert_ne!(mmu.code_epoch(), epoch);
    mmu.activate(first);
    assert_eq!(mmu.code_epoch(), epoch);
    mmu.protect(first, Vpn(2), RW);
    assert_ne!(mmu.code_epoch(), epoch);
}

#[test]
fn a_copy_knows_the_code_until_one_of_both_gets_more() {
    let (mut mmu, first) = with_pages(32, &[]);
    let frame = mmu.alloc_zeroed().unwrap();
    mmu.map(first, Vpn(2), frame, RWX);
    let epoch = mmu.code_epoch();
    let second = mmu.create_space(32);
    mmu.clone_range(first, second, Vpn(0)..Vpn(16), Sharing::CopyOnWrite);
    mmu.inherit_code(first, second);
    let epoch_of = |mmu: &mut Mmu, mm| {
        mmu.activate(mm);
        mmu.code_epoch()
    };
    assert_eq!([first, second].map(|mm| epoch_of(&mut mmu, mm)), [epoch, epoch]);
    // The copy gets a page, first without permission to execute it.
    let frame = mmu.alloc_zeroed().unwrap();
    mmu.map(second, Vpn(3), frame, RW);
    assert_eq!(epoch_of(&mut mmu, second), epoch);
    mmu.protect(second, Vpn(3), RWX);
    assert_ne!(epoch_of(&mut mmu, second), epoch);
    // By itself the first may get more.
    let frame = mmu.alloc_zeroed().unwrap();
    mmu.map(first, Vpn(4), frame, RWX);
    assert_eq!(epoch_of(&mut mmu, first), epoch);
    let third = mmu.create_space(32);
    mmu.inherit_code(first, third);
    let frame = mmu.alloc_zeroed().unwrap();
    mmu.map(first, Vpn(5), frame, RWX);
    assert_ne!(epoch_of(&mut mmu, first), epoch);
    assert_eq!(epoch_of(&mut mmu, third), epoch);
}

#[test]
fn the_kernels_door_tells_how_far_it_came() {
    let (mut mmu, mm) = with_pages(32, &[1]);
    let other = mmu.create_space(32);
    mmu.activate(other);
    mmu.copy_out(mm, VirtAddr(0x1ffc), &[1, 2, 3, 4]).unwrap();
    let mut buffer = [0; 8];
    let missing = fault(0x2000, Access::Read, FaultCause::NotMapped);
    assert_eq!(mmu.copy_in(mm, VirtAddr(0x1ffc), &mut buffer), Err((4, missing)));
    assert_eq!(buffer, [1, 2, 3, 4, 0, 0, 0, 0]);
}

#[test]
fn moved_pages_keep_content_and_dirty_bit() {
    let (mut mmu, mm) = with_pages(32, &[1, 2]);
    mmu.store(VirtAddr(0x1000), 9_u8).unwrap();
    mmu.move_page(mm, Vpn(1), Vpn(2));
    assert_eq!(mmu.mapping(mm, Vpn(1)), None);
    assert!(mmu.mapping(mm, Vpn(2)).unwrap().dirty);
    assert_eq!(mmu.load::<u8>(VirtAddr(0x2000)), Ok(9));
    assert_eq!(mmu.resident(mm), 1);
    assert_eq!(mmu.free_frames(), (255, 256));
}

/// Random operations on two spaces against a model that is a plain map.
#[test]
fn any_sequence_of_operations_agrees_with_a_plain_map() {
    use std::collections::HashMap;
    let mut mmu = Mmu::new(64).unwrap();
    let spaces = [mmu.create_space(32), mmu.create_space(32), mmu.create_space(48)];
    let mut model: HashMap<(u32, u64), (u8, Prot)> = HashMap::new();
    let mut state = 0x1234_5678_9abc_def0_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for _ in 0..if cfg!(miri) { 300 } else { 20_000 } {
        let mm = spaces[random(3) as usize];
        let page = random(12);
        let key = (mm.0, page);
        let prot = [R, RW, RX, Prot::default()][random(4) as usize];
        match random(6) {
            0 => {
                if let Ok(frame) = mmu.alloc_zeroed() {
                    mmu.frame_mut(frame)[5] = page as u8;
                    mmu.map(mm, Vpn(page), frame, prot);
                    model.insert(key, (page as u8, prot));
                }
            }
            1 => assert_eq!(mmu.unmap(mm, Vpn(page)).is_some(), model.remove(&key).is_some()),
            2 => {
                mmu.protect(mm, Vpn(page), prot);
                if let Some((_, old)) = model.get_mut(&key) {
                    *old = prot;
                }
            }
            3 => mmu.activate(mm),
            4 => {
                let Some(active) = mmu.active() else { continue };
                let value = random(256) as u8;
                let stored = mmu.store(VirtAddr(page * 4096 + 5), value).is_ok();
                let entry = model.get_mut(&(active.0, page)).filter(|(_, prot)| prot.write);
                assert_eq!(stored, entry.is_some());
                if let Some((content, _)) = entry {
                    *content = value;
                }
            }
            _ => {
                let Some(active) = mmu.active() else { continue };
                let loaded = mmu.load::<u8>(VirtAddr(page * 4096 + 5)).ok();
                let expected = model.get(&(active.0, page)).filter(|(_, prot)| prot.read).map(|(content, _)| *content);
                assert_eq!(loaded, expected);
            }
        }
    }
    assert_eq!(mmu.free_frames().0 as usize, 64 - model.len());
}
