//! The table of faults: which tests prove each of its rows.
//!
//! A test proves a row where the comment `// FAULTS 27.` (or `// FAULTS 27, 28.`) stands above it.
//! The last column of `docs/faults.md` names these tests; what stands there for a row that has
//! none is left as it was written.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

const TABLE: &str = "docs/faults.md";

/// The tests of each row, as `package: test`.
type Tests = BTreeMap<u32, Vec<String>>;

/// Writes the table anew.
pub(crate) fn write() -> Result<(), String> {
    let (_, new) = tables()?;
    fs::write(root().join(TABLE), new).map_err(|error| format!("{TABLE}: {error}"))
}

/// The table as it is, and as it should be.
fn tables() -> Result<(String, String), String> {
    let mut tests = Tests::new();
    collect(&root(), "", &mut tests).map_err(|error| format!("the sources: {error}"))?;
    let old =
        fs::read_to_string(root().join(TABLE)).map_err(|error| format!("{TABLE}: {error}"))?;
    let mut new = String::with_capacity(old.len());
    for line in old.lines() {
        match row(line) {
            None => new.push_str(line),
            Some((number, rest, proof)) => {
                let named = tests.remove(&number).map(|names| names.join("<br>"));
                // What names tests was written by this; anything else by hand.
                let by_hand = if proof.starts_with('`') { "open" } else { proof };
                new.push_str(&format!("{rest}| {} |", named.as_deref().unwrap_or(by_hand)));
            }
        }
        new.push('\n');
    }
    match tests.first_key_value() {
        None => Ok((old, new)),
        Some((number, names)) => Err(format!("{TABLE} has no row {number}, of {}", names[0])),
    }
}

/// Number, all but the last cell, and the last cell of a row of the table.
fn row(line: &str) -> Option<(u32, &str, &str)> {
    let number = line.strip_prefix("| ")?.split(' ').next()?.parse().ok()?;
    let (rest, proof) = line.strip_suffix('|')?.rsplit_once('|')?;
    Some((number, rest, proof.trim()))
}

/// Adds the tests of all sources in `folder`, which belongs to `package`.
fn collect(folder: &Path, package: &str, tests: &mut Tests) -> io::Result<()> {
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
    let name = manifest.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    let package = name.unwrap_or(package);
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if name != "target" && !name.as_encoded_bytes().starts_with(b".") {
                collect(&path, package, tests)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            read(&fs::read_to_string(&path)?, package, tests);
        }
    }
    Ok(())
}

/// Adds the tests of one source.
fn read(source: &str, package: &str, tests: &mut Tests) {
    let mut rows: Vec<u32> = Vec::new();
    for line in source.lines().map(str::trim_start) {
        if let Some(numbers) = line.strip_prefix("// FAULTS ") {
            let numbers = numbers.trim_end_matches('.').split(", ");
            rows.extend(numbers.filter_map(|number| number.parse::<u32>().ok()));
        } else if let Some(name) = function(line) {
            for row in rows.drain(..) {
                tests.entry(row).or_default().push(format!("`{package}: {name}`"));
            }
        }
    }
}

/// The name of the function that begins in this line.
fn function(line: &str) -> Option<&str> {
    let at = if line.starts_with("fn ") { 0 } else { line.find(" fn ")? + 1 };
    let is_code = !line.starts_with("//");
    line[at + 3..].split(['(', '<']).next().filter(|_| is_code)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_above_a_test_names_its_rows() {
        let source = "// FAULTS 3, 14.\n#[tokio::test]\nasync fn first() {}\nfn other() {}\n\
                      // FAULTS 3.\n#[test]\nfn second() {}";
        let mut tests = Tests::new();
        read(source, "p", &mut tests);
        assert_eq!(tests[&3], ["`p: first`", "`p: second`"]);
        assert_eq!(tests[&14], ["`p: first`"]);
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
        let (old, new) = tables().unwrap();
        assert!(old == new, "{TABLE} is stale: cargo xtask faults");
    }
}
