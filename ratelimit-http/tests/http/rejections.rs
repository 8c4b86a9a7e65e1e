//! Responses to clients that are not served.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use ratelimit_algorithms::{FixedWindow, Limiter, Limits, Micros};
use ratelimit_http::{ApiKey, HeaderFormat, PeerAddr, RateLimitLayer, Rejection};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{
    Store, app, budget, from, header, limiter, one_per_minute, per_minute, request, send, status,
    store, text,
};

async fn denied(app: &Router, request: impl Fn() -> Request<Body>) -> Response {
    assert_eq!(status(app, request()).await, 200);
    send(app, request()).await
}

// FAULTS 45, 118.
#[tokio::test]
async fn a_denied_request_is_told_when_to_come_back() {
    let (layer, clock) = one_per_minute();
    let app = app(layer);
    clock.advance(Micros::from_millis(17_999));
    let response = denied(&app, || from("192.0.2.1:1")).await;
    assert_eq!(response.status(), 429);
    assert_eq!(header(&response, "retry-after"), Some("43"), "42.001 s, rounded up");
    assert_eq!(header(&response, "content-type"), Some("application/json"));
    assert_eq!(header(&response, "content-length"), Some("31"));
    assert_eq!(budget(&response), [Some("1"), Some("0"), Some("43")]);
    assert_eq!(text(response).await, r#"{"error":"rate limit exceeded"}"#);
}

/// Without axum, which takes the body off by itself.
// FAULTS 126.
#[tokio::test]
async fn a_denied_head_is_told_the_same_without_the_body() {
    let hello = service_fn(async |_| Ok::<Response, Infallible>(Response::default()));
    let service = per_minute(1, PeerAddr).layer(hello);
    let send = async |method| {
        let mut request = from("192.0.2.1:1");
        *request.method_mut() = method;
        service.clone().oneshot(request).await.expect("service is infallible").map(Body::new)
    };
    assert_eq!(send(Method::GET).await.status(), 200);
    let (get, head) = (send(Method::GET).await, send(Method::HEAD).await);
    assert_eq!(head.status(), 429);
    assert_eq!(head.headers(), get.headers());
    assert_eq!(text(get).await, r#"{"error":"rate limit exceeded"}"#);
    assert_eq!(text(head).await, "");
}

// FAULTS 126.
#[tokio::test]
async fn every_method_is_charged_like_any_other() {
    let hello = service_fn(async |_| Ok::<Response, Infallible>(Response::default()));
    let service = per_minute(4, PeerAddr).layer(hello);
    let send = async |method, uri: &str| {
        let mut request = from("192.0.2.1:1");
        *request.method_mut() = method;
        *request.uri_mut() = uri.parse().expect("uri is valid");
        service.clone().oneshot(request).await.expect("service is infallible").status()
    };
    assert_eq!(send(Method::OPTIONS, "/").await, 200, "a preflight, say");
    assert_eq!(send(Method::OPTIONS, "*").await, 200);
    assert_eq!(send(Method::CONNECT, "example.com:443").await, 200);
    assert_eq!(send(Method::HEAD, "/").await, 200);
    for (method, uri) in [(Method::OPTIONS, "/"), (Method::CONNECT, "example.com:443")] {
        assert_eq!(send(method, uri).await, 429);
    }
}

// FAULTS 126.
#[tokio::test]
async fn a_preflight_that_is_answered_outside_of_the_layer_is_not_charged() {
    let cors = middleware::from_fn(async |request: Request<Body>, next: Next| {
        if request.method() == Method::OPTIONS {
            Response::default()
        } else {
            next.run(request).await
        }
    });
    let app = app(per_minute(1, PeerAddr)).layer(cors);
    for _ in 0..3 {
        let mut preflight = from("192.0.2.1:1");
        *preflight.method_mut() = Method::OPTIONS;
        assert_eq!(status(&app, preflight).await, 200);
    }
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 200);
}

// FAULTS 79.
#[tokio::test]
async fn a_request_from_nowhere_is_the_servers_fault() {
    let app = app(per_minute(1, PeerAddr));
    for _ in 0..3 {
        let request = request().body(Body::empty()).expect("request is valid");
        let response = send(&app, request).await;
        assert_eq!(response.status(), 500);
        assert_eq!(header(&response, "retry-after"), None);
        assert_eq!(text(response).await, r#"{"error":"internal server error"}"#);
    }
}

// FAULTS 223.
#[tokio::test]
async fn a_missing_or_repeated_api_key_is_the_clients_fault() {
    let app = app(per_minute(1, ApiKey::header("x-api-key")));
    let twice = request().header("x-api-key", "a").header("X-API-KEY", "b");
    for request in [request(), twice] {
        let response = send(&app, request.body(Body::empty()).expect("request is valid")).await;
        assert_eq!(response.status(), 400);
        assert_eq!(header(&response, "retry-after"), None);
        assert_eq!(text(response).await, r#"{"error":"bad request"}"#);
    }
}

// FAULTS 22.
#[tokio::test]
async fn a_cost_that_never_fits_promises_nothing() {
    let response = send(&app(per_minute(5, PeerAddr).cost(6)), from("192.0.2.1:1")).await;
    assert_eq!(response.status(), 429);
    assert_eq!(header(&response, "retry-after"), None);
    assert_eq!(budget(&response), [None; 3]);
    assert_eq!(text(response).await, r#"{"error":"rate limit exceeded"}"#);
}

// FAULTS 20, 130.
#[tokio::test]
async fn a_cost_of_nothing_is_refused() {
    assert_eq!(status(&app(per_minute(5, PeerAddr).cost(0)), from("192.0.2.1:1")).await, 400);
}

#[tokio::test]
async fn the_application_can_answer_in_its_own_words() {
    let layer = per_minute(1, PeerAddr).respond_with(|rejection, request| {
        let Rejection::Deny(decision) = rejection else { return rejection.to_response() };
        let mut response = http::Response::new(format!("{}: {}", request.uri, decision.limit));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response.headers_mut().insert("retry-after", 99.into());
        response.map(Into::into)
    });
    let app = app(layer);
    let response = denied(&app, || from("192.0.2.1:1")).await;
    assert_eq!(response.status(), 418);
    assert_eq!(header(&response, "retry-after"), Some("99"));
    assert_eq!(budget(&response), [Some("1"), Some("0"), Some("60")]);
    assert_eq!(text(response).await, "/: 1");
}

// FAULTS 118.
#[tokio::test]
async fn a_denied_request_never_reaches_the_service() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = get(async move || counted.fetch_add(1, Ordering::Relaxed).to_string());
    let app = Router::new().route("/", handler).layer(per_minute(3, PeerAddr));
    for _ in 0..10 {
        let response = app.clone().oneshot(from("192.0.2.1:1")).await;
        assert!(response.is_ok());
    }
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

/// A handler that checks a limiter itself, under one key for everybody.
fn by_hand(limiter: &Limiter<Store>) -> http::Response<Bytes> {
    let (mut response, decision) = match limiter.acquire("all").now() {
        Ok(permit) => (http::Response::default(), *permit.decision()),
        Err(error) => {
            let rejection = Rejection::from(error);
            let Rejection::Deny(decision) = rejection else { return rejection.to_response() };
            (rejection.to_response(), decision)
        }
    };
    for format in [HeaderFormat::XRateLimit, HeaderFormat::Draft10] {
        format.write(response.headers_mut(), &limiter.policy("all"), &decision);
    }
    response
}

#[tokio::test]
async fn a_handler_can_respond_as_a_layer_does() {
    let limiter = || limiter(FixedWindow::per_minute(1));
    let own = limiter();
    let by_hand = Router::new().route("/", get(async move || by_hand(&own).map(Body::from)));
    let layer = RateLimitLayer::new(limiter(), "all");
    let layer = layer.headers([HeaderFormat::XRateLimit, HeaderFormat::Draft10]);
    let by_layer = Router::new().route("/", get(|| async {})).layer(layer);
    for expected in [200, 429, 429] {
        let (hand, layer) =
            (send(&by_hand, from("192.0.2.1:1")).await, send(&by_layer, from("192.0.2.1:1")).await);
        assert_eq!((hand.status(), hand.status().as_u16()), (layer.status(), expected));
        for name in ["retry-after", "x-ratelimit-remaining", "ratelimit", "ratelimit-policy"] {
            assert_eq!(header(&hand, name), header(&layer, name), "{name}");
        }
        assert_eq!(text(hand).await, text(layer).await);
    }
}

#[tokio::test]
async fn a_denial_by_several_limits_is_that_of_the_limit_that_bound() {
    let store = store().0;
    let per = |name, limit| {
        let limiter = Limiter::new(store.clone(), name, FixedWindow::per_minute(limit));
        limiter.expect("numbers are fine")
    };
    let (small, large) = (per("small", 1), per("large", 9));
    let limits = Limits::new(&large, "k", 1).and(&small, "k", 1);
    assert!(limits.check().now().expect("memory answers").is_allowed());
    let decision = limits.check().now().expect("memory answers");
    let rejection = Rejection::from(&decision);
    assert_eq!(rejection.clone().retry_after_secs(), Some(60));
    assert!(matches!(rejection, Rejection::Deny(decision) if decision.limit == 1));
    let error = limits.acquire().now().expect_err("it is spent");
    assert_eq!(Rejection::from(error).status(), 429);
}
