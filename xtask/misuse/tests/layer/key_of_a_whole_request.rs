#![allow(unused)]

use http::Request;
use ratelimit_algorithms::Limiter;
use ratelimit_http::{KeyError, RateLimitLayer};
use ratelimit_memory::Memory;

fn layer(limiter: Limiter<Memory>) {
    RateLimitLayer::new(limiter, |request: &Request<()>| {
        Ok::<_, KeyError>(request.uri().path().to_owned())
    });
}

fn main() {}
