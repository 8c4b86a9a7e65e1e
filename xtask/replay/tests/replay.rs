//! The command as its user runs it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

const ORIGINAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/traces/original.jsonl");

const IN_FLIGHT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/traces/in_flight.jsonl");

const ENGINES: [&str; 4] = ["core", "memory", "sqlite", "redis"];

fn replay(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ratelimit-replay"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Replays `scenario` on every engine, and expects each to print `expected`.
#[track_caller]
fn check(scenario: &str, expected: &str) {
    for engine in ENGINES {
        let output = replay(&["--backend", engine, "-"], scenario);
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), expected, "on {engine}");
        assert!(output.status.success());
    }
}

/// The scenario with these fields of a step.
fn token_bucket(steps: &str) -> String {
    format!(
        r#"{{"id":"x","algorithm":"token_bucket","config":{{"limit":2,"window":1}},"epoch":1699920000,"steps":[{steps}]}}"#
    )
}

#[test]
fn what_the_original_recorded_is_decided_alike() {
    for engine in ENGINES {
        let output = replay(&["--backend", engine, "--check", ORIGINAL], "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn permits_in_flight_are_released_by_the_step_that_acquired_them_and_extended() {
    for engine in ENGINES {
        let output = replay(&["--backend", engine, "--check", IN_FLIGHT], "");
        assert!(output.status.success(), "{engine}: {}", String::from_utf8_lossy(&output.stdout));
    }
    let odd =
        token_bucket(r#"{"t":0,"key":"u","op":"peek"},{"t":0,"key":"u","op":"refund","of":0}"#);
    let output = replay(&["-"], &odd);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("step 1: field of: step 0 is no check"), "{message}");
}

#[test]
fn a_scenario_is_printed_with_what_was_decided_in_place_of_what_it_said() {
    check(
        &token_bucket(
            r#"{"t":0.25,"key":"u","cost":2,"allowed":false,"meta":{}},{"t":0.3,"key":"u","note":"?"}"#,
        ),
        &token_bucket(
            r#"{"t":0.25,"key":"u","cost":2,"allowed":true,"remaining":0,"reset_after":1.0,"retry_after":0.0},{"t":0.3,"key":"u","allowed":false,"remaining":0,"reset_after":0.95,"retry_after":0.45}"#,
        ),
    );
}

#[test]
fn operations_and_live_changes_are_replayed() {
    check(
        &token_bucket(
            r#"{"t":0,"key":"u","cost":2},{"t":0,"key":"u","cost":1,"op":"refund"},{"t":0,"key":"u","op":"peek"},{"t":0,"key":"u","op":"reset"},{"t":0,"key":"u","cost":3,"set":{"limit":4}}"#,
        ),
        &token_bucket(
            r#"{"t":0,"key":"u","cost":2,"allowed":true,"remaining":0,"reset_after":1.0,"retry_after":0.0},{"t":0,"key":"u","cost":1,"op":"refund","allowed":true,"remaining":1,"reset_after":0.5,"retry_after":0.0},{"t":0,"key":"u","op":"peek","allowed":true,"remaining":1,"reset_after":0.5,"retry_after":0.0},{"t":0,"key":"u","op":"reset"},{"t":0,"key":"u","cost":3,"set":{"limit":4},"allowed":true,"remaining":1,"reset_after":0.75,"retry_after":0.0}"#,
        ),
    );
}

#[test]
fn a_composite_is_charged_whole_or_not_at_all() {
    let small =
        r#"{"algorithm":"fixed_window","config":{"limit":1,"window":10},"key":"a","cost":1}"#;
    let large =
        r#"{"algorithm":"leaky_bucket","config":{"limit":5,"window":10},"key":"b","cost":2}"#;
    let step = format!(r#"{{"t":0,"all":[{small},{large}]}}"#);
    let decided = |answer: &str| format!("{},{answer}}}", step.strip_suffix('}').unwrap());
    let scenario = |steps: &str| format!(r#"{{"id":"all","epoch":0,"steps":[{steps}]}}"#);
    check(
        &scenario(&format!("{step},{step}")),
        &scenario(&format!(
            "{},{}",
            decided(
                r#""allowed":true,"each":[{"allowed":true,"remaining":0,"reset_after":10.0,"retry_after":0.0},{"allowed":true,"remaining":3,"reset_after":4.0,"retry_after":0.0}]"#
            ),
            decided(
                r#""allowed":false,"each":[{"allowed":false,"remaining":0,"reset_after":10.0,"retry_after":10.0},{"allowed":true,"remaining":3,"reset_after":4.0,"retry_after":0.0}]"#
            ),
        )),
    );
}

// FAULTS 23.
#[test]
fn an_error_stands_in_place_of_the_answers_and_the_run_goes_on() {
    check(
        &token_bucket(
            r#"{"t":0,"key":"u","cost":3},{"t":0,"key":"u","cost":-1},{"t":0,"key":"u","set":{"limit":0}},{"t":0,"key":"u"}"#,
        ),
        &token_bucket(
            r#"{"t":0,"key":"u","cost":3,"error":"Cost"},{"t":0,"key":"u","cost":-1,"error":"Cost"},{"t":0,"key":"u","set":{"limit":0},"error":"Config"},{"t":0,"key":"u","allowed":true,"remaining":1,"reset_after":0.5,"retry_after":0.0}"#,
        ),
    );
}

#[test]
fn what_is_no_scenario_ends_the_run_with_the_line_and_the_field() {
    for (input, words) in [
        ("not json", ["line 1", "JSON"]),
        (&token_bucket(r#"{"t":"soon","key":"u"}"#), ["step 0", "field t"]),
        (&token_bucket(r#"{"t":0,"key":"u","op":"steal"}"#), ["step 0", "field op"]),
        (&token_bucket("").replace("token_bucket", "coin_bucket"), ["line 1", "field algorithm"]),
        (&token_bucket("").replace("window", "widow"), ["line 1", "config.widow"]),
    ] {
        let output = replay(&["-"], input);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{input}");
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
}

#[test]
fn a_difference_is_listed_and_fails_the_check() {
    let output = replay(
        &["--check", "-"],
        &token_bucket(r#"{"t":0,"key":"u","allowed":true,"remaining":7}"#),
    );
    assert_eq!(output.status.code(), Some(1));
    let listed = String::from_utf8(output.stdout).unwrap();
    assert!(listed.contains("x step 0: remaining is 1, expected 7"), "{listed}");
}
