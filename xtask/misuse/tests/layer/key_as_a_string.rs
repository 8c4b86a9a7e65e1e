#![allow(unused)]

use ratelimit_algorithms::Limiter;
use ratelimit_http::RateLimitLayer;
use ratelimit_memory::Memory;

fn layer(limiter: Limiter<Memory>, name: String) {
    RateLimitLayer::new(limiter, name);
}

fn main() {}
