//! The crates that an application has to compile.

use std::{collections::BTreeSet, process::Command};

/// The crates that these packages need, themselves included, by these arguments of `cargo tree`.
fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    cargo.args(arguments);
    let output = cargo.output().expect("cargo is there");
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).expect("names of crates are text");
    lines.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

#[test]
fn an_application_with_limits_in_memory_compiles_25_crates_at_most() {
    let crates = tree(&["--package=ratelimit-algorithms", "--package=ratelimit-memory"]);
    assert!(crates.len() <= 25, "{}: {crates:?}", crates.len());
    for heavy in ["tokio", "fred", "rusqlite", "tower-service"] {
        assert!(!crates.contains(heavy), "{heavy}");
    }
}

/// WebAssembly without a system has no counter to read.
#[test]
fn nothing_reads_the_processors_counter_in_webassembly() {
    let crates = tree(&["--package=ratelimit-memory", "--target=wasm32-unknown-unknown"]);
    assert!(!crates.contains("quanta"), "{crates:?}");
    assert!(tree(&["--package=ratelimit-memory"]).contains("quanta"));
}

#[test]
fn the_core_is_alone() {
    assert_eq!(tree(&["--package=ratelimit-core"]), BTreeSet::from(["ratelimit-core".to_owned()]));
}
