//! Reserve an estimate, then settle the actual cost: for costs that are known only afterwards.
//!
//! `cargo run -p ratelimit-algorithms --example reserve`

use ratelimit_algorithms::{Limiter, Limits, TokenBucket};
use ratelimit_memory::Memory;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Memory::new();
    let requests = Limiter::new(store.clone(), "requests", TokenBucket::per_hour(60))?;
    let tokens = Limiter::new(store, "tokens", TokenBucket::per_hour(10_000))?;

    // One limit: 1 000 are reserved, 412 were used, the rest is given back.
    tokens.acquire("user:42").cost(1_000).now()?.settle(412).now()?;
    println!("{} tokens left", tokens.peek("user:42").now()?.remaining);

    // It used more than was reserved.
    tokens.acquire("user:42").cost(100).now()?.settle(250).now()?;
    println!("{} tokens left", tokens.peek("user:42").now()?.remaining);

    // It was cancelled.
    tokens.acquire("user:42").cost(5_000).now()?.refund().now()?;
    println!("{} tokens left", tokens.peek("user:42").now()?.remaining);

    // Several limits as one: a request, and its tokens.
    let permits =
        Limits::new(&requests, "user:42", 1).and(&tokens, "user:42", 2_000).acquire().now()?;
    permits.settle([1, 338]).now()?;
    println!("{} tokens left", tokens.peek("user:42").now()?.remaining);
    Ok(())
}
