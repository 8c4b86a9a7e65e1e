#![allow(unused)]

use http::request::Parts;
use ratelimit_algorithms::Limiter;
use ratelimit_http::{KeyError, RateLimitLayer};
use ratelimit_memory::Memory;

fn layer(limiter: Limiter<Memory>) {
    RateLimitLayer::new(limiter, |request: &Parts| Ok::<_, KeyError>(request.uri.path()));
}

fn main() {}
