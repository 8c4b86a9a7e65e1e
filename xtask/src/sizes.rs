//! How big things are: the lengths of functions and files, and how many files make a crate.
//!
//! Sources are formatted, so indents tell where things end: a function at the first brace that is
//! closed as far to the left as it began, a file's own code where its unit tests begin.

use std::collections::BTreeMap;

use crate::workspace;

/// What fits on a screen.
const FUNCTION_MAX: usize = 70;

/// Tells the figures.
///
/// # Errors
///
/// If there is a function that does not fit on a screen.
pub(crate) fn tell() -> Result<(), String> {
    let Sizes { functions, files, crates } = Sizes::of_workspace()?;
    let lengths = || functions.iter().map(|function| function.lines);
    let under_ten = share(lengths(), |lines| lines < 10);
    let over_thirty = share(lengths(), |lines| 30 < lines);
    println!(
        "{} functions: {under_ten} % under ten lines, {over_thirty} % over thirty, the longest {}",
        functions.len(),
        lengths().max().unwrap_or_default(),
    );
    println!(
        "{} files, of {} lines before tests in the middle: {} % over 250, the longest {}",
        files.len(),
        middle(&files),
        share(files.iter().copied(), |lines| 250 < lines),
        files.iter().max().unwrap_or(&0),
    );
    for (package, number) in &crates {
        println!("{package}: {number} files");
    }
    let too_long: Vec<_> = functions.iter().filter(|it| FUNCTION_MAX < it.lines).collect();
    if too_long.is_empty() { Ok(()) } else { Err(format!("too long for a screen: {too_long:#?}")) }
}

/// Those of the whole workspace.
#[derive(Default)]
struct Sizes {
    functions: Vec<Function>,
    /// Lines before the unit tests, of each file.
    files: Vec<usize>,
    /// How many files below `src` there are in each crate.
    crates: BTreeMap<String, usize>,
}

#[derive(Debug, Eq, PartialEq)]
struct Function {
    place: String,
    lines: usize,
}

impl Sizes {
    fn of_workspace() -> Result<Self, String> {
        let mut sizes = Self::default();
        for path in workspace::files("rs")? {
            let text = workspace::text(&path)?;
            let name = path.strip_prefix(workspace::root()).unwrap_or(&path).display().to_string();
            sizes.functions.extend(functions(&text, &name));
            sizes.files.push(text.lines().take_while(|line| *line != "#[cfg(test)]").count());
            if name.contains("src/") {
                *sizes.crates.entry(workspace::package(&path)).or_default() += 1;
            }
        }
        Ok(sizes)
    }
}

/// All functions with a body, from the line that names them to their last brace.
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

/// Whether a line, without what is before its first word, begins one.
fn is_function(line: &str) -> bool {
    let mut words = line.split(' ').skip_while(|word| QUALIFIERS.contains(word));
    words.next() == Some("fn") && words.next().is_some_and(|name| name.contains(['(', '<']))
}

const QUALIFIERS: [&str; 6] = ["pub", "pub(crate)", "pub(super)", "const", "async", "$vis"];

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// How many in a hundred.
fn share(lengths: impl Iterator<Item = usize>, is_so: impl Fn(usize) -> bool) -> usize {
    let (mut so, mut all) = (0, 0);
    for length in lengths {
        all += 1;
        so += usize::from(is_so(length));
    }
    (100 * so).checked_div(all).unwrap_or_default()
}

fn middle(lengths: &[usize]) -> usize {
    let mut lengths = lengths.to_vec();
    lengths.sort_unstable();
    lengths.get(lengths.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_fits_on_a_screen() {
        tell().unwrap();
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
}
