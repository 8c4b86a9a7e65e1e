//! Waiting for a permit, and an even pace.
//!
//! `cargo run -p ratelimit-algorithms --features tokio --example wait`

use std::time::{Duration, Instant};

use ratelimit_algorithms::{LeakyBucket, Limiter, TokenBucket};
use ratelimit_memory::Memory;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Memory::new();
    let mails = TokenBucket::per_second(20).burst(2);
    let mails = Limiter::new(store.clone(), "mails", mails)?;
    let start = Instant::now();
    for number in 1..=4 {
        mails.until_ready("user:42").await?;
        println!("mail {number} after {:?}", start.elapsed());
    }

    // A deadline that cannot be met fails at once.
    if let Err(error) = mails.until_ready("user:42").cost(2).within(Duration::from_millis(1)).await
    {
        println!("error: {error}");
    }

    let calls = LeakyBucket::per_second(20).queue(Duration::from_secs(1));
    let calls = Limiter::new(store, "calls", calls)?;
    let start = Instant::now();
    for number in 1..=3 {
        calls.pace("upstream").await?;
        println!("call {number} after {:?}", start.elapsed());
    }
    Ok(())
}
