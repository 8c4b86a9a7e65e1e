//! Watching a store allocates nothing once a limiter is known.

use std::alloc::System;

use ratelimit_algorithms::{AsyncLimiter, Limiter, TokenBucket};
use ratelimit_memory::Memory;
use ratelimit_metrics::{Observed, Statistics};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The only test of its process: what others allocate would be counted as well.
#[tokio::test]
async fn a_check_of_a_known_limiter_allocates_nothing() {
    let store = Observed::new(Memory::new(), Statistics::new());
    let limiter = Limiter::new(store, "api", TokenBucket::per_hour(3)).unwrap();
    let awaiting = AsyncLimiter::from(limiter.clone());
    let _ = limiter.check("user").unwrap();
    let region = Region::new(ALLOCATOR);
    for _ in 0..1000 {
        let _ = limiter.check("user").unwrap();
        let _ = awaiting.check("user").await.unwrap();
    }
    assert_eq!(region.change().allocations, 0);
}
