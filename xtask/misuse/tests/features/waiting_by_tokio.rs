#![allow(unused)]

use ratelimit_algorithms::Limiter;
use ratelimit_memory::Memory;

async fn call(limiter: &Limiter<Memory>) {
    limiter.until_ready("user:42").await;
}

fn main() {}
