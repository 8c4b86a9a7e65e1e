//! Limits that depend on the request, or change while they are in use, and what is told of them.

use axum::body::Body;
use http::{Request, request::Parts};
use ratelimit_algorithms::{
    FixedWindow, InTier, Limiter, Live, Policies, Tier, Tiers, TokenBucket,
};
use ratelimit_http::{HeaderFormat, PeerAddr, RateLimitLayer, RequestLimit};

use crate::support::{Store, app, budget, from, header, send, status, store};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn limiter<P: Policies>(policies: P) -> Limiter<Store, P> {
    Limiter::with_policies(store().0, policies).expect("the name is free")
}

/// Ten a minute, and a hundred for who says that they are a pro.
fn tiered() -> (Tiers, RateLimitLayer<Store, PeerAddr, InTier>) {
    let tiers = Tiers::new("api", FixedWindow::per_minute(10)).expect("numbers are fine");
    let pro = tiers.add("pro", FixedWindow::per_minute(100)).expect("numbers are fine");
    let is_pro = |request: &Parts| request.headers.contains_key("x-pro");
    let layer = RateLimitLayer::new(limiter(tiers.in_tier(Tier::DEFAULT)), PeerAddr)
        .tier_by(move |request| if is_pro(request) { pro } else { Tier::DEFAULT });
    (tiers, layer.headers([HeaderFormat::XRateLimit, HeaderFormat::Draft10]))
}

fn pro(peer: &str) -> Request<Body> {
    let mut request = from(peer);
    request.headers_mut().insert("x-pro", 1.into());
    request
}

// FAULTS 17.
#[tokio::test]
async fn the_tier_of_a_request_is_the_one_that_is_told() {
    let app = app(tiered().1);
    for _ in 0..2 {
        let plain = send(&app, from("192.0.2.1:1")).await;
        assert_eq!(budget(&plain)[0], Some("10"));
        assert_eq!(header(&plain, "ratelimit-policy"), Some(r#""api";q=10;w=60"#));
        let paying = send(&app, pro("192.0.2.2:1")).await;
        assert_eq!(budget(&paying)[0], Some("100"));
        assert_eq!(header(&paying, "ratelimit-policy"), Some(r#""api";q=100;w=60"#));
    }
}

#[tokio::test]
async fn a_client_that_changes_its_tier_keeps_what_it_has_spent() {
    let app = app(tiered().1);
    for _ in 0..10 {
        assert_eq!(status(&app, from("192.0.2.1:1")).await, 200);
    }
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 429);
    assert_eq!(budget(&send(&app, pro("192.0.2.1:1")).await)[1], Some("89"));
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 429);
}

#[tokio::test]
async fn a_tier_among_several_limits_is_told_beside_the_others() -> Outcome {
    let store = store().0;
    let tiers = Tiers::new("api", FixedWindow::per_minute(10))?;
    let pro_tier = tiers.add("pro", FixedWindow::per_minute(100))?;
    let first = Limiter::with_policies(store.clone(), tiers.in_tier(Tier::DEFAULT))?;
    let everyone = Limiter::new(store, "all", FixedWindow::per_minute(50))?;
    let layer = RateLimitLayer::new(first, PeerAddr)
        .tier_by(
            move |request| {
                if request.headers.contains_key("x-pro") { pro_tier } else { Tier::DEFAULT }
            },
        )
        .also(RequestLimit::new(everyone, "everyone"))
        .headers([HeaderFormat::Draft10]);
    let app = app(layer);
    let told = |response: &axum::response::Response| {
        let lines = response.headers().get_all("ratelimit-policy").iter();
        lines.map(|line| line.to_str().expect("is text").to_owned()).collect::<Vec<_>>()
    };
    let quotas = |api: &str| vec![api.to_owned(), r#""all";q=50;w=60"#.to_owned()];
    let plain = send(&app, from("192.0.2.1:1")).await;
    assert_eq!(told(&plain), quotas(r#""api";q=10;w=60"#));
    let paying = send(&app, pro("192.0.2.2:1")).await;
    assert_eq!(told(&paying), quotas(r#""api";q=100;w=60"#));
    Ok(())
}

// FAULTS 15.
#[tokio::test]
async fn an_update_is_seen_by_the_next_request_and_by_its_headers() -> Outcome {
    let limit = Live::new("api", FixedWindow::per_minute(10))?;
    let layer = RateLimitLayer::new(limiter(limit.clone()), PeerAddr);
    let app = app(layer.headers([HeaderFormat::XRateLimit, HeaderFormat::Draft10]));
    let response = send(&app, from("192.0.2.1:1")).await;
    assert_eq!(header(&response, "ratelimit-policy"), Some(r#""api";q=10;w=60"#));
    for (permits, told) in [(2, r#""api";q=2;w=60"#), (5, r#""api";q=5;w=60"#)] {
        limit.update(FixedWindow::per_minute(permits))?;
        for _ in 0..2 {
            let response = send(&app, from("192.0.2.1:1")).await;
            assert_eq!(header(&response, "ratelimit-policy"), Some(told));
        }
    }
    limit.update(FixedWindow::per_minute(1))?;
    let denied = send(&app, from("192.0.2.1:1")).await;
    assert_eq!(denied.status(), 429);
    assert_eq!(header(&denied, "ratelimit-policy"), Some(r#""api";q=1;w=60"#));
    Ok(())
}

#[tokio::test]
async fn a_hundred_updates_are_told_one_after_the_other() -> Outcome {
    let limit = Live::new("api", TokenBucket::per_minute(1_000))?;
    let layer = RateLimitLayer::new(limiter(limit.clone()), PeerAddr);
    let app = app(layer.headers([HeaderFormat::Draft10]));
    for permits in 1_001..1_100_u64 {
        limit.update(TokenBucket::per_minute(permits))?;
        let response = send(&app, from("192.0.2.1:1")).await;
        let told = format!(r#""api";q={permits};w=60"#);
        assert_eq!(header(&response, "ratelimit-policy"), Some(&*told));
    }
    Ok(())
}
