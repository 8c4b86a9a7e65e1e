#![allow(unused)]

use ratelimit_algorithms::Limiter;
use ratelimit_http::{PeerAddr, RateLimitLayer};
use ratelimit_memory::Memory;

fn layer(limiter: Limiter<Memory>) {
    RateLimitLayer::new(limiter, PeerAddr).grpc();
}

fn main() {}
