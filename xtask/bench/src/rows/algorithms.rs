//! The cost of the other algorithms, beside the token bucket.

use std::time::Duration;

use anyhow::Result;
use ratelimit_algorithms::{
    Adaptive, Algorithm, FixedWindow, LeakyBucket, Limiter, SlidingWindowCounter, SlidingWindowLog,
};
use ratelimit_backend::ManualClock;
use ratelimit_core::Micros;
use ratelimit_memory::Memory;

use crate::{
    bench::{Bench, Title},
    row::{Mark, Unit},
    sample::{Side, side},
    setup::{self, Keys, Outcome, SharedClock},
};

pub(crate) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    let (many, second) = (1_000_000_000, Duration::from_secs(1));
    let algorithms: [(&str, Algorithm, f64); 5] = [
        ("fixed window", FixedWindow::per(many, second).try_into()?, 1.4),
        ("sliding window counter", SlidingWindowCounter::per(many, second).try_into()?, 1.4),
        ("leaky bucket", LeakyBucket::per(many, second).try_into()?, 1.4),
        ("sliding window log", SlidingWindowLog::per(100, second).try_into()?, 2.0),
        ("adaptive hybrid", Adaptive::per(100, second).try_into()?, 2.5),
    ];
    for (name, algorithm, reach) in algorithms {
        against_token_bucket(bench, name, algorithm, reach)?;
    }
    for entries in [10, 10_000] {
        full_log(bench, entries)?;
    }
    Ok(())
}

/// Ten thousand keys, a second apart from round to round, so that all that was spent is gone.
fn against_token_bucket(
    bench: &mut Bench<'_>,
    name: &str,
    algorithm: Algorithm,
    reach: f64,
) -> Result<()> {
    let name = format!("memory, {name}, 10 000 keys");
    let clock = SharedClock::new().0;
    let [ours, bucket] = [algorithm, Outcome::Allowed.bucket().try_into()?]
        .map(|algorithm| setup::ours(clock.clone(), algorithm));
    let (ours, bucket) = (&ours?, &bucket?);
    let asked = &Keys::Many.asked(bench.effort(1 << 18));
    let title = Title { name: &name, beside: "our token bucket", mark: Mark::Ratio(reach) };
    bench.race(&title, Unit::Nanos, || (turns(ours, asked, &clock), turns(bucket, asked, &clock)));
    Ok(())
}

/// A log with so many entries, beside one with a single entry: one comes and one goes a check.
fn full_log(bench: &mut Bench<'_>, entries: u64) -> Result<()> {
    let name = format!("memory, sliding window log of {entries} entries");
    if !bench.wants(&name) {
        return Ok(());
    }
    let log = |entries: u64| {
        let clock = SharedClock::new().0;
        let limiter = Limiter::new(
            Memory::with_clock(clock.clone(), setup::ROOM),
            "bench",
            SlidingWindowLog::per(entries + 1, Duration::from_micros(entries)),
        );
        limiter.map(|limiter| (limiter, clock))
    };
    let (ours, one) = (log(entries)?, log(1)?);
    let asked = &Keys::One.asked(bench.effort(1 << 18));
    let title = Title { name: &name, beside: "a log of one entry", mark: Mark::Ratio(1.4) };
    bench.race(&title, Unit::Nanos, || (walk(&ours, asked), walk(&one, asked)));
    Ok(())
}

type Log = (Limiter<Memory<ManualClock>>, ManualClock);

/// A microsecond from check to check.
fn walk<'a>((limiter, clock): &'a Log, asked: &'a [String]) -> Side<'a> {
    side(1, asked, |key| {
        clock.advance(Micros::new(1));
        limiter.check(key.as_str()).now()
    })
}

fn turns<'a>(
    limiter: &'a Limiter<Memory<ManualClock>>,
    asked: &'a [String],
    clock: &ManualClock,
) -> Side<'a> {
    let clock = clock.clone();
    let mut round = side(1, asked, |key| limiter.check(key.as_str()).now());
    Box::new(move || {
        clock.advance(Micros::from_secs(10));
        round()
    })
}
