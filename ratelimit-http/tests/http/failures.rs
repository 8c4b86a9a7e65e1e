//! A store or a key function that fails is never mistaken for a client that asks too much.

use http::request::Parts;
use ratelimit_http::{KeyError, Peer, PeerAddr, RateLimitLayer};

use crate::support::{Broken, app, budget, from, header, on, per_minute, send, status, text};

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

#[tokio::test]
async fn a_key_function_that_fails_is_the_servers_fault() {
    let failing = |_: &Parts| Err::<String, _>(KeyError::Failed("no such tenant: acme".into()));
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
        Some(Peer(peer)) if peer.port() == 14 => Err(KeyError::Failed("no luck".into())),
        _ => Ok("everyone"),
    };
    let app = app(per_minute(1, unlucky));
    for port in [13, 14, 13] {
        assert_eq!(status(&app, from(&format!("192.0.2.1:{port}"))).await, 500);
    }
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 200);
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 429);
}
