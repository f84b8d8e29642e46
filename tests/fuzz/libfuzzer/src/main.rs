//! Any of the fuzz targets under libFuzzer; `SKIFF_FUZZ_TARGET` names it.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("SKIFF_FUZZ_TARGET").unwrap_or_default();
    fuzz_tests::target(&name).unwrap_or_else(|| panic!("SKIFF_FUZZ_TARGET is {name:?}: there is no such target"))
});

fuzz_target!(|data: &[u8]| TARGET(data));
