//! `cargo xtask`: the workspace's own commands.

mod cargo_tools;
mod faults;
mod imports;
mod programs;
mod release;
mod sizes;
mod test_results;
mod toolchain;
mod workspace;

use std::{
    env,
    process::{Command, ExitCode},
};

use crate::test_results::Outcomes;

const USAGE: &str = "usage: cargo xtask COMMAND

  demo    serves a live page of the six algorithms   [--port N]
          [--backend memory|sqlite|redis]
  test    runs all tests, getting or starting what they need   [--full]
  lint    formatting, clippy and docs, with warnings as errors
  check   test, loom, lint: what CI runs
  replay  decides recorded scenarios anew
          [--backend core|memory|sqlite|redis] [--check] FILE
  faults  writes the names of tests into docs/faults.md
  loom    explores every interleaving of the memory store's models
  load    100000 requests to the demo's stack while its Redis is killed twice
  fuzz    has libFuzzer look for bytes that break a target
          [--seconds N, of each] [TARGET]...
  features
          any two features; tests on the oldest compiler and dependencies promised
  deny    whose code is built in, and under which licences
  api     compares what is public with docs/api   [--write]
  package packs what is published, and builds each from its package alone
  sizes   how long functions and files are
  mutants changes the code that decides, drops or tells clients apart, and looks
          whether a test minds
  coverage
          which lines the tests reach
  miri    runs the core's and the memory store's tests as an interpreter sees them
  tsan    runs the tests of what threads share under ThreadSanitizer   [PACKAGE]...
  bench   measures ours and its peers, side by side; --help says more";

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let done = match command.as_str() {
        "demo" => run_binary("ratelimit-demo", &rest),
        "replay" => run_binary("ratelimit-replay", &rest),
        "bench" => bench(&rest),
        "test" => test(&rest),
        "lint" => lint(),
        "faults" => faults::write(),
        "loom" => loom(),
        "load" => load(),
        "fuzz" => cargo_tools::fuzz(&rest),
        "features" => release::features(),
        "deny" => cargo_tools::deny(),
        "api" => release::api(&rest),
        "mutants" => cargo_tools::mutants(&rest),
        "coverage" => release::coverage(),
        "package" => release::package(),
        "sizes" => sizes::print(),
        "miri" => toolchain::miri(),
        "tsan" => toolchain::tsan(&rest),
        "check" => test(&rest).and_then(|()| loom()).and_then(|()| lint()),
        _ => Err(USAGE.to_owned()),
    };
    // What cannot be kept is told as not run.
    let _ = test_results::keep(&command, done.is_ok());
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

/// All tests; `--full` runs the long suites at their full length.
fn test(arguments: &[String]) -> Result<(), String> {
    let full = match arguments {
        [] => false,
        [argument] if argument == "--full" => true,
        _ => return Err(USAGE.to_owned()),
    };
    programs::find()?;
    let mut tests = cargo(&["test", "--workspace", "--all-features", "--no-fail-fast"]);
    if full {
        tests.env("RATELIMIT_FULL", "1").env("PROPTEST_CASES", "4096");
    }
    let (outcomes, all_is_well) = Outcomes::of_run(&mut tests)?;
    let report = faults::report(&outcomes);
    if all_is_well { report } else { Err("the tests failed".to_owned()) }
}

/// One of the tests, in full and with its figures.
fn load() -> Result<(), String> {
    programs::find()?;
    let mut test = cargo(&["test", "--release", "--package", "ratelimit-demo", "--test", "load"]);
    run(test.args(["--", "--nocapture"]).env("RATELIMIT_FULL", "1"))
}

fn bench(arguments: &[String]) -> Result<(), String> {
    if !arguments.iter().any(|argument| argument == "--help") {
        programs::find_for_bench();
    }
    run_binary("ratelimit-bench", arguments)
}

fn lint() -> Result<(), String> {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features"];
    run(cargo(&clippy).args(["--", "-D", "warnings"]))?;
    let docs = ["doc", "--workspace", "--no-deps", "--all-features"];
    run(cargo(&docs).env("RUSTDOCFLAGS", "-D warnings"))
}

/// In a folder of its own, since the flag makes all crates anew.
fn loom() -> Result<(), String> {
    let models = ["test", "--package", "ratelimit-memory", "--lib", "models::"];
    let mut tests = cargo(&models);
    tests.args(["--target-dir", "target/loom"]).env("RUSTFLAGS", "--cfg ratelimit_loom");
    run(&mut tests)
}

/// Becomes one of the workspace's binaries, so that a signal to this process reaches it.
fn run_binary(package: &str, arguments: &[String]) -> Result<(), String> {
    let mut command = cargo(&["run", "--quiet", "--release", "--package", package, "--"]);
    command.args(arguments);
    #[cfg(unix)]
    {
        let error = std::os::unix::process::CommandExt::exec(&mut command);
        Err(format!("cargo cannot be run: {error}"))
    }
    #[cfg(not(unix))]
    run(&mut command)
}

/// The cargo that runs this.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

fn run(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("cargo cannot be run: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed")) }
}
