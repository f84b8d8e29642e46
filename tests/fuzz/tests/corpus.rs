//! Every input that is kept, given to its target again.

use std::path::Path;

#[test]
fn no_kept_input_panics() {
    for (name, target) in fuzz_tests::TARGETS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(format!("{name}.hex"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let inputs: Vec<Vec<u8>> = text.lines().map(bytes).collect();
        assert!(inputs.len() > 5, "{name} keeps only {} inputs", inputs.len());
        inputs.iter().for_each(|input| target(input));
    }
}

fn bytes(line: &str) -> Vec<u8> {
    let digits = line.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("a byte")).collect()
}
