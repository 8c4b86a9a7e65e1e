//! A client that waits as long as it is told is admitted.

use std::time::Duration;

use ratelimit_algorithms::{
    Adaptive, Algorithm, ConfigError, FixedWindow, LeakyBucket, Limiter, Micros,
    SlidingWindowCounter, SlidingWindowLog, TokenBucket,
};
use ratelimit_http::{PeerAddr, RateLimitLayer};

use crate::support::{app, from, header, send, status, store};

const TRIALS: u64 = 1_000;

/// Spends at random until it is denied, waits for exactly `Retry-After`, and asks once more.
async fn keeps_its_promise<A>(algorithm: impl Fn(u64, Duration) -> A)
where
    A: TryInto<Algorithm, Error: Into<ConfigError>>,
{
    for seed in 0..TRIALS {
        let mut random = fastrand::Rng::with_seed(seed);
        let permits = random.u32(1..=12);
        let limit = u64::from(permits);
        let window = Duration::from_micros(random.u64(100_000..10_000_000));
        let (store, clock) = store();
        clock.advance(Micros::from_duration_floor(window * random.u32(0..1_000)));
        let limiter = Limiter::new(store, "api", algorithm(limit, window)).expect("is valid");
        let layer = RateLimitLayer::new(limiter, PeerAddr).cost(random.u64(1..=limit));
        let app = app(layer);
        let denied = loop {
            let response = send(&app, from("192.0.2.1:1")).await;
            if response.status() == 429 {
                break response;
            }
            // Half as long, on average, as it takes for one permit to come back.
            clock.advance(Micros::from_duration_floor(window.mul_f64(random.f64()) / permits));
        };
        let seconds = header(&denied, "retry-after").and_then(|value| value.parse().ok());
        let seconds = seconds.expect("a denial says when to come back");
        assert!(1 <= seconds, "trial {seed}");
        clock.advance(Micros::from_secs(seconds));
        assert_eq!(status(&app, from("192.0.2.1:1")).await, 200, "trial {seed}");
    }
}

// FAULTS 119.
#[tokio::test]
async fn fixed_window_admits_who_waited() {
    keeps_its_promise(FixedWindow::per).await;
}

// FAULTS 119.
#[tokio::test]
async fn sliding_window_log_admits_who_waited() {
    keeps_its_promise(SlidingWindowLog::per).await;
}

// FAULTS 119.
#[tokio::test]
async fn sliding_window_counter_admits_who_waited() {
    keeps_its_promise(SlidingWindowCounter::per).await;
}

// FAULTS 119.
#[tokio::test]
async fn token_bucket_admits_who_waited() {
    keeps_its_promise(TokenBucket::per).await;
}

// FAULTS 119.
#[tokio::test]
async fn leaky_bucket_admits_who_waited() {
    keeps_its_promise(LeakyBucket::per).await;
}

// FAULTS 119.
#[tokio::test]
async fn adaptive_hybrid_admits_who_waited() {
    keeps_its_promise(Adaptive::per).await;
}
