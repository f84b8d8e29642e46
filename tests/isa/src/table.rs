//! The tables: one text file a group, one line a family of instruction forms.
//!
//! ```text
//! # comment
//! @ n=5 undef=none            defaults for the lines below
//! {add|sub} {cl, dh|cx, dx|dword ptr [ebx], edx} ; n=100 undef=af
//! ```
//! A line `mix 300 8` turns the lines below it into a pool: the group's forms are then 300 random sequences of 8 of them. A
//! line `fuzz 1 400 5` stands for 400 random programs of seed 1, each run on 5 inputs ([`crate::fuzz`]).
//!
//! Braces expand to all alternatives; what is before ` ; ` is Intel-syntax assembly for gas (`:` as ` ;; ` between
//! instructions), what is behind it is options. The README lists the options.

use anyhow::{Context, Result, bail};

use crate::fuzz::Pools;
use crate::rng::Rng;

/// One instruction form with its options.
#[derive(Clone, Debug)]
pub struct Form {
    /// Assembly text.
    pub text: String,
    /// Options by key; later ones win.
    pub options: Vec<(String, String)>,
}

/// The forms of one table file.
#[derive(Clone, Debug)]
pub struct Group {
    /// The file's name without its ending.
    pub name: String,
    /// Forms in order.
    pub forms: Vec<Form>,
}

impl Form {
    /// The value of an option.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.options.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// How many cases the form has.
    pub fn cases(&self) -> usize {
        self.option("n").and_then(|n| n.parse().ok()).unwrap_or(5)
    }

    /// The form as a line of a table.
    pub fn line(&self) -> String {
        let options: Vec<String> = self.options.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("{} ; {}", self.text, options.join(" "))
    }

    /// The text that seeds the inputs: everything that shapes them except the number of cases.
    pub fn seed(&self) -> String {
        let mut seed = self.text.clone();
        for (key, value) in &self.options {
            if !matches!(key.as_str(), "n" | "undef" | "ignore" | "known" | "ulp" | "rewrite") {
                seed.push_str(&format!(" {key}={value}"));
            }
        }
        seed
    }

    /// Bits of EFLAGS the form leaves undefined.
    pub fn undefined_flags(&self) -> u32 {
        let mut mask = 0;
        for name in self.option("undef").unwrap_or("").split(',') {
            mask |= match name {
                "cf" => 1,
                "pf" => 4,
                "af" => 0x10,
                "zf" => 0x40,
                "sf" => 0x80,
                "of" => 0x800,
                "all" => 0x8d5,
                _ => 0,
            };
        }
        mask
    }
}

/// Reads all groups, sorted by name.
pub fn load_all() -> Result<Vec<Group>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(crate::home().join("table"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "txt") {
            names.push(path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    names.sort();
    names.iter().map(|name| load(name)).collect()
}

/// Reads one group.
pub fn load(name: &str) -> Result<Group> {
    let path = crate::home().join("table").join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    parse(name, &text)
}

/// Parses a table.
pub fn parse(name: &str, text: &str) -> Result<Group> {
    let mut defaults = Vec::new();
    let mut forms = Vec::new();
    let mut mix = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            continue;
        }
        if let Some(options) = line.strip_prefix('@') {
            defaults = parse_options(options).with_context(|| format!("{name}:{}", number + 1))?;
            continue;
        }
        if let Some(numbers) = line.strip_prefix("mix ") {
            let (count, length) = numbers.split_once(' ').context("mix needs a count and a length")?;
            mix = Some((count.parse::<u64>()?, length.parse::<usize>()?, defaults.clone()));
            continue;
        }
        if let Some(numbers) = line.strip_prefix("fuzz ") {
            let mut numbers = numbers.split(' ').map(str::parse::<u64>);
            let mut number = || numbers.next().context("fuzz needs a seed, programs and cases");
            let (seed, programs, cases) = (number()??, number()??, number()??);
            let pools = Pools::new();
            forms.extend((0..programs).map(|index| pools.program(seed, index, cases as usize).form()));
            continue;
        }
        let (template, options) = line.split_once(" ; ").unwrap_or((line, ""));
        let mut all = defaults.clone();
        all.extend(parse_options(options).with_context(|| format!("{name}:{}", number + 1))?);
        for text in expand(template.trim()).with_context(|| format!("{name}:{}", number + 1))? {
            forms.push(Form { text, options: all.clone() });
        }
    }
    if let Some((count, length, options)) = mix {
        forms = sequences(name, &forms, count, length, &options);
    }
    Ok(Group { name: name.to_string(), forms })
}

/// Random sequences of the forms of a pool.
fn sequences(name: &str, pool: &[Form], count: u64, length: usize, options: &[(String, String)]) -> Vec<Form> {
    (0..count)
        .map(|i| {
            let mut rng = Rng::new(name, i);
            let texts: Vec<&str> =
                (0..length).map(|_| pool[rng.below(pool.len() as u64) as usize].text.as_str()).collect();
            Form { text: texts.join("; "), options: options.to_vec() }
        })
        .collect()
}

fn parse_options(text: &str) -> Result<Vec<(String, String)>> {
    text.split_whitespace()
        .map(|word| {
            let (key, value) = word.split_once('=').unwrap_or((word, "1"));
            if key.is_empty() {
                bail!("option without a name: {word}");
            }
            Ok((key.to_string(), value.to_string()))
        })
        .collect()
}

/// Expands the first brace group and recurses; groups do not nest.
pub(crate) fn expand(template: &str) -> Result<Vec<String>> {
    let Some(open) = template.find('{') else {
        return Ok(vec![template.to_string()]);
    };
    let close = open + template[open..].find('}').context("unclosed brace")?;
    let mut all = Vec::new();
    for choice in template[open + 1..close].split('|') {
        all.extend(expand(&format!("{}{}{}", &template[..open], choice, &template[close + 1..]))?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_expand_to_every_alternative() {
        let group = parse("t", "@ n=7\n{a|b} {x, y|z} ; undef=af,of\n").unwrap();
        let texts: Vec<_> = group.forms.iter().map(|f| f.text.as_str()).collect();
        assert_eq!(texts, ["a x, y", "a z", "b x, y", "b z"]);
        assert_eq!(group.forms[0].cases(), 7);
        assert_eq!(group.forms[0].undefined_flags(), 0x810);
    }
}
