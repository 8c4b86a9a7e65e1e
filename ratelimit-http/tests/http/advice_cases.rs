//! Waits that servers ask for in their own headers and notations.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use ratelimit_http::Advice;

/// The wait that these headers ask for at 2026-08-01T00:00:00Z, in seconds, rounded up.
fn wait_secs(lines: &[(&str, &str)]) -> Option<u64> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("name is valid");
        headers.append(name, HeaderValue::from_str(value).expect("value is valid"));
    }
    let now = UNIX_EPOCH + Duration::from_secs(1_785_542_400);
    let wait = Advice::read(&headers, now).wait()?;
    Some(wait.as_nanos().div_ceil(1_000_000_000).try_into().expect("a wait is short"))
}

type Lines = &'static [(&'static str, &'static str)];

// FAULTS 226.
#[test]
fn a_wait_is_read_in_any_servers_words() {
    for (what, lines, wait) in CASES {
        assert_eq!(wait_secs(lines), wait, "{what}");
    }
}

/// The words of many servers, by their names, and the seconds that they ask to wait.
const CASES: [(&str, Lines, Option<u64>); 42] = [
    (
        "epoch seconds",
        &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1785542457")],
        Some(57),
    ),
    (
        "epoch milliseconds",
        &[
            ("x-ratelimit-limit", "20"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1785542460000"),
        ],
        Some(60),
    ),
    (
        "epoch seconds under draft 6's name",
        &[
            ("ratelimit-limit", "100"),
            ("ratelimit-remaining", "0"),
            ("ratelimit-reset", "1785542460"),
        ],
        Some(60),
    ),
    (
        "seconds with a fraction",
        &[("x-ratelimit-remaining", "0.0"), ("x-ratelimit-reset", "237")],
        Some(237),
    ),
    (
        "reset-after",
        &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset-after", "0.65")],
        Some(1),
    ),
    (
        "durations in words",
        &[
            ("x-ratelimit-limit-requests", "500"),
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "6m0s"),
        ],
        Some(360),
    ),
    (
        "draft 7",
        &[("ratelimit", "limit=100, remaining=0, reset=50"), ("ratelimit-policy", "100;w=60")],
        Some(50),
    ),
    (
        "draft 10",
        &[("ratelimit-policy", r#""a";q=100;w=60"#), ("ratelimit", r#""a";r=0;t=50"#)],
        Some(50),
    ),
    ("overdrawn", &[("x-ratelimit-remaining", "-1"), ("x-ratelimit-reset", "30")], Some(30)),
    (
        "another spelling",
        &[
            ("x-rate-limit-limit", "900"),
            ("x-rate-limit-remaining", "0"),
            ("x-rate-limit-reset", "1785543000"),
        ],
        Some(600),
    ),
    (
        "our clock ten minutes behind the server's",
        &[
            ("date", "Sat, 01 Aug 2026 00:10:00 GMT"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1785543030"),
        ],
        Some(30),
    ),
    (
        "our clock ten minutes ahead of the server's",
        &[
            ("date", "Fri, 31 Jul 2026 23:50:00 GMT"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1785541830"),
        ],
        Some(30),
    ),
    (
        "a server's clock that was never set",
        &[("date", "Thu, 01 Jan 1970 00:00:09 GMT"), ("retry-after", "1785542407")],
        Some(7),
    ),
    ("milliseconds in a field of their own", &[("retry-after-ms", "1500")], Some(2)),
    ("Azure's milliseconds", &[("x-ms-retry-after-ms", "28500")], Some(29)),
    ("Amazon's milliseconds", &[("x-amz-retry-after", "1500")], Some(2)),
    ("an empty field beside a good one", &[("retry-after-ms", ""), ("retry-after", "3")], Some(3)),
    ("stale", &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1785542397")], None),
    ("a date that is past", &[("retry-after", "Fri, 31 Jul 2026 23:59:00 GMT")], None),
    ("absurd: a wait of centuries", &[("retry-after", "1783756917600")], None),
    ("absurd: a length of centuries", &[("retry-after", "9999999999999999")], None),
    (
        "absurd, beside what is not",
        &[
            ("retry-after", "99999999999999999999"),
            ("ratelimit-remaining", "0"),
            ("ratelimit-reset", "9"),
        ],
        Some(9),
    ),
    (
        "a date of the last century's form",
        &[("retry-after", "Saturday, 01-Aug-26 00:00:30 GMT")],
        Some(30),
    ),
    ("an instant of ISO 8601", &[("retry-after", "2026-08-01T00:00:45Z")], Some(45)),
    (
        "Anthropic's instants",
        &[
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "49"),
            ("anthropic-ratelimit-requests-reset", "2026-08-01T00:00:02Z"),
            ("anthropic-ratelimit-input-tokens-limit", "40000"),
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("anthropic-ratelimit-input-tokens-reset", "2026-08-01T02:00:41+02:00"),
        ],
        Some(41),
    ),
    (
        "two limits, of which one is spent",
        &[
            ("x-ratelimit-remaining-requests", "9"),
            ("x-ratelimit-reset-requests", "1h2m3.5s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "120ms"),
        ],
        Some(1),
    ),
    (
        "two limits, both spent",
        &[
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "1h2m3.5s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "7.66s"),
        ],
        Some(3_724),
    ),
    (
        "two limits, one reset for both",
        &[
            ("x-ratelimit-remaining-minute", "0"),
            ("x-ratelimit-remaining-hour", "7"),
            ("x-ratelimit-reset", "1785542412"),
        ],
        Some(12),
    ),
    (
        "an after without a reset",
        &[("x-ratelimit-remaining", "0"), ("x-ratelimit-after", "8")],
        Some(8),
    ),
    (
        "words in another order",
        &[
            ("x-ratelimit-requests-limit", "1500"),
            ("x-ratelimit-requests-remaining", "0"),
            ("x-ratelimit-requests-reset", "1785542436000"),
        ],
        Some(36),
    ),
    (
        "an instant with a fraction, and the length beside it",
        &[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1785542401.123"),
            ("x-ratelimit-reset-after", "1.123"),
        ],
        Some(2),
    ),
    (
        "draft 3",
        &[
            ("x-ratelimit-limit", r#"10, 10;w=1;name="a""#),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1"),
        ],
        Some(1),
    ),
    (
        "windows beside the values",
        &[("ratelimit-remaining", "0;w=60"), ("ratelimit-reset", "12;w=60")],
        Some(12),
    ),
    (
        "draft 8, a token for a name",
        &[("ratelimit-policy", "a;q=9;w=60"), ("ratelimit", "a;r=0;t=44")],
        Some(44),
    ),
    ("draft 7, with something left", &[("ratelimit", "limit=9, remaining=1, reset=50")], None),
    (
        "draft 7 with parameters for members",
        &[("ratelimit", "limit=9;remaining=0;reset=50")],
        Some(50),
    ),
    (
        "Zendesk's dictionary",
        &[("zendesk-ratelimit-tickets-index", "total=100; remaining=0; resets=9")],
        Some(9),
    ),
    (
        "no limit at all",
        &[("x-ratelimit-limit", "-1"), ("x-ratelimit-remaining", "-1"), ("x-ratelimit-reset", "9")],
        None,
    ),
    (
        "a date for a reset",
        &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "Sat, 01 Aug 2026 00:01:00 GMT")],
        Some(60),
    ),
    ("nothing left, and no word of when", &[("x-ratelimit-remaining", "0")], None),
    ("something left", &[("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "60")], None),
    (
        "said twice",
        &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "60"), ("x-ratelimit-reset", "90")],
        None,
    ),
];

/// Every notation of one instant is the same wait, in every field that tells of a reset.
// FAULTS 226.
#[test]
fn a_reset_is_read_in_any_notation_under_any_name() {
    let notations = [
        "77",
        "77.0",
        "1785542477",
        "1785542477.000",
        "1785542477000",
        "1785542477000000",
        "1m17s",
        "77s",
        "77000ms",
        "PT1M17S",
        "2026-08-01T00:01:17Z",
        "2026-08-01T01:01:17.000+01:00",
        "Sat, 01 Aug 2026 00:01:17 GMT",
    ];
    let names = [
        ("x-ratelimit-remaining", "x-ratelimit-reset"),
        ("x-rate-limit-remaining", "x-rate-limit-reset"),
        ("ratelimit-remaining", "ratelimit-reset"),
        ("x-ratelimit-remaining", "x-ratelimit-reset-after"),
        ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
        ("x-ratelimit-tokens-remaining", "x-ratelimit-tokens-reset"),
        ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ];
    for notation in notations {
        assert_eq!(wait_secs(&[("retry-after", notation)]), Some(77), "{notation}");
        for (remaining, reset) in names {
            let wait = wait_secs(&[(remaining, "0"), (reset, notation)]);
            assert_eq!(wait, Some(77), "{reset}: {notation}");
        }
    }
}
