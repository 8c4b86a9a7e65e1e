//! Outgoing requests that wait for several limits as one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::{Request, Response, request::Parts};
use ratelimit_algorithms::{
    Clock, LeakyBucket, Limiter, ManualClock, Micros, Timer, TokenBucket, WaitError,
};
use ratelimit_http::{
    ApiKey, OutgoingError, OutgoingLayer, RequestKey, RequestLimit, TargetHost, cost_header,
};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Store, store};

/// A timer that does not wait: it sets the clock, and lets others run.
#[derive(Clone)]
struct Leap(ManualClock, Instant);

impl Leap {
    fn passed(&self) -> Duration {
        Duration::from_micros(self.0.now().expect("it is set").as_micros())
    }
}

impl Timer for Leap {
    fn now(&self) -> Instant {
        self.1 + self.passed()
    }

    async fn sleep_until(&self, then: Instant) {
        let missing = then.saturating_duration_since(self.now());
        self.0.advance(Micros::from_duration_ceil(missing));
        tokio::task::yield_now().await;
    }
}

fn timed() -> (Store, Leap) {
    let (store, clock) = store();
    (store, Leap(clock, Instant::now()))
}

fn tokens(request: &Parts) -> Option<u64> {
    request.headers.get("x-tokens")?.to_str().ok()?.parse().ok()
}

fn asking(tokens: &str) -> Request<()> {
    let request = Request::get("https://api.example.com/").header("x-tokens", tokens);
    request.body(()).expect("request is valid")
}

async fn left(limiter: &Limiter<Store>, key: &RequestKey) -> u64 {
    limiter.peek(key).await.expect("the store answers").remaining
}

#[tokio::test]
async fn requests_wait_for_all_limits_at_their_own_costs_and_are_settled_as_one() {
    let (store, timer) = timed();
    let limiter = |name, bucket| Limiter::new(store.clone(), name, bucket).expect("is fine");
    let calls = limiter("calls", TokenBucket::per_second(10));
    let words = limiter("words", TokenBucket::per(60, Duration::from_secs(60)));
    let further = RequestLimit::new(words.clone(), "team").cost_by(tokens);
    let layer = OutgoingLayer::with_timer(calls, TargetHost, timer.clone())
        .also(further.settle_by(cost_header("x-used")));
    let client = layer.layer(service_fn(async |_: Request<()>| {
        let response = Response::builder().header("x-used", "20").body(());
        Ok::<_, std::convert::Infallible>(response.expect("is valid"))
    }));
    client.clone().oneshot(asking("50")).await.expect("there are 60");
    let team = RequestKey::from("team");
    assert_eq!(left(&words, &team).await, 40);
    client.clone().oneshot(asking("45")).await.expect("after five seconds");
    assert_eq!(timer.passed(), Duration::from_secs(5));
    assert_eq!(left(&words, &team).await, 25, "settled for 20");

    let error = client.clone().oneshot(asking("61")).await.expect_err("there are never so many");
    assert!(matches!(error, OutgoingError::Wait(WaitError::Failed(_))), "{error:?}");
    let error = client.oneshot(asking("many")).await.expect_err("it tells no cost");
    assert!(matches!(error, OutgoingError::Cost), "{error:?}");
    assert_eq!(error.retry_after(), None);
    assert_eq!(left(&words, &team).await, 25, "nothing is charged");
}

#[tokio::test]
async fn an_optional_limit_passes_requests_without_its_key() {
    let (store, timer) = timed();
    let limiter = |name, bucket| Limiter::new(store.clone(), name, bucket).expect("is fine");
    let calls = limiter("calls", TokenBucket::per_second(1_000));
    let users = limiter("users", TokenBucket::per_minute(1));
    let further = RequestLimit::new(users, ApiKey::header("x-user")).optional();
    let layer = OutgoingLayer::with_timer(calls, "all", timer.clone()).also(further);
    let client = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, std::convert::Infallible>(Response::new(()))
    }));
    for _ in 0..3 {
        client.clone().oneshot(asking("1")).await.expect("it has no user");
    }
    let keyed = || {
        let mut request = asking("1");
        request.headers_mut().insert("x-user", "u1".parse().expect("is valid"));
        request
    };
    client.clone().oneshot(keyed()).await.expect("it is the first");
    assert_eq!(timer.passed(), Duration::ZERO);
    let error = client.oneshot(keyed()).await.expect_err("a minute is too long");
    assert!(matches!(error, OutgoingError::Wait(WaitError::DeniedTogether(_))), "{error:?}");
}

#[tokio::test]
async fn what_an_inner_layer_refuses_is_given_back_by_all_limits_of_the_outer_one() {
    let (store, timer) = timed();
    let limiter = |name, bucket| Limiter::new(store.clone(), name, bucket).expect("is fine");
    let (calls, words) =
        (limiter("calls", TokenBucket::per_hour(10)), limiter("words", TokenBucket::per_hour(100)));
    let narrow = limiter("narrow", TokenBucket::per_hour(1));
    let outer = OutgoingLayer::with_timer(calls.clone(), "all", timer.clone())
        .also(RequestLimit::new(words.clone(), "all").cost(30));
    let inner = OutgoingLayer::with_timer(narrow, "all", timer);
    let sent = Arc::new(AtomicU64::new(0));
    let client = outer.layer(inner.layer(service_fn({
        let sent = sent.clone();
        move |_: Request<()>| {
            sent.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(())))
        }
    })));
    client.clone().oneshot(asking("1")).await.expect("it is the first");
    client.oneshot(asking("1")).await.expect_err("the inner one refuses");
    let all = RequestKey::from("all");
    assert_eq!([left(&calls, &all).await, left(&words, &all).await], [9, 70]);
    assert_eq!(sent.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn several_limits_are_spaced_by_the_slowest() {
    let (store, timer) = timed();
    let queue = |name, rate| {
        let queue = LeakyBucket::per_second(rate).queue(Duration::from_secs(60));
        Limiter::new(store.clone(), name, queue).expect("is fine")
    };
    let (fast, slow) = (queue("fast", 10), queue("slow", 2));
    let layer = OutgoingLayer::with_timer(fast, "all", timer.clone())
        .also(RequestLimit::new(slow, "all"))
        .paced();
    let client = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, std::convert::Infallible>(Response::new(()))
    }));
    for number in 0..4 {
        client.clone().oneshot(asking("1")).await.expect("its turn comes");
        assert_eq!(timer.passed(), Duration::from_millis(500 * number));
    }
}
