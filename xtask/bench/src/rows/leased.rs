//! The cost of a check that a lease admits, beside one in memory.

use anyhow::Result;
use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_backend::Clock;
use ratelimit_lease::{LeaseLength, Leased};
use ratelimit_memory::{Memory, SwiftClock};

use crate::{
    bench::{Bench, Title},
    row::{Mark, Unit},
    sample::side,
    setup::{self, Keys, SharedClock},
};

pub(crate) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    let clock = SharedClock::new().0;
    row(bench, "leased, a local hit, one clock", (clock.clone(), clock), Mark::Ratio(1.5))?;
    let clocks = (SwiftClock::new(), SwiftClock::new());
    row(bench, "leased, a local hit, default clocks", clocks, Mark::Ratio(1.5))
}

fn row<C: Clock + 'static>(
    bench: &mut Bench<'_>,
    name: &str,
    (ours, theirs): (C, C),
    mark: Mark,
) -> Result<()> {
    let bucket = || TokenBucket::per_minute(100_000_000);
    let length = LeaseLength::share(0.01)?;
    let store = Memory::with_capacity(setup::ROOM);
    let store = Leased::with_clock(store, length, ours, setup::ROOM);
    let leased = Limiter::new(store, "bench", bucket())?;
    let memory = setup::ours(theirs, bucket())?;
    let asked = &Keys::One.asked(bench.effort(1 << 18));
    let title = Title { name, beside: "memory", mark };
    bench.race(&title, Unit::Nanos, || {
        (
            side(1, asked, |key| leased.check(key.as_str()).now()),
            side(1, asked, |key| memory.check(key.as_str()).now()),
        )
    });
    Ok(())
}
