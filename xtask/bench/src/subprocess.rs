//! Figures that need a process of their own: resident memory, and instructions as valgrind counts
//! them.
//!
//! This program starts itself anew with [`FLAG`] and the name of a probe, which does its work and
//! prints one number, or none.

use std::{
    env, fs,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// Says that the next argument names a probe.
pub(crate) const FLAG: &str = "--probe";

/// Returns what the probe `name` prints in a new process.
pub(crate) fn figure(name: &str) -> Result<f64> {
    let output = Command::new(env::current_exe()?).args([FLAG, name]).output()?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)?.trim().parse().context("a probe prints a number")
}

/// Instructions that the probe `name` takes for each of `per` pieces of work; `None` without
/// valgrind. What it takes to start and set up is measured as the probe called `idle`, and
/// taken off.
pub(crate) fn instructions(name: &str, idle: &str, per: f64) -> Result<Option<f64>> {
    let Some(all) = count(name)? else { return Ok(None) };
    Ok(count(idle)?.map(|start| (all - start) / per))
}

fn count(name: &str) -> Result<Option<f64>> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    let output = valgrind.arg(env::current_exe()?).args([FLAG, name]).stdin(Stdio::null()).output();
    let Ok(output) = output else { return Ok(None) };
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    let (_, count) = collected.with_context(|| format!("callgrind {name}: {text}"))?;
    Ok(Some(count.trim().parse()?))
}

/// The bytes of this process that are in memory.
pub(crate) fn resident_bytes() -> Result<u64> {
    let pages = fs::read_to_string("/proc/self/statm").context("this needs Linux")?;
    let pages: u64 = pages.split(' ').nth(1).context("statm has two fields")?.parse()?;
    Ok(pages * 4_096)
}
