//! Replays every group of recorded instruction vectors on the interpreter.

use isa_tests::{replay, table};
use vm_cpu::Interpreter;

fn check(name: &str) {
    let group = table::load(name).expect("the table parses");
    let report = replay::replay(&group, &mut Interpreter::new()).expect("vectors fit the table");
    let (cases, close, known) = (report.cases, report.close, report.known);
    println!("{name}: {cases} cases, {close} of them equal within their tolerance only, {known} known to differ");
    assert_eq!(report.failed, 0, "{name}: {} of {} cases differ\n{}", report.failed, report.cases, report.text);
    assert!(group.forms.iter().all(|form| form.cases() >= 5), "{name}: a form has too few cases");
}

macro_rules! groups {
    ($($name:ident)*) => {
        const GROUPS: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { check(stringify!($name)); })*
    };
}

groups! {
    alu bcd bits cross crossfp flow found fuzz mix mixfp mmx move_ muldiv segment shift smc ssecvt ssefloat sseint stack string sweep x87arith x87compare x87env
    x87move x87trans
}

#[test]
fn every_table_is_tested() {
    let names: Vec<String> = table::load_all().expect("the tables parse").into_iter().map(|group| group.name).collect();
    assert_eq!(names, GROUPS);
}
