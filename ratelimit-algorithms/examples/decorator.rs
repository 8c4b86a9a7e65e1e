//! A limit on a function, by an attribute.
//!
//! `cargo run -p ratelimit-algorithms --features macros --example decorator`

use std::sync::LazyLock;

use ratelimit_algorithms::{AcquireError, Limiter, TokenBucket, rate_limit};
use ratelimit_memory::Memory;

static EXPORTS: LazyLock<Limiter<Memory>> = LazyLock::new(|| {
    Limiter::new(Memory::new(), "exports", TokenBucket::per_hour(10)).expect("fine numbers")
});

#[rate_limit(limiter = EXPORTS, key = format!("user:{user_id}"), cost = 5)]
fn export(user_id: u64) -> Result<String, AcquireError> {
    Ok(format!("all of {user_id}"))
}

/// Without a permit the result is `None`. Without `key` all callers share one.
#[rate_limit(limiter = EXPORTS, on_limit = "none")]
fn tip() -> Option<&'static str> {
    Some("keep calls idempotent")
}

fn main() {
    for _ in 0..3 {
        match export(42) {
            Ok(text) => println!("{text}"),
            Err(error) => println!("{error}"),
        }
    }
    println!("{:?}", tip());
}
