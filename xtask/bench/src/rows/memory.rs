//! The cost of one decision in memory, beside governor's.
//!
//! On one clock, which both read; and each with the clock that it has by default.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use anyhow::Result;
use governor::clock::Clock as GovernorClock;
use governor::{RateLimiter, middleware::NoOpMiddleware, state::keyed::DashMapStateStore};
use ratelimit_algorithms::Limiter;
use ratelimit_backend::Clock;
use ratelimit_memory::Memory;

use crate::{
    bench::{Bench, Title},
    row::{Mark, Unit},
    rows::lookup,
    sample::side,
    setup::{self, Keys, Outcome, SharedClock},
};

pub(crate) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    let mut floors = Floors::default();
    for (keys, std_hash, fast_hash) in
        [(Keys::One, 0.65, 0.95), (Keys::Many, 0.60, 0.85), (Keys::Zipf, 0.45, 0.70)]
    {
        for outcome in [Outcome::Allowed, Outcome::Denied] {
            for threads in [1, 2] {
                let work = Work { keys, outcome, threads };
                let floor = floors.of(bench, work);
                let [std_hash, fast_hash] =
                    [std_hash, fast_hash].map(|reach| Mark::AboveFloor { reach, floor });
                same_clock::<RandomState>(bench, work, "governor", std_hash)?;
                same_clock::<ahash::RandomState>(bench, work, "governor, ahash", fast_hash)?;
                default_clocks(bench, work)?;
            }
        }
    }
    Ok(())
}

/// The floors that have been measured.
#[derive(Default)]
struct Floors(HashMap<Keys, f64>);

impl Floors {
    /// The floor of this work, measured if a row of it is wanted. Of two threads there is none: how often
    /// they meet differs too much from one moment to the next.
    fn of(&mut self, bench: &Bench<'_>, work: Work) -> f64 {
        let Work { keys, threads, .. } = work;
        if threads != 1 || !bench.wants(&work.name("same clock", "governor, ahash")) {
            return 0.0;
        }
        *self.0.entry(keys).or_insert_with(|| lookup::floor(bench, keys))
    }
}

#[derive(Clone, Copy)]
struct Work {
    keys: Keys,
    outcome: Outcome,
    threads: usize,
}

impl Work {
    fn name(self, clock: &str, beside: &str) -> String {
        let Self { keys, outcome, threads } = self;
        let (keys, outcome) = (keys.name(), outcome.name());
        let threads = if threads == 1 { "1 thread" } else { "2 threads" };
        format!("memory, {keys}, {outcome}, {threads}, {clock}: {beside}")
    }

    /// The keys to ask for.
    fn asked(self, bench: &Bench<'_>) -> Vec<String> {
        // Of a million keys the rare ones are only met when many are asked for.
        self.keys.asked(bench.effort(if self.keys == Keys::Zipf { 1 << 22 } else { 1 << 18 }))
    }
}

fn same_clock<S: BuildHasher + Clone + Default + Send + Sync>(
    bench: &mut Bench<'_>,
    work: Work,
    beside: &str,
    mark: Mark,
) -> Result<()> {
    let name = work.name("same clock", beside);
    if !bench.wants(&name) {
        return Ok(());
    }
    let clock = SharedClock::new();
    let ours = setup::ours(clock.0.clone(), work.outcome.bucket())?;
    let theirs = setup::governor::<S>(&clock, work.outcome)?;
    race(bench, work, &Title { name: &name, beside, mark }, &ours, &theirs);
    Ok(())
}

fn default_clocks(bench: &mut Bench<'_>, work: Work) -> Result<()> {
    let beside = "governor, quanta";
    let name = work.name("default clocks", beside);
    if !bench.wants(&name) {
        return Ok(());
    }
    let store = Memory::with_capacity(setup::ROOM);
    let ours = Limiter::new(store, "bench", work.outcome.bucket())?;
    let theirs = setup::governor_as_installed(work.outcome)?;
    race(bench, work, &Title { name: &name, beside, mark: Mark::Ratio(0.8) }, &ours, &theirs);
    Ok(())
}

fn race<S, C, G>(
    bench: &mut Bench<'_>,
    work: Work,
    title: &Title<'_>,
    ours: &Limiter<Memory<C>>,
    theirs: &RateLimiter<String, DashMapStateStore<String, S>, G, NoOpMiddleware<G::Instant>>,
) where
    S: BuildHasher + Clone + Send + Sync,
    C: Clock,
    G: GovernorClock + Sync,
{
    let asked = &work.asked(bench);
    for key in work.keys.each() {
        let _ = (ours.check(&key).now(), theirs.check_key(&key));
    }
    bench.race(title, Unit::Nanos, || {
        let our = side(work.threads, asked, |key| ours.check(key.as_str()).now());
        let their = side(work.threads, asked, |key| theirs.check_key(key));
        (our, their)
    });
}
