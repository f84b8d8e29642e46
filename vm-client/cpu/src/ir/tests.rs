//! Pinned examples: the IR of short pieces of code. `BLESS=1 cargo test -p vm-cpu` rewrites them after a change; the
//! difference is then read in review.

use std::fmt::Write as _;

use super::*;
use crate::Mode;
use crate::decode::{self, Context, Unknown};

const PIECES: &[(&str, Mode, &[u8])] = &[
    ("push ebp; mov ebp, esp; sub esp, 24; leave; ret", Mode::I386, &[0x55, 0x89, 0xe5, 0x83, 0xec, 24, 0xc9, 0xc3]),
    ("add eax, ebx; add eax, ecx; jc +5 (the first flags are dead)", Mode::I386, &[1, 0xd8, 1, 0xc8, 0x72, 5]),
    (
        "add eax, ebx; mov ecx, [edx]; cmp eax, ecx; je -2 (a fault would show the first flags)",
        Mode::I386,
        &[1, 0xd8, 0x8b, 0x0a, 0x39, 0xc8, 0x74, 0xfe],
    ),
    (
        "mov ah, [esi+edi*4+0x10]; add bl, ah; mov gs:[0x14], bx; ret 8",
        Mode::I386,
        &[0x8a, 0x64, 0xbe, 0x10, 0, 0xe3, 0x66, 0x65, 0x89, 0x1d, 0x14, 0, 0, 0, 0xc2, 8, 0],
    ),
    ("lock xadd [ebx], eax; jmp [eax*4+0x100]", Mode::I386, &[0xf0, 0x0f, 0xc1, 3, 0xff, 0x24, 0x85, 0, 1, 0, 0]),
    (
        "inc dword [esp+4]; shl eax, cl; shl eax, 3; adc edx, 0; jg +0",
        Mode::I386,
        &[0xff, 0x44, 0x24, 4, 0xd3, 0xe0, 0xc1, 0xe0, 3, 0x83, 0xd2, 0, 0x7f, 0],
    ),
    ("mov dword [ebp-4], 7; call -5", Mode::I386, &[0xc7, 0x45, 0xfc, 7, 0, 0, 0, 0xe8, 0xfb, 0xff, 0xff, 0xff]),
    (
        "cdq; idiv ecx; setl al; cmovne eax, edx; int 0x80",
        Mode::I386,
        &[0x99, 0xf7, 0xf9, 0x0f, 0x9c, 0xc0, 0x0f, 0x45, 0xc2, 0xcd, 0x80],
    ),
    ("rep movsd", Mode::I386, &[0xf3, 0xa5]),
    ("pusha; ud2", Mode::I386, &[0x60, 0x0f, 0x0b]),
    (
        "movaps xmm0, [eax]; addps xmm0, xmm1; movups [eax+3], xmm0; hlt",
        Mode::I386,
        &[0x0f, 0x28, 0, 0x0f, 0x58, 0xc1, 0x0f, 0x11, 0x40, 3, 0xf4],
    ),
    ("fld qword [eax]; fadd st1; fstp qword [eax]; ret", Mode::I386, &[0xdd, 0, 0xd8, 0xc1, 0xdd, 0x18, 0xc3]),
    ("mov al, [bx+si]; loop16 -2", Mode::I386, &[0x67, 0x8a, 0, 0x67, 0xe2, 0xfe]),
    (
        "add r9, [rip+0x10]; movsxd rax, ecx; syscall",
        Mode::X86_64,
        &[0x4c, 3, 0x0d, 0x10, 0, 0, 0, 0x48, 0x63, 0xc1, 0x0f, 5],
    ),
];

fn lowered(mode: Mode, code: &[u8]) -> Block {
    let context = Context { mode, segments: Segments { flat: true, null: 0 }, limit: usize::MAX, narrow: false };
    decode::block(0x1000, code, context, &mut Unknown::new()).expect("whole instructions")
}

#[test]
fn the_ir_of_the_examples_is_as_pinned() {
    let mut text = String::new();
    for (name, mode, code) in PIECES {
        let block = lowered(*mode, code);
        assert_eq!(verify(&block), Ok(()), "{name}");
        write!(text, "# {name}\n{block}\n").expect("strings can be written to");
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ir/pinned.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &text).expect("the source can be written to");
    }
    let pinned = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(pinned == text, "the IR changed; run with BLESS=1 and read the difference\n{text}");
}

#[test]
fn the_verifier_finds_each_kind_of_mistake() {
    // mov eax, [ebx]; mov [ecx], eax; ret
    let good = lowered(Mode::I386, &[0x8b, 3, 0x89, 1, 0xc3]);
    let broken = |change: fn(&mut Block)| {
        let mut block = good.clone();
        change(&mut block);
        verify(&block).map_err(|e| e.what).expect_err("the change breaks a rule")
    };
    assert!(broken(|b| b.ops.truncate(2)).contains("no exit"));
    assert!(broken(|b| b.ops.push(b.ops[0])).contains("follow the exit"));
    assert!(broken(|b| b.ops[0].a = 40).contains("before it is written"));
    assert!(broken(|b| b.ops[0].a = 30).contains("means nothing"));
    assert!(broken(|b| b.ops[0].dst = Slot::ZERO.0).contains("cannot be written"));
    assert!(broken(|b| b.insns.truncate(1)).contains("may trap after"));
    assert!(broken(|b| b.insns[0].first_op = 1).contains("does not begin"));
}
