//! Charging without a decision, refunding, and blocking for a while.
//!
//! `cargo run -p ratelimit-algorithms --example penalize`

use std::time::Duration;

use ratelimit_algorithms::{Limiter, SlidingWindowLog};
use ratelimit_memory::Memory;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let logins = Limiter::new(Memory::new(), "logins", SlidingWindowLog::per_hour(10))?;

    println!("{} left", logins.check("203.0.113.7").now()?.remaining);
    println!("{} left", logins.penalize("203.0.113.7").cost(4).now()?.remaining);
    println!("{} left", logins.refund("203.0.113.7").now()?.remaining);

    logins.block("203.0.113.7", Duration::from_secs(900)).now()?;
    println!("blocked, for {}", logins.check("203.0.113.7").now()?.retry_after());
    logins.reset("203.0.113.7").now()?;
    println!("{} left", logins.check("203.0.113.7").now()?.remaining);
    Ok(())
}
