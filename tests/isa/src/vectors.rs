//! The files of expected values.
//!
//! A file is a deflate stream of: `u32` number of forms; per form a `u64` hash of its text and seed, `u16` length of code and
//! the code bytes, `u16` number of cases, and per case the difference between the input and the output state. A difference
//! is a list of items, each a tag byte and its payload, closed by tag 0.

use anyhow::{Context, Result, bail, ensure};

use crate::rng::Rng;
use crate::state::State;
use crate::table::Form;

/// Expected values of one form.
#[derive(Clone, Debug)]
pub struct FormVectors {
    /// Identifies the form's text and options.
    pub key: u64,
    /// Machine code.
    pub code: Vec<u8>,
    /// Encoded differences, one a case.
    pub cases: Vec<Vec<u8>>,
}

/// The key of a form: changes when its inputs do.
pub fn key(form: &Form) -> u64 {
    Rng::new(&form.seed(), u64::MAX).u64()
}

const GPR: u8 = 1;
const EIP: u8 = 9;
const FLAGS: u8 = 10;
const SEG: u8 = 11;
const FCW: u8 = 15;
const FSW: u8 = 16;
const FTW: u8 = 17;
const ST: u8 = 18;
const MXCSR: u8 = 26;
const XMM: u8 = 27;
const WINDOW_RUN: u8 = 35;
const STACK_RUN: u8 = 36;
const TRAP: u8 = 37;
const ST_MANTISSA: u8 = 38;
const XMM_RUN: u8 = 46;
const EIP_FAR: u8 = 54;

/// Encodes what changed from `before` to `after`; `eip` is stored relative to the start.
pub fn encode(before: &State, after: &State) -> Vec<u8> {
    let mut out = Vec::new();
    for i in 0..8 {
        if before.gpr[i] != after.gpr[i] {
            out.push(GPR + i as u8);
            out.extend(after.gpr[i].to_le_bytes());
        }
    }
    let moved = after.eip.wrapping_sub(before.eip);
    match i16::try_from(moved as i32) {
        Ok(near) => {
            out.push(EIP);
            out.extend(near.to_le_bytes());
        }
        Err(_) => {
            out.push(EIP_FAR);
            out.extend(moved.to_le_bytes());
        }
    }
    if before.eflags != after.eflags {
        out.push(FLAGS);
        out.extend((after.eflags as u16).to_le_bytes());
    }
    for i in 0..4 {
        if before.seg[i] != after.seg[i] {
            out.push(SEG + i as u8);
            out.extend(after.seg[i].to_le_bytes());
        }
    }
    for (tag, old, new) in [(FCW, before.fcw, after.fcw), (FSW, before.fsw, after.fsw)] {
        if old != new {
            out.push(tag);
            out.extend(new.to_le_bytes());
        }
    }
    if before.ftw != after.ftw {
        out.extend([FTW, after.ftw]);
    }
    for i in 0..8 {
        let (old, new) = (before.st[i], after.st[i]);
        if old.1 != new.1 {
            out.push(ST + i as u8);
            out.extend(new.0.to_le_bytes());
            out.extend(new.1.to_le_bytes());
        } else if old.0 != new.0 {
            out.push(ST_MANTISSA + i as u8);
            out.extend(new.0.to_le_bytes());
        }
    }
    if before.mxcsr != after.mxcsr {
        out.push(MXCSR);
        out.extend((after.mxcsr as u16).to_le_bytes());
    }
    for i in 0..8 {
        if before.xmm[i] != after.xmm[i] {
            let (old, new) = (before.xmm[i].to_le_bytes(), after.xmm[i].to_le_bytes());
            let runs = runs(&old, &new);
            if let [(at, bytes)] = runs.as_slice()
                && bytes.len() <= 12
            {
                out.extend([XMM_RUN + i as u8, *at as u8, bytes.len() as u8]);
                out.extend(bytes);
            } else {
                out.push(XMM + i as u8);
                out.extend(new);
            }
        }
    }
    for (tag, old, new) in
        [(WINDOW_RUN, &before.window[..], &after.window[..]), (STACK_RUN, &before.stack[..], &after.stack[..])]
    {
        for (at, bytes) in runs(old, new) {
            out.push(tag);
            out.extend((at as u16).to_le_bytes());
            out.extend((bytes.len() as u16).to_le_bytes());
            out.extend(bytes);
        }
    }
    if after.trap != 3 {
        out.extend([TRAP, after.trap, after.error]);
        out.extend(after.cr2.to_le_bytes());
    }
    out.push(0);
    out
}

/// Runs of bytes that differ; differences less than four bytes apart are one run.
fn runs(old: &[u8], new: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (i, (a, b)) in old.iter().zip(new).enumerate() {
        if a != b {
            match found.last_mut() {
                Some((_, end)) if i < *end + 4 => *end = i + 1,
                _ => found.push((i, i + 1)),
            }
        }
    }
    found.into_iter().map(|(from, to)| (from, new[from..to].to_vec())).collect()
}

/// Applies a difference to the input, which gives the expected output.
pub fn decode(before: &State, bytes: &[u8]) -> Result<State> {
    let mut state = before.clone();
    let mut reader = Reader(bytes);
    loop {
        let tag = reader.u8()?;
        let index = |base: u8| usize::from(tag - base);
        match tag {
            0 => return Ok(state),
            GPR..EIP => state.gpr[index(GPR)] = reader.u32()?,
            EIP => state.eip = before.eip.wrapping_add(reader.u16()? as i16 as u32),
            EIP_FAR => state.eip = before.eip.wrapping_add(reader.u32()?),
            FLAGS => state.eflags = before.eflags & 0xffff_0000 | u32::from(reader.u16()?),
            SEG..FCW => state.seg[index(SEG)] = reader.u16()?,
            FCW => state.fcw = reader.u16()?,
            FSW => state.fsw = reader.u16()?,
            FTW => state.ftw = reader.u8()?,
            ST..MXCSR => state.st[index(ST)] = (reader.u64()?, reader.u16()?),
            ST_MANTISSA..XMM_RUN => state.st[index(ST_MANTISSA)].0 = reader.u64()?,
            MXCSR => state.mxcsr = before.mxcsr & 0xffff_0000 | u32::from(reader.u16()?),
            XMM..WINDOW_RUN => {
                let mut value = [0; 16];
                value.copy_from_slice(reader.take(16)?);
                state.xmm[index(XMM)] = u128::from_le_bytes(value);
            }
            XMM_RUN..EIP_FAR => {
                let (at, len) = (usize::from(reader.u8()?), usize::from(reader.u8()?));
                let mut value = state.xmm[index(XMM_RUN)].to_le_bytes();
                value.get_mut(at..at + len).context("run outside the register")?.copy_from_slice(reader.take(len)?);
                state.xmm[index(XMM_RUN)] = u128::from_le_bytes(value);
            }
            WINDOW_RUN | STACK_RUN => {
                let (at, len) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
                let memory: &mut [u8] = if tag == WINDOW_RUN { &mut state.window } else { &mut state.stack };
                memory.get_mut(at..at + len).context("run outside memory")?.copy_from_slice(reader.take(len)?);
            }
            TRAP => {
                state.trap = reader.u8()?;
                state.error = reader.u8()?;
                state.cr2 = reader.u32()?;
            }
            _ => bail!("unknown tag {tag}"),
        }
    }
}

/// How much time packing may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// For a file that is kept.
    Small,
    /// For one that is read once.
    Quick,
}

/// Packs a file.
pub fn pack(forms: &[FormVectors], effort: Effort) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend((forms.len() as u32).to_le_bytes());
    for form in forms {
        out.extend(form.key.to_le_bytes());
        out.extend((form.code.len() as u16).to_le_bytes());
        out.extend(&form.code);
        out.extend((form.cases.len() as u16).to_le_bytes());
        for case in &form.cases {
            out.extend((case.len() as u16).to_le_bytes());
            out.extend(case);
        }
    }
    let level = match effort {
        Effort::Small => 9,
        Effort::Quick => 1,
    };
    miniz_oxide::deflate::compress_to_vec(&out, level)
}

/// Unpacks a file.
pub fn unpack(file: &[u8]) -> Result<Vec<FormVectors>> {
    let bytes = miniz_oxide::inflate::decompress_to_vec(file).map_err(|e| anyhow::anyhow!("vector file: {e}"))?;
    let mut reader = Reader(&bytes);
    let count = reader.u32()?;
    let mut forms = Vec::new();
    for _ in 0..count {
        let key = reader.u64()?;
        let code_len = usize::from(reader.u16()?);
        let code = reader.take(code_len)?.to_vec();
        let cases = (0..reader.u16()?)
            .map(|_| {
                let len = usize::from(reader.u16()?);
                Ok(reader.take(len)?.to_vec())
            })
            .collect::<Result<_>>()?;
        forms.push(FormVectors { key, code, cases });
    }
    Ok(forms)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        ensure!(self.0.len() >= n, "vector file is too short");
        let (head, tail) = self.0.split_at(n);
        self.0 = tail;
        Ok(head)
    }
    fn number(&mut self, n: usize) -> Result<u64> {
        Ok(self.take(n)?.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }
    fn u8(&mut self) -> Result<u8> {
        Ok(self.number(1)? as u8)
    }
    fn u16(&mut self) -> Result<u16> {
        Ok(self.number(2)? as u16)
    }
    fn u32(&mut self) -> Result<u32> {
        Ok(self.number(4)? as u32)
    }
    fn u64(&mut self) -> Result<u64> {
        self.number(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_apply_back() {
        let before = State::default();
        let mut after = before.clone();
        after.gpr[7] = 9;
        after.eip += 3;
        after.eflags ^= 0x11;
        after.fsw = 0x3800;
        after.st[3] = (1 << 63, 0x3fff);
        after.st[4] = (7, 0);
        after.xmm[2] = 0xff << 40;
        after.xmm[7] = u128::MAX;
        after.window[3] = 1;
        after.window[600] = 2;
        after.stack[255] = 3;
        after.trap = 14;
        after.error = 6;
        after.cr2 = 0x2002_1000;
        assert_eq!(decode(&before, &encode(&before, &after)).unwrap(), after);
    }
}
