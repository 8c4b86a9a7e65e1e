//! Commands that run tools of others: where to get them, and how they are called.

use std::{env, fs, io, slice};

use xtask::Arguments;

use crate::{
    process::{cargo, run, succeeds},
    toolchain, workspace,
};

/// A subcommand of cargo that crates.io has.
pub(crate) struct Tool {
    name: &'static str,
    /// The version that is installed.
    version: &'static str,
}

const FUZZ: Tool = Tool { name: "fuzz", version: "0.13.2" };
const MUTANTS: Tool = Tool { name: "mutants", version: "27.1.0" };
const DENY: Tool = Tool { name: "deny", version: "0.20.2" };
pub(crate) const HACK: Tool = Tool { name: "hack", version: "0.6.46" };
pub(crate) const LLVM_COV: Tool = Tool { name: "llvm-cov", version: "0.9.1" };
pub(crate) const PUBLIC_API: Tool = Tool { name: "public-api", version: "0.52.0" };

impl Tool {
    /// Makes sure that there is this tool, in any version; installs it where `--install` is given.
    pub(crate) fn find(&self, arguments: &Arguments) -> Result<(), String> {
        let is_there = || succeeds(&mut cargo(&[self.name, "--version"]));
        let package = format!("cargo-{}@{}", self.name, self.version);
        if is_there() {
            return Ok(());
        }
        if !arguments.has("--install") {
            return Err(format!(
                "this needs cargo-{}, which is not installed:\n\n  \
                 cargo install --locked {package}\n\n\
                 --install does that first",
                self.name
            ));
        }
        eprintln!("installing {package} from crates.io");
        run(&mut cargo(&["install", "--locked", &package]))
    }
}

/// Has libFuzzer look for bytes that break one of the targets in `xtask/fuzz-targets`.
///
/// Inputs that reach new code stay in `fuzz/target`. An input that breaks a target is in
/// `fuzz/artifacts`, and belongs into `fuzz/corpus`, which the tests run over, together with the fix.
// FAULTS 201.
pub(crate) fn fuzz(arguments: &Arguments) -> Result<(), String> {
    toolchain::find("fuzz")?;
    FUZZ.find(arguments)?;
    let seconds = arguments.value("--seconds").unwrap_or(TEN_MINUTES);
    let all = fuzz_targets()?;
    for target in if arguments.operands().is_empty() { &all } else { arguments.operands() } {
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

/// Returns the names of all targets: each has a corpus.
pub(crate) fn fuzz_targets() -> Result<Vec<String>, String> {
    let corpora = fs::read_dir(workspace::root().join("fuzz/corpus"));
    let corpora = corpora.and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let corpora = corpora.map_err(|error| format!("fuzz/corpus: {error}"))?;
    let mut names: Vec<_> =
        corpora.iter().map(|entry| entry.file_name().display().to_string()).collect();
    names.sort();
    Ok(names)
}

/// Changes the code that decides, one place at a time, and looks for a test that fails. That takes
/// hours, so tests are built quickly, those that check a million times are left out, and a property is
/// given few cases, unless `PROPTEST_CASES` says how many; what fails is not made smaller.
// FAULTS 202.
pub(crate) fn mutants(arguments: &Arguments) -> Result<(), String> {
    MUTANTS.find(arguments)?;
    let made = fs::create_dir_all(workspace::root().join("target/mutants"));
    made.map_err(|error| format!("target/mutants: {error}"))?;
    let wanted = arguments.operands();
    let is_wanted = |package: &str| wanted.is_empty() || wanted.iter().any(|name| name == package);
    let mut is_caught = true;
    for Mutated { package, files, tests } in MUTATED.iter().filter(|it| is_wanted(it.package)) {
        let output = format!("target/mutants/{package}");
        let mut mutants = cargo(&["mutants", "--all-features", "--profile", "mutants"]);
        mutants.args(["--package", package, "--output", &output]);
        let file = arguments.value("--file");
        let files = file.as_ref().map_or(*files, slice::from_ref);
        mutants.args(files.iter().flat_map(|file| ["--file", file]));
        mutants.args(tests.iter().map(|test| format!("--cargo-arg=--test={test}")));
        mutants.arg("--cargo-arg=--lib");
        if let Some(shard) = arguments.value("--shard") {
            mutants.args(["--shard", shard]);
        }
        mutants.args(["--", "--", "--skip", "drift::", "--skip", "million"]);
        mutants.env("PROPTEST_MAX_SHRINK_ITERS", "0");
        if env::var_os("PROPTEST_CASES").is_none() {
            mutants.env("PROPTEST_CASES", FEW_CASES);
        }
        is_caught &= run(&mut mutants).is_ok();
    }
    if is_caught { Ok(()) } else { Err("some changes went unnoticed: target/mutants".to_owned()) }
}

const FEW_CASES: &str = "16";

/// Returns the names of the packages that are changed.
pub(crate) fn mutated_packages() -> Vec<String> {
    MUTATED.iter().map(|mutated| mutated.package.to_owned()).collect()
}

struct Mutated {
    package: &'static str,
    /// The sources that are changed.
    files: &'static [&'static str],
    /// The tests that look, beside the unit tests: those that start no servers.
    tests: &'static [&'static str],
}

/// All of the core; what drops records; what a holder of leases may spend; what tells clients apart.
const MUTATED: [Mutated; 4] = [
    Mutated {
        package: "ratelimit-core",
        files: &["ratelimit-core/src/**/*.rs"],
        tests: &["promises", "serialized"],
    },
    Mutated {
        package: "ratelimit-memory",
        files: &["expiry.rs", "table.rs"],
        tests: &["conformance", "promises"],
    },
    Mutated {
        package: "ratelimit-lease",
        files: &["entry.rs", "length.rs"],
        tests: &["leases", "simulation"],
    },
    Mutated { package: "ratelimit-http", files: &["**/key/*.rs"], tests: &["http"] },
];

/// Checks whose code is built in, under which licences, and what is known against it: `deny.toml`
/// says what may be.
// FAULTS 199.
pub(crate) fn deny(arguments: &Arguments) -> Result<(), String> {
    DENY.find(arguments)?;
    let checks = ["bans", "licenses", "sources"];
    if arguments.has("--offline") {
        return run(cargo(&["deny", "--offline", "check"]).args(checks));
    }
    run(cargo(&["deny", "check"]).args(checks).arg("advisories"))
}
