//! Inputs: the starting state of each case, from the seed and options of its form.

use crate::rng::Rng;
use crate::state::{CODE_BASE, STACK_BASE, State, WINDOW};
use crate::table::Form;

/// Register names in encoding order, as options spell them.
const REGISTERS: [&str; 8] = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];

/// The starting state of case `index` of a form.
pub fn input(form: &Form, index: usize) -> State {
    let mut rng = Rng::new(&form.seed(), index as u64);
    // OF SF ZF AF PF CF and the fixed bits; DF only on request.
    let mut state = State { eflags: 0x202 | (rng.u64() as u32 & 0x8d5), ..State::default() };
    if form.option("df").is_some() && rng.one_in(2) {
        state.eflags |= 0x400;
    }
    state.eip = form.option("code").and_then(number).unwrap_or(i64::from(CODE_BASE)) as u32;

    let data = form.option("data").unwrap_or("int");
    state.window_base = match form.option("cross").map(|v| v.split(':').next().unwrap_or(v)) {
        None => 0x2000_0680,
        Some("ok") => 0x2000_0e00,
        Some("ro") => 0x2001_0e00,
        Some(_) => 0x2002_0e00,
    };
    for chunk in state.window.chunks_exact_mut(16) {
        chunk.copy_from_slice(&vector(&mut rng, data).to_le_bytes());
    }
    for chunk in state.stack.chunks_exact_mut(8) {
        chunk.copy_from_slice(&rng.u64().to_le_bytes());
    }
    general_registers(form, &mut rng, &mut state);
    if form.option("fpu").is_some() || form.option("data").is_some() {
        float_state(form, &mut rng, &mut state, data);
    }
    state
}

fn general_registers(form: &Form, rng: &mut Rng, state: &mut State) {
    let base = state.window_base;
    for value in &mut state.gpr {
        *value = integer(rng) as u32;
    }
    let align: u32 = form.option("align").and_then(number).unwrap_or(1) as u32;
    let pointer = |rng: &mut Rng, offset: u32| {
        let at = base + offset + rng.below(64) as u32;
        at / align * align
    };
    state.gpr[3] = pointer(rng, 0x100);
    state.gpr[6] = pointer(rng, 0x40);
    state.gpr[7] = pointer(rng, 0x240);
    state.gpr[4] = STACK_BASE + 0x80;
    if let Some((_, size)) = form.option("cross").and_then(|v| v.split_once(':')) {
        // Pointers to an operand of that size which lies over the page border in the middle of the window.
        let size = size.parse::<u64>().unwrap_or(4);
        let into = 1 + rng.below(size - 1) as u32;
        let at = (base + WINDOW as u32 / 2 - into) / align * align;
        for register in [3, 6, 7] {
            state.gpr[register] = at;
        }
    }
    for (register, name) in REGISTERS.iter().enumerate() {
        if let Some(value) = form.option(name) {
            state.gpr[register] = register_value(value, rng, base, state.gpr[register]);
        }
    }
    for (segment, name) in ["es", "ds", "fs", "gs"].iter().enumerate() {
        if let Some(value) = form.option(name).and_then(number) {
            state.seg[segment] = value as u16;
        }
    }
}

/// `W+n` and `S+n` (window, stack), `a..b` (inclusive range), `int`, `small`, `f32`, or a number.
fn register_value(text: &str, rng: &mut Rng, window: u32, old: u32) -> u32 {
    if let Some(offset) = text.strip_prefix("W+") {
        return window.wrapping_add(number(offset).unwrap_or(0) as u32);
    }
    if let Some(offset) = text.strip_prefix("S+") {
        return STACK_BASE.wrapping_add(number(offset).unwrap_or(0) as u32);
    }
    if let Some((from, to)) = text.split_once("..") {
        let (from, to) = (number(from).unwrap_or(0), number(to).unwrap_or(0));
        return (from + rng.below((to - from + 1) as u64) as i64) as u32;
    }
    match text {
        "int" => integer(rng) as u32,
        "small" => (integer(rng) as u32) >> (rng.below(32)),
        "f32" => f32_bits(rng),
        _ => number(text).map_or(old, |n| n as u32),
    }
}

fn number(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(sign * value)
}

/// A 64-bit integer with interesting values made likely, in each half.
fn integer(rng: &mut Rng) -> u64 {
    const EDGES: [u32; 14] = [
        0,
        1,
        2,
        0x7f,
        0x80,
        0xff,
        0x7fff,
        0x8000,
        0xffff,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        0xffff_fffe,
        0x8080_8080,
    ];
    let mut half = || -> u64 {
        let value = match rng.below(4) {
            0 => rng.pick(&EDGES),
            1 | 2 => {
                let wide = rng.u64() as u32 >> rng.below(32);
                if rng.one_in(2) { wide } else { wide.wrapping_neg() }
            }
            _ => rng.u64() as u32,
        };
        u64::from(value)
    };
    half() | half() << 32
}

/// 16 bytes of memory or of an SSE register, of the class the form asks for.
fn vector(rng: &mut Rng, class: &str) -> u128 {
    match class {
        "f32" => (0..4).fold(0, |v, i| v | u128::from(f32_bits(rng)) << (32 * i)),
        "f64" => (0..2).fold(0, |v, i| v | u128::from(f64_bits(rng)) << (64 * i)),
        "f80" => {
            let (mantissa, top) = f80_bits(rng);
            u128::from(mantissa) | u128::from(top) << 64 | u128::from(rng.u64() as u32) << 80
        }
        // Values that convert to integers now and then.
        "convert" => match rng.below(3) {
            0 => vector(rng, "f32"),
            1 => vector(rng, "f64"),
            _ => (0..4).fold(0, |v, i| v | u128::from((integer(rng) as i32 as f32 * 0.5).to_bits()) << (32 * i)),
        },
        "convert64" => (0..2).fold(0, |v, i| {
            let bits = match rng.below(3) {
                0 => f64_bits(rng),
                1 => (integer(rng) as i32 as f64 * 0.25).to_bits(),
                _ => (integer(rng) as i64 as f64).to_bits(),
            };
            v | u128::from(bits) << (64 * i)
        }),
        "bcd" => {
            let mut value = 0u128;
            for i in 0..9 {
                value |= u128::from(rng.below(10) | rng.below(10) << 4) << (8 * i);
            }
            value | u128::from(rng.below(2) << 7) << 72
        }
        // Short alphabets with terminators, for the string compare instructions.
        "text" => {
            if rng.one_in(2) {
                (0..16).fold(0, |v, i| v | u128::from(rng.pick(b"aabbcd\0\xe0az")) << (8 * i))
            } else {
                (0..8).fold(0, |v, i| v | u128::from(rng.pick(&[b'a', b'a', b'b', b'c', 0, 0x80, 0x7f])) << (16 * i))
            }
        }
        _ => match rng.below(4) {
            0 => u128::from(rng.u64()) | u128::from(rng.u64()) << 64,
            1 => u128::from(integer(rng)) | u128::from(integer(rng)) << 64,
            // Saturation lives at the edges of bytes and words.
            2 => (0..16)
                .fold(0, |v, i| v | u128::from(rng.pick(&[0u8, 1, 0x7f, 0x80, 0x81, 0xff, 0xfe, 0x40])) << (8 * i)),
            _ => (0..8).fold(0, |v, i| {
                v | u128::from(rng.pick(&[0u16, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x00ff, 0x0100])) << (16 * i)
            }),
        },
    }
}

fn f32_bits(rng: &mut Rng) -> u32 {
    const EDGES: [u32; 16] = [
        0,
        0x8000_0000,
        0x3f80_0000,
        0xbf80_0000,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0000,
        0xffc0_1234,
        0x7f80_0001,
        0xffbf_ffff,
        1,
        0x8000_0001,
        0x007f_ffff,
        0x0080_0000,
        0x7f7f_ffff,
        0xff7f_ffff,
    ];
    let random = rng.u64();
    match rng.below(8) {
        0 | 1 => rng.pick(&EDGES),
        2 => random as u32,
        3 => (random as u32 & 0x807f_ffff) | ((120 + rng.below(40) as u32) << 23) & 0x7f80_0000 & !0x7ff,
        4 => ((random as i16 as f32) / 2.0).to_bits(),
        5 => (random as u32 & 0x807f_ffff) | (rng.pick(&[0u32, 1, 2, 24, 63, 64, 190, 253, 254]) << 23),
        _ => (random as u32 & 0x807f_ffff) | ((122 + rng.below(12) as u32) << 23),
    }
}

fn f64_bits(rng: &mut Rng) -> u64 {
    const EDGES: [u64; 16] = [
        0,
        1 << 63,
        0x3ff0 << 48,
        0xbff0 << 48,
        0x7ff0 << 48,
        0xfff0 << 48,
        0x7ff8 << 48,
        0xfff8_0000_0000_1234,
        0x7ff0_0000_0000_0001,
        0xfff7_ffff_ffff_ffff,
        1,
        0x8000_0000_0000_0001,
        0x000f_ffff_ffff_ffff,
        0x0010 << 48,
        0x7fef_ffff_ffff_ffff,
        0xffef_ffff_ffff_ffff,
    ];
    let random = rng.u64();
    let sign_and_fraction = random & 0x800f_ffff_ffff_ffff;
    match rng.below(8) {
        0 | 1 => rng.pick(&EDGES),
        2 => random,
        3 => ((random as i32 as f64) / 4.0).to_bits(),
        4 => sign_and_fraction & !0xffff_ffff | (1020 + rng.below(60)) << 52,
        5 => sign_and_fraction | rng.pick(&[0u64, 1, 2, 53, 896, 897, 1150, 1151, 2045, 2046]) << 52,
        _ => sign_and_fraction | (1018 + rng.below(10)) << 52,
    }
}

fn f80_bits(rng: &mut Rng) -> (u64, u16) {
    const ONE: u64 = 1 << 63;
    const EDGES: [(u64, u16); 20] = [
        (0, 0),
        (0, 0x8000),
        (ONE, 0x3fff),
        (ONE, 0xbfff),
        (ONE, 0x7fff),
        (ONE, 0xffff),
        (3 << 62, 0x7fff),
        (3 << 62 | 77, 0xffff),
        (ONE | 5, 0x7fff),
        (ONE | 1, 0xffff),
        (1, 0),
        (1, 0x8000),
        (ONE - 1, 0),
        (ONE, 0),
        (u64::MAX, 0x8000),
        (ONE, 1),
        (u64::MAX, 0x7ffe),
        (ONE >> 1, 0x4000),
        (0, 0x7fff),
        (5, 0x4123),
    ];
    let random = rng.u64();
    let sign = (rng.u64() as u16) & 0x8000;
    match rng.below(10) {
        0 | 1 => rng.pick(&EDGES),
        2 => (random | ONE, sign | rng.below(0x7fff) as u16),
        3 => from_f64(random as i32 as f64 / 4.0),
        4 => from_f64(f64::from(random as i16) / 2.0),
        5 => ((random | ONE) & !0 << rng.below(63), sign | (0x3fff - 4 + rng.below(70) as u16)),
        6 => (
            random | ONE,
            sign | rng.pick(&[1u16, 2, 63, 64, 0x3f80, 0x407e, 0x407f, 0x3c00, 0x43fe, 0x43ff, 0x7ffd, 0x7ffe]),
        ),
        7 => from_f64(f64::from_bits(f64_bits(rng) & !(1 << 62) | 0x3f0 << 52)),
        _ => (random | ONE, sign | (0x3fff - 6 + rng.below(12) as u16)),
    }
}

/// A normal double as an x87 number.
fn from_f64(value: f64) -> (u64, u16) {
    let bits = value.to_bits();
    let sign = (bits >> 48) as u16 & 0x8000;
    let exponent = (bits >> 52 & 0x7ff) as u16;
    if exponent == 0 {
        return (0, sign);
    }
    (1 << 63 | bits << 11, sign | (exponent + 0x3fff - 0x3ff))
}

fn float_state(form: &Form, rng: &mut Rng, state: &mut State, data: &str) {
    for value in &mut state.xmm {
        *value = vector(rng, data);
    }
    match form.option("mxcsr").unwrap_or("default") {
        "any" => state.mxcsr = 0x1f80 | (rng.u64() as u32 & if rng.one_in(3) { 0xe07f } else { 0x603f }),
        "unmasked" => state.mxcsr = rng.u64() as u32 & 0x7f80,
        _ => {}
    }
    match form.option("fcw").unwrap_or("default") {
        "any" => state.fcw = 0x7f | rng.pick(&[0u16, 0x200, 0x300, 0x300]) | (rng.u64() as u16 & 0xc00),
        "round" => state.fcw = 0x37f | (rng.u64() as u16 & 0xc00),
        "unmasked" => state.fcw = 0x340 | (rng.u64() as u16 & 0xc3f),
        _ => {}
    }
    match form.option("fpu").unwrap_or("clean") {
        "clean" => return,
        "mixed" => state.ftw = rng.u64() as u8,
        _ => state.ftw = 0xff,
    }
    // TOP and condition codes.
    state.fsw = rng.u64() as u16 & 0x7f00;
    if form.option("top").is_some() {
        state.fsw &= 0x4700;
    }
    let class = form.option("st").unwrap_or("f80");
    for register in &mut state.st {
        *register = match class {
            "int" => (vector(rng, "int") as u64, 0xffff),
            "unit" => unit(rng),
            "angle" => angle(rng),
            "positive" => {
                let (mantissa, top) = f80_bits(rng);
                (mantissa, if rng.one_in(8) { top } else { top & 0x7fff })
            }
            _ => f80_bits(rng),
        };
    }
    if let Some(full) = form.option("room").and_then(number) {
        // Leaves that many registers empty, the ones a push goes to.
        let top = (state.fsw >> 11) & 7;
        for i in 1..=full as u16 {
            state.ftw &= !(1 << ((top + 8 - i) % 8));
        }
    }
}

/// A number between -1 and 1, mostly.
fn unit(rng: &mut Rng) -> (u64, u16) {
    if rng.one_in(8) {
        return f80_bits(rng);
    }
    let sign = (rng.u64() as u16) & 0x8000;
    let spread = if rng.one_in(4) { 90 } else { 6 };
    (rng.u64() | 1 << 63, sign | (0x3ffe - rng.below(spread) as u16))
}

/// A number an angle could be.
fn angle(rng: &mut Rng) -> (u64, u16) {
    if rng.one_in(8) {
        return f80_bits(rng);
    }
    let sign = (rng.u64() as u16) & 0x8000;
    let spread = if rng.one_in(4) { 66 } else { 9 };
    (rng.u64() | 1 << 63, sign | (0x3ffb + rng.below(spread) as u16))
}
