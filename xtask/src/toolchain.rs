//! Other toolchains than the stable one of this machine, and what only they can check: Miri, which
//! interprets, ThreadSanitizer, which watches, and WebAssembly.
//!
//! The first two see what `forbid(unsafe_code)` leaves to dependencies: Miri undefined behaviour,
//! ThreadSanitizer accesses that race. Neither is part of `cargo xtask check`, since a stable
//! toolchain has neither; each says what it needs where that is missing.

use std::{env, process::Command};

use xtask::Arguments;

use crate::{
    process::{self, output, run, succeeds},
    workspace,
};

/// Interprets tests of the core and of the memory store: few, since it takes a hundred times as
/// long as running them.
// FAULTS 203.
pub(crate) fn miri() -> Result<(), String> {
    find("miri")?;
    find_component("miri", "miri")?;
    find_component("miri", "rust-src")?;
    let mut core = cargo(&["miri", "test", "--package", "ratelimit-core", "--lib"]);
    run(core.env("PROPTEST_CASES", "4").env("MIRIFLAGS", "-Zmiri-disable-isolation"))?;
    let mut memory = cargo(&["miri", "test", "--package", "ratelimit-memory", "--all-features"]);
    memory.args(["--lib", "--test", "promises", "--test", "promises_on_dashmap", "--"]);
    run(memory.args(INTERPRETED).env("MIRIFLAGS", "-Zmiri-disable-isolation"))
}

/// Tests in which keys are stored, found and dropped: alone, in batches, and during a panic.
const INTERPRETED: [&str; 6] =
    ["capacity::a_batch", "capacity::a_refund", "due", "panics", "place::tests::a_", "stored"];

/// Runs the tests of packages with every access to memory watched, the standard library's as well.
// FAULTS 203.
pub(crate) fn tsan(packages: &[String]) -> Result<(), String> {
    find("tsan")?;
    find_component("tsan", "rust-src")?;
    let shared = SHARED.map(str::to_owned);
    let target = host()?;
    let mut tests = cargo(&["test", "-Zbuild-std", "--target", &target, "--tests"]);
    tests.args(["--target-dir", "target/tsan"]);
    for package in if packages.is_empty() { &shared } else { packages } {
        tests.args(["--package", package]);
    }
    run(tests.env("RUSTFLAGS", "-Zsanitizer=thread").env("TSAN_OPTIONS", "halt_on_error=1"))
}

/// Packages in which threads share something. Those with C in them (SQLite) or servers beside them
/// can be named, and are slow.
const SHARED: [&str; 6] = [
    "ratelimit-backend",
    "ratelimit-memory",
    "ratelimit-algorithms",
    "ratelimit-metrics",
    "ratelimit-resilience",
    "ratelimit-lease",
];

/// Builds a limiter for WebAssembly, and has node run it under a clock of its own.
pub(crate) fn wasm(arguments: &Arguments) -> Result<(), String> {
    let targets = output(Command::new("rustup").args(["target", "list", "--installed"]))?;
    if !targets.lines().any(|target| target == WASM) {
        if !arguments.has("--install") {
            return Err(format!(
                "cargo xtask wasm needs the target {WASM}: rustup target add {WASM}\n\
                 --install does that first"
            ));
        }
        eprintln!("installing the target {WASM} by rustup");
        run(Command::new("rustup").args(["target", "add", WASM]))?;
    }
    let mut build = process::cargo(&["build", "--package", "ratelimit-wasm", "--target", WASM]);
    run(&mut build)?;
    let program = workspace::target().join(WASM).join("debug/ratelimit-wasm.wasm");
    run(Command::new("node").arg(workspace::root().join("xtask/wasm/run.mjs")).arg(program))
}

const WASM: &str = "wasm32-unknown-unknown";

/// Makes sure that there is a nightly compiler.
pub(crate) fn find(command: &str) -> Result<(), String> {
    if succeeds(&mut cargo(&["--version"])) {
        return Ok(());
    }
    Err(format!(
        "cargo xtask {command} needs a nightly compiler beside the stable one;\n\
         install it (rustup toolchain install nightly) and run this again"
    ))
}

/// Returns a command of its cargo, without the variables of the cargo that runs this.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]).args(arguments);
    for (name, _) in
        env::vars().filter(|(name, _)| name.starts_with("CARGO") && name != "CARGO_HOME")
    {
        command.env_remove(name);
    }
    command
}

fn find_component(command: &str, component: &str) -> Result<(), String> {
    let list = ["component", "list", "--installed", "--toolchain", "nightly"];
    if output(Command::new("rustup").args(list))?.lines().any(|line| line.starts_with(component)) {
        return Ok(());
    }
    Err(format!(
        "cargo xtask {command} needs the component {component} of the nightly toolchain;\n\
         install it (rustup component add {component} --toolchain nightly) and run this again"
    ))
}

/// Returns the target that the nightly compiler is for.
fn host() -> Result<String, String> {
    let version = output(Command::new("rustc").args(["+nightly", "-vV"]))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "the nightly compiler does not name its host".to_owned())
}
