//! Records expected values on the processor this runs on.
//!
//! Needs gcc with 32-bit support. Forms are assembled by gas, cases run in the C harness beside this crate's sources.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::state::{STACK, State, WINDOW};
use crate::table::{Form, Group};
use crate::vectors::{self, Effort, FormVectors};
use crate::{generate, home};

/// Bytes of `struct machine` before the FXSAVE image.
const MACHINE_HEAD: usize = 4 * (8 + 2 + 4 + 3 + 1);
const MACHINE: usize = MACHINE_HEAD + 512 + WINDOW + STACK;
const CODE: usize = 1024;

/// A directory for intermediate files, removed when dropped.
pub struct Workshop {
    dir: PathBuf,
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // Leftovers in the temporary directory harm nobody.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Workshop {
    /// Builds the harness.
    pub fn new() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("isa-record-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        let this = Self { dir };
        run(Command::new("gcc")
            .args(["-m32", "-O1", "-fno-stack-protector", "-static", "-no-pie", "-o"])
            .arg(this.dir.join("harness"))
            .arg(home().join("recorder/harness.c")))
        .context("building the harness (is gcc-multilib installed?)")?;
        Ok(this)
    }

    /// Records a group and returns its file's content.
    pub fn record(&self, group: &Group, effort: Effort) -> Result<Vec<u8>> {
        let codes = self.assemble(group)?;
        let mut inputs = Vec::new();
        for (form, code) in group.forms.iter().zip(&codes) {
            for index in 0..form.cases() {
                inputs.push((generate::input(form, index), code.as_slice()));
            }
        }
        let outputs = self.run_natively(&inputs)?;
        let mut outputs = inputs.iter().zip(outputs);
        let mut forms = Vec::new();
        for (form, code) in group.forms.iter().zip(&codes) {
            let cases = outputs
                .by_ref()
                .take(form.cases())
                .map(|((before, _), mut after)| {
                    normalise(form, before, &mut after);
                    vectors::encode(before, &after)
                })
                .collect();
            forms.push(FormVectors { key: vectors::key(form), code: code.clone(), cases });
        }
        Ok(vectors::pack(&forms, effort))
    }

    fn assemble(&self, group: &Group) -> Result<Vec<Vec<u8>>> {
        let mut source = String::from(".intel_syntax noprefix\n.code32\n.data\n.Llengths:\n.text\n");
        for form in &group.forms {
            source.push_str(&format!("9990: {}; 9991: .data; .short 9991b - 9990b; .text\n", form.text));
        }
        let asm = self.dir.join("forms.s");
        let object = self.dir.join("forms.o");
        std::fs::write(&asm, source)?;
        run(Command::new("gcc").args(["-m32", "-c", "-o"]).arg(&object).arg(&asm))
            .with_context(|| format!("assembling group {} (line 6 of the listing is its first form)", group.name))?;
        let text = self.section(&object, ".text")?;
        let lengths = self.section(&object, ".data")?;
        let mut rest = text.as_slice();
        let mut codes = Vec::new();
        for (form, length) in group.forms.iter().zip(lengths.chunks_exact(2)) {
            let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
            ensure!(length < CODE && length <= rest.len(), "form too long: {}", form.text);
            let (code, tail) = rest.split_at(length);
            let mut code = code.to_vec();
            code.push(0xcc);
            codes.push(code);
            rest = tail;
        }
        ensure!(codes.len() == group.forms.len(), "assembler output does not match the table");
        Ok(codes)
    }

    fn section(&self, object: &Path, name: &str) -> Result<Vec<u8>> {
        let out = self.dir.join("section.bin");
        run(Command::new("objcopy").args(["-O", "binary", "-j", name]).arg(object).arg(&out))?;
        Ok(std::fs::read(out)?)
    }

    fn run_natively(&self, inputs: &[(State, &[u8])]) -> Result<Vec<State>> {
        let mut child = Command::new(self.dir.join("harness"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the harness")?;
        let mut stdin = child.stdin.take().context("no stdin")?;
        let mut stdout = child.stdout.take().context("no stdout")?;
        let outputs = std::thread::scope(|scope| -> Result<Vec<State>> {
            let writer = scope.spawn(move || -> Result<()> {
                for (state, code) in inputs {
                    stdin.write_all(&to_input(state, code))?;
                }
                Ok(())
            });
            let mut outputs = Vec::new();
            let mut bytes = vec![0; MACHINE];
            for (index, _) in inputs.iter().enumerate() {
                stdout
                    .read_exact(&mut bytes)
                    .with_context(|| format!("harness died in case {index}: {:02x?}", inputs[index].1))?;
                outputs.push(from_machine(&bytes)?);
            }
            writer.join().map_err(|_| anyhow::anyhow!("writer panicked"))??;
            Ok(outputs)
        })?;
        child.wait()?;
        Ok(outputs)
    }
}

/// Removes from an output what the architecture leaves open.
fn normalise(form: &Form, before: &State, after: &mut State) {
    let undefined = form.undefined_flags();
    after.eflags = after.eflags & 0xffff & !undefined | before.eflags & undefined;
    if after.trap == 14 {
        after.error &= 0x13;
    } else {
        after.error = 0;
        after.cr2 = 0;
    }
    after.window_base = before.window_base;
}

fn to_input(state: &State, code: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(MACHINE + 8 + CODE);
    let mut word = |value: u32| out.extend(value.to_le_bytes());
    state.gpr.iter().for_each(|r| word(*r));
    word(state.eip);
    word(state.eflags);
    state.seg.iter().for_each(|s| word(u32::from(*s)));
    (0..3).for_each(|_| word(0));
    word(state.window_base);
    out.extend(state.fx_image());
    out.extend(state.window);
    out.extend(state.stack);
    out.extend(state.eip.to_le_bytes());
    out.extend((code.len() as u32).to_le_bytes());
    out.extend(code);
    out.resize(MACHINE + 8 + CODE, 0);
    out
}

fn from_machine(bytes: &[u8]) -> Result<State> {
    let word = |i: usize| -> Result<u32> {
        let bytes = bytes.get(4 * i..4 * i + 4).context("short machine state")?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let mut state = State::default();
    for i in 0..8 {
        state.gpr[i] = word(i)?;
    }
    state.eip = word(8)?;
    state.eflags = word(9)?;
    for i in 0..4 {
        state.seg[i] = word(10 + i)? as u16;
    }
    state.trap = word(14)? as u8;
    state.error = word(15)? as u8;
    state.cr2 = word(16)?;
    state.window_base = word(17)?;
    let (fx, memory) = bytes[MACHINE_HEAD..].split_at(512);
    state.set_fx_image(fx);
    state.window.copy_from_slice(&memory[..WINDOW]);
    state.stack.copy_from_slice(&memory[WINDOW..]);
    Ok(state)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("starting {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).lines().take(20).collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}
