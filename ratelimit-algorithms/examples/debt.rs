//! A key that owes what it has used beyond its limit: for costs that are known only afterwards.
//!
//! `cargo run -p ratelimit-algorithms --example debt`

use ratelimit_algorithms::{AcquireError, Limiter, Policy, TokenBucket};
use ratelimit_memory::Memory;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let policy = Policy::new("tokens", TokenBucket::per_minute(1_000))?.with_debt_max(50_000)?;
    let tokens = Limiter::with_policies(Memory::new(), policy)?;

    // One token is reserved, and the response takes 5 000: 4 000 more than the limit.
    tokens.acquire("user:42").now()?.settle(5_000).now()?;
    match tokens.acquire("user:42").now() {
        Err(AcquireError::Denied(decision)) => {
            let (is_in_debt, wait) = (decision.is_in_debt(), decision.retry_after());
            println!("in debt: {is_in_debt}, paid back and one token more in {wait}");
        }
        other => println!("{other:?}"),
    }
    Ok(())
}
