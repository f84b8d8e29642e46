//! Records the expected values of all groups, or of those named as arguments.

use anyhow::Result;
use isa_tests::record::Workshop;
use isa_tests::table;
use isa_tests::vectors::Effort;

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let workshop = Workshop::new()?;
    let mut total = 0;
    for group in table::load_all()? {
        if !wanted.is_empty() && !wanted.contains(&group.name) {
            continue;
        }
        let file = workshop.record(&group, Effort::Small)?;
        let cases: usize = group.forms.iter().map(|f| f.cases()).sum();
        println!("{:12} {:5} forms {:6} cases {:7} bytes", group.name, group.forms.len(), cases, file.len());
        total += file.len();
        std::fs::write(isa_tests::home().join("vectors").join(format!("{}.bin", group.name)), file)?;
    }
    println!("{total} bytes in all");
    Ok(())
}
