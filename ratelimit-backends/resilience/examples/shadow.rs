//! A new limit that is only watched at first, then refuses a tenth of the keys, then all.
//!
//! `cargo run -p ratelimit-resilience --example shadow`

use ratelimit_algorithms::{Limiter, Source, TokenBucket};
use ratelimit_memory::Memory;
use ratelimit_resilience::Shadow;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shadow = Shadow::new(Memory::new());
    let limiter = Limiter::new(shadow.clone(), "api", TokenBucket::per_hour(1))?;
    for percent in [0, 10, 100] {
        shadow.enforce(percent)?;
        let (mut refused, mut let_through) = (0, 0);
        for user in 0..1_000 {
            let key = format!("user:{percent}:{user}");
            let _ = limiter.check(&key).now()?;
            let second = limiter.check(&key).now()?;
            refused += u32::from(!second.is_allowed());
            let_through += u32::from(second.source() == Source::Shadow);
        }
        println!("{percent:3} % enforced: {refused} refused, {let_through} would have been");
    }
    Ok(())
}
