//! Commands that run tools of others, which they find, or install from crates.io.

use std::{
    fs, io,
    process::{Command, Stdio},
};

use crate::{USAGE, cargo, run, toolchain, workspace};

/// Has libFuzzer look for bytes that break one of the targets in `xtask/fuzz-targets`.
///
/// What it finds interesting stays in `fuzz/target`. What it finds wrong is in `fuzz/artifacts`, and
/// belongs into `fuzz/corpus`, which the tests run over, together with the fix.
// FAULTS 201.
pub(crate) fn fuzz(arguments: &[String]) -> Result<(), String> {
    let (seconds, targets) = match arguments {
        [option, seconds, targets @ ..] if option == "--seconds" => (seconds.as_str(), targets),
        targets => (TEN_MINUTES, targets),
    };
    if targets.iter().any(|target| target.starts_with('-')) {
        return Err(USAGE.to_owned());
    }
    toolchain::find("fuzz")?;
    find("fuzz", "fuzz")?;
    let all = all_targets().map_err(|error| format!("fuzz/corpus: {error}"))?;
    for target in if targets.is_empty() { &all } else { targets } {
        let [found, kept] =
            ["fuzz/target/corpus", "fuzz/corpus"].map(|it| format!("{it}/{target}"));
        let made = fs::create_dir_all(workspace::root().join(&found));
        made.map_err(|error| format!("{found}: {error}"))?;
        let mut fuzzer = toolchain::cargo(&["fuzz", "run", target, &found, &kept]);
        fuzzer.current_dir(workspace::root());
        fuzzer.args(["--", "-max_len=400", &format!("-max_total_time={seconds}")]);
        run(&mut fuzzer)?;
    }
    Ok(())
}

const TEN_MINUTES: &str = "600";

/// Each has a corpus.
fn all_targets() -> io::Result<Vec<String>> {
    let corpora = fs::read_dir(workspace::root().join("fuzz/corpus"))?;
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().display().to_string());
    corpora.map(name).collect()
}

/// Changes the code that decides, one place at a time, and looks whether a test minds. That takes
/// hours, so tests are made quickly, and those that ask a million times are left out.
// FAULTS 202.
pub(crate) fn mutants(arguments: &[String]) -> Result<(), String> {
    find("mutants", "mutants")?;
    let quickly = [("CARGO_PROFILE_TEST_OPT_LEVEL", "0"), ("CARGO_PROFILE_TEST_DEBUG", "0")];
    let mut is_caught = true;
    for (package, files) in MUTATED {
        let output = format!("target/mutants/{package}");
        let mut mutants = cargo(&["mutants", "--all-features", "--package", package]);
        mutants.args(["--output", &output]).args(files.iter().flat_map(|file| ["--file", file]));
        mutants.args(arguments).args(["--", "--", "--skip", "drift::", "--skip", "million"]);
        is_caught &= run(mutants.envs(quickly)).is_ok();
    }
    if is_caught { Ok(()) } else { Err("some changes went unnoticed: target/mutants".to_owned()) }
}

/// What is changed: all of the core; when records are dropped; who is limited.
const MUTATED: [(&str, &[&str]); 3] = [
    ("ratelimit-core", &["ratelimit-core/src/*.rs"]),
    ("ratelimit-memory", &["due.rs", "table.rs"]),
    ("ratelimit-http", &["**/key/*.rs"]),
];

/// Whose code is built in, and under which licences: `deny.toml` says what may be.
// FAULTS 199.
pub(crate) fn deny() -> Result<(), String> {
    find("deny", "deny")?;
    run(&mut cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"]))
}

/// Makes sure that there is `cargo TOOL`, installing it if need be.
pub(crate) fn find(command: &str, tool: &str) -> Result<(), String> {
    let is_there = |tool| succeeds(&mut cargo(&[tool, "--version"]));
    if is_there(tool) {
        return Ok(());
    }
    let name = format!("cargo-{tool}");
    println!("{name} is not installed; installing it from crates.io");
    let _ = cargo(&["install", "--locked", &name]).status();
    if is_there(tool) {
        return Ok(());
    }
    Err(format!(
        "cargo xtask {command} needs {name}, which could not be installed;\n\
         install it (cargo install --locked {name}) and run this again"
    ))
}

pub(crate) fn succeeds(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
