//! The crates that an application has to compile.

use std::{collections::BTreeSet, process::Command};

/// The crates that those of `packages` need, themselves included.
fn tree(packages: &[&str]) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    cargo.args(packages.iter().flat_map(|package| ["--package", package]));
    let output = cargo.output().expect("cargo is there");
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).expect("names of crates are text");
    lines.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

#[test]
fn an_application_with_limits_in_memory_compiles_25_crates_at_most() {
    let crates = tree(&["ratelimit-algorithms", "ratelimit-memory"]);
    assert!(crates.len() <= 25, "{}: {crates:?}", crates.len());
    for heavy in ["tokio", "fred", "rusqlite", "tower-service"] {
        assert!(!crates.contains(heavy), "{heavy}");
    }
}

#[test]
fn the_core_is_alone() {
    assert_eq!(tree(&["ratelimit-core"]), BTreeSet::from(["ratelimit-core".to_owned()]));
}
