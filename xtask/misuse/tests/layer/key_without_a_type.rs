#![allow(unused)]

use ratelimit_algorithms::Limiter;
use ratelimit_http::{KeyError, RateLimitLayer};
use ratelimit_memory::Memory;

fn layer(limiter: Limiter<Memory>) {
    RateLimitLayer::new(limiter, |request| {
        let host = request.uri.host().ok_or(KeyError::Missing)?;
        Ok(host.to_owned())
    });
}

fn main() {}
