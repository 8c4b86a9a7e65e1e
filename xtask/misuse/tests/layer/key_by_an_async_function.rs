#![allow(unused)]

use http::request::Parts;
use ratelimit_algorithms::Limiter;
use ratelimit_http::{KeyError, RateLimitLayer};
use ratelimit_memory::Memory;

async fn user(request: &Parts) -> Result<u64, KeyError> {
    Ok(42)
}

fn layer(limiter: Limiter<Memory>) {
    RateLimitLayer::new(limiter, user);
}

fn main() {}
