//! No secret of a client or of the server gets out.

use axum::body::Body;
use http::{Request, request::Parts};
use ratelimit_http::{ApiKey, KeyFn, RateLimitLayer, RequestKey};
use tower::Layer;

use crate::support::{Broken, app, on, per_minute, request, send, text, with_key};

const CANARY: &str = "canary-5f2c9e";

#[track_caller]
fn is_clean(shown: &str) {
    for secret in [CANARY, "hunter2", "store.internal", "redis"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

// FAULTS 132, 193.
#[tokio::test]
async fn no_answer_tells_a_secret() {
    let api_key = ApiKey::header("x-api-key");
    let limited = app(per_minute(1, api_key.clone()));
    let broken = app(RateLimitLayer::new(on(Broken::default()), api_key));
    let twice = request().header("x-api-key", CANARY).header("x-api-key", CANARY);
    let twice: Request<Body> = twice.body(Body::empty()).expect("request is valid");
    let exchanges = [
        (200, &limited, with_key(CANARY)),
        (429, &limited, with_key(CANARY)),
        (400, &limited, twice),
        (503, &broken, with_key(CANARY)),
    ];
    for (status, app, request) in exchanges {
        let response = send(app, request).await;
        assert_eq!(response.status(), status);
        is_clean(&format!("{:?}", response.headers()));
        is_clean(&text(response).await);
    }
}

// FAULTS 193.
#[test]
fn no_debug_output_tells_a_secret() {
    let head: Parts = with_key(CANARY).into_parts().0;
    let api_key = ApiKey::header("x-api-key").pepper(CANARY);
    let key = api_key.key(&head).expect("request has a key");
    is_clean(&format!("{key:?}{api_key:?}{:?}", RequestKey::from(CANARY)));
    let other = ApiKey::header("x-api-key").pepper("0123456789abcdef");
    assert_eq!(format!("{api_key:?}"), format!("{other:?}"), "nor what was derived from one");
    is_clean(&String::from_utf8_lossy(key.as_ref()));
    let layer = per_minute(1, api_key);
    is_clean(&format!("{layer:?}{:?}", layer.layer(())));
    assert!(!format!("{:?}", RequestKey::from("\u{1}\u{2}")).contains(['\u{1}', '\u{2}']));
}
