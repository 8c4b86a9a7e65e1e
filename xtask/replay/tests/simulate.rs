//! The simulation of `ratelimit-simulate` decides as the replay does.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    io::Write,
    process::{Command, Stdio},
};

use ratelimit_simulate::{Simulation, Timestamp};
use serde_json::{Value, json};

/// Each algorithm as a scenario and as a limits file has it.
const LIMITS: [(&str, &str, &str); 8] = [
    ("fixed_window", r#"{"limit":3,"window":1}"#, "limit = 3, window = '1s'"),
    (
        "fixed_window",
        r#"{"limit":4,"window":3,"align":"first"}"#,
        "limit = 4, window = '3s', align = 'first'",
    ),
    ("sliding_window_log", r#"{"limit":3,"window":2}"#, "limit = 3, window = '2s'"),
    ("sliding_window_counter", r#"{"limit":5,"window":2}"#, "limit = 5, window = '2s'"),
    ("token_bucket", r#"{"limit":7,"window":3}"#, "limit = 7, window = '3s'"),
    (
        "leaky_bucket",
        r#"{"limit":5,"window":7,"leak_rate":0.7}"#,
        "limit = 5, window = '7s', leak_rate = 0.7",
    ),
    ("adaptive", r#"{"limit":3,"window":1}"#, "limit = 3, window = '1s', scope = 'shared'"),
    ("adaptive", r#"{"limit":3,"window":1,"sensor":"per_key"}"#, "limit = 3, window = '1s'"),
];

/// Microseconds since the epoch of the scenario, key, cost.
type Request = (u64, String, u64);

const EPOCH: u64 = 1_699_920_000;

/// Requests of four clients: mostly in a rush, at times after a rest, and at times a bit back.
fn requests(seed: u64) -> Vec<Request> {
    let mut random = seed;
    let mut below = |bound: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    let mut at = 10_000_000;
    let mut requests = Vec::new();
    for _ in 0..200 {
        at = match below(8) {
            0 => at + below(9_000_000),
            1 => at - below(900_000).min(at),
            _ => at + below(300_000),
        };
        let cost = if below(5) == 0 { 1 + below(8) } else { 1 };
        requests.push((at, format!("user:{}", below(4)), cost));
    }
    requests
}

fn replayed(scenarios: &str) -> Vec<Value> {
    let mut replay = Command::new(env!("CARGO_BIN_EXE_ratelimit-replay"));
    let mut child = replay.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let scenarios = scenarios.to_owned();
    let writer = std::thread::spawn(move || input.write_all(scenarios.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Seconds as the replay writes them.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let text = text.trim_end_matches('0');
    if text.ends_with('.') { format!("{text}0") } else { text.to_owned() }
}

// FAULTS 238.
#[test]
fn a_simulation_decides_as_the_replay_does_whatever_the_algorithm() {
    let cases: Vec<_> =
        LIMITS.iter().flat_map(|limit| (0..8).map(move |seed| (limit, requests(seed)))).collect();
    let scenario = |((algorithm, config, _), requests): &(&(&str, &str, &str), Vec<Request>)| {
        let step = |(at, key, cost): &Request| {
            format!(r#"{{"t":{},"key":"{key}","cost":{cost}}}"#, seconds(*at))
        };
        let steps: Vec<_> = requests.iter().map(step).collect();
        format!(
            r#"{{"algorithm":"{algorithm}","config":{config},"epoch":{EPOCH},"steps":[{}]}}"#,
            steps.join(",")
        ) + "\n"
    };
    let scenarios: String = cases.iter().map(scenario).collect();
    let mut denied = 0;
    for (((algorithm, _, limit), requests), replayed) in cases.iter().zip(replayed(&scenarios)) {
        let limit = format!("x = {{ algorithm = '{algorithm}', {limit} }}");
        let mut simulation = Simulation::new(limit.parse().unwrap());
        for ((at, key, cost), step) in requests.iter().zip(replayed["steps"].as_array().unwrap()) {
            let at = Timestamp::from_micros(EPOCH * 1_000_000 + at).unwrap();
            let shown = match &simulation.request(key.as_bytes(), at, *cost)[0] {
                Err(_) => json!({ "error": "Cost" }),
                Ok(decision) => {
                    let lengths = [decision.reset_after, decision.retry_after()];
                    let [reset, retry] = lengths.map(|length| seconds(length.as_micros()));
                    denied += u32::from(!decision.is_allowed());
                    let text = format!(
                        r#"{{"allowed":{},"remaining":{},"reset_after":{reset},"retry_after":{retry}}}"#,
                        decision.is_allowed(),
                        decision.remaining
                    );
                    serde_json::from_str(&text).unwrap()
                }
            };
            for (field, value) in shown.as_object().unwrap() {
                assert_eq!(&step[field], value, "{limit} {key} at {at:?}: {field}");
            }
        }
    }
    assert!(1_000 < denied, "{denied}");
}
