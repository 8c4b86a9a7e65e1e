//! The cost of a request is known when it is answered, and charged once, whatever becomes of it.

use std::{
    convert::Infallible,
    future::{pending, ready},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::Body;
use http::{Request, Response, StatusCode};
use ratelimit_algorithms::{
    Backend, BackendError, ErrorKind, FixedWindow, Limiter, ManualClock, Micros, Policies, Policy,
    Tier, Tiers,
};
use ratelimit_backend::{Names, Reply};
use ratelimit_core::{Action, Batch};
use ratelimit_http::{RateLimitLayer, cost_header};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Far, Store, before_any_task, from, poll, store};

type Answer = Result<Response<Body>, Infallible>;

/// A hundred an hour, for everyone together.
fn tokens<B: Backend + Clone>(store: B) -> Limiter<B> {
    Limiter::new(store, "tokens", FixedWindow::per_hour(100)).expect("numbers are fine")
}

/// Reserves 60, and settles by what the service says in `x-cost`.
fn reserving<B: Backend + Clone + 'static>(
    limiter: &Limiter<B>,
) -> RateLimitLayer<B, &'static str> {
    RateLimitLayer::new(limiter.clone(), "all").cost(60).settle_by(cost_header("x-cost"))
}

async fn left<B: Backend, P: Policies>(limiter: &Limiter<B, P>) -> u64 {
    let key = ratelimit_http::RequestKey::from("all");
    limiter.peek(&key).await.expect("the store answers").remaining
}

fn answer(cost: &str) -> Answer {
    let response = Response::builder().header("x-cost", cost).body(Body::empty());
    Ok(response.expect("response is valid"))
}

fn request() -> Request<Body> {
    from("192.0.2.1:1")
}

// FAULTS 131.
#[tokio::test]
async fn what_was_reserved_becomes_what_the_response_says() {
    for (said, spent) in [("20", 20), ("60", 60), ("0", 0), ("99", 99), ("1000", 100)] {
        let limiter = tokens(store().0);
        let service = service_fn(async |_: Request<Body>| answer(said));
        let response = reserving(&limiter).layer(service).oneshot(request()).await;
        assert_eq!(response.expect("is infallible").status(), 200);
        assert_eq!(left(&limiter).await, 100 - spent, "{said}");
    }
}

/// An hour's limit is used up, two more hours pay back a limit each, and the next one the rest.
async fn assert_paid_back<B: Backend + Clone + 'static>(store: B, clock: &ManualClock) {
    let policy = Policy::new("tokens", FixedWindow::per_hour(100)).expect("numbers are fine");
    let policy = policy.with_debt_max(1_000).expect("as much may be owed");
    let limiter = Limiter::with_policies(store, policy).expect("the name is free");
    let layer = reserving(&limiter);
    let send = async || {
        let service = service_fn(async |_: Request<Body>| answer("330"));
        layer.layer(service).oneshot(request()).await.expect("is infallible")
    };
    assert_eq!(send().await.status(), 200);
    let denied = send().await;
    assert_eq!(denied.status(), 429);
    assert_eq!(denied.headers()["retry-after"], "10800");
    assert_eq!(denied.headers()["x-ratelimit-remaining"], "0");
    clock.advance(Micros::from_secs(10_800) - Micros::new(1));
    assert_eq!(send().await.status(), 429, "a microsecond early");
    clock.advance(Micros::new(1));
    assert_eq!(send().await.status(), 200);
}

#[tokio::test]
async fn a_response_that_has_cost_more_than_there_was_is_paid_back_before_the_next_request() {
    let (memory, clock) = store();
    assert_paid_back(memory, &clock).await;
    let (memory, clock) = store();
    assert_paid_back(Far(memory), &clock).await;
}

// FAULTS 131.
#[tokio::test]
async fn a_response_that_does_not_say_has_cost_what_was_reserved() {
    for unclear in ["", "-1", "+5", "1.5", "1e1", " ", "18446744073709551616", "many"] {
        let limiter = tokens(store().0);
        let service = service_fn(async |_: Request<Body>| answer(unclear));
        let _ = reserving(&limiter).layer(service).oneshot(request()).await;
        assert_eq!(left(&limiter).await, 40, "{unclear:?}");
    }
}

#[tokio::test]
async fn the_status_can_decide() {
    let limiter = tokens(store().0);
    let layer = RateLimitLayer::new(limiter.clone(), "all")
        .settle_by(|response| response.status.is_success().then_some(0));
    for (status, expected) in [(StatusCode::OK, 100), (StatusCode::UNAUTHORIZED, 99)] {
        let service = service_fn(async |_: Request<Body>| {
            let mut response = answer("")?;
            *response.status_mut() = status;
            Ok::<_, Infallible>(response)
        });
        let _ = layer.layer(service).oneshot(request()).await;
        assert_eq!(left(&limiter).await, expected);
    }
}

// FAULTS 131.
#[tokio::test]
async fn a_store_that_has_to_be_awaited_has_settled_before_the_client_has_its_answer() {
    let limiter = tokens(Far(store().0));
    let service = service_fn(async |_: Request<Body>| answer("20"));
    let response = reserving(&limiter).layer(service).oneshot(request()).await;
    assert_eq!(response.expect("is infallible").headers()["x-ratelimit-remaining"], "40");
    assert_eq!(before_any_task(left(&limiter)), 80);
}

// FAULTS 131.
#[tokio::test]
async fn a_handler_that_panics_has_cost_what_was_reserved_or_nothing() {
    for (refunds, expected) in [(false, 40), (true, 100)] {
        let limiter = tokens(store().0);
        let layer = reserving(&limiter);
        let layer = if refunds { layer.refund_unanswered() } else { layer };
        let unlucky = service_fn(async |_: Request<Body>| -> Answer { panic!("unlucky") });
        let panicked = tokio::spawn(layer.layer(unlucky).oneshot(request())).await;
        assert!(panicked.is_err_and(|error| error.is_panic()));
        assert_eq!(left(&limiter).await, expected);
    }
}

// FAULTS 131.
#[tokio::test]
async fn a_handler_that_fails_has_cost_what_was_reserved_or_nothing() {
    for (refunds, expected) in [(false, 40), (true, 100)] {
        let limiter = tokens(store().0);
        let layer = reserving(&limiter);
        let layer = if refunds { layer.refund_unanswered() } else { layer };
        let failing = service_fn(async |_: Request<Body>| Err::<Response<Body>, _>("no luck"));
        assert!(layer.layer(failing).oneshot(request()).await.is_err());
        assert_eq!(left(&limiter).await, expected);
    }
}

// FAULTS 131.
#[tokio::test]
async fn a_client_that_goes_away_has_cost_what_was_reserved_or_nothing() {
    for (refunds, expected) in [(false, 40), (true, 100)] {
        let limiter = tokens(store().0);
        let layer = reserving(&limiter);
        let layer = if refunds { layer.refund_unanswered() } else { layer };
        let endless = service_fn(|_: Request<Body>| pending::<Answer>());
        let mut response = Box::pin(layer.layer(endless).oneshot(request()));
        assert!(poll(&mut response).is_pending());
        assert_eq!(left(&limiter).await, 40, "reserved while it is worked on");
        drop(response);
        assert_eq!(left(&limiter).await, expected);
    }
}

// FAULTS 131.
#[tokio::test]
async fn a_store_that_has_to_be_awaited_is_told_of_a_drop_by_a_task() {
    let limiter = tokens(Far(store().0));
    let endless = service_fn(|_: Request<Body>| pending::<Answer>());
    let layer = reserving(&limiter).refund_unanswered();
    let running = tokio::spawn(layer.layer(endless).oneshot(request()));
    while left(&limiter).await == 100 {
        tokio::task::yield_now().await;
    }
    running.abort();
    assert!(running.await.is_err_and(|error| error.is_cancelled()));
    layer.settled().await;
    // Without a runtime nothing can be awaited in a drop.
    assert_eq!(left(&limiter).await, if cfg!(feature = "tokio") { 100 } else { 40 });
}

// FAULTS 131.
#[tokio::test]
async fn a_reservation_that_nobody_settles_goes_with_its_window() {
    let (store, clock) = store();
    let limiter = tokens(Far(store));
    let endless = service_fn(|_: Request<Body>| pending::<Answer>());
    let running = tokio::spawn(reserving(&limiter).layer(endless).oneshot(request()));
    while left(&limiter).await == 100 {
        tokio::task::yield_now().await;
    }
    running.abort();
    clock.advance(Micros::from_secs(3_600));
    assert_eq!(left(&limiter).await, 100);
}

/// Asks the service within three times, and passes on what it says last.
#[derive(Clone)]
struct ThreeTries<S>(S);

impl<S> Service<Request<Body>> for ThreeTries<S>
where
    S: Service<Request<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<S::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move {
            let _ = service.clone().oneshot(request()).await;
            let _ = service.clone().oneshot(request()).await;
            service.oneshot(request()).await
        })
    }
}

// FAULTS 131.
#[tokio::test]
async fn tries_inside_of_the_layer_are_one_request_and_outside_of_it_are_many() {
    let service = service_fn(async |_: Request<Body>| answer("20"));
    let inside = tokens(store().0);
    let _ = reserving(&inside).layer(ThreeTries(service)).oneshot(request()).await;
    assert_eq!(left(&inside).await, 80);
    let outside = tokens(store().0);
    let _ = ThreeTries(reserving(&outside).layer(service)).oneshot(request()).await;
    assert_eq!(left(&outside).await, 40);
}

/// Memory that fails when something is given back, once it is told to.
#[derive(Clone)]
struct Ungiving(Store, Arc<AtomicBool>);

impl Backend for Ungiving {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        if action == Action::Refund {
            self.1.store(true, Ordering::Relaxed);
            return Reply::ready(Err(BackendError::not_applied(ErrorKind::Unavailable)));
        }
        self.0.apply(batch, action)
    }

    fn names(&self) -> &Names {
        self.0.names()
    }
}

// FAULTS 131.
#[tokio::test]
async fn a_store_that_fails_to_settle_does_not_fail_the_request() {
    let refused = Arc::new(AtomicBool::new(false));
    let limiter = tokens(Ungiving(store().0, Arc::clone(&refused)));
    let service = service_fn(async |_: Request<Body>| answer("20"));
    let response = reserving(&limiter).layer(service).oneshot(request()).await;
    assert_eq!(response.expect("is infallible").status(), 200);
    assert!(refused.load(Ordering::Relaxed));
    assert_eq!(left(&limiter).await, 40, "it stays charged");
}

#[tokio::test]
async fn a_request_is_settled_in_its_tier() {
    let tiers = Tiers::new("tokens", FixedWindow::per_hour(100)).expect("numbers are fine");
    let pro = tiers.add("pro", FixedWindow::per_hour(1_000)).expect("numbers are fine");
    let limiter = Limiter::with_policies(store().0, tiers.in_tier(Tier::DEFAULT));
    let limiter = limiter.expect("the name is free");
    let layer = RateLimitLayer::new(limiter.clone(), "all").tier_by(move |_| pro).cost(600);
    let service = service_fn(|_: Request<Body>| ready(answer("20")));
    let layer = layer.settle_by(cost_header("x-cost"));
    let _ = layer.layer(service).oneshot(request()).await;
    assert_eq!(left(&limiter.in_tier(pro)).await, 980);
}
