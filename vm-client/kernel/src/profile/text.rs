//! A report as a page of text.

use std::fmt;

use super::{Place, Report};

/// Lines of each list.
const LINES: usize = 20;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |ns: u64| ns as f64 / 1e6;
        let share = |ns: u64| 100.0 * ns as f64 / self.guest_ns.max(1) as f64;
        writeln!(
            f,
            "guest code: {:.1} ms, {} instructions, {} samples",
            ms(self.guest_ns),
            self.retired,
            self.samples
        )?;
        match &self.work {
            Some(work) => {
                let (interpreting, compiling) = (share(work.interpreting_ns), share(work.compiling_ns));
                let rest = (100.0 - interpreting - compiling).max(0.0);
                writeln!(
                    f,
                    "compiled code {rest:.1} %, interpreter {interpreting:.1} % ({} instructions), compiling {compiling:.1} %",
                    work.interpreted
                )?;
                counts(f, "compiled code was left for", &work.left)?;
            }
            None => writeln!(f, "everything was interpreted")?,
        }
        counts(f, "guest code stopped for", &self.exits)?;
        counts(f, "system calls", &self.calls)?;
        let mut list = |title: &str, places: &[Place]| -> fmt::Result {
            if places.is_empty() {
                return Ok(());
            }
            writeln!(f, "\n{title}")?;
            for place in places.iter().take(LINES) {
                let Place { object, symbol, offset, ns } = place;
                writeln!(f, "{:6.1} % {:10.1} ms  {object} {offset:#x} {symbol}", share(*ns), ms(*ns))?;
            }
            Ok(())
        };
        list("functions", &self.functions)?;
        list("compiled code, by where it begins", &self.regions)?;
        list("addresses", &self.addresses)
    }
}

fn counts(f: &mut fmt::Formatter<'_>, title: &str, counts: &[(&str, u64)]) -> fmt::Result {
    let met: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .take(LINES)
        .map(|(what, count)| format!("{what} {count}"))
        .collect();
    if met.is_empty() { Ok(()) } else { writeln!(f, "{title}: {}", met.join(", ")) }
}
