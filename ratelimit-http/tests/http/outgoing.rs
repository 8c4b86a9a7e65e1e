//! Requests to others wait for their turn, and for as long as servers ask them to.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{Request, Response, response::Builder};
use ratelimit_algorithms::{
    AcquireError, Clock, FixedWindow, LeakyBucket, Limiter, ManualClock, Micros, Timer,
    TokenBucket, WaitError,
};
use ratelimit_http::{
    HeaderFormat, KeyError, KeyFn, Outgoing, OutgoingError, OutgoingLayer, RateLimitLayer,
    RequestKey, TargetHost,
};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Broken, Store, on, poll, store};

/// A timer that does not wait: it sets the clock, and lets others run.
#[derive(Clone)]
pub(crate) struct Leap {
    pub(crate) clock: ManualClock,
    pub(crate) start: Instant,
    /// Set if time stands still instead.
    pub(crate) stands: Arc<AtomicBool>,
}

impl Leap {
    pub(crate) fn passed(&self) -> Duration {
        let now = self.clock.now().expect("a clock that is set is right");
        Duration::from_micros(now.as_micros())
    }
}

impl Timer for Leap {
    fn now(&self) -> Instant {
        self.start + self.passed()
    }

    async fn sleep_until(&self, then: Instant) {
        if self.stands.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let missing = then.saturating_duration_since(self.now());
        self.clock.advance(Micros::from_duration_ceil(missing));
        tokio::task::yield_now().await;
    }
}

pub(crate) type Layered<K = &'static str> = OutgoingLayer<Store, K, Leap>;

/// So many requests a minute, in a burst of one.
pub(crate) fn layer<K: KeyFn>(key: K, permits: u64) -> (Layered<K>, Leap) {
    let (store, clock) = store();
    let timer = Leap { clock, start: Instant::now(), stands: Arc::default() };
    let algorithm = TokenBucket::per_minute(permits).burst(1);
    let limiter = Limiter::new(store, "upstream", algorithm).expect("numbers are fine");
    (OutgoingLayer::with_timer(limiter, key, timer.clone()), timer)
}

pub(crate) fn to(uri: &str) -> Request<()> {
    Request::get(uri).body(()).expect("request is valid")
}

/// A server that says these things, one after the other, and then nothing but 200.
pub(crate) fn server(
    answers: impl IntoIterator<Item = Builder>,
) -> impl Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send> + Clone {
    let answers = Arc::new(Mutex::new(answers.into_iter().collect::<Vec<_>>()));
    service_fn(move |_: Request<()>| {
        let mut answers = answers.lock().expect("nobody panics with it");
        let answer = if answers.is_empty() { Response::builder() } else { answers.remove(0) };
        std::future::ready(Ok(answer.body(()).expect("response is valid")))
    })
}

async fn status<S, K>(client: &Outgoing<S, Store, K, Leap>, uri: &str) -> u16
where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    K: KeyFn + 'static,
{
    let response = client.clone().oneshot(to(uri)).await;
    response.expect("its turn comes").status().as_u16()
}

#[tokio::test]
async fn requests_wait_for_their_turn_instead_of_being_refused() {
    let (layer, timer) = layer("all", 60);
    let client = layer.layer(server([]));
    for second in 0..10 {
        assert_eq!(status(&client, "/").await, 200);
        assert_eq!(timer.passed(), Duration::from_secs(second));
    }
}

#[tokio::test]
async fn hosts_have_their_own_turns() {
    let (layer, timer) = layer(TargetHost, 1);
    let client = layer.wait_at_most(Duration::from_secs(60)).layer(server([]));
    for uri in ["http://a/1", "http://b/1", "http://a:81/1", "http://a:82/"] {
        assert_eq!(status(&client, uri).await, 200);
    }
    assert_eq!(timer.passed(), Duration::ZERO);
    assert_eq!(status(&client, "http://A/2").await, 200);
    assert_eq!(timer.passed(), Duration::from_secs(60));
    let nowhere = client.oneshot(to("/")).await;
    assert!(matches!(nowhere, Err(OutgoingError::Key(KeyError::Missing))));
}

// FAULTS 225.
#[tokio::test]
async fn a_server_that_asks_to_wait_is_left_alone() {
    let too_many = |name: &'static str, value| {
        Response::builder()
            .status(429)
            .header("date", "Thu, 01 Oct 2026 12:00:00 GMT")
            .header(name, value)
    };
    for (answer, seconds) in [
        (too_many("retry-after", "7"), 7),
        (too_many("retry-after", "Thu, 01 Oct 2026 12:00:09 GMT"), 9),
        (too_many("ratelimit", r#""api";r=0;t=5"#), 5),
        (Response::builder().status(503).header("retry-after", "3"), 3),
        (Response::builder().status(403).header("retry-after", "2"), 2),
        (Response::builder().status(430).header("retry-after", "2"), 2),
        (Response::builder().status(529).header("retry-after", "2"), 2),
        (
            Response::builder()
                .header("x-ratelimit-remaining", "0")
                .header("x-ratelimit-reset", "253402300800000"),
            0,
        ),
        (Response::builder().header("ratelimit", r#""api";r=0;t=8"#), 8),
        (
            Response::builder()
                .header("x-ratelimit-remaining", "0")
                .header("x-ratelimit-reset", "4"),
            4,
        ),
        (Response::builder().header("ratelimit", r#""api";r=1;t=8"#), 0),
        (Response::builder().status(301).header("retry-after", "9"), 0),
        (Response::builder().status(429), 0),
    ] {
        let (layer, timer) = layer("all", 60_000_000);
        let client = layer.layer(server([answer.header("x-answer", 1)]));
        let first = client.clone().oneshot(to("/")).await.expect("its turn comes");
        assert!(first.headers().contains_key("x-answer"), "it is the caller's");
        let before = timer.passed();
        assert_eq!(status(&client, "/").await, 200);
        assert_eq!((timer.passed() - before).as_secs(), seconds);
    }
}

#[tokio::test]
async fn a_client_of_ours_is_never_denied_by_a_server_of_ours() {
    for formats in [[HeaderFormat::XRateLimit], [HeaderFormat::Draft6], [HeaderFormat::Draft10]] {
        let (store, clock) = store();
        let timer = Leap { clock, start: Instant::now(), stands: Arc::default() };
        let per = |name, rate: TokenBucket| Limiter::new(store.clone(), name, rate);
        let strict = per("strict", TokenBucket::per_minute(6).burst(3)).expect("numbers are fine");
        let server = RateLimitLayer::new(strict, "all").headers(formats).layer(server([]));
        let loose = per("loose", TokenBucket::per_second(1_000)).expect("numbers are fine");
        let client = OutgoingLayer::with_timer(loose, "all", timer.clone()).layer(server);
        for _ in 0..20 {
            let response = client.clone().oneshot(to("/")).await.expect("its turn comes");
            assert_eq!(response.status(), 200, "{formats:?}");
        }
        assert!(Duration::from_secs(17 * 10) <= timer.passed());
    }
}

#[tokio::test]
async fn who_would_wait_for_too_long_fails_at_once() {
    let busy = Response::builder().status(503).header("retry-after", "3600");
    let (layer, timer) = layer("all", 1);
    let client = layer.wait_at_most(Duration::from_secs(30)).layer(server([busy]));
    assert_eq!(status(&client, "/").await, 503);
    let held = client.clone().oneshot(to("/")).await.expect_err("it is asked to wait");
    assert!(matches!(held, OutgoingError::Cooldown { .. }));
    assert_eq!(held.retry_after(), Some(Duration::from_secs(3_600)));
    assert_eq!(held.to_string(), "server asked to wait for 3600 more seconds");
    assert_eq!(timer.passed(), Duration::ZERO);
    timer.clock.advance(Micros::from_secs(3_600));
    assert_eq!(status(&client, "/").await, 200);
    let denied = client.oneshot(to("/")).await.expect_err("its permit is a minute away");
    assert!(matches!(denied, OutgoingError::Wait(WaitError::DeniedTogether(_))));
    assert_eq!(denied.retry_after(), Some(Duration::from_secs(60)));
}

#[tokio::test]
async fn the_statuses_that_ask_to_wait_can_be_chosen() {
    let answer = |status| Response::builder().status(status).header("retry-after", "5");
    for (status_code, seconds) in [(429, 0), (409, 5)] {
        let (layer, timer) = layer("all", 60_000_000);
        let layer = layer.retry_statuses([http::StatusCode::CONFLICT]);
        let client = layer.layer(server([answer(status_code)]));
        status(&client, "/").await;
        status(&client, "/").await;
        assert_eq!(timer.passed().as_secs(), seconds);
    }
}

// FAULTS 226.
#[tokio::test]
async fn a_cooldown_can_be_seen_and_lifted_and_nonsense_is_counted() {
    let busy = Response::builder().status(429).header("retry-after", "3600");
    let absurd = Response::builder().status(429).header("retry-after", "9999999999999999");
    let (layer, timer) = layer("all", 60_000_000);
    let client = layer.layer(server([busy, absurd]));
    let key = RequestKey::text("all");
    assert_eq!(layer.cooldown(&key), None);
    status(&client, "/").await;
    assert_eq!(layer.cooldown(&key), Some(Duration::from_secs(3_600)));
    assert_eq!(layer.ignored_values(), 0);
    layer.lift_cooldown(&key);
    assert_eq!(layer.cooldown(&key), None);
    assert_eq!(status(&client, "/").await, 429);
    assert_eq!((layer.cooldown(&key), layer.ignored_values()), (None, 1));
    assert!(timer.passed() < Duration::from_secs(1));
}

// FAULTS 225.
#[tokio::test]
async fn an_outer_limit_is_not_spent_on_what_an_inner_one_refuses() {
    let (store, clock) = store();
    let timer = Leap { clock, start: Instant::now(), stands: Arc::default() };
    let daily = Limiter::new(store.clone(), "daily", FixedWindow::per_day(10_000));
    let daily = daily.expect("numbers are fine");
    let second = TokenBucket::per_second(5).burst(1);
    let second = Limiter::new(store, "second", second).expect("numbers are fine");
    let inner = OutgoingLayer::with_timer(second, "all", timer.clone());
    let inner = inner.wait_at_most(Duration::ZERO).layer(server([]));
    let client = OutgoingLayer::with_timer(daily.clone(), "all", timer).layer(inner);
    let mut sent = 0;
    for _ in 0..100 {
        sent += u64::from(client.clone().oneshot(to("/")).await.is_ok());
    }
    let left = daily.peek(&RequestKey::text("all")).await.expect("memory answers").remaining;
    assert_eq!((sent, left), (1, 9_999));
}

#[tokio::test]
async fn requests_can_be_evenly_spaced() {
    let (store, clock) = store();
    let timer = Leap { clock, start: Instant::now(), stands: Arc::default() };
    let queue = LeakyBucket::per_second(10).queue(Duration::from_secs(5));
    let limiter = Limiter::new(store, "upstream", queue).expect("numbers are fine");
    let client = OutgoingLayer::with_timer(limiter, "all", timer.clone()).paced();
    let client = client.layer(server([]));
    for tenth in 0..20 {
        assert_eq!(status(&client, "/").await, 200);
        assert_eq!(timer.passed(), Duration::from_millis(100 * tenth));
    }
    timer.stands.store(true, Ordering::Relaxed);
    let request = || Box::pin(client.clone().oneshot(to("/")));
    let mut waiting: Vec<_> = (0..100).map(|_| request()).collect();
    let full = waiting.iter_mut().map(poll).find_map(|answer| match answer {
        Poll::Ready(answer) => Some(answer.expect_err("the queue is full")),
        Poll::Pending => None,
    });
    let full = full.expect("five seconds are fifty requests");
    assert!(matches!(full, OutgoingError::Pace(AcquireError::DeniedTogether(_))));
    assert!(full.retry_after().is_some_and(|wait| Duration::ZERO < wait));
}

#[tokio::test]
async fn a_request_that_is_dropped_while_it_waits_has_spent_nothing() {
    let (layer, timer) = layer("all", 1);
    let client = layer.wait_at_most(Duration::from_secs(600)).layer(server([]));
    assert_eq!(status(&client, "/").await, 200);
    timer.stands.store(true, Ordering::Relaxed);
    for _ in 0..5 {
        let mut waiting = Box::pin(client.clone().oneshot(to("/")));
        assert!(poll(&mut waiting).is_pending());
    }
    timer.stands.store(false, Ordering::Relaxed);
    assert_eq!(status(&client, "/").await, 200);
    assert_eq!(timer.passed(), Duration::from_secs(60), "nobody was before");
}

#[tokio::test]
async fn a_store_that_fails_is_no_permit() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let server = service_fn(move |_: Request<()>| {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok::<_, Infallible>(Response::new(())))
    });
    let timer = Leap { clock: store().1, start: Instant::now(), stands: Arc::default() };
    let layer = OutgoingLayer::with_timer(on(Broken::default()), "all", timer);
    let failed = layer.layer(server).oneshot(to("/")).await;
    assert!(matches!(failed, Err(OutgoingError::Wait(WaitError::Failed(_)))));
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

/// Panics unless this very instance was ready.
#[derive(Clone, Default)]
struct Strict(Arc<AtomicBool>);

impl Service<Request<()>> for Strict {
    type Response = Response<()>;
    type Error = &'static str;
    type Future = std::future::Ready<Result<Response<()>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        self.0.store(true, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert!(self.0.swap(false, Ordering::Relaxed), "called without ready");
        std::future::ready(Err("no route"))
    }
}

#[tokio::test]
async fn the_client_within_is_asked_when_the_turn_has_come() {
    let (layer, timer) = layer("all", 1);
    let within = Strict::default();
    let client = layer.wait_at_most(Duration::from_secs(600)).layer(within.clone());
    let failed = client.clone().oneshot(to("/")).await;
    assert!(matches!(failed, Err(OutgoingError::Service("no route"))));
    timer.stands.store(true, Ordering::Relaxed);
    assert!(poll(&mut Box::pin(client.oneshot(to("/")))).is_pending());
    assert!(!within.0.load(Ordering::Relaxed), "it waits, and holds nothing");
}

#[tokio::test]
async fn no_debug_output_tells_a_key() {
    let (layer, _) = layer(|_: &http::request::Parts| Ok::<RequestKey, _>("canary".into()), 1);
    assert!(!format!("{layer:?}{:?}", layer.layer(())).contains("canary"));
}
