//! Instruction tests whose expected values were recorded on a real x86 processor.
//!
//! A *table* ([`table`]) lists instruction forms as assembly with options. [`generate`] makes the inputs of every case from
//! a hash of the form's text, so only code bytes and outputs are stored ([`vectors`], one compressed file a group). The
//! `record` binary ([`record`]) assembles the forms, runs every case natively and writes the files; [`replay`] runs them
//! on the engine and compares. [`fuzz`] makes forms of its own, random programs. A [`State`] is what both sides start from and end with.

pub mod fuzz;
pub mod generate;
pub mod record;
pub mod replay;
pub mod rng;
pub mod state;
pub mod table;
pub mod vectors;

pub use state::State;
pub use table::{Form, Group};

/// The directory of this crate, where tables and vectors are.
pub fn home() -> std::path::PathBuf {
    std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
