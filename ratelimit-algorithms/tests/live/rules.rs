//! Limits as a configuration has them.

use std::time::Duration;

use ratelimit_algorithms::{
    Adaptive, Algorithm, Align, ConfigError, FixedWindow, LeakyBucket, Nothing, Rule, Scope,
    SlidingWindowCounter, SlidingWindowLog, TokenBucket, Unlimited,
};

use crate::Outcome;

const MINUTE: Duration = Duration::from_secs(60);

#[track_caller]
fn reads<A>(json: &str, paved: A)
where
    A: TryInto<Algorithm, Error = ConfigError>,
{
    let rule: Rule = serde_json::from_str(json).unwrap();
    assert_eq!(Algorithm::try_from(rule), paved.try_into());
}

#[test]
fn each_algorithm_can_be_written_with_all_it_may_have() {
    reads(r#""100/1m""#, TokenBucket::per_minute(100));
    reads(r#"{"limit": 100, "window": "60s"}"#, TokenBucket::per_minute(100));
    reads(
        r#"{"algorithm": "token_bucket", "limit": 100, "window": "60s", "burst": 200,
            "refill_rate": 0.5, "initial": 10}"#,
        TokenBucket::per_minute(100).burst(200).refill_rate(0.5).initial(10),
    );
    reads(
        r#"{"algorithm": "leaky_bucket", "limit": 100, "window": "60s", "capacity": 20,
            "leak_rate": 3, "queue": "1s500ms"}"#,
        LeakyBucket::per_minute(100)
            .capacity(20)
            .leak_rate(3.0)
            .queue(Duration::from_millis(1_500)),
    );
    for (name, align) in [("epoch", Align::Epoch), ("first", Align::First)] {
        let json = r#"{"algorithm": "fixed_window", "limit": 100, "window": "60s", "align": "#;
        reads(&format!("{json}{name:?}}}"), FixedWindow::per_minute(100).align(align));
    }
    reads(
        r#"{"algorithm": "sliding_window_log", "limit": 100, "window": "60s", "entries_max": 9}"#,
        SlidingWindowLog::per_minute(100).entries_max(9),
    );
    reads(
        r#"{"algorithm": "sliding_window_counter", "limit": 100, "window": "60s"}"#,
        SlidingWindowCounter::per_minute(100),
    );
    for (name, scope) in [("per_key", Scope::PerKey), ("shared", Scope::Shared)] {
        let json = r#"{"algorithm": "adaptive", "limit": 100, "window": "60s",
            "burst_multiplier": 3, "adaptive_window": "2m", "high_load_threshold": 0.9,
            "low_load_threshold": 0.1, "penalty": 0.25, "scope": "#;
        let adaptive = Adaptive::per(100, MINUTE)
            .burst_multiplier(3.0)
            .adaptive_window(2 * MINUTE)
            .high_load_threshold(0.9)
            .low_load_threshold(0.1)
            .penalty(0.25)
            .scope(scope);
        reads(&format!("{json}{name:?}}}"), adaptive);
    }
}

#[cfg(feature = "calendar")]
#[test]
fn a_fixed_window_of_a_table_may_be_one_of_a_calendar() {
    use ratelimit_algorithms::{CalendarWindow, Period};

    let month = CalendarWindow::per(1_000, Period::Month { from: 15 });
    reads(
        r#"{"algorithm": "fixed_window", "limit": 1000, "window": "month from 15 Europe/Berlin"}"#,
        month.in_zone("Europe/Berlin"),
    );
    for (json, wanted) in [
        (r#"{"limit": 1, "window": "month"}"#, "only a fixed window"),
        (r#"{"algorithm": "fixed_window", "limit": 0, "window": "month"}"#, "limit"),
        (r#"{"algorithm": "fixed_window", "limit": 1, "window": "months"}"#, "calendar"),
        (
            r#"{"algorithm": "fixed_window", "limit": 1, "window": "day", "align": "first"}"#,
            "has no align",
        ),
    ] {
        let error = serde_json::from_str::<Rule>(json).expect_err(json).to_string();
        assert!(error.contains(wanted), "{json}: {error}");
    }
}

// FAULTS 19.
#[test]
fn a_field_that_the_algorithm_does_not_have_is_refused() -> Outcome {
    let fields = [
        ("burst", "1", &["token_bucket"]),
        ("refill_rate", "1", &["token_bucket"]),
        ("initial", "1", &["token_bucket"]),
        ("capacity", "1", &["leaky_bucket"]),
        ("leak_rate", "1", &["leaky_bucket"]),
        ("queue", "\"1s\"", &["leaky_bucket"]),
        ("align", "\"first\"", &["fixed_window"]),
        ("entries_max", "1", &["sliding_window_log"]),
        ("burst_multiplier", "1", &["adaptive"]),
        ("adaptive_window", "\"1s\"", &["adaptive"]),
        ("high_load_threshold", "1", &["adaptive"]),
        ("low_load_threshold", "0.1", &["adaptive"]),
        ("penalty", "0.1", &["adaptive"]),
        ("scope", "\"shared\"", &["adaptive"]),
    ];
    let algorithms = [
        "token_bucket",
        "leaky_bucket",
        "fixed_window",
        "sliding_window_log",
        "sliding_window_counter",
        "adaptive",
    ];
    for (field, value, has_it) in fields {
        for algorithm in algorithms {
            let json = format!(
                r#"{{"algorithm": "{algorithm}", "limit": 1, "window": "60s", "{field}": {value}}}"#
            );
            let read = serde_json::from_str::<Rule>(&json);
            if has_it.contains(&algorithm) {
                read.map_err(|error| format!("{json}: {error}"))?;
            } else {
                let error = read.expect_err(&json).to_string();
                assert!(error.contains(&format!("has no {field}")), "{error}");
            }
        }
    }
    Ok(())
}

#[test]
fn nothing_and_everything_are_limits_in_words() -> Outcome {
    let hour = Unlimited::per(Duration::from_secs(3_600));
    for (text, algorithm) in [
        ("0", Nothing.into()),
        ("unlimited", Unlimited::per_day().try_into()?),
        ("unlimited/1h", hour.try_into()?),
    ] {
        assert_eq!(Algorithm::try_from(text.parse::<Rule>()?)?, algorithm, "{text}");
        let rule: Rule = serde_json::from_str(&format!("{text:?}"))?;
        assert_eq!(Algorithm::try_from(rule)?, algorithm, "{text}");
    }
    for text in
        ["0/1h", "00", "", "unlimited/", "unlimited/0s", "Unlimited", "unlimited 1h", "nothing"]
    {
        assert!(text.parse::<Rule>().is_err(), "{text}");
    }
    Ok(())
}

#[cfg(feature = "calendar")]
#[test]
fn windows_of_a_calendar_are_limits_in_words() -> Outcome {
    use ratelimit_algorithms::{CalendarWindow, NotationError, Period, RuleError};

    let month = Period::Month { from: 15 };
    for (text, window) in [
        ("1000/month from 15", CalendarWindow::per(1_000, month)),
        ("unlimited/month from 15", CalendarWindow::unlimited_per(month)),
    ] {
        let berlin = format!("{text} Europe/Berlin").parse::<Rule>()?;
        let other = Algorithm::try_from(text.parse::<Rule>()?)?;
        assert_eq!(
            Algorithm::try_from(berlin)?,
            window.clone().in_zone("Europe/Berlin").try_into()?
        );
        assert_eq!(other, window.try_into()?);
    }
    let refused = "1000/months".parse::<Rule>();
    assert_eq!(refused, Err(RuleError::Notation(NotationError::Calendar)));
    let refused = "1000/month Europe/Nowhere".parse::<Rule>();
    assert_eq!(refused, Err(RuleError::Config(ConfigError::UnknownTimeZone)));
    Ok(())
}

#[test]
fn a_rule_with_a_debt_makes_a_policy_and_no_bare_algorithm() -> Outcome {
    let rule = |algorithm: &str, debt_max: &str| {
        serde_json::from_str::<Rule>(&format!(
            r#"{{"algorithm": "{algorithm}", "limit": 10, "window": "60s", "debt_max": {debt_max}}}"#
        ))
    };
    let owing = rule("token_bucket", "50")?;
    assert_eq!(owing.clone().policy("api")?.debt_max(), 50);
    let refused = Algorithm::try_from(owing);
    assert_eq!(refused, Err(ConfigError::OfPolicy { field: "debt_max" }));
    assert!(Algorithm::try_from(rule("token_bucket", "0")?).is_ok());
    for (algorithm, debt_max, error) in [
        ("adaptive", "1", "keys of this adaptive hybrid cannot owe permits"),
        ("fixed_window", "1000000000001", "debt_max exceeds"),
    ] {
        let found = rule(algorithm, debt_max).expect_err(algorithm).to_string();
        assert!(found.contains(error), "{found}");
    }
    Ok(())
}
