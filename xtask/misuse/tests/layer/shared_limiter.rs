#![allow(unused)]

use std::sync::Arc;

use ratelimit_algorithms::Limiter;
use ratelimit_http::{PeerAddr, RateLimitLayer};
use ratelimit_memory::Memory;

fn layer(limiter: Arc<Limiter<Memory>>) {
    RateLimitLayer::new(limiter, PeerAddr);
}

fn main() {}
