//! Behind actix-web the layer says what it says behind axum, to the byte.

use bytes::Bytes;
use http::Response;
use ratelimit_http::{
    HeaderFormat::{Draft6, Draft10, XRateLimit},
    PeerAddr, RateLimitLayer, RequestLimit,
};

use crate::support::{
    Layer, TestCall, TestResponse, by_actix, by_axum, client, layer, limiter, store,
};

const PLAIN: TestCall =
    TestCall { method: "GET", path: "/", peer: Some("192.0.2.1:1"), headers: &[] };

const QUESTIONS: [TestCall; 14] = [
    PLAIN,
    TestCall { peer: Some("192.0.2.1:2"), ..PLAIN },
    TestCall { peer: Some("[::ffff:192.0.2.1]:3"), ..PLAIN },
    TestCall { method: "HEAD", ..PLAIN },
    TestCall { method: "OPTIONS", path: "/?query=1", ..PLAIN },
    TestCall { peer: None, ..PLAIN },
    TestCall { headers: &[("x-api-key", "k1")], ..PLAIN },
    TestCall { headers: &[("x-api-key", "k1")], peer: None, ..PLAIN },
    TestCall { headers: &[("x-api-key", "k1")], ..PLAIN },
    TestCall { headers: &[("x-api-key", "k1"), ("x-api-key", "k1")], ..PLAIN },
    TestCall { path: "/strict", headers: &[("x-api-key", "k2")], ..PLAIN },
    TestCall { path: "/nowhere", headers: &[("x-api-key", "k2")], ..PLAIN },
    TestCall { path: "/health", ..PLAIN },
    TestCall { method: "PURGE", headers: &[("x-api-key", "k3")], ..PLAIN },
];

/// Asks the same of two apps, each behind a layer of its own that `layer` makes.
async fn compare(layer: impl Fn() -> Layer) -> Vec<TestResponse> {
    let axum = by_axum(layer(), &QUESTIONS).await;
    let actix = by_actix(layer(), &QUESTIONS).await;
    assert_eq!(actix, axum);
    actix
}

#[actix_web::test]
async fn denied_and_admitted_are_told_the_same() {
    let answers = compare(layer).await;
    let statuses: Vec<_> = answers.iter().map(|(status, ..)| *status).collect();
    let expected = [200, 200, 429, 429, 429, 500, 200, 200, 429, 400, 200, 404, 429, 200];
    assert_eq!(statuses, expected);
    let (_, lines, body) = &answers[2];
    assert_eq!(body, r#"{"error":"rate limit exceeded"}"#);
    assert!(lines.contains(&("retry-after".to_owned(), "60".to_owned())), "{lines:?}");
}

#[actix_web::test]
async fn every_form_of_headers_is_the_same() {
    compare(|| layer().headers([XRateLimit, Draft6, Draft10])).await;
    compare(|| layer().headers([])).await;
}

#[actix_web::test]
async fn problem_details_and_answers_of_ones_own_are_the_same() {
    compare(|| layer().problem_details()).await;
    compare(|| {
        layer().respond_with(|rejection, request| {
            let text = format!("{} {} not now", request.method, request.uri);
            let mut response = Response::new(Bytes::from(text));
            *response.status_mut() = rejection.status();
            response.headers_mut().insert("retry-after", 7.into());
            response
        })
    })
    .await;
}

#[actix_web::test]
async fn costs_and_skips_are_the_same() {
    compare(|| layer().cost(2).skip(|request| request.uri.path() == "/health")).await;
    compare(|| layer().cost_by(|request| request.uri.query().map(|_| 1))).await;
    compare(|| layer().cost(3)).await;
}

#[actix_web::test]
async fn several_limits_are_the_same() {
    let answers = compare(|| {
        let store = store();
        RateLimitLayer::new(limiter(store.clone(), "burst", 2), client())
            .also(RequestLimit::new(limiter(store, "all", 3), PeerAddr))
            .headers([Draft10])
    })
    .await;
    let (_, lines, _) = &answers[0];
    assert_eq!(lines.iter().filter(|(name, _)| name == "ratelimit").count(), 2, "{lines:?}");
}
