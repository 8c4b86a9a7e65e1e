//! Watching a store allocates nothing once a limiter is known.

use std::{
    pin::pin,
    task::{Context, Waker},
};

use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_memory::Memory;
use ratelimit_metrics::{Observed, Statistics};

#[test]
fn a_check_of_a_known_limiter_allocates_nothing() {
    let store = Observed::new(Memory::new(), Statistics::new());
    let limiter = Limiter::new(store, "api", TokenBucket::per_hour(3)).unwrap();
    let awaiting = limiter.clone();
    let _ = limiter.check("user").now().unwrap();
    let counted = allocation_counter::measure(|| {
        for _ in 0..1000 {
            let _ = limiter.check("user").now().unwrap();
            // Memory answers at once, so nobody has to be woken.
            let asked = pin!(awaiting.check("user"));
            assert!(asked.poll(&mut Context::from_waker(Waker::noop())).is_ready());
        }
    });
    assert_eq!(counted.count_total, 0);
}
