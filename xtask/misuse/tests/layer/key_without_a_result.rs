#![allow(unused)]

use http::request::Parts;
use ratelimit_algorithms::Limiter;
use ratelimit_http::RateLimitLayer;
use ratelimit_memory::Memory;

fn layer(limiter: Limiter<Memory>) {
    RateLimitLayer::new(limiter, |request: &Parts| request.uri.path().to_owned());
}

fn main() {}
