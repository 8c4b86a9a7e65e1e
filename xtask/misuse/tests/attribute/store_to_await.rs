#![allow(unused)]

use std::sync::LazyLock;

use ratelimit_algorithms::{AcquireError, FixedWindow, Limiter, rate_limit};
use ratelimit_redis::Redis;

static LIMITER: LazyLock<Limiter<Redis>> = LazyLock::new(|| todo!());

#[rate_limit(limiter = LIMITER)]
fn call() -> Result<u8, AcquireError> {
    Ok(7)
}

fn main() {}
