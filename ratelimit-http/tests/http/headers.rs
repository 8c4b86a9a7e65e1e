//! Headers of responses to clients that are served.

use axum::{Router, http::HeaderMap, routing::get};
use ratelimit_algorithms::{FixedWindow, TokenBucket};
use ratelimit_http::{PeerAddr, RateLimitLayer};

use crate::support::{app, budget, from, limiter, per_minute, send};

const NAMES: [&str; 3] = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];

/// The headers about 10 permits a minute, 9 of them left, in a response that has `lines` already.
async fn merged(lines: &[(&'static str, &'static str)]) -> [Option<String>; 3] {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().expect("value is valid"));
    }
    let app = Router::new()
        .route("/", get(async move || headers.clone()))
        .layer(per_minute(10, PeerAddr));
    budget(&send(&app, from("192.0.2.1:1")).await).map(|value| value.map(str::to_owned))
}

fn said(values: [&str; 3]) -> [Option<String>; 3] {
    values.map(|value| Some(value.to_owned()))
}

#[tokio::test]
async fn a_served_request_is_told_what_is_left() {
    let response = send(&app(per_minute(10, PeerAddr)), from("192.0.2.1:1")).await;
    assert_eq!(budget(&response), [Some("10"), Some("9"), Some("60")]);
}

#[tokio::test]
async fn the_time_to_reset_rounds_up() {
    let layer = RateLimitLayer::new(limiter(TokenBucket::per_second(1_000)), PeerAddr);
    let response = send(&app(layer), from("192.0.2.1:1")).await;
    assert_eq!(budget(&response), [Some("1000"), Some("999"), Some("1")]);
}

// FAULTS 121.
#[tokio::test]
async fn the_strictest_of_two_limits_is_told_and_only_that() {
    let lines = |values: [&'static str; 3]| [0, 1, 2].map(|index| (NAMES[index], values[index]));
    let ours = ["10", "9", "60"];
    for (theirs, told) in [
        (["99", "3", "7"], ["99", "3", "7"]),
        (["99", "50", "7"], ours),
        (["99", "9", "61"], ["99", "9", "61"]),
        (["99", "9", "59"], ours),
        (["99", "-1", "7"], ours),
        (["99", "3", "soon"], ours),
    ] {
        assert_eq!(merged(&lines(theirs)).await, said(told), "{theirs:?}");
    }
}

// FAULTS 121.
#[tokio::test]
async fn what_is_incomplete_or_said_twice_is_replaced_whole() {
    let ours = said(["10", "9", "60"]);
    assert_eq!(merged(&[(NAMES[1], "3")]).await, ours);
    let (limit, remaining, reset) = ((NAMES[0], "99"), (NAMES[1], "3"), (NAMES[2], "7"));
    assert_eq!(merged(&[limit, remaining, remaining, reset]).await, ours);
}

#[tokio::test]
async fn two_layers_tell_of_the_stricter() {
    let app = Router::new()
        .route("/", get(|| async {}))
        .layer(per_minute(5, PeerAddr))
        .layer(per_minute(2, "everyone"));
    let response = send(&app, from("192.0.2.1:1")).await;
    assert_eq!(budget(&response), [Some("2"), Some("1"), Some("60")]);
}

// FAULTS 122.
#[tokio::test]
async fn the_largest_limit_is_told_in_fifteen_digits_at_most() {
    let layer =
        RateLimitLayer::new(limiter(FixedWindow::per_minute(ratelimit_core::LIMIT_MAX)), PeerAddr);
    for value in budget(&send(&app(layer), from("192.0.2.1:1")).await) {
        assert!(value.is_some_and(|value| value.len() <= 15));
    }
}
