//! One key, one limit: check, peek, refund, reset.
//!
//! `cargo run -p ratelimit-algorithms --example check`

use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_memory::Memory;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = Limiter::new(Memory::new(), "api", TokenBucket::per_hour(10).burst(20))?;

    let decision = limiter.check("user:42").cost(5).now()?;
    println!("allowed: {}, {} left", decision.is_allowed(), decision.remaining);

    let denied = limiter.check("user:42").cost(16).now()?;
    println!("allowed: {}, come back in {}", denied.is_allowed(), denied.retry_after());

    // A cost above the limit is an error, not a denial: no wait would help.
    if let Err(error) = limiter.check("user:42").cost(50).now() {
        println!("error: {error}");
    }

    limiter.refund("user:42").cost(2).now()?;
    println!("{} left after a refund", limiter.peek("user:42").now()?.remaining);
    limiter.reset("user:42").now()?;
    println!("{} left after a reset", limiter.peek("user:42").now()?.remaining);
    Ok(())
}
