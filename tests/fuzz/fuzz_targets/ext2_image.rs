//! A file system whose image was changed anywhere: mounting, walking, checking and changing it never panic and always end.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|patches: Vec<(u16, u16, u8)>| skiff_fuzz::ext2_image(&patches));
