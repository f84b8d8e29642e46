//! What CPUID tells.
//!
//! The vendor string is our own; features are those the engine has and no more, so that programs choose code that runs
//! here. There is no AVX and no OSXSAVE; LZCNT and TZCNT run as BSR and BSF.

use crate::Mode;

const VENDOR: &[u8; 12] = b"SkiffVirtCPU";
const BRAND: &[u8; 48] = b"Skiff virtual CPU\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Feature bits of leaf 1, ECX.
pub mod leaf1_ecx {
    pub const SSE3: u32 = 1;
    pub const SSSE3: u32 = 1 << 9;
    pub const SSE41: u32 = 1 << 19;
    pub const SSE42: u32 = 1 << 20;
    pub const POPCNT: u32 = 1 << 23;
    pub const HYPERVISOR: u32 = 1 << 31;
}

/// Feature bits of leaf 1, EDX.
pub mod leaf1_edx {
    pub const FPU: u32 = 1;
    pub const TSC: u32 = 1 << 4;
    pub const CX8: u32 = 1 << 8;
    pub const SEP: u32 = 1 << 11;
    pub const CMOV: u32 = 1 << 15;
    pub const CLFSH: u32 = 1 << 19;
    pub const MMX: u32 = 1 << 23;
    pub const FXSR: u32 = 1 << 24;
    pub const SSE: u32 = 1 << 25;
    pub const SSE2: u32 = 1 << 26;
}

/// The features in leaf 1, EDX: also what Linux passes to programs as AT_HWCAP.
pub const FEATURES_EDX: u32 = leaf1_edx::FPU
    | leaf1_edx::TSC
    | leaf1_edx::CX8
    | leaf1_edx::SEP
    | leaf1_edx::CMOV
    | leaf1_edx::CLFSH
    | leaf1_edx::MMX
    | leaf1_edx::FXSR
    | leaf1_edx::SSE
    | leaf1_edx::SSE2;

/// The features in leaf 1, ECX.
pub const FEATURES_ECX: u32 = leaf1_ecx::SSE3
    | leaf1_ecx::SSSE3
    | leaf1_ecx::SSE41
    | leaf1_ecx::SSE42
    | leaf1_ecx::POPCNT
    | leaf1_ecx::HYPERVISOR;

/// EAX, EBX, ECX and EDX for a leaf.
pub fn query(mode: Mode, leaf: u32, subleaf: u32) -> [u32; 4] {
    const LAST: u32 = 7;
    const LAST_EXTENDED: u32 = 0x8000_0008;
    let word = |bytes: &[u8], i: usize| {
        bytes.get(i * 4..i * 4 + 4).map_or(0, |b| b.iter().rev().fold(0, |w, &b| (w << 8) | u32::from(b)))
    };
    let long = mode == Mode::X86_64;
    match leaf {
        0 => [LAST, word(VENDOR, 0), word(VENDOR, 2), word(VENDOR, 1)],
        // Family 6, model 15, stepping 1; CLFLUSH lines of 64 bytes, one logical processor.
        1 => [0x0000_06f1, 0x0001_0800, FEATURES_ECX, FEATURES_EDX],
        // Deterministic caches: 32 KiB data, 32 KiB code, 1 MiB unified.
        4 => match subleaf {
            0 => [0x0000_0121, 0x01c0_003f, 63, 0],
            1 => [0x0000_0122, 0x01c0_003f, 63, 0],
            2 => [0x0000_0143, 0x01c0_003f, 2047, 0],
            _ => [0; 4],
        },
        0x4000_0000 => [0x4000_0000, word(VENDOR, 0), word(VENDOR, 1), word(VENDOR, 2)],
        0x8000_0000 => [LAST_EXTENDED, word(VENDOR, 0), word(VENDOR, 2), word(VENDOR, 1)],
        // LAHF in 64-bit mode; RDTSCP; SYSCALL, NX and long mode where they apply.
        0x8000_0001 => [0, 0, u32::from(long), (1 << 27) | if long { (1 << 11) | (1 << 20) | (1 << 29) } else { 0 }],
        0x8000_0002..=0x8000_0004 => {
            let i = (leaf - 0x8000_0002) as usize * 4;
            [word(BRAND, i), word(BRAND, i + 1), word(BRAND, i + 2), word(BRAND, i + 3)]
        }
        0x8000_0008 => [0x0000_3028, 0, 0, 0],
        _ => [0; 4],
    }
}
