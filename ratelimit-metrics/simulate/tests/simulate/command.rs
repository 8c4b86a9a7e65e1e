//! The command, from a shell.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::generated_log;

/// Runs the command in a folder, with this on its standard input.
#[track_caller]
pub(crate) fn run(folder: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ratelimit-simulate"));
    let command = command.args(arguments).current_dir(folder);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    // It may end before it has read all.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_log_on_standard_input_is_reported_as_a_table_and_nothing_else_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["--limit", "api=100/60s"], generated_log::log().as_bytes());
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let table = text(&output.stdout);
    assert!(table.starts_with("41 381 requests of 303 clients, 2025-10-10 08:00:19 to"), "{table}");
    assert!(table.contains("most affected by api"), "{table}");
}

#[test]
fn every_form_of_the_report_goes_to_its_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("access.log"), generated_log::log()).unwrap();
    fs::write(folder.path().join("limits.json"), "{\"api\":\"100/60s\"}").unwrap();
    let limits = ["--limits", "limits.json", "--limit", "day={ limit = 9, window = '1d' }"];
    let outputs = ["--deny-at-most", "1%", "--json", "-", "--html", "r.html", "--write", "l.toml"];
    let arguments = [&limits[..], &outputs, &["access.log"]].concat();
    let output = run(folder.path(), &arguments, b"");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["candidates"][0]["name"], "api");
    assert_eq!(report["candidates"][1]["smallest"]["deny_at_most"], "1%");
    let page = fs::read_to_string(folder.path().join("r.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>"));
    let found = fs::read_to_string(folder.path().join("l.toml")).unwrap();
    assert_eq!(found.lines().count(), 2, "{found}");
}

// FAULTS 238.
#[test]
fn the_exit_status_tells_a_log_that_was_cut_off_from_wrong_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let packed = crate::formats::packed(generated_log::log().as_bytes());
    let limit = ["--limit", "api=100/60s"];
    let cut = run(folder.path(), &limit, &packed[..packed.len() / 2]);
    assert_eq!(cut.status.code(), Some(1));
    assert!(text(&cut.stderr).contains("the log ends early"), "{}", text(&cut.stderr));
    assert!(text(&cut.stdout).contains("most affected by api"));
    let missing = run(folder.path(), &[&limit[..], &["no.log"]].concat(), b"");
    assert_eq!(missing.status.code(), Some(1));
    for (arguments, said) in [
        (&[][..], "no limits"),
        (&["--limit", "100/60s"], "NAME=LIMIT"),
        (&["--limit", "api=100"], "api: a limit is a number of permits per length of time"),
        (&["--limit", "api=1/1s", "--limit", "api=2/1s"], "two limits called api"),
        (&["--bogus"], "no option --bogus"),
        (&["--limit", "api=1/1s", "--format", "bogus"], "no format bogus"),
        (&["--limit", "api=1/1s", "--deny-at-most", "1"], "a share is a percentage"),
        (&["--limit", "api=1/1s", "--write", "x.toml"], "--write wants --deny-at-most"),
        (&["--limit", "api=1/1s", "--trusted-proxies", "10.0.0.0/33"], "10.0.0.0/33"),
        (&["--limit", "api=1/1s", "--proxy-header", "x-real-ip"], "whose header is it?"),
        (&["--limit", "api=1/1s", "--order-within", "5s"], "whole number of seconds"),
        (&["--limits", "no.toml"], "no.toml cannot be read"),
    ] {
        let output = run(folder.path(), arguments, b"");
        let error = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""), "{error}");
        assert!(error.contains(said), "{error}");
    }
    let wrong = run(folder.path(), &limit, b"no line\n");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        text(&wrong.stderr).contains("no line is a request: line 1 has no line of the combined")
    );
}

#[test]
fn help_names_every_option() {
    let folder = tempfile::tempdir().unwrap();
    let help = run(folder.path(), &["--help"], b"");
    let help = text(&help.stdout);
    for option in [
        "limits",
        "limit",
        "deny-at-most",
        "clients-max",
        "format",
        "key",
        "cost",
        "time",
        "peer",
        "trusted-proxies",
        "trusted-hops",
        "proxy-header",
        "forwarded",
        "ipv6-prefix",
        "method",
        "path",
        "status",
        "order-within",
        "json",
        "html",
        "write",
        "help",
        "version",
    ] {
        assert!(help.contains(&format!("--{option}")), "{option}");
    }
}

/// The same client by a single header, by `Forwarded`, and by the number of proxies.
#[test]
fn proxies_are_described_as_for_the_layer() {
    let folder = tempfile::tempdir().unwrap();
    let line = |client: &str| {
        format!(
            "{{\"ts\":1760104536,\"request\":{{\"remote_ip\":\"10.0.0.1\",\"h\":\"{client}\"}}}}\n"
        )
    };
    let log = |client: fn(u8) -> String| (0..4).map(|n| line(&client(n % 2))).collect::<String>();
    let plain = log(|n| format!("203.0.113.{n}"));
    let forwarded = log(|n| format!("for=203.0.113.{n};proto=https"));
    for (proxies, log) in [
        (&["--trusted-hops", "1"][..], &plain),
        (&["--trusted-proxies", "10.0.0.0/8"], &plain),
        (&["--trusted-proxies", "10.0.0.0/8", "--proxy-header", "X-Real-IP"], &plain),
        (&["--trusted-hops", "1", "--proxy-header", "Forwarded"], &forwarded),
    ] {
        let fixed = ["--limit", "api=1/1s", "--forwarded", "request.h", "--json", "-"];
        let output = run(folder.path(), &[&fixed[..], proxies].concat(), log.as_bytes());
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["clients"], 2, "{proxies:?} {}", text(&output.stderr));
        assert_eq!(report["candidates"][0]["denied"], 2, "{proxies:?}");
    }
}
