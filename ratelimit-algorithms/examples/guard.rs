//! A permit as a value: a denial is an error with the time to come back inside.
//!
//! `cargo run -p ratelimit-algorithms --example guard`

use ratelimit_algorithms::{AcquireError, FixedWindow, Limiter};
use ratelimit_memory::Memory;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = Limiter::new(Memory::new(), "jobs", FixedWindow::per_day(3))?;

    // Work that counts, whatever comes of it.
    let permit = limiter.acquire("user:42")?;
    println!("{} left", permit.decision().remaining);
    permit.keep();

    // Work that counts only if it ends well: an early return gives the permit back.
    let permit = limiter.acquire("user:42")?.refund_on_drop();
    if "not a number".parse::<u32>().is_ok() {
        permit.keep();
    } else {
        drop(permit);
    }
    println!("{} left", limiter.peek("user:42")?.remaining);

    limiter.acquire_n("user:42", 2)?.keep();
    match limiter.acquire("user:42") {
        Err(AcquireError::Denied(decision)) => println!("again in {}", decision.retry_after()),
        other => println!("{other:?}"),
    }
    Ok(())
}
