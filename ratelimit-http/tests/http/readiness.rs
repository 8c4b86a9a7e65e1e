//! The inner service is called only when it is ready, and nothing it reserved is lost.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use axum::body::Body;
use http::{Request, Response, StatusCode};
use ratelimit_algorithms::Micros;
use ratelimit_http::{PeerAddr, RateLimitLayer};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit, service_fn};

use crate::support::{Broken, from, on, one_per_minute, per_minute, poll};

type Reply = Result<Response<String>, Infallible>;

/// Panics unless this very instance was ready; a clone is not.
#[derive(Debug, Default)]
struct Strict {
    ready: bool,
    calls: Arc<AtomicUsize>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { ready: false, calls: Arc::clone(&self.calls) }
    }
}

impl Service<Request<Body>> for Strict {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Reply>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without ready");
        self.calls.fetch_add(1, Ordering::Relaxed);
        ready(Ok(Response::new("hello".to_owned())))
    }
}

// FAULTS 123.
#[tokio::test]
async fn the_instance_that_was_ready_is_the_one_called() {
    let mut service = per_minute(3, PeerAddr).layer(Strict::default());
    for expected in [200, 200, 200, 429, 429] {
        let ready = service.ready().await.expect("service is infallible");
        let response = ready.call(from("192.0.2.1:1")).await.expect("service is infallible");
        assert_eq!(response.status(), expected);
    }
}

// FAULTS 123.
#[test]
fn an_inner_service_that_is_not_ready_makes_the_outer_one_wait() {
    let inner = service_fn(async |_: Request<Body>| -> Reply { unreachable!() });
    let semaphore = Arc::new(tokio::sync::Semaphore::new(0));
    let mut service =
        per_minute(1, PeerAddr).layer(ConcurrencyLimit::with_semaphore(inner, semaphore));
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending());
}

/// A service that has broken down.
#[derive(Clone)]
struct Down;

impl Service<Request<Body>> for Down {
    type Response = Response<String>;
    type Error = &'static str;
    type Future = Ready<Result<Response<String>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Err("down"))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        panic!("called without ready")
    }
}

// FAULTS 123.
#[tokio::test]
async fn an_inner_service_that_is_down_is_not_called_and_nothing_is_charged() {
    let layer = per_minute(1, PeerAddr);
    assert_eq!(layer.layer(Down).oneshot(from("192.0.2.1:1")).await.err(), Some("down"));
    let response = layer.layer(Strict::default()).oneshot(from("192.0.2.1:1")).await;
    assert_eq!(response.expect("service is infallible").status(), 200);
}

/// A body that must not be looked at.
struct Unread;

impl http_body::Body for Unread {
    type Data = axum::body::Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Infallible>>> {
        panic!("nobody is to read it")
    }
}

// FAULTS 125.
#[tokio::test]
async fn the_decision_is_about_the_head_and_the_body_is_not_read() {
    let hello = service_fn(async |_: Request<Unread>| Reply::Ok(Response::new(String::new())));
    let service = per_minute(1, PeerAddr).layer(hello);
    for expected in [200, 429] {
        let request = from("192.0.2.1:1").map(|_| Unread);
        let response = service.clone().oneshot(request).await;
        assert_eq!(response.expect("service is infallible").status(), expected);
    }
}

// FAULTS 124.
#[tokio::test]
async fn denied_requests_give_back_what_was_reserved() {
    let (layer, clock) = one_per_minute();
    let semaphore = Arc::new(tokio::sync::Semaphore::new(1));
    let inner = ConcurrencyLimit::with_semaphore(Strict::default(), Arc::clone(&semaphore));
    let mut service = layer.layer(inner);
    let mut served = 0;
    for _ in 0..10_000 {
        let ready = service.ready().await.expect("service is infallible");
        let response = ready.call(from("192.0.2.1:1")).await.expect("service is infallible");
        served += u32::from(response.status() == StatusCode::OK);
        assert_eq!(semaphore.available_permits(), 1);
    }
    assert_eq!(served, 1);
    clock.advance(Micros::from_secs(60));
    let response = service.oneshot(from("192.0.2.1:1")).await.expect("service is infallible");
    assert_eq!(response.status(), 200);
}

// FAULTS 125.
#[test]
fn a_client_that_goes_away_before_the_decision_is_not_served() {
    let store = Broken { hangs: true, ..Broken::default() };
    let inner = Strict::default();
    let calls = Arc::clone(&inner.calls);
    let semaphore = Arc::new(tokio::sync::Semaphore::new(1));
    let inner = ConcurrencyLimit::with_semaphore(inner, Arc::clone(&semaphore));
    let mut service = RateLimitLayer::new(on(store), PeerAddr).layer(inner);

    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    let mut response = Box::pin(service.call(from("192.0.2.1:1")));
    assert!(poll(&mut response).is_pending());
    assert_eq!(semaphore.available_permits(), 0, "the ready instance waits");
    drop(response);
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    assert_eq!(semaphore.available_permits(), 1);
}

// FAULTS 56.
#[tokio::test]
async fn a_response_that_is_never_awaited_charges_nothing() {
    let mut service = per_minute(1, PeerAddr).layer(Strict::default());
    drop(service.ready().await.expect("service is infallible").call(from("192.0.2.1:1")));
    let response = service.oneshot(from("192.0.2.1:1")).await.expect("service is infallible");
    assert_eq!(response.status(), 200);
}
