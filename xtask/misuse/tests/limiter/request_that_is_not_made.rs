#![allow(unused)]

use ratelimit_algorithms::{Error, Limiter};
use ratelimit_memory::Memory;

fn call(limiter: &Limiter<Memory>) -> Result<bool, Error> {
    Ok(limiter.check("user:42")?.is_allowed())
}

fn main() {}
