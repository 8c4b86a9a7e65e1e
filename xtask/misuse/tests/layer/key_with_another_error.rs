#![allow(unused)]

use http::request::Parts;
use ratelimit_algorithms::Limiter;
use ratelimit_http::RateLimitLayer;
use ratelimit_memory::Memory;

fn path(request: &Parts) -> Result<String, std::io::Error> {
    Ok(request.uri.path().to_owned())
}

fn layer(limiter: Limiter<Memory>) {
    RateLimitLayer::new(limiter, path);
}

fn main() {}
