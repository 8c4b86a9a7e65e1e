//! Advice that clients read from servers' headers, ours and others'.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use ratelimit_algorithms::{
    Adaptive, Algorithm, ConfigError, Decision, FixedWindow, LeakyBucket, Limiter, Micros,
    SlidingWindowCounter, SlidingWindowLog, TokenBucket,
};
use ratelimit_http::{Advice, AdvisedLimit, HeaderFormat, RateLimitLayer, RequestKey};
use sfv::{BareItem, ListEntry, Parser};

use crate::support::{app, from, send, store};

/// Thursday, 1 October 2026, 12:00:00.
const NOW: Duration = Duration::from_secs(1_790_856_000);

fn read(lines: &[(&str, &str)]) -> Advice {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("name is valid");
        headers.append(name, HeaderValue::from_str(value).expect("value is valid"));
    }
    Advice::read(&headers, UNIX_EPOCH + NOW)
}

fn secs(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

fn limit(told: impl FnOnce(&mut AdvisedLimit)) -> AdvisedLimit {
    let mut limit = AdvisedLimit::default();
    told(&mut limit);
    limit
}

#[test]
fn retry_after_is_seconds_or_a_date_of_any_form() {
    let waits = |value| read(&[("retry-after", value)]).retry_after;
    assert_eq!(waits("120"), secs(120));
    assert_eq!(waits("0"), secs(0));
    assert_eq!(waits("Thu, 01 Oct 2026 12:00:30 GMT"), secs(30));
    assert_eq!(waits("Thursday, 01-Oct-26 12:00:30 GMT"), secs(30));
    assert_eq!(waits("Thu Oct  1 12:00:30 2026"), secs(30));
    assert_eq!(waits("Thu, 01 Oct 2026 11:00:00 GMT"), secs(0), "it is past");
    assert_eq!(waits("1.5"), Some(Duration::from_millis(1_500)));
    for senseless in ["", "-1", "+1", "1e3", "soon", "Thu, 99 Oct 2026 12:00:30 GMT"] {
        assert_eq!(waits(senseless), None, "{senseless:?}");
    }
    let twice = read(&[("retry-after", "1"), ("retry-after", "7"), ("retry-after", "soon")]);
    assert_eq!(twice.retry_after, secs(7), "the longest");
}

#[test]
fn a_date_is_compared_with_the_servers_own_clock() {
    let late = ("retry-after", "Thu, 01 Oct 2026 15:00:30 GMT");
    let advice = read(&[("date", "Thu, 01 Oct 2026 15:00:00 GMT"), late]);
    assert_eq!(advice.retry_after, secs(30));
}

#[test]
fn three_numbers_are_a_limit() {
    let told = [("limit", "60"), ("remaining", "0"), ("reset", "17")];
    let expected = limit(|limit| {
        (limit.limit, limit.remaining, limit.reset_after) = (Some(60), Some(0), secs(17));
    });
    for prefix in ["x-ratelimit", "ratelimit"] {
        let names = told.map(|(name, _)| format!("{prefix}-{name}"));
        let lines: Vec<_> =
            names.iter().zip(told).map(|(name, (_, value))| (&**name, value)).collect();
        let advice = read(&lines);
        assert_eq!(advice.limits, std::slice::from_ref(&expected), "{prefix}");
        assert_eq!(advice.wait(), secs(17));
    }
    let partly = read(&[("x-ratelimit-remaining", "3"), ("x-ratelimit-limit", "many")]);
    assert_eq!(partly.limits, [limit(|limit| limit.remaining = Some(3))]);
    assert_eq!(partly.wait(), None);
    let twice = read(&[("x-ratelimit-remaining", "3"), ("x-ratelimit-remaining", "4")]);
    assert_eq!(twice.limits, []);
}

#[test]
fn a_reset_in_seconds_since_1970_is_understood() {
    let reset = |value| read(&[("x-ratelimit-reset", value)]).limits[0].reset_after;
    assert_eq!(reset("1790856042"), secs(42));
    assert_eq!(reset("1790855000"), secs(0));
    assert_eq!(reset("86400"), secs(86_400));
    assert_eq!(read(&[("ratelimit-reset", "1790856042")]).limits[0].reset_after, secs(42));
}

// FAULTS 226.
#[test]
fn values_that_make_no_sense_are_counted() {
    let ignored = |lines: &[_]| read(lines).ignored;
    assert_eq!(ignored(&[("retry-after", "7"), ("x-ratelimit-reset", "9"), ("server", "x")]), 0);
    assert_eq!(ignored(&[("retry-after", "soon"), ("retry-after-ms", "")]), 2);
    assert_eq!(ignored(&[("x-ratelimit-reset", "99999999999999"), ("ratelimit-limit", "a")]), 2);
    assert_eq!(ignored(&[("x-ratelimit-reset", "1"), ("x-ratelimit-reset", "2")]), 1);
    assert_eq!(ignored(&[("ratelimit", r#""a";r=0;t=100000000"#)]), 1);
}

#[test]
fn any_number_of_limits_costs_no_more_than_64() {
    let lines: Vec<_> = (0..200).map(|n| format!("x-ratelimit-remaining-{n}")).collect();
    let lines: Vec<_> = lines.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(read(&lines).limits.len(), 64);
}

#[test]
fn lists_tell_of_each_limit_by_its_name() {
    let advice = read(&[
        (
            "ratelimit-policy",
            r#""burst";q=100;w=60, daily;q=1000;qu="content-bytes";pk=:cHNzdA==:"#,
        ),
        ("ratelimit-policy", r#""idle";q=5"#),
        ("ratelimit", r#""daily";r=0;t=40;pk=:cHNzdA==:"#),
        ("ratelimit", r#""burst";r=7, "other";r=1"#),
    ]);
    let named = |name: &str, told: fn(&mut AdvisedLimit)| {
        limit(|limit| {
            limit.name = Some(name.to_owned());
            told(limit);
        })
    };
    let expected = [
        named("burst", |it| {
            (it.limit, it.window, it.remaining) = (Some(100), secs(60), Some(7));
        }),
        named("daily", |it| {
            (it.limit, it.remaining, it.reset_after) = (Some(1000), Some(0), secs(40));
            it.unit = Some("content-bytes".to_owned());
            it.partition_key = Some(b"psst".to_vec());
        }),
        named("idle", |it| it.limit = Some(5)),
        named("other", |it| it.remaining = Some(1)),
    ];
    assert_eq!(advice.limits, expected);
    assert_eq!(advice.wait(), secs(40));
}

#[test]
fn a_policy_of_draft_6_is_called_by_its_quota() {
    let advice = read(&[("ratelimit-policy", "100;w=10, 1000;w=3600;comment=\"x\"")]);
    let told: Vec<_> = advice.limits.iter().map(|it| (it.limit, it.window)).collect();
    assert_eq!(told, [(Some(100), secs(10)), (Some(1_000), secs(3_600))]);
}

#[test]
fn an_item_without_sense_is_left_out_and_a_broken_list_is_no_list() {
    let remaining = |value| {
        let limits = read(&[("ratelimit", value)]).limits;
        limits.into_iter().map(|limit| limit.remaining).collect::<Vec<_>>()
    };
    let one = vec![Some(1)];
    assert_eq!(remaining(r#""a";r=1, "b", "c";r=-1, 5;r=1, "d";r="1", "e";r=1.5"#), one);
    assert_eq!(remaining(r#""a";r=1, ("b";r=2 "c");r=3"#), one);
    assert_eq!(remaining(r#""a";r=1;t=x"#), []);
    assert_eq!(remaining(r#""a";r=9;r=1"#), one, "the last counts");
    for broken in [r#""a";r=1,"#, r#""a";r=1 x"#, r#""a;r=1"#, r#""a";r=1;R=2"#, "\"\u{e9}\";r=1"] {
        assert_eq!(remaining(broken), [], "{broken}");
    }
    assert_eq!(remaining(&vec![r#""a";r=1"#; 10_000].join(", ")).len(), 64, "and no more");
}

#[test]
fn who_says_when_to_come_back_is_believed_and_else_who_knows_best() {
    let reset = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "60")];
    let item = ("ratelimit", r#""a";r=0;t=3, "b";r=0;t=5, "c";r=1;t=9"#);
    let policy = ("ratelimit-policy", r#""a";q=9;w=60"#);
    let wait = |more: &[_]| read(&[&reset[..], more].concat()).wait();
    assert_eq!(wait(&[]), secs(60));
    assert_eq!(wait(&[policy]), secs(60), "it tells what there can be, not what there is");
    assert_eq!(wait(&[policy, item]), secs(5));
    assert_eq!(wait(&[item, ("retry-after", "1")]), secs(1));
    assert_eq!(wait(&[item, ("retry-after", "0")]), None);
}

/// Our own headers say of a key what the limiter said.
async fn is_read_back<A>(algorithm: impl Fn(u64, Duration) -> A)
where
    A: TryInto<Algorithm, Error: Into<ConfigError>>,
{
    use HeaderFormat::{Draft6, Draft10, XRateLimit};
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let window = Duration::from_micros(random.u64(500_000..100_000_000));
        let (store, clock) = store();
        let bits = random.u32(1..19);
        let permits = random.u64(1..=1 << bits);
        let limiter = Limiter::new(store, "api", algorithm(permits, window)).expect("is valid");
        let layer = RateLimitLayer::new(limiter.clone(), "all").cost(random.u64(1..=permits));
        let app = app(layer.headers([XRateLimit, Draft6, Draft10]));
        for _ in 0..5 {
            clock.advance(Micros::from_duration_floor(window.mul_f64(random.f64() / 4.0)));
            let response = send(&app, from("192.0.2.1:1")).await;
            let decision = limiter.peek(&RequestKey::from("all")).now().expect("memory answers");
            let advice = Advice::read(response.headers(), UNIX_EPOCH + NOW);
            is_of(&advice, &decision);
            let denied = response.status() == 429;
            assert_eq!(advice.retry_after.is_some(), denied);
        }
    }
}

#[track_caller]
fn is_of(advice: &Advice, decision: &Decision) {
    let [item, draft_6, x_rate_limit] = &advice.limits[..] else { panic!("three forms") };
    for told in [item, draft_6, x_rate_limit] {
        assert_eq!((told.limit, told.remaining), (Some(decision.limit), Some(decision.remaining)));
    }
    assert_eq!(item.name.as_deref(), Some("api"));
    let reset = Some(Duration::from_secs(decision.reset_after.as_secs_ceil()));
    assert_eq!([draft_6.reset_after, x_rate_limit.reset_after], [reset; 2]);
    assert!(item.reset_after <= reset, "until there is more, which is sooner");
}

#[tokio::test]
async fn what_we_say_is_what_we_read() {
    is_read_back(FixedWindow::per).await;
    is_read_back(SlidingWindowLog::per).await;
    is_read_back(SlidingWindowCounter::per).await;
    is_read_back(TokenBucket::per).await;
    is_read_back(LeakyBucket::per).await;
    is_read_back(Adaptive::per).await;
}

/// Names and what is left, by somebody else's parser.
fn by_sfv(value: &str) -> Vec<(String, u64)> {
    let Ok(list) = Parser::new(value).parse::<sfv::List>() else { return Vec::new() };
    let items = list.into_iter().filter_map(|entry| match entry {
        ListEntry::Item(item) => Some(item),
        ListEntry::InnerList(_) => None,
    });
    let read = |item: sfv::Item| {
        let name = match &item.bare_item {
            BareItem::String(name) => name.as_str().to_owned(),
            BareItem::Token(name) => name.as_str().to_owned(),
            _ => return None,
        };
        let number = |key: &str| match item.params.get(key) {
            Some(BareItem::Integer(number)) => u64::try_from(i64::from(*number)).ok(),
            _ => None,
        };
        let is_fit = |key: &str| item.params.get(key).is_none() || number(key).is_some();
        let pk = item.params.get("pk");
        let pk_is_fit = pk.is_none_or(|pk| matches!(pk, BareItem::ByteSequence(_)));
        (is_fit("t") && pk_is_fit).then_some((name, number("r")?))
    };
    items.filter_map(read).collect()
}

/// Elements of lists, well-formed or not.
const PIECES: [&str; 40] = [
    "\"a\"",
    "\"b c\"",
    "\"\\\"\"",
    "\"\\x\"",
    "\"",
    "tok",
    "*t/o:k",
    ";r=1",
    ";r=0",
    ";r=-5",
    ";r=1.5",
    ";r=999999999999999",
    ";r=1000000000000000",
    ";r=\"1\"",
    ";r",
    "; r=2",
    ";t=3",
    ";t=x",
    ";pk=:cHNzdA==:",
    ";pk=:cHNzdA:",
    ";pk=:!:",
    ";pk=::",
    ";x=?1",
    ";x=?2",
    ";x=@17",
    ";x=@1.5",
    ";x=%\"f%c3%bc\"",
    ";x=%\"%C3\"",
    ";x=%\"%ff\"",
    ",",
    ", ",
    ",\t",
    " ",
    "(",
    ")",
    "(\"a\" 1)",
    "7",
    "-0",
    "1.250",
    ";R=1",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8_000))]

    // FAULTS 201.
    #[test]
    fn lists_are_read_as_somebody_else_reads_them(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..12),
    ) {
        let value = pieces.concat();
        let limits = read(&[("ratelimit", &value)]).limits;
        let told = limits.into_iter().map(|it| (it.name.unwrap_or_default(), it.remaining.unwrap_or_default()));
        let told: Vec<_> = told.collect();
        prop_assert_eq!(told, by_sfv(value.trim_matches([' ', '\t'])), "{}", value);
    }

    // FAULTS 201.
    #[test]
    fn no_header_makes_reading_fail(
        name in prop::sample::select(&["ratelimit", "ratelimit-policy", "retry-after", "date",
            "x-ratelimit-reset", "ratelimit-limit", "retry-after-ms", "x-ratelimit-remaining-tokens",
            "zendesk-ratelimit-x"][..]),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        now in any::<u64>(),
    ) {
        let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
        let mut headers = HeaderMap::new();
        headers.insert(name, value.clone());
        headers.append("retry-after", value);
        let now = UNIX_EPOCH.checked_add(Duration::from_secs(now)).unwrap_or(UNIX_EPOCH);
        let _ = Advice::read(&headers, now).wait();
        let _ = Advice::read(&headers, SystemTime::now());
    }
}
