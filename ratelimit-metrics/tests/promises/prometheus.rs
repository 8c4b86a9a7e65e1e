//! The text is what Prometheus reads, and says what was counted.

use std::time::Duration;

use openmetrics_parser::prometheus::parse_prometheus;
use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::{Action, Check, Key, Source};
use ratelimit_metrics::{Event, PROMETHEUS_CONTENT_TYPE, Recorder, Statistics};

use crate::support::{decision, policy, tell};

fn counted() -> Statistics {
    let statistics = Statistics::new();
    for name in ["api", "web"] {
        let policy = policy(name);
        for (is_allowed, source) in
            [(true, Source::Store), (false, Source::Store), (true, Source::Open)]
        {
            tell(&statistics, &policy, "k", Ok(&decision(&policy, is_allowed, source)));
        }
        tell(&statistics, &policy, "k", Err(&BackendError::unknown(ErrorKind::Timeout)));
        let check = Check::new(&policy, Key::new("k").unwrap(), 2).unwrap();
        let allow = decision(&policy, true, Source::Store);
        let event = Event::new(&check, Action::Spend, Ok(&allow));
        statistics.record(&event.with_latency(Duration::from_nanos(5000)));
    }
    statistics
}

#[test]
fn a_strict_parser_reads_every_family() {
    let text = counted().snapshot().to_prometheus();
    let read = parse_prometheus(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut names: Vec<_> = read.families.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "ratelimit_calls_total",
            "ratelimit_cost_total",
            "ratelimit_decisions_total",
            "ratelimit_errors_total",
            "ratelimit_latency_seconds",
            "ratelimit_near_limit_total",
        ]
    );
}

#[test]
fn the_samples_are_the_counts() {
    let text = counted().snapshot().to_prometheus();
    let of = r#"limiter="web",algorithm="token_bucket""#;
    for line in [
        r#"ratelimit_calls_total{outcome="allow"} 6"#.to_owned(),
        r#"ratelimit_calls_total{outcome="error"} 2"#.to_owned(),
        format!(r#"ratelimit_decisions_total{{{of},outcome="allow",source="store"}} 2"#),
        format!(r#"ratelimit_decisions_total{{{of},outcome="allow",source="open"}} 1"#),
        format!(r#"ratelimit_decisions_total{{{of},outcome="deny",source="store"}} 1"#),
        format!(r#"ratelimit_decisions_total{{{of},outcome="deny",source="local"}} 0"#),
        format!(r#"ratelimit_errors_total{{{of},kind="timeout"}} 1"#),
        format!(r#"ratelimit_errors_total{{{of},kind="capacity"}} 0"#),
        format!(r#"ratelimit_cost_total{{{of},outcome="allow"}} 4"#),
        format!("ratelimit_near_limit_total{{{of}}} 3"),
        format!(r#"ratelimit_latency_seconds_bucket{{{of},le="0.000004096"}} 0"#),
        format!(r#"ratelimit_latency_seconds_bucket{{{of},le="0.000016384"}} 1"#),
        format!(r#"ratelimit_latency_seconds_bucket{{{of},le="+Inf"}} 1"#),
        format!("ratelimit_latency_seconds_sum{{{of}}} 0.000005"),
        format!("ratelimit_latency_seconds_count{{{of}}} 1"),
    ] {
        assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_family_is_announced_once_and_stays_together() {
    let text = counted().snapshot().to_prometheus();
    let mut families: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(['{', ' ']).next().unwrap())
        .map(|name| name.trim_end_matches("_bucket").trim_end_matches("_sum"))
        .map(|name| name.trim_end_matches("_count"))
        .collect();
    families.dedup();
    assert_eq!(families.len(), 6, "{families:?}");
    assert_eq!(text.matches("# TYPE").count(), 6);
    assert!(text.ends_with('\n'));
    assert!(PROMETHEUS_CONTENT_TYPE.starts_with("text/plain; version=0.0.4"));
}

// FAULTS 192.
#[test]
fn a_limiter_has_the_same_series_whatever_it_counts() {
    let lines = |statistics: &Statistics| statistics.snapshot().to_prometheus().lines().count();
    let quiet = Statistics::new();
    for name in ["api", "web"] {
        let policy = policy(name);
        tell(&quiet, &policy, "k", Ok(&decision(&policy, true, Source::Store)));
    }
    assert_eq!(lines(&quiet), lines(&counted()));
}
