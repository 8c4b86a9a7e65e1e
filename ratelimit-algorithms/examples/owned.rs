//! Permits of several limits that a task of its own waits for, holds, and settles when it is done.
//!
//! `cargo run -p ratelimit-algorithms --features tokio --example owned`

use std::time::Duration;

use ratelimit_algorithms::{FixedWindow, Limiter, Limits, Permits, TokenBucket};
use ratelimit_memory::Memory;

/// A job, and the permits that it was admitted with.
struct Job {
    prompt: &'static str,
    permits: Permits<'static, Memory>,
}

impl Job {
    async fn run(self) -> Result<(), ratelimit_algorithms::Error> {
        let used = 10 * self.prompt.len() as u64;
        self.permits.settle([1, used]).await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Memory::new();
    let requests = Limiter::new(store.clone(), "requests", TokenBucket::per_second(100).burst(1))?;
    let tokens = Limiter::new(store, "tokens", FixedWindow::per_day(10_000))?;

    let mut jobs = Vec::new();
    for prompt in ["a haiku", "a sonnet", "an epic"] {
        // In order of arrival, over both limits.
        let limits = Limits::new(&requests, "user:42", 1).and(&tokens, "user:42", 1_000);
        let permits = limits.until_ready().within(Duration::from_secs(1)).await?;
        jobs.push(tokio::spawn(Job { prompt, permits: permits.into_owned() }.run()));
    }
    for job in jobs {
        job.await??;
    }
    println!("{} tokens left", tokens.peek("user:42").await?.remaining);
    Ok(())
}
