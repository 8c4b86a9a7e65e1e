#![allow(unused)]

use ratelimit_algorithms::Limiter;
use ratelimit_redis::Redis;

fn call(limiter: &Limiter<Redis>) {
    limiter.check("user:42").now();
}

fn main() {}
