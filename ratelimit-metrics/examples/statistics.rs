//! Totals, the most denied keys, and the text for Prometheus.
//!
//! `cargo run -p ratelimit-metrics --features keys --example statistics`

use std::{num::NonZeroUsize, sync::Arc};

use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_memory::Memory;
use ratelimit_metrics::{Observed, Ranking, Statistics, TopKeys};

const CAPACITY: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let statistics = Arc::new(Statistics::new());
    let offenders = Arc::new(TopKeys::new(Ranking::Denials, CAPACITY).with_keys_in_clear());
    let recorders = (Arc::clone(&statistics), Arc::clone(&offenders));
    let store = Observed::new(Memory::new(), recorders);
    let limiter = Limiter::new(store, "api", TokenBucket::per_second(10).burst(20))?;

    for n in 0..1000 {
        let key = if n % 3 == 0 { "mallory".to_owned() } else { format!("user:{}", n % 50) };
        let _ = limiter.check(&key).now()?;
    }

    let snapshot = statistics.snapshot();
    println!("{:?}, {:.1} % denied", snapshot.calls, 100.0 * snapshot.calls.drop_rate());
    for offender in offenders.top(3) {
        let key = offender.key.as_deref().unwrap_or_default();
        println!("{} was denied {} times", String::from_utf8_lossy(key), offender.count);
    }
    print!("{}", snapshot.to_prometheus());
    Ok(())
}
