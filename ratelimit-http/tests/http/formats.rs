//! The forms in which a limit is told, read by somebody else's parser.

use std::{
    num::NonZeroUsize,
    time::{Duration, SystemTime},
};

use axum::{Router, http::HeaderMap, response::Response, routing::get};
use ratelimit_algorithms::{
    Adaptive, Algorithm, CalendarWindow, ConfigError, FixedWindow, InFlight, LeakyBucket, Limiter,
    ManualClock, Micros, Nothing, Period, SlidingWindowCounter, SlidingWindowLog, Timestamp,
    TokenBucket, Unlimited,
};
use ratelimit_http::{
    Advice, ApiKey, HeaderFormat, KeyFn, PeerAddr, QuotaUnit, RateLimitLayer, Rejection,
    RequestLimit,
};
use ratelimit_memory::Memory;
use serde_json::{Value, json};
use sfv::{BareItem, Item, List, ListEntry, Parser};

use crate::support::{
    Broken, Store, app, budget, from, header, limiter, on, per_minute, send, store, text, with_key,
};

const MINUTE: Duration = Duration::from_secs(60);

/// The items of a list: each a name, and numbers by their keys.
#[track_caller]
fn items(response: &Response, name: &str) -> Vec<(String, Vec<(String, i64)>)> {
    let lines = response.headers().get_all(name).iter();
    let lines: Vec<&str> = lines.map(|line| line.to_str().expect("value is text")).collect();
    let joined = lines.join(", ");
    let list: List = Parser::new(&joined).parse().expect("value is a list");
    let entries = list.into_iter().map(|entry| match entry {
        ListEntry::Item(item) => named(&item),
        ListEntry::InnerList(_) => panic!("an item is alone"),
    });
    entries.collect()
}

#[track_caller]
fn named(item: &Item) -> (String, Vec<(String, i64)>) {
    let BareItem::String(name) = &item.bare_item else { panic!("a name is a string") };
    let number = |value: &BareItem| match value {
        BareItem::Integer(number) => i64::from(*number),
        _ => panic!("a parameter is an integer"),
    };
    let numbers = item.params.iter().map(|(key, value)| (key.as_str().to_owned(), number(value)));
    (name.as_str().to_owned(), numbers.collect())
}

fn item(name: &str, numbers: &[(&str, i64)]) -> (String, Vec<(String, i64)>) {
    (name.into(), numbers.iter().map(|(key, number)| ((*key).into(), *number)).collect())
}

fn draft_10<A>(algorithm: A) -> RateLimitLayer<Store, PeerAddr>
where
    A: TryInto<Algorithm, Error: Into<ConfigError>>,
{
    RateLimitLayer::new(limiter(algorithm), PeerAddr).headers([HeaderFormat::Draft10])
}

/// The headers about `algorithm` for the first request.
async fn policy<A>(algorithm: A) -> Vec<(String, Vec<(String, i64)>)>
where
    A: TryInto<Algorithm, Error: Into<ConfigError>>,
{
    items(&send(&app(draft_10(algorithm)), from("192.0.2.1:1")).await, "ratelimit-policy")
}

#[tokio::test]
async fn draft_10_tells_quota_and_window_of_each_algorithm() {
    let told = vec![item("api", &[("q", 10), ("w", 60)])];
    assert_eq!(policy(FixedWindow::per(10, MINUTE)).await, told);
    assert_eq!(policy(SlidingWindowLog::per(10, MINUTE)).await, told);
    assert_eq!(policy(SlidingWindowCounter::per(10, MINUTE)).await, told);
    assert_eq!(policy(TokenBucket::per(10, MINUTE)).await, told);
    assert_eq!(policy(LeakyBucket::per(10, MINUTE)).await, told);
    let burst = vec![item("api", &[("q", 20), ("w", 60)])];
    assert_eq!(policy(Adaptive::per(10, MINUTE)).await, burst);
    assert_eq!(policy(TokenBucket::per(10, MINUTE).burst(20)).await[0].1[1], ("w".into(), 120));
}

#[tokio::test]
async fn no_window_is_told_below_a_second_and_others_round_up() {
    let window = |micros| FixedWindow::per(10, Duration::from_micros(micros));
    assert_eq!(policy(window(999_999)).await, [item("api", &[("q", 10)])]);
    assert_eq!(policy(window(1_000_000)).await, [item("api", &[("q", 10), ("w", 1)])]);
    assert_eq!(policy(window(1_000_001)).await, [item("api", &[("q", 10), ("w", 2)])]);
}

// FAULTS 122.
#[tokio::test]
async fn the_largest_limit_is_an_integer_of_a_structured_field() {
    let app = app(draft_10(FixedWindow::per_minute(ratelimit_core::LIMIT_MAX)));
    let response = send(&app, from("192.0.2.1:1")).await;
    let most = i64::try_from(ratelimit_core::LIMIT_MAX).expect("limit is small");
    assert_eq!(items(&response, "ratelimit-policy")[0].1[0], ("q".into(), most));
    assert_eq!(items(&response, "ratelimit")[0].1[0], ("r".into(), most - 1));
}

#[tokio::test]
async fn draft_10_tells_what_is_left_and_when_there_is_more() {
    let app = app(draft_10(TokenBucket::per(3, MINUTE)));
    for (remaining, until_more) in [(2, 20), (1, 20), (0, 20), (0, 20)] {
        let response = send(&app, from("192.0.2.1:1")).await;
        let told = [item("api", &[("r", remaining), ("t", until_more)])];
        assert_eq!(items(&response, "ratelimit"), told);
        assert_eq!(budget(&response), [None; 3], "in no other form");
    }
}

/// Spends at random, and looks back at the time that the last response told.
async fn tells_the_time<A>(algorithm: impl Fn(u64, Duration) -> A)
where
    A: TryInto<Algorithm, Error: Into<ConfigError>>,
{
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let window = Duration::from_micros(random.u64(500_000..100_000_000));
        let (store, clock) = store();
        let limiter = Limiter::new(store, "api", algorithm(random.u64(1..=12), window));
        let limiter = limiter.expect("algorithm is valid");
        let layer = RateLimitLayer::new(limiter.clone(), "all").headers([HeaderFormat::Draft10]);
        let app = app(layer);
        for _ in 0..random.u32(1..20) {
            clock.advance(Micros::from_duration_floor(window.mul_f64(random.f64() / 8.0)));
            let response = send(&app, from("192.0.2.1:1")).await;
            let [(_, numbers)] = &items(&response, "ratelimit")[..] else { panic!("one item") };
            let [(_, remaining), until_more @ ..] = &numbers[..] else { panic!("r comes first") };
            let Some((_, seconds)) = until_more.first() else { panic!("something is spent") };
            if let Some(wait) = header(&response, "retry-after") {
                let wait: i64 = wait.parse().expect("a number of seconds");
                assert!(*seconds <= wait, "seed {seed}: no more before one may come back");
            }
            if random.u8(0..4) == 0 {
                let seconds = u64::try_from(*seconds).expect("time goes on");
                clock.advance(Micros::from_secs(seconds));
                let key = ratelimit_http::RequestKey::from("all");
                let now = limiter.peek(&key).now().expect("memory answers").remaining;
                assert!(remaining.unsigned_abs() < now, "seed {seed}: there is more");
            }
        }
    }
}

#[tokio::test]
async fn there_is_more_when_it_was_told() {
    tells_the_time(FixedWindow::per).await;
    tells_the_time(SlidingWindowLog::per).await;
    tells_the_time(SlidingWindowCounter::per).await;
    tells_the_time(TokenBucket::per).await;
    tells_the_time(LeakyBucket::per).await;
    tells_the_time(Adaptive::per).await;
}

// FAULTS 227.
#[tokio::test]
async fn a_hybrid_tells_when_there_is_more_and_not_when_its_load_is_forgotten() {
    let app = app(draft_10(Adaptive::per(10, Duration::from_secs(10))));
    for _ in 0..5 {
        let response = send(&app, from("192.0.2.1:1")).await;
        let [(_, numbers)] = &items(&response, "ratelimit")[..] else { panic!("one item") };
        let until_more = numbers.iter().find(|(key, _)| key == "t");
        assert!(until_more.is_some_and(|(_, seconds)| (1..=10).contains(seconds)), "{numbers:?}");
    }
}

#[tokio::test]
async fn draft_6_has_three_headers_of_its_own() {
    let app = app(per_minute(10, PeerAddr).headers([HeaderFormat::Draft6]));
    let response = send(&app, from("192.0.2.1:1")).await;
    let names = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"];
    assert_eq!(names.map(|name| header(&response, name)), [Some("10"), Some("9"), Some("60")]);
    assert_eq!(budget(&response), [None; 3]);
}

#[tokio::test]
async fn forms_can_be_told_together_or_not_at_all() {
    let every = [HeaderFormat::XRateLimit, HeaderFormat::Draft6, HeaderFormat::Draft10];
    let layer = per_minute(10, PeerAddr);
    let twice = layer.clone().headers(every.into_iter().chain(every));
    let response = send(&app(twice), from("192.0.2.1:1")).await;
    assert_eq!(budget(&response), [Some("10"), Some("9"), Some("60")]);
    assert_eq!(header(&response, "ratelimit-remaining"), Some("9"));
    assert_eq!(header(&response, "ratelimit"), Some(r#""api";r=9;t=60"#));
    let response = send(&app(layer.headers([])), from("192.0.2.1:1")).await;
    assert!(response.headers().keys().all(|name| !name.as_str().contains("ratelimit")));
}

// FAULTS 121.
#[tokio::test]
async fn policies_of_other_names_are_told_side_by_side_and_one_name_once() {
    let lines = |name: &'static str| {
        async move || {
            let mut headers = HeaderMap::new();
            for (header, item) in [("ratelimit-policy", ";q=5"), ("ratelimit", ";r=1")] {
                let value = format!("\"{name}\"{item}").parse().expect("value is valid");
                headers.append(header, value);
            }
            headers
        }
    };
    let app = |name| {
        let layer = per_minute(10, PeerAddr).headers([HeaderFormat::Draft10]);
        Router::new().route("/", get(lines(name))).layer(layer)
    };
    let response = send(&app("daily"), from("192.0.2.1:1")).await;
    let both = [item("daily", &[("r", 1)]), item("api", &[("r", 9), ("t", 60)])];
    assert_eq!(items(&response, "ratelimit"), both);
    assert_eq!(items(&response, "ratelimit-policy").len(), 2);
    let response = send(&app("api"), from("192.0.2.1:1")).await;
    assert_eq!(items(&response, "ratelimit"), [item("api", &[("r", 1)])]);
    assert_eq!(items(&response, "ratelimit-policy").len(), 1);
}

async fn problem(response: Response) -> Value {
    assert_eq!(header(&response, "content-type"), Some("application/problem+json"));
    let status = response.status().as_u16();
    let problem: Value = serde_json::from_str(&text(response).await).expect("body is JSON");
    assert_eq!(problem["status"], status);
    problem
}

// FAULTS 118.
#[tokio::test]
async fn problem_details_name_the_policy_that_was_violated() {
    let limited = app(per_minute(1, PeerAddr).problem_details());
    assert_eq!(send(&limited, from("192.0.2.1:1")).await.status(), 200);
    let denied = send(&limited, from("192.0.2.1:1")).await;
    assert_eq!(header(&denied, "retry-after"), Some("60"));
    let told = problem(denied).await;
    assert_eq!(told["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(
        (&told["title"], &told["violated-policies"]),
        (&json!("Quota Exceeded"), &json!(["api"]))
    );
}

#[tokio::test]
async fn problem_details_tell_an_outage_from_a_violation() {
    let broken = app(RateLimitLayer::new(on(Broken::default()), PeerAddr).problem_details());
    let told = problem(send(&broken, from("192.0.2.1:1")).await).await;
    let kind = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";
    assert_eq!((&told["type"], &told["violated-policies"]), (&json!(kind), &json!([])));
    assert_eq!(told["title"], "Temporary Reduced Capacity");
    let keyed = app(per_minute(1, ApiKey::bearer()).problem_details());
    let told = problem(send(&keyed, with_key("k1")).await).await;
    assert_eq!((&told["type"], &told["title"]), (&json!("about:blank"), &json!("Bad Request")));
}

#[tokio::test]
async fn what_a_limit_counts_can_be_told() {
    let (store, _) = store();
    let per = |name| Limiter::new(store.clone(), name, FixedWindow::per_minute(9));
    let layer = RateLimitLayer::new(per("bytes").expect("is valid"), PeerAddr)
        .quota_unit(QuotaUnit::ContentBytes)
        .also(RequestLimit::new(per("calls").expect("is valid"), PeerAddr))
        .quota_unit(QuotaUnit::Requests)
        .also(RequestLimit::new(per("open").expect("is valid"), PeerAddr))
        .quota_unit(QuotaUnit::ConcurrentRequests)
        .also(RequestLimit::new(per("words").expect("is valid"), PeerAddr))
        .quota_unit(QuotaUnit::Tokens)
        .headers([HeaderFormat::Draft10]);
    let response = send(&app(layer), from("192.0.2.1:1")).await;
    let units = Advice::read(response.headers(), SystemTime::UNIX_EPOCH).limits;
    let units: Vec<_> = units.into_iter().filter_map(|limit| limit.unit).collect();
    assert_eq!(units, ["content-bytes", "requests", "concurrent-requests", "tokens"]);
}

#[tokio::test]
async fn permits_in_flight_are_told_in_their_unit_and_without_a_window() {
    let calls = Limiter::new(store().0, "calls", InFlight::limit(4)).expect("is valid");
    let layer = RateLimitLayer::new(calls, PeerAddr).headers([HeaderFormat::Draft10]);
    let response = send(&app(layer), from("192.0.2.1:1")).await;
    let policy = response.headers()["ratelimit-policy"].to_str();
    assert_eq!(policy.expect("it is text"), "\"calls\";q=4;qu=\"concurrent-requests\"");
}

/// The name of a client in each limit, where it is told so.
fn called(response: &Response) -> Vec<Option<Vec<u8>>> {
    let advice = Advice::read(response.headers(), SystemTime::UNIX_EPOCH);
    advice.limits.into_iter().map(|limit| limit.partition_key).collect()
}

// FAULTS 132.
#[tokio::test]
async fn clients_are_told_apart_by_names_that_say_nothing_about_them() {
    let secret = "0123456789abcdef";
    let key = ApiKey::header("x-api-key").pepper(secret);
    let named = |secret: &str| {
        let layer = per_minute(1, key.clone()).headers([HeaderFormat::Draft10]);
        app(layer.partition_keys(secret))
    };
    let limited = named(secret);
    let first = called(&send(&limited, with_key("k1")).await);
    let denied = send(&limited, with_key("k1")).await;
    assert_eq!((denied.status().as_u16(), called(&denied)), (429, first.clone()));
    let [Some(name)] = &first[..] else { panic!("there is one limit, with a name") };
    assert_eq!(name.len(), 16);
    let head = with_key("k1").into_parts().0;
    let stored = key.key(&head).expect("request has a key");
    assert!(!stored.as_ref().windows(16).any(|part| part == name), "it is not what stores hold");

    assert_ne!(called(&send(&limited, with_key("k2")).await), first);
    assert_eq!(called(&send(&named(secret), with_key("k1")).await), first, "as another process");
    assert_ne!(called(&send(&named("fedcba9876543210"), with_key("k1")).await), first);
    let nameless = app(per_minute(1, key).headers([HeaderFormat::Draft10]));
    assert_eq!(called(&send(&nameless, with_key("k1")).await), [None], "unless it is asked for");
}

#[tokio::test]
async fn each_limit_calls_a_client_by_the_key_that_it_goes_by() {
    let (store, _) = store();
    let per = |name| Limiter::new(store.clone(), name, FixedWindow::per_minute(9));
    let layer = RateLimitLayer::new(per("peer").expect("is valid"), PeerAddr)
        .also(RequestLimit::new(per("all").expect("is valid"), "everyone"))
        .partition_keys("0123456789abcdef")
        .headers([HeaderFormat::Draft10]);
    let app = app(layer);
    let here = called(&send(&app, from("192.0.2.1:1")).await);
    let there = called(&send(&app, from("192.0.2.2:1")).await);
    assert_ne!(here[0], there[0]);
    assert_eq!(here[1], there[1]);
    assert!(here.iter().all(Option::is_some));
}

/// February of 2026, and then March: each window has a length and an end of its own.
#[test]
fn a_calendar_tells_the_length_and_the_end_of_the_window_at_hand() {
    let day = Micros::from_secs(86_400);
    // 2026-01-31 12:00 UTC.
    let clock = ManualClock::new(Timestamp::EPOCH + Micros::from_secs(1_769_860_800));
    let memory = Memory::with_clock(clock.clone(), NonZeroUsize::MAX);
    let plan = CalendarWindow::per(10, Period::Month { from: 1 });
    let limiter = Limiter::new(memory, "plan", plan).unwrap();
    for (days, expected, left) in
        [(31, 43_200, 9), (28, 28 * 86_400 - 43_200, 9), (28, 86_400 / 2, 8)]
    {
        let decision = limiter.check("key").now().unwrap();
        let mut headers = HeaderMap::new();
        for format in [HeaderFormat::Draft10, HeaderFormat::XRateLimit] {
            format.write(&mut headers, &limiter.policy("key"), &decision);
        }
        let policy = format!("\"plan\";q=10;w={}", days * 86_400);
        assert_eq!(headers["ratelimit-policy"], policy);
        assert_eq!(headers["ratelimit"], format!("\"plan\";r={left};t={expected}"));
        assert_eq!(headers["x-ratelimit-reset"], expected.to_string());
        let days = if days == 31 { 1 } else { 27 };
        (0..days).for_each(|_| clock.advance(day));
    }
}

/// No wait helps where nothing is admitted; and there is nothing to tell of a limit without a bound.
#[tokio::test]
async fn limits_of_nothing_and_of_everything_tell_what_there_is_to_tell() {
    let limiter = |name, limit: Algorithm| Limiter::new(Memory::new(), name, limit).unwrap();
    let denial = limiter("off", Nothing.into()).check("key").now().unwrap();
    let response = Rejection::Deny(denial).to_response();
    assert_eq!(response.status(), 429);
    assert!(!response.headers().contains_key("retry-after"));

    let unlimited = limiter("free", Unlimited::per_day().try_into().unwrap());
    let decision = unlimited.check("key").now().unwrap();
    let mut headers = HeaderMap::new();
    for format in [HeaderFormat::Draft10, HeaderFormat::Draft6, HeaderFormat::XRateLimit] {
        format.write(&mut headers, &unlimited.policy("key"), &decision);
    }
    assert!(headers.is_empty(), "{headers:?}");
}
