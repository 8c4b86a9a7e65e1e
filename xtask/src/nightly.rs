//! Checks that only a nightly toolchain can make: Miri, which interprets, and ThreadSanitizer,
//! which watches.
//!
//! Both see what `forbid(unsafe_code)` leaves to dependencies: Miri undefined behaviour,
//! ThreadSanitizer accesses that race. Neither is part of `cargo xtask check`, since a stable
//! toolchain has neither; each says what it needs where that is missing.

use std::process::Command;

use crate::run;

/// Interprets the tests of the core and of the memory store: the smallest of each, since it takes a
/// hundred times as long as running them.
pub(crate) fn miri() -> Result<(), String> {
    need("miri")?;
    need("rust-src")?;
    let mut core = cargo(&["miri", "test", "--package", "ratelimit-core", "--lib"]);
    run(core.env("PROPTEST_CASES", "4").env("MIRIFLAGS", "-Zmiri-disable-isolation"))?;
    let mut memory = cargo(&["miri", "test", "--package", "ratelimit-memory"]);
    memory.args(["--lib", "--test", "promises", "--", "place", "due", "stored", "panics"]);
    run(memory.env("MIRIFLAGS", "-Zmiri-disable-isolation"))
}

/// Runs tests with every access to memory watched, the standard library's as well.
pub(crate) fn tsan(packages: &[String]) -> Result<(), String> {
    need("rust-src")?;
    let packages =
        if packages.is_empty() { SHARED.map(String::from).to_vec() } else { packages.to_vec() };
    let host = host()?;
    let mut tests = cargo(&["test", "-Zbuild-std", "--target", &host, "--tests"]);
    tests.args(["--target-dir", "target/tsan"]);
    for package in &packages {
        tests.args(["--package", package]);
    }
    run(tests.env("RUSTFLAGS", "-Zsanitizer=thread").env("TSAN_OPTIONS", "halt_on_error=1"))
}

/// Packages in which threads share something. Those with C in them (SQLite) or servers beside them
/// can be named, and are slow.
const SHARED: [&str; 5] = [
    "ratelimit-backend",
    "ratelimit-memory",
    "ratelimit-algorithms",
    "ratelimit-metrics",
    "ratelimit-resilience",
];

/// Fails with what to do if a component of the nightly toolchain is missing.
fn need(component: &str) -> Result<(), String> {
    let how = format!(
        "this needs {component} of the nightly toolchain: \
         rustup toolchain install nightly --component {component}"
    );
    let mut list = Command::new("rustup");
    list.args(["component", "list", "--installed", "--toolchain", "nightly"]);
    let Ok(output) = list.output() else { return Err(format!("rustup cannot be run; {how}")) };
    let installed = String::from_utf8_lossy(&output.stdout);
    if installed.lines().any(|line| line.starts_with(component)) { Ok(()) } else { Err(how) }
}

/// The target that the nightly compiler is for.
fn host() -> Result<String, String> {
    let output = Command::new("rustc").args(["+nightly", "-vV"]).output();
    let output = output.map_err(|error| format!("rustc cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc +nightly does not say its host".to_owned())
}

/// The nightly cargo. What runs this has told its children which toolchain it is of.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.arg("+nightly").args(arguments).env_remove("RUSTC").env_remove("CARGO");
    command.env_remove("RUSTUP_TOOLCHAIN");
    command
}
