//! Plans and emits without a host: what comes out must be valid WebAssembly, whatever goes in.

use vm_cpu::Mode;
use vm_cpu::decode::{self, Context, Unknown};
use vm_cpu::ir::{Op, Segments};
use vm_mem::FrameId;
use wasmparser::{Validator, WasmFeatures};

use crate::emit::{self, Config, Function, Functions, Numbers, StackRegisters};
use crate::module;
use crate::plan::{CodeSource, End, Found, Limits, Otherwise, Region, Target, plan};
use crate::shape::Shape;

const BASE: u32 = 0x1000;

struct Bytes<'a> {
    code: &'a [u8],
    unknown: Unknown,
    jumps: Vec<u32>,
}

impl CodeSource for Bytes<'_> {
    fn block(&mut self, start: u32, limit: usize) -> Option<Found> {
        let code = self.code.get(start.checked_sub(BASE)? as usize..)?;
        let context = Context { mode: Mode::I386, segments: Segments { flat: true, null: 0 }, limit, narrow: false };
        let block = decode::block(u64::from(start), code, context, &mut self.unknown).ok()?;
        Some(Found { block, frame: FrameId(start >> 12), second: None })
    }
    fn is_warm(&mut self, start: u32) -> bool {
        start >= BASE
    }
    fn is_entry(&mut self, _start: u32) -> bool {
        false
    }
    fn jumps_from(&mut self, _behind: u32) -> Vec<u32> {
        self.jumps.clone()
    }
}

#[derive(Default)]
struct Counted(u32);

impl Numbers for Counted {
    fn operation(&mut self, _op: Op) -> u32 {
        self.0 += 1;
        self.0
    }
    fn cell(&mut self, address: u32) -> Option<u32> {
        Some(address & 0xff)
    }
}

fn planned(code: &[u8], jumps: &[u32]) -> (Region, Shape) {
    let mut source = Bytes { code, unknown: Unknown::new(), jumps: jumps.to_vec() };
    let mut region = plan(&mut source, BASE, Limits { blocks: 40, ops: 1000 }).expect("there is code");
    let shape = Shape::of(&mut region);
    (region, shape)
}

fn emitted(code: &[u8], jumps: &[u32], x87_fast: bool) -> (Region, Function) {
    let (region, shape) = planned(code, jumps);
    let config = Config {
        core: 0x10000,
        state: 0x20000,
        first_frame: 0x10_0000,
        tail_calls: true,
        x87_fast,
        x87: Functions::from(1),
        stack: StackRegisters::Frame,
        near: 1,
    };
    let function = emit::function(&region, &shape, 3, &config, &mut Counted::default());
    (region, function)
}

fn validated(code: &[u8]) -> (Region, Function) {
    validated_with(code, &[])
}

/// The same where jumps through registers led to these addresses.
fn validated_with(code: &[u8], jumps: &[u32]) -> (Region, Function) {
    emitted_and_validated(code, jumps, true);
    emitted_and_validated(code, jumps, false)
}

fn emitted_and_validated(code: &[u8], jumps: &[u32], x87_fast: bool) -> (Region, Function) {
    let (region, function) = emitted(code, jumps, x87_fast);
    let bytes = module::module(&[(7, function.clone())]);
    let mut validator = Validator::new_with_features(WasmFeatures::default());
    if let Err(error) = validator.validate_all(&bytes) {
        panic!("{error}\n{code:02x?}");
    }
    (region, function)
}

#[test]
fn a_loop_is_one_region_with_one_way_back() {
    // 1: add eax, ecx; dec ecx; jnz 1b; ret
    let (region, shape) = planned(&[0x01, 0xc8, 0x49, 0x75, 0xfb, 0xc3], &[]);
    assert_eq!(region.nodes.len(), 2);
    assert_eq!(region.nodes[0].end, End::Branch(Target::Node(0), Target::Node(1)));
    assert_eq!(region.nodes[1].end, End::Return);
    assert!(shape.is_loop[0]);
    validated(&[0x01, 0xc8, 0x49, 0x75, 0xfb, 0xc3]);
}

#[test]
fn calls_are_told_from_jumps_and_go_on_behind() {
    // call +1; nop; sysenter; and the idiom that asks for the instruction pointer: call 0; pop ebx; ret
    let (region, _) = validated(&[0xe8, 0x01, 0, 0, 0, 0x90, 0x0f, 0x34]);
    assert_eq!(region.nodes[0].end, End::Call(BASE + 6, Target::Node(1)));
    let (region, _) = validated(&[0xe8, 0, 0, 0, 0, 0x5b, 0xc3]);
    assert_eq!(region.nodes[0].end, End::Jump(Target::Node(1)));
}

#[test]
fn small_functions_are_copied_to_their_callers() {
    // call f; call f; ret; f: mov ebx, [esp]; ret
    let (region, _) = validated(&[0xe8, 6, 0, 0, 0, 0xe8, 1, 0, 0, 0, 0xc3, 0x8b, 0x1c, 0x24, 0xc3]);
    let copies: Vec<&crate::plan::Node> = region.nodes.iter().filter(|node| node.inlined).collect();
    assert_eq!(copies.iter().map(|node| node.start()).collect::<Vec<_>>(), [BASE + 11, BASE + 11]);
    for (node, back) in copies.iter().zip([BASE + 5, BASE + 10]) {
        let End::Expect(address, Target::Node(to), Otherwise::Jump) = node.end else { panic!("{:?}", node.end) };
        assert_eq!((address, region.nodes[to].start()), (back, back));
    }
    assert!(region.nodes.iter().all(|node| !matches!(node.end, End::Call(..))));
}

#[test]
fn what_links_programs_becomes_a_call_or_the_function_it_leads_to() {
    // call stub; ret; stub: jmp [0x9000]; nop; f: inc eax; ret; g: sysenter
    let code = [0xe8, 1, 0, 0, 0, 0xc3, 0xff, 0x25, 0, 0x90, 0, 0, 0x90, 0x40, 0xc3, 0x0f, 0x34];
    let stub = |region: &Region| region.nodes.iter().find(|node| node.start() == BASE + 6).map(|node| node.end);
    let (region, _) = validated_with(&code, &[BASE + 13]);
    let Some(End::Expect(to, Target::Node(copy), Otherwise::Call(Target::Node(_)))) = stub(&region) else {
        panic!("{:?}", stub(&region));
    };
    assert_eq!((to, region.nodes[copy].start()), (BASE + 13, BASE + 13));
    let (region, _) = validated_with(&code, &[BASE + 15]);
    assert!(matches!(stub(&region), Some(End::CallIndirect(Target::Node(_)))));
}

#[test]
fn a_function_calls_itself_without_looking_itself_up() {
    // 1: dec eax; jz 2f; call 1b; 2: ret
    let (_, function) = validated(&[0x48, 0x74, 0x05, 0xe8, 0xf8, 0xff, 0xff, 0xff, 0xc3]);
    assert_eq!(function.calls_itself.len(), 1);
}

#[test]
fn blocks_that_overlap_are_cut() {
    // nop; 1: inc eax; cmp eax, 9; jne 1b; ret
    let (region, _) = validated(&[0x90, 0x40, 0x83, 0xf8, 0x09, 0x75, 0xfa, 0xc3]);
    let lengths: Vec<u16> = region.nodes.iter().map(|node| node.found.block.len).collect();
    assert_eq!(lengths.iter().sum::<u16>(), 8, "{lengths:?}");
}

#[test]
fn ways_back_into_a_loop_by_another_door_leave_the_region() {
    // je 2f; 1: inc eax; 2: dec ecx; jnz 1b; ret
    let (region, shape) = planned(&[0x74, 0x01, 0x40, 0x49, 0x75, 0xfc, 0xc3], &[]);
    let back = (0..region.nodes.len()).flat_map(|from| {
        region.targets(from).filter_map(move |target| match target {
            Target::Node(to) => Some((from, to)),
            Target::Out(_) => None,
        })
    });
    assert!(back.into_iter().all(|(from, to)| !shape.is_back(from, to)));
    validated(&[0x74, 0x01, 0x40, 0x49, 0x75, 0xfc, 0xc3]);
}

#[test]
fn any_bytes_become_valid_code() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..3000 {
        let mut code: Vec<u8> = (0..160).map(|_| (next() >> 32) as u8).collect();
        // Many short branches, so that there are loops and merges.
        for at in (0..code.len() - 2).step_by(7) {
            if next() % 3 == 0 {
                code[at] = 0x70 | (next() % 16) as u8;
                code[at + 1] = ((next() % 60) as i8 - 30) as u8;
            }
        }
        validated(&code);
        for at in (3..code.len() - 2).step_by(23) {
            code[at] = 0xff;
            code[at + 1] = 0xe0 | (next() % 8) as u8;
        }
        let mut jumps: Vec<u32> = (0..next() % 9).map(|_| BASE + (next() % 150) as u32).collect();
        jumps.sort_unstable();
        jumps.dedup();
        validated_with(&code, &jumps);
    }
}

#[test]
fn jumps_through_registers_stay_in_the_region() {
    // jmp eax; 1: inc ecx; jmp edx; 2: dec ecx; jmp edx; ret
    let code = [0xff, 0xe0, 0x41, 0xff, 0xe2, 0x49, 0xff, 0xe2, 0xc3];
    let (region, _) = validated_with(&code, &[BASE + 2, BASE + 5]);
    let ways = region.nodes.iter().filter(|node| matches!(node.end, End::JumpIndirect(Some(_)))).count();
    assert_eq!((ways, region.tables.len()), (3, 1));
}

#[test]
fn a_dispatcher_is_entered_first_and_its_nodes_by_it() {
    // 1: inc ecx; je 3f; jmp edx; 2: dec ecx; 3: jmp edx
    let code = [0x41, 0x74, 0x03, 0xff, 0xe2, 0x49, 0xff, 0xe2];
    let (region, _) = validated_with(&code, &[BASE, BASE + 5, BASE + 6]);
    assert!(!region.nodes[region.entry].is_code());
    let mut entries: Vec<u32> = region.entries().iter().map(|(start, _)| *start).collect();
    entries.sort_unstable();
    assert_eq!(entries, [BASE, BASE + 5, BASE + 6]);
    let ways = region.nodes.iter().filter(|node| matches!(node.end, End::JumpIndirect(Some(_)))).count();
    assert_eq!(ways, 2);
}

#[test]
fn instructions_of_vectors_become_valid_code() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let prefixes: [&[u8]; 4] = [&[], &[0x66], &[0xf3], &[0xf2]];
    for opcode in 0..=255u8 {
        for prefix in prefixes {
            let mut code = Vec::new();
            for _ in 0..4 {
                code.extend_from_slice(prefix);
                code.extend([0x0f, opcode, ((next() >> 32) as u8 & 0x3f) | (0xc0 * ((next() & 1) as u8)), 1, 2, 3]);
            }
            code.push(0xc3);
            validated(&code);
        }
    }
    for opcode in 0..=255u8 {
        for map in [0x38, 0x3a] {
            validated(&[0x66, 0x0f, map, opcode, 0xca, 1, 0x66, 0x0f, map, opcode, 0x0b, 1, 0xc3]);
        }
    }
}

#[test]
fn instructions_of_the_x87_become_valid_code() {
    for opcode in 0xd8..=0xdfu8 {
        for operand in 0..=255u8 {
            // Registers moved and used around it, so that values are in locals and the top has moved.
            let form = [opcode, operand, 1, 2, 3, 4, 5];
            let length = match operand >> 6 {
                0 if operand & 7 == 5 => 6,
                0 | 1 => 2 + usize::from(operand & 7 == 4) + usize::from(operand >> 6),
                2 => 6 + usize::from(operand & 7 == 4),
                _ => 2,
            };
            let mut code = vec![0xdd, 0x03, 0xd9, 0xe8, 0xd9, 0xc1];
            code.extend_from_slice(&form[..length]);
            code.extend([0xd9, 0xc9, 0xde, 0xc1, 0xdd, 0x1b, 0xc3]);
            validated(&code);
        }
    }
}
