//! Help and wrong arguments, before anything is built, installed or packed.

use std::process::{Command, Output};

/// Runs a command without the programs that it would start: neither cargo nor rustup is found.
fn xtask(arguments: &[&str]) -> Output {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.args(arguments).env_clear().env("PATH", "/nowhere");
    xtask.output().expect("xtask is built")
}

#[track_caller]
fn prints(output: &Output, code: i32, is_on_stdout: bool) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let (said, silent) = if is_on_stdout {
        (&output.stdout, &output.stderr)
    } else {
        (&output.stderr, &output.stdout)
    };
    assert!(String::from_utf8_lossy(said).contains("usage: cargo xtask"), "{output:?}");
    assert!(silent.is_empty(), "{output:?}");
}

// FAULTS 242.
#[test]
fn every_command_shows_its_help_and_does_nothing_else() {
    for command in xtask::commands() {
        for arguments in [&["--help"][..], &["-h"], &["--bogus", "--help"]] {
            prints(&xtask(&[&[command.name()], arguments].concat()), 0, true);
        }
    }
    for arguments in [&[][..], &["--help"], &["-h"], &["help"]] {
        prints(&xtask(arguments), 0, true);
    }
}

#[test]
fn help_that_nobody_reads_is_no_failure() {
    for arguments in [&["--help"][..], &["demo", "--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let output = xtask.args(arguments).stdout(writer).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}

// FAULTS 242.
#[test]
fn every_command_refuses_what_it_does_not_take_and_does_nothing_else() {
    for command in xtask::commands() {
        prints(&xtask(&[command.name(), "--bogus"]), 2, false);
    }
    for arguments in [
        &["bogus"][..],
        &["lint", "bogus"],
        &["demo", "--port", "x"],
        &["demo", "--port", "65536"],
        &["demo", "--port"],
        &["demo", "--backend", "bogus"],
        &["demo", "--backend", "redis", "--lease", "1"],
        &["demo", "--backend", "redis", "--lease", "101%"],
        &["demo", "--backend", "redis", "--lease", "NaN%"],
        &["fuzz", "--seconds", "x"],
        &["replay"],
        &["replay", "one", "two"],
    ] {
        prints(&xtask(arguments), 2, false);
    }
    for arguments in [&["--lease", "1%"][..], &["--lease", "1%", "--backend", "sqlite"]] {
        let output = xtask(&[&["demo"], arguments].concat());
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(2) && message.contains("--backend redis"),
            "{message}"
        );
    }
    for command in ["fuzz", "mutants", "tsan"] {
        let output = xtask(&[command, "bogus"]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && message.contains("no bogus, only"), "{message}");
    }
}
