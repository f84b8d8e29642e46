//! What the engine counted, with names.

use std::collections::HashMap;

use vm_cpu::assist::{self, X87};
use vm_cpu::ir::Code;

use super::Inner;
use crate::counts::Counts;
use crate::lazy::Kind;

impl Inner {
    /// All figures.
    pub(super) fn figures(&self) -> Vec<(String, f64)> {
        let mut figures = self.profile.figures();
        figures.extend(self.most_requested());
        figures.extend(self.counts.iter().flat_map(Counts::figures));
        figures.push(("regions".to_owned(), self.regions.iter().count() as f64));
        figures.push(("modules".to_owned(), self.regions.modules() as f64));
        figures.push(("code bytes".to_owned(), self.regions.size as f64));
        figures
    }

    /// What was requested most.
    fn most_requested(&self) -> Vec<(String, f64)> {
        let mut counts: HashMap<String, u64> = HashMap::new();
        for (op, &count) in self.operations.all.iter().zip(&self.profile.requested) {
            let name = match op.code {
                Code::Assist => {
                    let row = assist::row(op.assist_number());
                    let x87 = row.name.starts_with("X87").then(|| X87::ALL.get(usize::from(op.b))).flatten();
                    match x87 {
                        Some(what) => format!("{what:?} {}", op.c),
                        None => format!("{} {} {} {}", row.name, op.b, op.c, op.imm & 0xffff_ffff),
                    }
                }
                code => format!("{code:?}"),
            };
            *counts.entry(name).or_default() += count;
        }
        for (kind, &count) in &self.profile.flag_kinds {
            let kind = Kind(*kind);
            let name = format!("flags {:?} {:?} {:?}", kind.base(), kind.size(), kind.carry());
            *counts.entry(name).or_default() += count;
        }
        let mut counts: Vec<(String, u64)> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts.truncate(24);
        counts.into_iter().map(|(name, count)| (format!("requested {name}"), count as f64)).collect()
    }
}
