//! What /proc/cpuinfo says of the processor: what CPUID says, in Linux's words.

use std::fmt::Write;

use vm_cpu::{Mode, query_cpuid};

/// Names of the feature bits of leaf 1, EDX, in order of the bits.
const EDX: [&str; 32] = [
    "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", "", "sep", "mtrr", "pge", "mca", "cmov",
    "pat", "pse36", "pn", "clflush", "", "dts", "acpi", "mmx", "fxsr", "sse", "sse2", "ss", "ht", "tm", "ia64", "pbe",
];

/// Names of the feature bits of leaf 1, ECX.
const ECX: [&str; 32] = [
    "pni",
    "pclmulqdq",
    "dtes64",
    "monitor",
    "ds_cpl",
    "vmx",
    "smx",
    "est",
    "tm2",
    "ssse3",
    "cid",
    "sdbg",
    "fma",
    "cx16",
    "xtpr",
    "pdcm",
    "",
    "pcid",
    "dca",
    "sse4_1",
    "sse4_2",
    "x2apic",
    "movbe",
    "popcnt",
    "tsc_deadline_timer",
    "aes",
    "xsave",
    "",
    "avx",
    "f16c",
    "rdrand",
    "hypervisor",
];

/// The bytes of registers as text.
fn text_of(words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// The text of /proc/cpuinfo.
pub(crate) fn text() -> String {
    let leaf = |number| query_cpuid(Mode::I386, number, 0);
    let [levels, b, c, d] = leaf(0);
    let vendor = text_of(&[b, d, c]);
    let brand = text_of(&[leaf(0x8000_0002), leaf(0x8000_0003), leaf(0x8000_0004)].concat());
    let [signature, _, features_c, features_d] = leaf(1);
    let (family, model, stepping) =
        ((signature >> 8) & 0xf, ((signature >> 4) & 0xf) | ((signature >> 12) & 0xf0), signature & 0xf);
    let set = |names: &[&'static str; 32], bits: u32| -> Vec<&'static str> {
        names
            .iter()
            .enumerate()
            .filter(|(bit, name)| bits & (1 << bit) != 0 && !name.is_empty())
            .map(|(_, n)| *n)
            .collect()
    };
    let flags = [set(&EDX, features_d), set(&ECX, features_c)].concat().join(" ");
    let mut out = String::new();
    let rows: [(&str, String); 22] = [
        ("processor", "0".to_owned()),
        ("vendor_id", vendor),
        ("cpu family", family.to_string()),
        ("model", model.to_string()),
        ("model name", brand),
        ("stepping", stepping.to_string()),
        ("cpu MHz", "1000.000".to_owned()),
        ("cache size", "1024 KB".to_owned()),
        ("physical id", "0".to_owned()),
        ("siblings", "1".to_owned()),
        ("core id", "0".to_owned()),
        ("cpu cores", "1".to_owned()),
        ("apicid", "0".to_owned()),
        ("initial apicid", "0".to_owned()),
        ("fpu", "yes".to_owned()),
        ("fpu_exception", "yes".to_owned()),
        ("cpuid level", levels.to_string()),
        ("wp", "yes".to_owned()),
        ("flags", flags),
        ("bugs", String::new()),
        ("bogomips", "2000.00".to_owned()),
        ("clflush size", "64".to_owned()),
    ];
    for (name, value) in rows {
        let tabs = if name.len() < 8 { "\t\t" } else { "\t" };
        let _ = writeln!(out, "{name}{tabs}: {value}");
    }
    out.push_str("cache_alignment\t: 64\naddress sizes\t: 36 bits physical, 32 bits virtual\npower management:\n\n");
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_processor_says_what_it_can_do() {
        let text = super::text();
        let flags = text.lines().find(|line| line.starts_with("flags\t")).map(str::to_owned).unwrap_or_default();
        for needed in ["fpu", "cmov", "sse2", "sse4_2", "popcnt"] {
            assert!(flags.split(' ').any(|flag| flag == needed), "{needed} is missing in {flags}");
        }
        assert!(!flags.contains("avx"));
    }
}
