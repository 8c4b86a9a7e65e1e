//! The cost of a request that axum routes through a layer on memory, allowed and denied. Beside
//! others: `cargo xtask bench http`.

use std::{
    hint::black_box,
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, http::Request, routing::get};
use criterion::{Criterion, criterion_group, criterion_main};
use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_http::{Peer, PeerAddr, RateLimitLayer};
use ratelimit_memory::Memory;
use tokio::runtime::Builder;
use tower::ServiceExt;

fn requests(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().build().expect("this thread is there");
    let bare = Router::new().route("/", get(|| async { "hello" }));
    let limited = |limit| {
        let bucket = TokenBucket::per_hour(limit);
        let limiter = Limiter::new(Memory::new(), "api", bucket).expect("good numbers");
        bare.clone().layer(RateLimitLayer::new(limiter, PeerAddr))
    };
    for (name, app) in
        [("bare", bare.clone()), ("allowed", limited(1_000_000_000)), ("denied", limited(1))]
    {
        criterion.bench_function(name, |bencher| {
            bencher.iter_custom(|requests| runtime.block_on(call(&app, requests)));
        });
    }
}

/// The time that so many requests take, one after the other.
async fn call(app: &Router, requests: u64) -> Duration {
    let peer = Peer(SocketAddr::from(([192, 0, 2, 1], 443)));
    let began = Instant::now();
    for _ in 0..requests {
        let request = Request::get("/").extension(peer).body(Body::empty()).expect("it is whole");
        let _ = black_box(app.clone().oneshot(request).await);
    }
    began.elapsed()
}

criterion_group!(benches, requests);
criterion_main!(benches);
