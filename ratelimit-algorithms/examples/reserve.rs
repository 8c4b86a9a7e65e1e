//! Reserve an estimate, then settle what it cost: for prices that are known only afterwards.
//!
//! `cargo run -p ratelimit-algorithms --example reserve`

use ratelimit_algorithms::{Limiter, Limits, TokenBucket};
use ratelimit_memory::Memory;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Memory::new();
    let requests = Limiter::new(store.clone(), "requests", TokenBucket::per_hour(60))?;
    let tokens = Limiter::new(store, "tokens", TokenBucket::per_hour(10_000))?;

    // One limit: 1 000 are reserved, 412 were used, the rest comes back.
    tokens.acquire_n("user:42", 1_000)?.settle(412)?;
    println!("{} tokens left", tokens.peek("user:42")?.remaining);

    // It took more than was reserved.
    tokens.acquire_n("user:42", 100)?.settle(250)?;
    println!("{} tokens left", tokens.peek("user:42")?.remaining);

    // It was called off.
    tokens.acquire_n("user:42", 5_000)?.refund()?;
    println!("{} tokens left", tokens.peek("user:42")?.remaining);

    // Several limits as one: a request, and its tokens.
    let permits = Limits::of(&requests, "user:42", 1).and(&tokens, "user:42", 2_000).acquire()?;
    permits.settle([1, 338])?;
    println!("{} tokens left", tokens.peek("user:42")?.remaining);
    Ok(())
}
