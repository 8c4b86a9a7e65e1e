//! Names the machine, so that figures can be compared with others of the same.

use std::{fs, process::Command, thread};

/// Processor, cores, system and compiler, in one line.
pub(crate) fn name() -> String {
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let clock = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let clock = fs::read_to_string(clock).unwrap_or_default();
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let (system, rustc) = (std::env::consts::OS, rustc.unwrap_or_default());
    let (kernel, clock, rustc) = (kernel.trim(), clock.trim(), rustc.trim());
    format!("{processor}, {cores} cores, {system} {kernel}, clock source {clock}, {rustc}")
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
