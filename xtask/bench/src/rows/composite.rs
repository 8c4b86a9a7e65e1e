//! The cost of a check of several limits, beside as many single checks.

use anyhow::Result;
use ratelimit_algorithms::{Limiter, Limits};
use ratelimit_memory::Memory;

use crate::{
    bench::{Bench, Title},
    row::{Mark, Unit},
    sample::side,
    setup::{self, Keys, Outcome, SharedClock},
};

pub(crate) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    for count in [2, 4, 8] {
        composite(bench, count)?;
    }
    Ok(())
}

fn composite(bench: &mut Bench<'_>, count: usize) -> Result<()> {
    let name = format!("memory, composite of {count} limits, 10 000 keys");
    let store = Memory::with_clock(SharedClock::new().0, setup::ROOM);
    let limiter =
        |number| Limiter::new(store.clone(), &format!("limit-{number}"), Outcome::Allowed.bucket());
    let limiters = (0..count).map(limiter).collect::<Result<Vec<_>, _>>()?;
    let asked = &Keys::Many.asked(bench.effort(1 << 16));
    let (first, more) = limiters.split_first().ok_or_else(|| anyhow::anyhow!("none"))?;
    let together = |key: &String| {
        let limits = Limits::new(first, key, 1);
        more.iter().fold(limits, |limits, limiter| limits.and(limiter, key, 1)).check().now()
    };
    let alone =
        |key: &String| limiters.iter().filter(|limiter| limiter.check(key).now().is_ok()).count();
    let title = Title { name: &name, beside: "as many single checks", mark: Mark::Ratio(0.9) };
    bench.race(&title, Unit::Nanos, || (side(1, asked, together), side(1, asked, alone)));
    Ok(())
}
