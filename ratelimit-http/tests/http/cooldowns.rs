//! Requests that wait for a server's cooldown, in simulated time.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    future::{Future, poll_fn},
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    task::Poll,
    time::{Duration, Instant},
};

use http::{Request, Response};
use ratelimit_algorithms::{LeakyBucket, Limiter, ManualClock, Micros, Timer, TokenBucket};
use ratelimit_http::{KeyFn, Outgoing, OutgoingLayer};
use ratelimit_memory::Memory;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::{
    outgoing::{Leap, to},
    support::{Store, poll, store},
};

/// Time that passes only when nothing else is to be done.
#[derive(Clone)]
struct Simulation {
    timer: Leap,
    alarms: Arc<Mutex<BTreeSet<Instant>>>,
}

impl Timer for Simulation {
    fn now(&self) -> Instant {
        self.timer.now()
    }

    async fn sleep_until(&self, then: Instant) {
        poll_fn(|_| {
            if then <= self.now() {
                return Poll::Ready(());
            }
            self.alarms.lock().expect("nobody panics with it").insert(then);
            Poll::Pending
        })
        .await;
    }
}

impl Simulation {
    fn new(clock: ManualClock) -> Self {
        let timer = Leap { clock, start: Instant::now(), stands: Arc::default() };
        Self { timer, alarms: Arc::default() }
    }

    /// Runs all of these to their ends.
    fn run<F: Future<Output = ()>>(&self, futures: impl IntoIterator<Item = F>) {
        let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
        loop {
            // Twice, since one may wake another one that was polled before it.
            for _ in 0..2 {
                while let Some(done) = futures.iter_mut().position(|future| poll(future).is_ready())
                {
                    drop(futures.remove(done));
                }
            }
            if futures.is_empty() {
                return;
            }
            let alarms = std::mem::take(&mut *self.alarms.lock().expect("nobody panics with it"));
            let next = alarms.into_iter().find(|alarm| self.now() < *alarm);
            let missing = next.expect("somebody waits for a time") - self.now();
            self.timer.clock.advance(Micros::from_duration_ceil(missing));
        }
    }
}

/// The time at which each request reached the server, in that order.
type Calls = Arc<Mutex<Vec<(u64, Duration)>>>;

/// A server that answers 429 once it has been called this often, and then 200 again; each answer
/// takes a millisecond.
fn logged(
    calls: &Calls,
    simulation: &Simulation,
    denied: usize,
    retry_after: &'static str,
) -> impl Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send> + Clone + use<>
{
    let (calls, simulation) = (Arc::clone(calls), simulation.clone());
    service_fn(move |request: Request<()>| {
        let number = request.uri().path()[1..].parse().expect("path is a number");
        let mut calls = calls.lock().expect("nobody panics with it");
        calls.push((number, simulation.timer.passed()));
        let answer = match calls.len() == denied {
            true => Response::builder().status(429).header("retry-after", retry_after),
            false => Response::builder(),
        };
        let (timer, end) = (simulation.clone(), simulation.now() + Duration::from_millis(1));
        async move {
            timer.sleep_until(end).await;
            Ok(answer.body(()).expect("response is valid"))
        }
    })
}

/// Sends so many requests at once through each of the clients.
fn send_all<S, K>(
    simulation: &Simulation,
    clients: &[Outgoing<S, Store, K, Simulation>],
    requests: u64,
) where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    K: KeyFn + 'static,
{
    let numbered = (0..requests).flat_map(|number| clients.iter().map(move |it| (number, it)));
    simulation.run(numbered.map(|(number, client)| async move {
        let request = to(&format!("/{number}"));
        client.clone().oneshot(request).await.expect("its turn comes");
    }));
}

#[track_caller]
fn spaced(calls: &Calls, gap: Duration, quiet: (Duration, Duration)) {
    let calls = calls.lock().expect("nobody panics with it");
    for pair in calls.windows(2) {
        let (before, after) = (pair[0].1, pair[1].1);
        assert!(gap <= after - before, "{before:?} and {after:?}");
        let is_quiet = quiet.0 < after && after < quiet.1;
        assert!(!is_quiet, "{after:?} is within the cooldown");
    }
}

// FAULTS 225.
#[test]
fn after_a_cooldown_requests_go_one_by_one_in_their_order() {
    let (store, clock) = store();
    let simulation = Simulation::new(clock);
    let rate = TokenBucket::per_second(5).burst(1);
    let limiter = Limiter::new(store, "upstream", rate).expect("numbers are fine");
    let calls = Calls::default();
    let layer = OutgoingLayer::with_timer(limiter, "all", simulation.clone());
    let layer = layer.wait_at_most(Duration::from_secs(600));
    let client = layer.layer(logged(&calls, &simulation, 3, "6"));
    send_all(&simulation, &[client], 60);
    let quiet = (Duration::from_millis(401), Duration::from_millis(6_401));
    spaced(&calls, Duration::from_millis(200), quiet);
    let calls = calls.lock().expect("nobody panics with it");
    let order: Vec<u64> = calls.iter().map(|(number, _)| *number).collect();
    assert_eq!(order, (0..60).collect::<Vec<_>>());
    let last = calls.last().expect("there were calls").1;
    assert!(last <= Duration::from_millis(6_401 + 58 * 200), "no permit is wasted: {last:?}");
}

// FAULTS 225.
#[test]
fn paced_requests_are_spaced_anew_after_a_cooldown() {
    let (store, clock) = store();
    let simulation = Simulation::new(clock);
    let queue = LeakyBucket::per_second(10).queue(Duration::from_secs(5));
    let limiter = Limiter::new(store, "upstream", queue).expect("numbers are fine");
    let calls = Calls::default();
    let layer = OutgoingLayer::with_timer(limiter, "all", simulation.clone()).paced();
    let client = layer.layer(logged(&calls, &simulation, 3, "3"));
    send_all(&simulation, &[client], 10);
    let quiet = (Duration::from_millis(201), Duration::from_millis(3_201));
    spaced(&calls, Duration::from_millis(100), quiet);
    let order: Vec<u64> =
        calls.lock().expect("nobody panics with it").iter().map(|(number, _)| *number).collect();
    assert_eq!(order, (0..10).collect::<Vec<_>>());
}

// FAULTS 225.
#[test]
fn a_shared_cooldown_holds_for_other_processes() {
    let (store, clock) = store();
    let simulation = Simulation::new(clock);
    let calls = Calls::default();
    let server = logged(&calls, &simulation, 3, "6");
    // Nothing but the store is shared.
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let rate = TokenBucket::per_second(5).burst(1);
            let limiter = Limiter::new(store.clone(), "upstream", rate).expect("numbers are fine");
            let layer = OutgoingLayer::with_timer(limiter, "all", simulation.clone());
            let layer = layer.wait_at_most(Duration::from_secs(600)).share_cooldowns();
            layer.layer(server.clone())
        })
        .collect();
    send_all(&simulation, &clients, 20);
    let quiet = (Duration::from_millis(401), Duration::from_millis(6_401));
    spaced(&calls, Duration::from_millis(200), quiet);
    assert_eq!(calls.lock().expect("nobody panics with it").len(), 60);
}

// FAULTS 225.
#[test]
fn a_cooldown_that_shrinks_lets_those_go_that_wait() {
    let simulation = Simulation::new(store().1);
    let rate = TokenBucket::per_minute(30).burst(2);
    let limiter = Limiter::new(
        Memory::with_clock(simulation.timer.clock.clone(), NonZeroUsize::MIN),
        "upstream",
        rate,
    );
    let layer =
        OutgoingLayer::with_timer(limiter.expect("numbers are fine"), "all", simulation.clone())
            .wait_at_most(Duration::from_secs(7_200));
    let ends = Arc::new(Mutex::new(Vec::new()));
    let server = {
        let (simulation, ends) = (simulation.clone(), Arc::clone(&ends));
        service_fn(move |request: Request<()>| {
            let (seconds, retry_after) = match request.uri().path() {
                "/0" => (1, Some("3600")),
                "/1" => (10, Some("2")),
                _ => (0, None),
            };
            let (timer, ends) = (simulation.clone(), Arc::clone(&ends));
            async move {
                let end = timer.now() + Duration::from_secs(seconds);
                timer.sleep_until(end).await;
                ends.lock().expect("nobody panics with it").push(timer.timer.passed().as_secs());
                let answer = Response::builder();
                let answer = match retry_after {
                    Some(wait) => answer.status(429).header("retry-after", wait),
                    None => answer,
                };
                Ok::<_, Infallible>(answer.body(()).expect("response is valid"))
            }
        })
    };
    let client = layer.layer(server);
    send_all(&simulation, &[client], 4);
    assert_eq!(*ends.lock().expect("nobody panics with it"), [1, 10, 12, 12]);
}
