#![allow(unused)]

use http::request::Parts;
use ratelimit_algorithms::Limiter;
use ratelimit_http::{KeyError, RateLimitLayer};
use ratelimit_memory::Memory;

fn layer(limiter: Limiter<Memory>) {
    RateLimitLayer::new(limiter, |request: &Parts| Ok::<f64, KeyError>(0.5));
}

fn main() {}
