//! One key, one limit: spend, look, give back, forget.
//!
//! `cargo run -p ratelimit-algorithms --example check`

use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_memory::Memory;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = Limiter::new(Memory::new(), "api", TokenBucket::per_hour(10).burst(20))?;

    let decision = limiter.check_n("user:42", 5)?;
    println!("allowed: {}, {} left", decision.is_allowed(), decision.remaining);

    let denied = limiter.check_n("user:42", 16)?;
    println!("allowed: {}, come back in {}", denied.is_allowed(), denied.retry_after());

    // More than there ever is would be no denial: no wait would help.
    if let Err(error) = limiter.check_n("user:42", 50) {
        println!("error: {error}");
    }

    let _ = limiter.refund("user:42", 2)?;
    println!("{} left after a refund", limiter.peek("user:42")?.remaining);
    let _ = limiter.reset("user:42")?;
    println!("{} left after a reset", limiter.peek("user:42")?.remaining);
    Ok(())
}
