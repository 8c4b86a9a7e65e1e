#![allow(unused)]

use ratelimit_algorithms::Limiter;
use ratelimit_http::{PeerAddr, RateLimitLayer, RequestLimit};
use ratelimit_memory::Memory;
use ratelimit_redis::Redis;

fn layer(burst: Limiter<Memory>, daily: Limiter<Redis>) {
    RateLimitLayer::new(burst, PeerAddr).also(RequestLimit::new(daily, PeerAddr));
}

fn main() {}
