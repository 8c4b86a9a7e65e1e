//! A store or a key function that fails is never mistaken for a client that asks too much.

use axum::{Router, extract::Extension, routing::get};
use http::request::Parts;
use ratelimit_algorithms::{Decision, FixedWindow};
use ratelimit_http::{KeyError, Peer, PeerAddr, RateLimitLayer};
use ratelimit_resilience::{Fallback, LocalLimits, OnFailure};

use crate::support::{
    Broken, app, budget, from, header, on, per_minute, send, status, store, text,
};

// FAULTS 120.
#[tokio::test]
async fn a_store_that_fails_makes_the_service_unavailable() {
    let response =
        send(&app(RateLimitLayer::new(on(Broken::default()), PeerAddr)), from("192.0.2.1:1")).await;
    assert_eq!(response.status(), 503);
    assert_eq!(header(&response, "retry-after"), Some("1"));
    assert_eq!(header(&response, "content-type"), Some("application/json"));
    assert_eq!(budget(&response), [None; 3]);
    assert_eq!(text(response).await, r#"{"error":"service unavailable"}"#);
}

// FAULTS 120.
#[tokio::test]
async fn a_store_that_fails_can_let_everybody_through_or_leave_it_to_a_local_limit() {
    let marked =
        async |Extension(decision): Extension<Decision>| format!("{:?}", decision.source());
    let app = |on_failure| {
        let layer = RateLimitLayer::new(on(Fallback::new(Broken::default(), on_failure)), PeerAddr);
        Router::new().route("/", get(marked)).layer(layer)
    };
    let open = app(OnFailure::Allow);
    for _ in 0..3 {
        let response = send(&open, from("192.0.2.1:1")).await;
        assert_eq!(budget(&response), [Some("1"), Some("1"), Some("0")], "as of a key never seen");
        assert_eq!(text(response).await, "Open");
    }
    let local = LocalLimits::new(store().0).with_limit("api", FixedWindow::per_minute(2));
    let local = local.expect("numbers are fine");
    let local = app(OnFailure::Local(local));
    for _ in 0..2 {
        assert_eq!(text(send(&local, from("192.0.2.1:1")).await).await, "Local");
    }
    assert_eq!(status(&local, from("192.0.2.1:1")).await, 429, "its own limit is spent");
}

#[tokio::test]
async fn a_key_function_that_fails_is_the_servers_fault() {
    let failing = |_: &Parts| Err::<String, _>(KeyError::failed("no such tenant: acme"));
    let response = send(&app(per_minute(1, failing)), from("192.0.2.1:1")).await;
    assert_eq!(response.status(), 500);
    assert_eq!(text(response).await, r#"{"error":"internal server error"}"#);
}

// FAULTS 69.
#[tokio::test]
async fn a_key_that_is_too_long_is_refused() {
    let endless = |_: &Parts| Ok("x".repeat(1 << 20));
    assert_eq!(status(&app(per_minute(1, endless)), from("192.0.2.1:1")).await, 400);
}

// FAULTS 87.
#[tokio::test]
async fn a_key_function_that_fails_or_panics_harms_one_request_and_charges_nothing() {
    let unlucky = |request: &Parts| match request.extensions.get::<Peer>() {
        Some(Peer(peer)) if peer.port() == 13 => panic!("unlucky"),
        Some(Peer(peer)) if peer.port() == 14 => Err(KeyError::failed("no luck")),
        _ => Ok("everyone"),
    };
    let app = app(per_minute(1, unlucky));
    for port in [13, 14, 13] {
        assert_eq!(status(&app, from(&format!("192.0.2.1:{port}"))).await, 500);
    }
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 200);
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 429);
}

/// Panics for peers with the port 13.
fn unlucky(request: &Parts) {
    if matches!(request.extensions.get::<Peer>(), Some(Peer(peer)) if peer.port() == 13) {
        panic!("unlucky");
    }
}

// FAULTS 87.
#[tokio::test]
async fn a_function_of_the_layer_that_panics_harms_one_request_and_charges_nothing() {
    let layer = || per_minute(1, "everyone");
    let by_cost = layer().cost_by(|request| {
        unlucky(request);
        Some(1)
    });
    let by_skip = layer().skip(|request| {
        unlucky(request);
        false
    });
    for layer in [by_cost, by_skip] {
        let app = app(layer);
        for _ in 0..3 {
            let response = send(&app, from("192.0.2.1:13")).await;
            assert_eq!((response.status().as_u16(), budget(&response)), (500, [None; 3]));
            assert_eq!(text(response).await, r#"{"error":"internal server error"}"#);
        }
        assert_eq!(status(&app, from("192.0.2.1:1")).await, 200);
        assert_eq!(status(&app, from("192.0.2.1:1")).await, 429);
    }
}

// FAULTS 87.
#[tokio::test]
async fn a_settle_function_that_panics_fails_the_response_and_its_charge_stays() {
    let layer = per_minute(9, "everyone").refund_unanswered().settle_by(|response| {
        let refused = response.headers.contains_key("x-unlucky");
        if refused { panic!("unlucky") } else { Some(3) }
    });
    let hello = async |headers: http::HeaderMap| headers;
    let app = Router::new().route("/", get(hello)).layer(layer);
    let mut request = from("192.0.2.1:1");
    request.headers_mut().insert("x-unlucky", http::HeaderValue::from_static("13"));
    let response = send(&app, request).await;
    assert_eq!((response.status().as_u16(), budget(&response)[1]), (500, Some("8")));
    assert_eq!(text(response).await, r#"{"error":"internal server error"}"#);
    assert_eq!(budget(&send(&app, from("192.0.2.1:1")).await)[1], Some("7"));
    assert_eq!(budget(&send(&app, from("192.0.2.1:1")).await)[1], Some("4"), "settled with 3");
}
