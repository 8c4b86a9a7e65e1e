//! What do other limiters cost that do less, or do it otherwise? There are no marks here.
//!
//! throttlecrab's takes one thread, and the rate with every call. pingora-limits counts in a
//! sketch: it may take one key for another, and does not say when to come back.

use std::{
    cell::RefCell,
    time::{Duration, SystemTime},
};

use anyhow::Result;
use pingora_limits::rate::Rate;
use throttlecrab::{AdaptiveStore, RateLimiter};

use crate::{
    bench::{Bench, Title},
    row::{Mark, Unit},
    sample::nanos_each,
    subject::{self, Keys, Outcome, SharedClock},
};

pub(crate) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    let asked = &Keys::Many.asked(bench.effort(1 << 18));
    let ours = subject::ours(SharedClock::new().0, Outcome::Allowed.bucket())?;
    let check = || nanos_each(1, asked, |key| ours.check(key.as_str()));

    let title = |name, beside| Title { name, beside, mark: Mark::None };
    let crab = title(
        "memory, 10 000 keys, allowed, clock stands: throttlecrab",
        "throttlecrab, one thread",
    );
    bench.race(&crab, Unit::Nanos, || {
        let limiter = RefCell::new(RateLimiter::new(AdaptiveStore::with_capacity(20_000)));
        let now = SystemTime::now();
        let theirs = move || {
            let began = std::time::Instant::now();
            for key in asked {
                let answer = limiter.borrow_mut().rate_limit(key, 1 << 30, 1 << 30, 1, 1, now);
                drop(std::hint::black_box(answer));
            }
            began.elapsed().as_nanos() as f64 / asked.len() as f64
        };
        (Box::new(check), Box::new(theirs))
    });

    let sketch =
        title("memory, 10 000 keys, allowed: pingora-limits", "pingora-limits, an estimate");
    bench.race(&sketch, Unit::Nanos, || {
        let rate = Rate::new(Duration::from_secs(1));
        (Box::new(check), Box::new(move || nanos_each(1, asked, |key| rate.observe(key, 1))))
    });
    Ok(())
}
