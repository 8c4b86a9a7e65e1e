//! `cargo xtask`: the workspace's own commands.

mod cargo_tools;
mod faults;
mod imports;
mod process;
mod programs;
mod release;
mod servers;
mod sizes;
mod test_results;
mod toolchain;
mod workspace;

use std::{env, process::ExitCode};

use xtask::{Arguments, commands, print_help, usage};

use crate::{
    process::{cargo, exec, run},
    test_results::TestResults,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (name, rest) =
        arguments.split_first().map_or(("--help", &[][..]), |(name, rest)| (name, rest));
    if ["--help", "-h", "help"].contains(&name) {
        print_help(&usage());
        return ExitCode::SUCCESS;
    }
    let Some(command) = commands().iter().find(|command| command.name() == name) else {
        eprintln!("there is no command {name}\n\n{}", usage());
        return ExitCode::from(2);
    };
    let arguments = command.parse_or_exit(rest);
    if let Err(message) = check_arguments(name, &arguments) {
        eprintln!("{message}");
        return ExitCode::from(2);
    }
    let outcome = start(name, &arguments, rest);
    // A run whose outcome cannot be kept is shown as not run.
    let _ = test_results::keep(name, outcome.is_ok());
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Looks for the targets and packages that are named, and for the store of leases, before anything is built or
/// installed.
fn check_arguments(command: &str, arguments: &Arguments) -> Result<(), String> {
    let operands = arguments.operands();
    let known = match command {
        "demo" if arguments.has("--lease") && arguments.value("--backend") != Some("redis") => {
            return Err("--lease shares a limit of processes: it needs --backend redis".to_owned());
        }
        "demo" if arguments.has("--svg") && !arguments.has("--lease") => {
            return Err("--svg draws leases: it needs --lease".to_owned());
        }
        "fuzz" => cargo_tools::fuzz_targets()?,
        "mutants" => cargo_tools::mutated_packages(),
        "tsan" => workspace::packages()?,
        _ => return Ok(()),
    };
    match operands.iter().find(|operand| !known.contains(operand)) {
        None => Ok(()),
        Some(unknown) => Err(format!("{command} knows no {unknown}, only {}", known.join(", "))),
    }
}

/// Runs the command of that name; `texts` are its arguments as they were written.
fn start(name: &str, arguments: &Arguments, texts: &[String]) -> Result<(), String> {
    match name {
        "demo" => demo(arguments, texts),
        "replay" => run_binary("ratelimit-replay", &["--profile", "quick"], texts),
        "bench" => {
            programs::find_for_bench(arguments.has("--install"));
            run_binary("ratelimit-bench", &["--release"], texts)
        }
        "test" => test(arguments),
        "lint" => lint(),
        "docs" => docs(),
        "check" => {
            test(arguments)?;
            loom()?;
            lint()?;
            docs()
        }
        "faults" => faults::write(),
        "loom" => loom(),
        "load" => load(arguments),
        "servers" => servers::test(arguments.has("--install")),
        "fuzz" => cargo_tools::fuzz(arguments),
        "features" => release::features(arguments),
        "msrv" => release::msrv(arguments),
        "deny" => cargo_tools::deny(arguments),
        "api" => release::api(arguments),
        "package" => release::package(),
        "sizes" => sizes::print(),
        "mutants" => cargo_tools::mutants(arguments),
        "coverage" => release::coverage(arguments),
        "miri" => toolchain::miri(),
        "wasm" => toolchain::wasm(arguments),
        "tsan" => toolchain::tsan(arguments.operands()),
        _ => Err(format!("{name} has no code")),
    }
}

/// Builds no store but the one that is asked for, and no faster code than a look needs.
fn demo(arguments: &Arguments, texts: &[String]) -> Result<(), String> {
    let backend = arguments.value("--backend").unwrap_or("memory");
    eprintln!("building the demo for the backend {backend}: about a minute the first time");
    let features = if backend == "memory" { "" } else { backend };
    run_binary("ratelimit-demo", &["--profile", "quick", "--features", features], texts)
}

/// Becomes a binary of the workspace, as it is built with these options of cargo.
fn run_binary(package: &str, build: &[&str], texts: &[String]) -> Result<(), String> {
    let mut command = cargo(&["run", "--package", package]);
    exec(command.args(build).arg("--").args(texts))
}

/// Runs all tests; `--full` runs the long suites at their full length.
fn test(arguments: &Arguments) -> Result<(), String> {
    let is_without = arguments.has("--without-servers");
    if !is_without {
        programs::find(arguments.has("--install"))?;
    }
    let mut tests = cargo(&["test", "--workspace", "--all-features", "--no-fail-fast"]);
    if is_without {
        tests.env("RATELIMIT_WITHOUT_SERVERS", "1");
    }
    if arguments.has("--full") {
        tests.env("RATELIMIT_FULL", "1").env("PROPTEST_CASES", "4096");
    }
    eprintln!("building and running the tests of all crates");
    let (results, is_success) = TestResults::of_run(&mut tests)?;
    let report = faults::report(&results);
    if is_success { report } else { Err("the tests failed".to_owned()) }
}

/// Runs one of the tests at its full length, and shows its figures.
fn load(arguments: &Arguments) -> Result<(), String> {
    programs::find(arguments.has("--install"))?;
    let mut test = cargo(&["test", "--release", "--package", "ratelimit-demo", "--all-features"]);
    // One after the other: each has the machine for itself.
    test.args(["--test", "load", "--", "--nocapture", "--test-threads", "1"]);
    run(test.env("RATELIMIT_FULL", "1"))
}

fn lint() -> Result<(), String> {
    eprintln!("checking formatting and clippy of all crates");
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features"];
    run(cargo(&clippy).args(["--", "-D", "warnings"]))
}

fn docs() -> Result<(), String> {
    eprintln!("building the docs of all crates");
    let docs = ["doc", "--workspace", "--no-deps", "--all-features"];
    run(cargo(&docs).env("RUSTDOCFLAGS", "-D warnings"))
}

/// Uses a folder of its own, since the flag makes all crates anew.
fn loom() -> Result<(), String> {
    eprintln!("building and exploring the models of the memory store");
    let models = ["test", "--package", "ratelimit-memory", "--lib", "models::"];
    let mut tests = cargo(&models);
    tests.args(["--target-dir", "target/loom"]).env("RUSTFLAGS", "--cfg ratelimit_loom");
    run(&mut tests)
}
