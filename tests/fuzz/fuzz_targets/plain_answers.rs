//! What web servers may say about a disk without a manifest: never a panic, and never bytes that were not asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|answers: Vec<(u16, String, Vec<u8>)>| skiff_fuzz::plain_answers(answers));
