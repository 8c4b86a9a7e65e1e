//! Metrics pushed to StatsD, by a recorder of one method.
//!
//! `cargo run -p ratelimit-metrics --example push`

use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_memory::Memory;
use ratelimit_metrics::{Event, Observed, Recorder};

/// Writes lines as StatsD takes them. Labels name the limiter, and never a key.
struct StatsD;

impl Recorder for StatsD {
    fn record(&self, event: &Event<'_>) {
        println!("ratelimit.{}.{:?}:1|c", event.policy.name(), event.verdict);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Observed::new(Memory::new(), StatsD);
    let limiter = Limiter::new(store, "api", TokenBucket::per_hour(2))?;
    for _ in 0..3 {
        let _ = limiter.check("user:42").now()?;
    }
    Ok(())
}
