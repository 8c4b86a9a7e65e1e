//! Two hosts that lease from one store: their calls of the store, and their admissions.
//!
//! `cargo run -p ratelimit-lease --example leased`

use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_lease::{LeaseLength, Leased};
use ratelimit_memory::Memory;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In place of `Memory`, a store that hosts share: `Redis::connect(url).await?`.
    let shared = Memory::new();
    let one_percent = LeaseLength::share(0.01)?;
    let mut admitted = 0;
    for host in ["one", "another"] {
        let store = Leased::new(shared.clone(), one_percent);
        let limiter = Limiter::new(store.clone(), "api", TokenBucket::per_hour(10_000))?;
        for _ in 0..6_000 {
            admitted += u64::from(limiter.check("customer:7").await?.is_allowed());
            // As requests that wait for something do.
            tokio::task::yield_now().await;
        }
        let given_back = store.close().await;
        let stats = store.stats();
        println!(
            "{host} host: {} calls for 6000 checks, {given_back} given back",
            stats.round_trips
        );
    }
    println!("admitted: {admitted} of 10000");
    Ok(())
}
