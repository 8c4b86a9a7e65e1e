#![allow(unused)]

use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_memory::Memory;

fn limiter(store: Memory) {
    Limiter::with_policies(store, TokenBucket::per_second(10));
}

fn main() {}
