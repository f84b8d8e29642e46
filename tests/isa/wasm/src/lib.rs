//! The replay of recorded instructions inside WebAssembly: on the interpreter, and on the code generator with everything
//! compiled before it runs. `replay.mjs` drives it in Node and in a page.
#![cfg(target_arch = "wasm32")]

use isa_tests::replay::{self, Report};
use isa_tests::table;
use vm_browser::code::BrowserCode;
use vm_browser::host::Host;
use vm_cpu::{Engine, Interpreter};
use vm_jit::{Jit, Options};
use wasm_bindgen::prelude::*;

/// What a replay found.
#[wasm_bindgen]
pub struct Outcome {
    report: Report,
    figures: Vec<(String, f64)>,
}

#[wasm_bindgen]
impl Outcome {
    /// Cases run.
    #[wasm_bindgen(getter)]
    pub fn cases(&self) -> usize {
        self.report.cases
    }

    /// Cases that differ.
    #[wasm_bindgen(getter)]
    pub fn failed(&self) -> usize {
        self.report.failed
    }

    /// The forms that failed, by number.
    #[wasm_bindgen(getter)]
    pub fn forms(&self) -> Vec<usize> {
        self.report.forms.clone()
    }

    /// Some of the differences.
    #[wasm_bindgen(getter)]
    pub fn text(&self) -> String {
        self.report.text.clone()
    }

    /// Counters of the code generator, a line each.
    #[wasm_bindgen(getter)]
    pub fn figures(&self) -> String {
        self.figures.iter().map(|(name, figure)| format!("{name}: {figure}\n")).collect()
    }
}

/// How many forms a table has.
#[wasm_bindgen]
pub fn forms(name: &str, table: &str) -> Result<usize, JsError> {
    Ok(table::parse(name, table).map_err(|error| JsError::new(&format!("{error:#}")))?.forms.len())
}

/// Replays forms of a table, from a number up to another, with its vectors on an engine: `interpreter`, or `jit`. Of `host`
/// only its clock is used.
#[wasm_bindgen]
pub fn replay(
    engine: &str,
    name: &str,
    table: &str,
    vectors: &[u8],
    from: usize,
    to: usize,
    host: Host,
) -> Result<Outcome, JsError> {
    let group = table::parse(name, table).map_err(|error| JsError::new(&format!("{error:#}")))?;
    let run = |engine: &mut dyn Engine| {
        replay::replay_forms(&group, vectors, from..to, engine).map_err(|error| JsError::new(&format!("{error:#}")))
    };
    if engine == "interpreter" {
        return Ok(Outcome { report: run(&mut Interpreter::new())?, figures: Vec::new() });
    }
    let host = BrowserCode::new(host).map_err(|error| JsError::new(&format!("{error:?}")))?;
    let options = Options { threshold: 0, ..Options::default() };
    let mut jit = Jit::new(host, options).map_err(|error| JsError::new(&error.to_string()))?;
    let report = run(&mut jit)?;
    Ok(Outcome { report, figures: jit.figures() })
}
