//! The memory grows with the clients, not with the lines.
#![cfg(target_os = "linux")]

use std::{
    env, fs,
    io::{BufWriter, Write},
    process::{ChildStdin, Command, Stdio},
};

const CLIENTS: u64 = 100_000;

/// Lines of a hundred thousand clients in turn; all of the lines have one length.
fn write(log: &mut BufWriter<ChildStdin>, lines: std::ops::Range<u64>) {
    for number in lines {
        let client = number % CLIENTS;
        let [b, c, d] = [client >> 16, client >> 8 & 255, client & 255];
        let second = number / 200 % 86_400;
        let [hour, minute, second] = [second / 3_600, second / 60 % 60, second % 60];
        writeln!(
            log,
            "10.{b}.{c}.{d} - - [10/Oct/2025:{hour:02}:{minute:02}:{second:02} +0000] \
             \"GET /api/items HTTP/1.1\" 200 512"
        )
        .unwrap();
    }
    log.flush().unwrap();
}

// FAULTS 238.
#[test]
fn ten_times_the_lines_take_no_more_memory() {
    let lines: u64 = if env::var_os("RATELIMIT_FULL").is_some() { 10_000_000 } else { 1_000_000 };
    let mut command = Command::new(env!("CARGO_BIN_EXE_ratelimit-simulate"));
    command.args(["--limit", "a=10/1s", "--limit", "b=100/60s", "--order-within", "1"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let kilobytes = || -> u64 {
        let status = fs::read_to_string(&status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let mut log = BufWriter::new(child.stdin.take().unwrap());
    // All clients have been seen when the second hundred thousand begin.
    write(&mut log, 0..2 * CLIENTS);
    let early = kilobytes();
    write(&mut log, 2 * CLIENTS..lines);
    let late = kilobytes();
    drop(log);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(late < early + 2_000, "{early} kB, then {late} kB");
}
