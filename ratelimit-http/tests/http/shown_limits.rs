//! Limits that clients are told of: those that decide, and none that is only watched.

use axum::response::Response;
use ratelimit_algorithms::{FixedWindow, Limiter, Micros, TokenBucket};
use ratelimit_backend::Backend;
use ratelimit_http::{HeaderFormat, PeerAddr, RateLimitLayer, RequestKey, RequestLimit};
use ratelimit_resilience::{Fallback, Lists, LocalLimits, OnFailure, Resilient, Shadow};
use serde_json::Value;

use crate::support::{Broken, app, budget, from, header, send, store, text};

const EVERY: [HeaderFormat; 3] =
    [HeaderFormat::XRateLimit, HeaderFormat::Draft6, HeaderFormat::Draft10];

fn per<B: Backend + Clone>(store: &B, name: &str, limit: u64, secs: u64) -> Limiter<B> {
    let window = std::time::Duration::from_secs(secs);
    Limiter::new(store.clone(), name, FixedWindow::per(limit, window)).expect("numbers are fine")
}

/// The names of the headers that tell of limits, and those of the limits in lists.
fn told(response: &Response) -> Vec<String> {
    let names = response.headers().keys().map(|name| name.as_str().to_owned());
    let mut told: Vec<_> =
        names.filter(|name| name.contains("ratelimit") || name.contains("retry")).collect();
    told.sort();
    told
}

fn items(response: &Response, name: &str) -> Vec<String> {
    let lines = response.headers().get_all(name).iter();
    lines.map(|line| line.to_str().expect("value is text").to_owned()).collect()
}

/// A store without a shadow around it, in memory or elsewhere; and with one.
async fn tells_nothing_of_one<B: Backend + Clone + 'static>(store: B) {
    let layer = RateLimitLayer::new(per(&store, "new", 1, 60), PeerAddr).headers(EVERY);
    let app = app(layer.problem_details());
    for _ in 0..3 {
        let response = send(&app, from("192.0.2.1:1")).await;
        assert_eq!((response.status().as_u16(), told(&response)), (200, vec![]));
    }
}

/// One limit of 1 an hour is only watched, and one of 3 a minute is enforced.
async fn tells_of_the_enforced_one<B: Backend + Clone + 'static>(store: B) {
    let (new, old) = (per(&store, "new", 1, 3_600), per(&store, "old", 3, 60));
    for swapped in [false, true] {
        let (first, second) = if swapped { (&old, &new) } else { (&new, &old) };
        let layer = RateLimitLayer::new(first.clone(), PeerAddr);
        let layer = layer
            .also(RequestLimit::new(second.clone(), PeerAddr))
            .headers(EVERY)
            .problem_details();
        let (app, peer) = (app(layer), if swapped { "192.0.2.2:1" } else { "192.0.2.1:1" });
        for remaining in ["2", "1", "0"] {
            let response = send(&app, from(peer)).await;
            assert_eq!(response.status(), 200);
            assert_eq!(budget(&response), [Some("3"), Some(remaining), Some("60")]);
            assert_eq!(items(&response, "ratelimit"), [format!(r#""old";r={remaining};t=60"#)]);
            assert_eq!(items(&response, "ratelimit-policy"), [r#""old";q=3;w=60"#]);
        }
        let denied = send(&app, from(peer)).await;
        assert_eq!((denied.status().as_u16(), header(&denied, "retry-after")), (429, Some("60")));
        assert_eq!(budget(&denied), [Some("3"), Some("0"), Some("60")]);
        assert_eq!(items(&denied, "ratelimit"), [r#""old";r=0;t=60"#]);
        assert!(text(denied).await.contains(r#""violated-policies":["old"]"#));
    }
}

// FAULTS 227.
#[tokio::test]
async fn a_limit_that_is_only_watched_is_told_in_no_header() {
    tells_nothing_of_one(Shadow::new(store().0)).await;
    let resilient = Resilient::new(store().0);
    tells_nothing_of_one(Shadow::new(resilient)).await;
}

// FAULTS 227.
#[tokio::test]
async fn beside_limits_that_are_only_watched_the_enforced_ones_are_told() {
    tells_of_the_enforced_one(Shadow::new(store().0).with_names(["new"])).await;
    let resilient = Resilient::new(store().0);
    tells_of_the_enforced_one(Shadow::new(resilient).with_names(["new"])).await;
}

#[tokio::test]
async fn a_limit_is_told_to_those_on_whom_it_is_enforced() {
    let shadow = Shadow::new(store().0);
    let app = app(RateLimitLayer::new(per(&shadow, "new", 1, 60), PeerAddr));
    for (percent, expected) in [(0, [None; 3]), (100, [Some("1"), Some("0"), Some("60")])] {
        shadow.enforce(percent).expect("a percentage");
        assert_eq!(budget(&send(&app, from("192.0.2.1:1")).await), expected);
    }
}

#[test]
fn headers_by_hand_tell_nothing_of_a_limit_that_is_only_watched() {
    let limiter = per(&Shadow::new(store().0), "new", 1, 60);
    let mut headers = http::HeaderMap::new();
    for _ in 0..2 {
        let decision = limiter.check("k").now().expect("memory answers");
        EVERY.iter().for_each(|it| it.write(&mut headers, &limiter.policy("k"), &decision));
    }
    assert!(headers.is_empty());
}

/// The limit of 9 an hour is away, and one of 2 in ten seconds stands in for it.
// FAULTS 227.
#[tokio::test]
async fn under_a_local_fallback_all_numbers_are_the_local_limits() {
    let (memory, clock) = store();
    let local = LocalLimits::new(memory)
        .with_limit("api", TokenBucket::per(2, std::time::Duration::from_secs(10)));
    let local = OnFailure::Local(local.expect("numbers are fine"));
    let limiter =
        Limiter::new(Fallback::new(Broken::default(), local), "api", TokenBucket::per_hour(9));
    let limiter = limiter.expect("numbers are fine");
    let app = app(RateLimitLayer::new(limiter, PeerAddr).headers(EVERY));
    clock.advance(Micros::from_secs(1));
    for (remaining, reset) in [("1", "5"), ("0", "10")] {
        let response = send(&app, from("192.0.2.1:1")).await;
        assert_eq!(budget(&response), [Some("2"), Some(remaining), Some(reset)]);
        assert_eq!(items(&response, "ratelimit-policy"), [r#""api";q=2"#]);
        assert_eq!(items(&response, "ratelimit"), [format!(r#""api";r={remaining};t={reset}"#)]);
    }
    let denied = send(&app, from("192.0.2.1:1")).await;
    assert_eq!((denied.status().as_u16(), header(&denied, "retry-after")), (429, Some("5")));
    assert_eq!(items(&denied, "ratelimit"), [r#""api";r=0;t=5"#]);
}

async fn problem(response: Response) -> Value {
    serde_json::from_str(&text(response).await).expect("body is JSON")
}

// FAULTS 227.
#[tokio::test]
async fn a_client_that_is_blocked_or_listed_is_told_so_and_not_of_a_quota() {
    let lists = Lists::new(store().0);
    let limiter = per(&lists, "api", 9, 60);
    let app = app(RateLimitLayer::new(limiter.clone(), PeerAddr).problem_details());
    let [blocked, listed] = [[192, 0, 2, 1], [192, 0, 2, 2]]
        .map(|octets| RequestKey::ip(std::net::IpAddr::from(octets)));
    let _ = limiter.block(&blocked, std::time::Duration::from_secs(90)).now();
    lists.under("api").deny(&listed);
    for peer in ["192.0.2.1:1", "192.0.2.2:1"] {
        let denied = send(&app, from(peer)).await;
        assert_eq!(denied.status(), 429);
        let told = problem(denied).await;
        let kind = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected";
        assert_eq!(told["type"], kind);
        assert_eq!(told["title"], "Abnormal Usage Detected");
        assert_eq!(told["violated-policies"], serde_json::json!(["api"]));
    }
    assert_eq!(send(&app, from("192.0.2.3:1")).await.status(), 200);
}
