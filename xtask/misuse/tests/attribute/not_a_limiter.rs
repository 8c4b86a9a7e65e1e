#![allow(unused)]

use std::sync::LazyLock;

use ratelimit_algorithms::{AcquireError, rate_limit};
use ratelimit_memory::Memory;

static STORE: LazyLock<Memory> = LazyLock::new(Memory::new);

#[rate_limit(limiter = STORE)]
async fn call() -> Result<u8, AcquireError> {
    Ok(7)
}

fn main() {}
