#![allow(unused)]

use ratelimit_algorithms::Limiter;
use ratelimit_http::{PeerAddr, RateLimitLayer};
use ratelimit_memory::Memory;

fn layer(limiter: Limiter<Memory>) {
    RateLimitLayer::new(limiter, PeerAddr).cost_by(|request| request.headers.len() as u64);
}

fn main() {}
