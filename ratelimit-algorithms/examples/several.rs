//! Several limits as one: either all of them are charged, or none.
//!
//! `cargo run -p ratelimit-algorithms --example several`

use ratelimit_algorithms::{FixedWindow, Limiter, Limits, SlidingWindowCounter, TokenBucket};
use ratelimit_memory::Memory;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Memory::new();
    let burst = Limiter::new(store.clone(), "burst", TokenBucket::per_second(10))?;
    let hourly = Limiter::new(store.clone(), "hourly", SlidingWindowCounter::per_hour(1_000))?;
    let organisation = Limiter::new(store, "organisation", FixedWindow::per_day(50_000))?;

    // Each limit has its own key, algorithm and cost.
    let limits =
        Limits::new(&burst, "user:42", 1).and(&hourly, "user:42", 1).and(&organisation, "org:7", 5);
    let admitted =
        (0..20).take_while(|_| limits.check().now().is_ok_and(|all| all.is_allowed())).count();
    println!("{admitted} at once");

    let denied = limits.peek().now()?;
    println!(
        "{} says: come back in {}",
        denied.denied_by().unwrap_or_default(),
        denied.retry_after()
    );
    println!("{} of the day left", organisation.peek("org:7").now()?.remaining);
    Ok(())
}
