//! The cost of a check of several limits, beside as many single checks.

use anyhow::{Context, Result};
use ratelimit_algorithms::{Limiter, Limits};
use ratelimit_backend::ManualClock;
use ratelimit_memory::Memory;

use crate::{
    bench::{Bench, Title},
    row::{Mark, Unit},
    sample::side,
    setup::{self, Keys, Outcome, SharedClock},
};

pub(crate) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    for count in [2, 4, 8, 16] {
        row(bench, count, Keys::Many, 1.3)?;
    }
    // Each limit has a million records: sixteen of them would take more than a gigabyte.
    for count in [2, 4] {
        row(bench, count, Keys::Zipf, 0.9)?;
    }
    Ok(())
}

fn row(bench: &mut Bench<'_>, count: usize, keys: Keys, reach: f64) -> Result<()> {
    let name = format!("memory, composite of {count} limits, {}", keys.name());
    if !bench.wants(&name) {
        return Ok(());
    }
    let limiters = &limiters(count, Outcome::Allowed)?;
    let alone = |key: &String| limiters.iter().all(|limiter| limiter.check(key).now().is_ok());
    if keys == Keys::Zipf {
        keys.each().for_each(|key| assert!(alone(&key), "there is room"));
    }
    let asked = &keys.asked(bench.effort(if keys == Keys::Zipf { 1 << 20 } else { 1 << 16 }));
    let title = Title { name: &name, beside: "as many single checks", mark: Mark::Ratio(reach) };
    bench.race(&title, Unit::Nanos, || {
        (side(1, asked, |key| together(limiters, key).check().now()), side(1, asked, alone))
    });
    Ok(())
}

/// So many limiters on one store, with room for a million keys of each.
pub(crate) fn limiters(
    count: usize,
    outcome: Outcome,
) -> Result<Vec<Limiter<Memory<ManualClock>>>> {
    let room = setup::ROOM.checked_mul(count.try_into()?).context("not so many")?;
    let store = Memory::with_clock(SharedClock::new().0, room);
    let limiter =
        |number| Limiter::new(store.clone(), &format!("limit-{number}"), outcome.bucket());
    Ok((0..count).map(limiter).collect::<Result<_, _>>()?)
}

/// All of them as one, of which there is at least one.
pub(crate) fn together<'a>(
    limiters: &'a [Limiter<Memory<ManualClock>>],
    key: &'a str,
) -> Limits<'a, Memory<ManualClock>> {
    let first = Limits::new(&limiters[0], key, 1);
    limiters[1..].iter().fold(first, |limits, limiter| limits.and(limiter, key, 1))
}
