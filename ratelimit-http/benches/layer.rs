//! What does a layer on memory add to a request that axum routes, allowed and denied?
//!
//! `Router::call` in process, on one thread, the three by turns; the middle one of the rounds.

#![allow(clippy::unwrap_used, reason = "a bench may panic")]

use std::{hint::black_box, net::SocketAddr, time::Instant};

use axum::{Router, body::Body, http::Request, routing::get};
use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_http::{Peer, PeerAddr, RateLimitLayer};
use ratelimit_memory::Memory;
use tower::ServiceExt;

const ROUNDS: usize = 41;
const REQUESTS: u32 = 20_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let bare = Router::new().route("/", get(|| async { "hello" }));
    let limited = |limit| {
        let limiter = Limiter::new(Memory::new(), "api", TokenBucket::per_hour(limit)).unwrap();
        bare.clone().layer(RateLimitLayer::new(limiter, PeerAddr))
    };
    let (allowed, denied) = (limited(1_000_000_000), limited(1));
    let apps = [(&bare, 200), (&allowed, 200), (&denied, 429)];
    round(&denied, 0).await;

    let mut ns = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for (times, (app, status)) in ns.iter_mut().zip(apps) {
            times.push(round(app, status).await);
        }
    }
    let [bare, allowed, denied] = ns.map(|mut times| {
        times.sort_unstable();
        times[ROUNDS / 2]
    });
    println!("bare {bare} ns, allowed + {} ns, denied + {} ns", allowed - bare, denied - bare);
}

/// Nanoseconds of one request. A `status` of 0 is any.
async fn round(app: &Router, status: u16) -> i64 {
    let peer = Peer(SocketAddr::from(([192, 0, 2, 1], 443)));
    let start = Instant::now();
    for _ in 0..REQUESTS {
        let request = Request::get("/").extension(peer).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert!(status == 0 || response.status() == status);
        black_box(response);
    }
    i64::try_from(start.elapsed().as_nanos() / u128::from(REQUESTS)).unwrap()
}
