//! The seven algorithms, on one store: the decisions of each about twelve requests at once.
//!
//! `cargo run -p ratelimit-algorithms --example algorithms`

use std::time::Duration;

use ratelimit_algorithms::{
    Adaptive, Algorithm, FixedWindow, InFlight, LeakyBucket, Limiter, SlidingWindowCounter,
    SlidingWindowLog, TokenBucket,
};
use ratelimit_memory::Memory;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // For another store only this line changes.
    let store = Memory::new();
    let window = Duration::from_secs(10);

    let seven: [Algorithm; 7] = [
        FixedWindow::per(5, window).try_into()?,
        SlidingWindowLog::per(5, window).try_into()?,
        SlidingWindowCounter::per(5, window).try_into()?,
        TokenBucket::per(5, window).burst(8).try_into()?,
        LeakyBucket::per(5, window).queue(Duration::from_secs(4)).try_into()?,
        Adaptive::per(5, window).try_into()?,
        InFlight::limit(5).held_at_most(window).try_into()?,
    ];
    for algorithm in seven {
        let name = algorithm.name().replace(' ', "-");
        let limiter = Limiter::new(store.clone(), &name, algorithm)?;
        let mut admitted = 0;
        let last = loop {
            let decision = limiter.check("user:42").now()?;
            if !decision.is_allowed() {
                break decision;
            }
            admitted += 1;
        };
        println!("{name:24} admits {admitted:2} at once, then one in {}", last.retry_after());
    }
    Ok(())
}
