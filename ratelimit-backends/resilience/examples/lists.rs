//! Keys that are always allowed or always denied, without a call of the store.
//!
//! `cargo run -p ratelimit-resilience --example lists`

use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_memory::Memory;
use ratelimit_resilience::Lists;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lists = Lists::new(Memory::new());
    let limiter = Limiter::new(lists.clone(), "api", TokenBucket::per_second(10))?;
    lists.everywhere().deny("mallory");
    lists.under("api").allow("health-check");

    for key in ["mallory", "health-check", "user:42"] {
        let decision = limiter.check(key).now()?;
        println!("{key}: allowed {}, says the {:?}", decision.is_allowed(), decision.source());
    }
    Ok(())
}
