//! The cost of limiters with fewer or other features. There are no marks here.
//!
//! throttlecrab's is for one thread at a time, and takes the rate with every call. pingora-limits
//! counts in a sketch: it may confuse keys, and gives no time to retry.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::Result;
use pingora_limits::rate::Rate;
use throttlecrab::{AdaptiveStore, RateLimiter};

use crate::{
    bench::{Bench, Title},
    row::{Mark, Unit},
    sample::side,
    setup::{self, Keys, Outcome, SharedClock},
};

pub(crate) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    let asked = &Keys::Many.asked(bench.effort(1 << 18));
    let ours = setup::ours(SharedClock::new().0, Outcome::Allowed.bucket())?;
    let check = || side(1, asked, |key| ours.check(key.as_str()).now());

    let title = |name, beside| Title { name, beside, mark: Mark::None };
    let crab = title(
        "memory, 10 000 keys, allowed, clock stands: throttlecrab",
        "throttlecrab in a mutex",
    );
    bench.race(&crab, Unit::Nanos, || {
        let limiter = RateLimiter::new(AdaptiveStore::with_capacity(20_000));
        let now = SystemTime::now();
        let limiter = Mutex::new(limiter);
        let theirs = side(1, asked, move |key| {
            let mut one = limiter.lock().unwrap_or_else(PoisonError::into_inner);
            one.rate_limit(key, 1 << 30, 1 << 30, 1, 1, now)
        });
        (check(), theirs)
    });

    let sketch =
        title("memory, 10 000 keys, allowed: pingora-limits", "pingora-limits, an estimate");
    bench.race(&sketch, Unit::Nanos, || {
        let rate = Rate::new(Duration::from_secs(1));
        (check(), side(1, asked, move |key| rate.observe(key, 1)))
    });
    Ok(())
}
