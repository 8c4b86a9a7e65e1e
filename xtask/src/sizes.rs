//! `cargo xtask sizes`: the size of each crate, and which of its files import each other.
//!
//! Sources are formatted, so indentation tells where things end: a function at the first brace that
//! is closed as far to the left as the function began, a file's own code where its unit tests begin.

use std::{collections::BTreeMap, ops::AddAssign};

use crate::{imports, workspace};

/// The lines that fit on a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Prints a row for each crate, and the pairs of files that import each other.
///
/// # Errors
///
/// If a function does not fit on a screen.
pub(crate) fn print() -> Result<(), String> {
    let mut crates: BTreeMap<String, Sizes> = BTreeMap::new();
    for path in workspace::files("rs")? {
        let name = workspace::relative(&path);
        if name.contains("/src/") && !name.contains("/tests/") {
            let sizes = Sizes::of_file(&name, workspace::code(&workspace::text(&path)?));
            *crates.entry(workspace::package(&path)).or_default() += sizes;
        }
    }
    println!("{HEADING}");
    let mut total = Sizes::default();
    for (package, sizes) in crates {
        println!("{}", sizes.row(&package));
        total += sizes;
    }
    println!("{}", total.row("total"));
    for (one, other) in imports::pairs()? {
        println!("{one} and {other} import each other");
    }
    let too_long = functions_longer_than(FUNCTION_LINES_MAX)?;
    if too_long.is_empty() { Ok(()) } else { Err(format!("too long for a screen: {too_long:#?}")) }
}

const HEADING: &str = "\
| crate                  | files |  lines | functions | public | file: median p90 max | function: median p90 max |
|------------------------|------:|-------:|----------:|-------:|---------------------:|-------------------------:|";

/// The sizes of a crate's sources, without their unit tests.
#[derive(Default)]
struct Sizes {
    files: Vec<usize>,
    functions: Vec<usize>,
    public_items: usize,
}

impl Sizes {
    fn of_file(name: &str, code: &str) -> Self {
        Self {
            files: vec![code.lines().count()],
            functions: functions(code, name).iter().map(|function| function.lines).collect(),
            public_items: code.lines().filter(|line| is_public(line)).count(),
        }
    }

    fn row(&self, name: &str) -> String {
        let lines: usize = self.files.iter().sum();
        let [files, functions] = [&self.files, &self.functions].map(|lengths| {
            [percentile(lengths, 50), percentile(lengths, 90), percentile(lengths, 100)]
        });
        format!(
            "| {name:22} | {:5} | {lines:6} | {:9} | {:6} | {:6} {:6} {:6} | {:8} {:7} {:7} |",
            self.files.len(),
            self.functions.len(),
            self.public_items,
            files[0],
            files[1],
            files[2],
            functions[0],
            functions[1],
            functions[2],
        )
    }
}

impl AddAssign for Sizes {
    fn add_assign(&mut self, other: Self) {
        self.files.extend(other.files);
        self.functions.extend(other.functions);
        self.public_items += other.public_items;
    }
}

/// Returns the length that `percent` of all lengths do not exceed.
fn percentile(lengths: &[usize], percent: usize) -> usize {
    let mut lengths = lengths.to_vec();
    lengths.sort_unstable();
    let rank = (lengths.len() * percent).div_ceil(100);
    lengths.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// Returns whether a line begins a public item: a function, a type, a trait, a constant or a macro.
fn is_public(line: &str) -> bool {
    let line = line.trim_start();
    let mut words = line.strip_prefix("pub ").unwrap_or_default().split(' ');
    line == "#[macro_export]"
        || words.next().is_some_and(|word| {
            let items = ["async", "const", "enum", "fn", "static", "struct", "trait", "type"];
            items.contains(&word)
        })
}

#[derive(Debug, Eq, PartialEq)]
struct Function {
    place: String,
    lines: usize,
}

/// Returns all functions of the workspace, tests included, of more than so many lines.
fn functions_longer_than(lines: usize) -> Result<Vec<Function>, String> {
    let mut found = Vec::new();
    for path in workspace::files("rs")? {
        found.extend(functions(&workspace::text(&path)?, &workspace::relative(&path)));
    }
    found.retain(|function| lines < function.lines);
    Ok(found)
}

/// Returns all functions with a body, from the line that names them to their last brace.
fn functions(text: &str, file: &str) -> Vec<Function> {
    let lines: Vec<&str> = text.lines().collect();
    let begin = lines.iter().enumerate().filter(|(_, line)| is_function(line.trim_start()));
    let function = |(begin, first): (usize, &&str)| {
        let ends = |line: &&str| indent(line) == indent(first) && line.ends_with([';', '}']);
        let length = 1 + lines[begin..].iter().position(ends)?;
        let has_body = lines[begin + length - 1].ends_with('}');
        let place = format!("{file}:{}", begin + 1);
        has_body.then_some(Function { place, lines: length })
    };
    begin.filter_map(function).collect()
}

/// Returns whether a line, without its indentation, begins a function.
fn is_function(line: &str) -> bool {
    let mut words = line.split(' ').skip_while(|word| QUALIFIERS.contains(word));
    words.next() == Some("fn") && words.next().is_some_and(|name| name.contains(['(', '<']))
}

const QUALIFIERS: [&str; 6] = ["pub", "pub(crate)", "pub(super)", "const", "async", "$vis"];

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_fits_on_a_screen() {
        assert_eq!(functions_longer_than(FUNCTION_LINES_MAX).unwrap(), []);
    }

    #[test]
    fn a_function_ends_where_its_brace_is_closed() {
        let text = "fn one() {}\n\npub(crate) const fn five<T>(\n    of: T,\n) -> bool {\n    \
                    if so { a } else { b }\n}\n\ntrait It {\n    fn none(&self);\n\n    \
                    fn two(&self) -> u64 {\n        1 }\n    }\n}\n// fn no() {}\n";
        let found = functions(text, "it.rs");
        let found: Vec<_> = found.iter().map(|it| (it.place.as_str(), it.lines)).collect();
        assert_eq!(found, [("it.rs:1", 1), ("it.rs:3", 5), ("it.rs:12", 3)]);
    }

    #[test]
    fn only_items_of_the_crate_s_surface_count_as_public() {
        let lines = ["pub fn a() {", "    pub const fn b(", "pub struct C;", "#[macro_export]"];
        assert!(lines.iter().all(|line| is_public(line)));
        for line in ["pub(crate) fn a() {", "pub use b;", "pub mod c;", "    pub field: u64,"] {
            assert!(!is_public(line), "{line}");
        }
    }

    #[test]
    fn percentiles_are_lengths_that_occur() {
        assert_eq!([50, 90, 100].map(|percent| percentile(&[3, 1, 2, 10], percent)), [2, 10, 10]);
        assert_eq!(percentile(&[], 50), 0);
    }
}
