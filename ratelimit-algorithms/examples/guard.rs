//! A permit as a value: a denial is an error that has the time to retry.
//!
//! `cargo run -p ratelimit-algorithms --example guard`

use ratelimit_algorithms::{AcquireError, FixedWindow, Limiter};
use ratelimit_memory::Memory;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = Limiter::new(Memory::new(), "jobs", FixedWindow::per_day(3))?;

    // Work that counts, whether it succeeds or not.
    let permit = limiter.acquire("user:42").now()?;
    println!("{} left", permit.decision().remaining);
    permit.keep();

    // Work that counts only if it succeeds: an early return gives the permit back.
    let permit = limiter.acquire("user:42").now()?.refund_on_drop();
    if "not a number".parse::<u32>().is_ok() {
        permit.keep();
    } else {
        drop(permit);
    }
    println!("{} left", limiter.peek("user:42").now()?.remaining);

    limiter.acquire("user:42").cost(2).now()?.keep();
    match limiter.acquire("user:42").now() {
        Err(AcquireError::Denied(decision)) => println!("again in {}", decision.retry_after()),
        other => println!("{other:?}"),
    }
    Ok(())
}
