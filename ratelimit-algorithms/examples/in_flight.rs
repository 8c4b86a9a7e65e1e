//! Limited concurrency: a permit is held while the work is done, and lapses if its holder has
//! crashed.
//!
//! `cargo run -p ratelimit-algorithms --example in_flight`

use std::time::Duration;

use ratelimit_algorithms::{InFlight, Limiter, Limits, TokenBucket};
use ratelimit_memory::Memory;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Memory::new();
    let at_once = InFlight::limit(2).held_at_most(Duration::from_secs(30));
    let streams = Limiter::new(store.clone(), "streams", at_once)?;
    let requests = Limiter::new(store, "requests", TokenBucket::per_minute(60))?;

    let first = streams.acquire("user:42").now()?;
    let second = streams.acquire("user:42").now()?;
    let denied = streams.check("user:42").now()?;
    println!("both are held; if nobody is done, the next may start in {}", denied.retry_after());

    // A long job extends its permit.
    println!("still held: {}", first.extend().now()?);

    // A permit that is dropped is given back.
    drop(second);
    println!("{} free", streams.peek("user:42").now()?.remaining);
    first.refund().now()?;

    // Together with a rate.
    let both = Limits::new(&streams, "user:42", 1).and(&requests, "user:42", 1);
    let permits = both.acquire().now()?;
    println!("{} in flight is free meanwhile", streams.peek("user:42").now()?.remaining);
    permits.keep();
    println!("{} are free afterwards", streams.peek("user:42").now()?.remaining);
    println!("{} requests left", requests.peek("user:42").now()?.remaining);
    Ok(())
}
