//! The table of faults: which tests prove each of its rows.
//!
//! A test proves a row where the comment `// FAULTS 27.` (or `// FAULTS 27, 28.`) stands above it,
//! or above a macro's invocation that names it. So does a command of this crate. The last column of
//! `docs/faults.md` names these; what stands there for a row that has none is left as it was
//! written. A run of all tests writes the table once more, with what became of each, and fails if
//! one of them did not run; but for those in a source whose first line names the command that runs
//! them. Of commands it says what became of them when they were last run.

use std::{collections::BTreeMap, fs};

use crate::{
    test_results::{self, Outcome, TestResults},
    workspace,
};

const TABLE: &str = "docs/faults.md";

/// The file for the table with the result of each test.
const RESULTS: &str = "target/faults.md";

/// The proofs of each row.
type Proofs = BTreeMap<u32, Vec<Proof>>;

#[derive(Debug, Eq, PartialEq)]
struct Proof {
    package: String,
    name: String,
    runs: Runs,
}

/// The command that runs a proof.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Runs {
    /// With all tests.
    Test,
    /// With those of another command of this crate.
    By(String),
    /// It is a command itself.
    Command,
}

impl Proof {
    fn text(&self) -> String {
        let Self { package, name, runs } = self;
        match runs {
            Runs::Command => format!("`cargo xtask {name}`"),
            Runs::By(command) => format!("`{package}: {name}` (`cargo xtask {command}`)"),
            Runs::Test => format!("`{package}: {name}`"),
        }
    }

    fn result(&self, results: &TestResults) -> String {
        match &self.runs {
            Runs::Test => format!("{}: {}", self.text(), results.of(&self.name)),
            Runs::By(command) => format!("{}: {}", self.text(), test_results::of_command(command)),
            Runs::Command => format!("{}: {}", self.text(), test_results::of_command(&self.name)),
        }
    }

    fn is_missing(&self, results: &TestResults) -> bool {
        self.runs == Runs::Test && results.of(&self.name) == Outcome::NotRun
    }
}

/// Writes the table anew.
pub(crate) fn write() -> Result<(), String> {
    let (_, new) = tables(Proof::text)?;
    save(TABLE, &new)
}

/// Writes the table with what became of each test.
///
/// # Errors
///
/// If a test that proves a row did not run: then its name proves nothing.
pub(crate) fn report(results: &TestResults) -> Result<(), String> {
    let (_, table) = tables(|proof| proof.result(results))?;
    save(RESULTS, &table)?;
    let missing = proofs()?.into_values().flatten().filter(|proof| proof.is_missing(results));
    let missing: Vec<_> = missing.map(|proof| proof.text()).collect();
    if missing.is_empty() {
        println!("{RESULTS} says what became of each test that docs/faults.md names");
        return Ok(());
    }
    Err(format!("{TABLE} names tests that did not run: {}", missing.join(", ")))
}

fn save(path: &str, table: &str) -> Result<(), String> {
    fs::write(workspace::root().join(path), table).map_err(|error| format!("{path}: {error}"))
}

fn proofs() -> Result<Proofs, String> {
    let mut proofs = Proofs::new();
    for path in workspace::files("rs")? {
        read(&workspace::text(&path)?, &workspace::package(&path), &mut proofs);
    }
    Ok(proofs)
}

/// The table as it is, and as it should be, if this is what it says of a proof.
fn tables(say: impl Fn(&Proof) -> String) -> Result<(String, String), String> {
    let mut proofs = proofs()?;
    let old = workspace::text(&workspace::root().join(TABLE))?;
    let mut new = String::with_capacity(old.len());
    for line in old.lines() {
        match row(line) {
            None => new.push_str(line),
            Some((number, rest, proof)) => {
                let named = proofs.remove(&number);
                let named = named.map(|named| named.iter().map(&say).collect::<Vec<_>>());
                let named = named.map(|named| named.join("<br>"));
                // What names tests was written by this; anything else by hand.
                let by_hand = if proof.starts_with('`') { "open" } else { proof };
                new.push_str(&format!("{rest}| {} |", named.as_deref().unwrap_or(by_hand)));
            }
        }
        new.push('\n');
    }
    match proofs.first_key_value() {
        None => Ok((old, new)),
        Some((number, named)) => {
            Err(format!("{TABLE} has no row {number}, of {}", named[0].text()))
        }
    }
}

/// Number, all but the last cell, and the last cell of a row of the table.
fn row(line: &str) -> Option<(u32, &str, &str)> {
    let number = line.strip_prefix("| ")?.split(' ').next()?.parse().ok()?;
    let (rest, proof) = line.strip_suffix('|')?.rsplit_once('|')?;
    Some((number, rest, proof.trim()))
}

/// Adds what is in one source.
fn read(source: &str, package: &str, proofs: &mut Proofs) {
    let mut rows: Vec<u32> = Vec::new();
    let (mut is_macro, mut is_test) = (false, package != "xtask");
    let command = source.lines().next().and_then(|line| line.split_once("`cargo xtask "));
    let command = command.and_then(|(_, rest)| rest.split_once('`')).map(|(name, _)| name);
    for line in source.lines().map(str::trim_start) {
        if let Some(numbers) = line.strip_prefix("// FAULTS ") {
            let numbers = numbers.trim_end_matches('.').split(", ");
            rows.extend(numbers.filter_map(|number| number.parse::<u32>().ok()));
        }
        is_macro = (is_macro && line != "}") || (!rows.is_empty() && line.ends_with("! {"));
        is_test |= line == "#[test]";
        let found = if is_macro { named(line) } else { function(line) };
        for &row in found.iter().flat_map(|_| &rows) {
            let [package, name] = [package, found.unwrap_or_default()].map(str::to_owned);
            let runs = match command {
                _ if !is_test => Runs::Command,
                Some(command) => Runs::By(command.to_owned()),
                None => Runs::Test,
            };
            proofs.entry(row).or_default().push(Proof { package, name, runs });
        }
        if !is_macro && (found.is_some() || line == "}") {
            rows.clear();
            is_test = package != "xtask";
        }
    }
}

/// The name of the test that a macro makes of this line, `name: …;`.
fn named(line: &str) -> Option<&str> {
    line.strip_suffix(';')?.split_once(": ").map(|(name, _)| name)
}

/// The name of the function that begins in this line.
fn function(line: &str) -> Option<&str> {
    let at = if line.starts_with("fn ") { 0 } else { line.find(" fn ")? + 1 };
    let is_code = !line.starts_with("//");
    line[at + 3..].split(['(', '<']).next().filter(|_| is_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_above_a_test_names_its_rows() {
        let source = "// FAULTS 3, 14.\n#[tokio::test]\nasync fn first() {}\nfn other() {}\n\
                      // FAULTS 3.\n#[test]\nfn second() {}";
        assert_eq!(found(source, 3), ["first", "second"]);
        assert_eq!(found(source, 14), ["first"]);
    }

    #[test]
    fn a_comment_above_a_macro_is_for_all_tests_that_it_makes() {
        let source = "// FAULTS 3.\nmake! {\n    first: one;\n    second: two();\n}\nfn other() {}";
        assert_eq!(found(source, 3), ["first", "second"]);
    }

    #[test]
    fn a_first_line_may_name_the_command_that_runs_a_source() {
        let source = "//! Models: `cargo xtask loom`.\n// FAULTS 3.\n#[test]\nfn first() {}";
        let mut proofs = Proofs::new();
        read(source, "p", &mut proofs);
        assert_eq!(proofs[&3][0].runs, Runs::By("loom".to_owned()));
    }

    fn found(source: &str, row: u32) -> Vec<String> {
        let mut proofs = Proofs::new();
        read(source, "p", &mut proofs);
        proofs.remove(&row).unwrap().into_iter().map(|proof| proof.name).collect()
    }

    #[test]
    fn a_row_is_told_from_any_other_line() {
        assert_eq!(row("| 3 | cfg | a | b | open |"), Some((3, "| 3 | cfg | a | b ", "open")));
        assert_eq!(row("|---|---|"), None);
        assert_eq!(row("text"), None);
    }

    // The rows of the sources are those of the table.
    #[test]
    fn the_table_is_fresh() {
        let (old, new) = tables(Proof::text).unwrap();
        assert!(old == new, "{TABLE} is stale: cargo xtask faults");
    }
}
