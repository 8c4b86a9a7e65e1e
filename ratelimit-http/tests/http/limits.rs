//! Clients and the limits that they are under.

use axum::{Router, routing::get};
use http::request::Parts;
use ratelimit_algorithms::{FixedWindow, Limiter};
use ratelimit_http::{ApiKey, KeyFn, PeerAddr, RateLimitLayer};

use crate::support::{app, from, per_minute, send, status, store, text, with_key};

#[tokio::test]
async fn each_client_has_its_own_budget() {
    let app = app(per_minute(2, PeerAddr));
    for _ in 0..2 {
        assert_eq!(status(&app, from("192.0.2.1:1")).await, 200);
    }
    assert_eq!(status(&app, from("192.0.2.1:2")).await, 429);
    assert_eq!(status(&app, from("192.0.2.2:1")).await, 200);
}

#[tokio::test]
async fn a_client_without_an_api_key_is_known_by_its_address() {
    let app = app(per_minute(1, ApiKey::header("x-api-key").or(PeerAddr)));
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 200);
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 429);
    assert_eq!(status(&app, with_key("k1")).await, 200);
    assert_eq!(status(&app, with_key("k1")).await, 429);
    assert_eq!(status(&app, with_key("k2")).await, 200);
}

#[tokio::test]
async fn a_text_is_one_key_for_all_requests() {
    let app = app(per_minute(1, "everyone"));
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 200);
    assert_eq!(status(&app, from("192.0.2.2:1")).await, 429);
}

#[tokio::test]
async fn a_closure_is_a_key_function() {
    let app = app(per_minute(1, |request: &Parts| Ok(request.uri.path().to_owned())));
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 200);
    assert_eq!(status(&app, from("192.0.2.2:1")).await, 429);
}

// FAULTS 76.
#[tokio::test]
async fn limiters_of_other_names_do_not_share_a_key() {
    let (store, _) = store();
    let app = |name| {
        let limiter = Limiter::new(store.clone(), name, FixedWindow::per_minute(1));
        app(RateLimitLayer::new(limiter.expect("name is valid"), PeerAddr))
    };
    let (a, b) = (app("a"), app("b"));
    assert_eq!(status(&a, from("192.0.2.1:1")).await, 200);
    assert_eq!(status(&a, from("192.0.2.1:1")).await, 429);
    assert_eq!(status(&b, from("192.0.2.1:1")).await, 200);
}

#[tokio::test]
async fn routes_of_one_layer_share_the_budget_at_their_own_cost() {
    let layer = per_minute(10, PeerAddr);
    let dear = get(|| async {}).layer(layer.clone().cost(7));
    let app = Router::new().route("/dear", dear).route("/", get(|| async {}).layer(layer));
    let dear = || {
        let mut request = from("192.0.2.1:1");
        *request.uri_mut() = "/dear".parse().expect("uri is valid");
        request
    };
    assert_eq!(status(&app, dear()).await, 200);
    assert_eq!(status(&app, dear()).await, 429);
    for _ in 0..3 {
        assert_eq!(status(&app, from("192.0.2.1:1")).await, 200);
    }
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 429);
}

#[tokio::test]
async fn the_service_can_read_the_decision() {
    let app = app(per_minute(3, PeerAddr));
    assert_eq!(text(send(&app, from("192.0.2.1:1")).await).await, "hello, 2 left");
}

// FAULTS 129.
#[tokio::test]
async fn with_axum_a_layer_counts_unmatched_paths_and_a_route_layer_does_not() {
    let routes = || Router::new().route("/", get(|| async {}));
    let nowhere = || {
        let mut request = from("192.0.2.1:1");
        *request.uri_mut() = "/nowhere".parse().expect("uri is valid");
        request
    };
    let everything = routes().layer(per_minute(1, PeerAddr));
    assert_eq!(status(&everything, nowhere()).await, 404);
    assert_eq!(status(&everything, from("192.0.2.1:1")).await, 429);

    let routes_only = routes().route_layer(per_minute(1, PeerAddr));
    assert_eq!(status(&routes_only, nowhere()).await, 404);
    assert_eq!(status(&routes_only, from("192.0.2.1:1")).await, 200);
}

// FAULTS 129.
#[tokio::test]
async fn nested_routers_count_a_request_once() {
    let inner = Router::new().route("/", get(|| async {}));
    let app = Router::new().nest("/nested", inner).layer(per_minute(2, PeerAddr));
    let nested = || {
        let mut request = from("192.0.2.1:1");
        *request.uri_mut() = "/nested".parse().expect("uri is valid");
        request
    };
    assert_eq!(status(&app, nested()).await, 200);
    assert_eq!(status(&app, nested()).await, 200);
    assert_eq!(status(&app, nested()).await, 429);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn a_route_is_one_key_whatever_is_in_its_gaps() {
    let routes = Router::new().route("/users/{id}", get(|| async {})).route("/", get(|| async {}));
    let app = routes.layer(per_minute(1, ratelimit_http::MatchedRoute.or("no route")));
    let at = |path: &str| {
        let mut request = from("192.0.2.1:1");
        *request.uri_mut() = path.parse().expect("uri is valid");
        request
    };
    for (path, expected) in [("/users/1", 200), ("/users/2", 429), ("/", 200), ("/", 429)] {
        assert_eq!(status(&app, at(path)).await, expected, "{path}");
    }
    assert_eq!(status(&app, at("/a")).await, 404);
    assert_eq!(status(&app, at("/b")).await, 429, "unmatched paths are one");
}

// FAULTS 86.
#[tokio::test]
async fn made_up_api_keys_spend_the_budget_of_the_address() {
    let (store, _) = store();
    let limiter = |name, limit| {
        Limiter::new(store.clone(), name, FixedWindow::per_minute(limit)).expect("is valid")
    };
    let by_key = RateLimitLayer::new(limiter("key", 10), ApiKey::header("x-api-key"));
    let by_address = RateLimitLayer::new(limiter("address", 50), PeerAddr);
    let app = app(by_key).layer(by_address);
    let mut admitted = 0;
    for n in 0..100_000 {
        let mut request = from("192.0.2.1:1");
        request.headers_mut().insert("x-api-key", n.into());
        admitted += u64::from(status(&app, request).await == 200);
    }
    assert_eq!(admitted, 50);
    assert_eq!(store.keys(), 51, "one address, and as many keys as it could ask with");
}
