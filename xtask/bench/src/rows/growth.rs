//! The cost of keys that come and go: a flood of new ones, and sweeping a million old ones.

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use anyhow::Result;
use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_core::Micros;
use ratelimit_memory::Memory;

use crate::{
    bench::{Bench, Title},
    row::{Mark, Unit},
    sample::{Sample, Side, nanos_each, side},
    setup::{self, Outcome, SharedClock, key},
};

pub(crate) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    flood(bench);
    sweep(bench)?;
    refused(bench)
}

/// New keys into a store that was empty.
fn flood(bench: &mut Bench<'_>) {
    let title = Title {
        name: "memory, flood of new keys, same clock",
        beside: "governor",
        mark: Mark::Ratio(0.8),
    };
    let keys: Vec<_> = (0..100_000).map(key).collect();
    let (clock, keys) = (&SharedClock::new(), &keys);
    bench.race(&title, Unit::Nanos, || {
        let ours: Side<'_> = Box::new(move || {
            let ours = setup::ours(clock.0.clone(), Outcome::Denied.bucket());
            ours.map_or(f64::NAN, |ours| nanos_each(1, keys, |key| ours.check(key.as_str()).now()))
        });
        let theirs: Side<'_> = Box::new(move || {
            let theirs = setup::governor::<std::hash::RandomState>(clock, Outcome::Denied);
            theirs.map_or(f64::NAN, |theirs| nanos_each(1, keys, |key| theirs.check_key(key)))
        });
        (ours, theirs)
    });
}

/// New keys that are refused, since the store is full of live ones.
fn refused(bench: &mut Bench<'_>) -> Result<()> {
    let title = Title {
        name: "memory, a new key refused by a full store of 10^6",
        beside: "a full store of 10^3",
        mark: Mark::Ratio(1.5),
    };
    if !bench.wants(title.name) {
        return Ok(());
    }
    let full = |keys: usize| {
        let room = NonZeroUsize::new(keys).unwrap_or(NonZeroUsize::MIN);
        let store = Memory::with_clock(SharedClock::new().0, room);
        let limiter = Limiter::new(store, "bench", Outcome::Denied.bucket())?;
        (0..keys).for_each(|number| drop(limiter.check(&key(number)).now()));
        anyhow::Ok(limiter)
    };
    let (many, few) = (full(OLD)?, full(KNOWN)?);
    let new: Vec<_> = (OLD..OLD + 10_000).map(key).collect();
    bench.race(&title, Unit::Nanos, || {
        (
            side(1, &new, |key| many.check(key.as_str()).now()),
            side(1, &new, |key| few.check(key.as_str()).now()),
        )
    });
    Ok(())
}

/// Checks of known keys while another thread sweeps a million expired ones: ours by filling a
/// store that is full of them, governor's by asking it to. And the slowest call that swept.
fn sweep(bench: &mut Bench<'_>) -> Result<()> {
    let names = [
        "memory, checks while 10^6 expired keys are swept, p99.99",
        "memory, slowest call of those that sweep 10^6 expired keys",
    ];
    if !names.iter().any(|name| bench.wants(name)) {
        return Ok(());
    }
    let (mut ours, mut worst, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.effort(8) {
        let swept = our_sweep()?;
        ours.push(swept.checks_p9999);
        worst.push(swept.slowest);
        theirs.push(their_sweep()?);
    }
    let [checks, slowest] = names;
    let title = Title { name: checks, beside: "governor", mark: Mark::Ratio(0.1) };
    bench.add(&title, Unit::Micros, Sample::new(ours), Some(Sample::new(theirs)));
    let title = Title { name: slowest, beside: "–", mark: Mark::None };
    bench.add(&title, Unit::Micros, Sample::new(worst), None);
    Ok(())
}

/// In microseconds.
struct Swept {
    checks_p9999: f64,
    slowest: f64,
}

fn our_sweep() -> Result<Swept> {
    let clock = SharedClock::new();
    let room = NonZeroUsize::new(OLD + KNOWN).unwrap_or(NonZeroUsize::MIN);
    let store = Memory::with_clock(clock.0.clone(), room);
    let old = Limiter::new(store.clone(), "old", TokenBucket::per_second(1))?;
    let known = Limiter::new(store, "known", Outcome::Allowed.bucket())?;
    (0..OLD).for_each(|number| drop(old.check(&key(number)).now()));
    let keys: Vec<_> = (OLD..OLD + KNOWN).map(key).collect();
    let check = |key: &String| drop(known.check(key.as_str()).now());
    keys.iter().for_each(check);
    clock.0.advance(Micros::from_secs(50));
    keys.iter().for_each(check);

    let new: Vec<_> = (2 * OLD..3 * OLD).map(key).collect();
    let mut slowest = 0.0_f64;
    let checks_p9999 = checks_during(&keys, check, || {
        for key in &new {
            let began = Instant::now();
            drop(old.check(key.as_str()).now());
            slowest = slowest.max(began.elapsed().as_nanos() as f64 / 1e3);
        }
    });
    Ok(Swept { checks_p9999, slowest })
}

fn their_sweep() -> Result<f64> {
    let clock = SharedClock::new();
    let governor = setup::governor::<std::hash::RandomState>(&clock, Outcome::Allowed)?;
    (0..OLD + KNOWN).for_each(|number| drop(governor.check_key(&key(number))));
    let keys: Vec<_> = (OLD..OLD + KNOWN).map(key).collect();
    let check = |key: &String| drop(governor.check_key(key));
    clock.0.advance(Micros::from_secs(50));
    keys.iter().for_each(check);
    Ok(checks_during(&keys, check, || governor.retain_recent()))
}

/// The 99.99th percentile, in microseconds, of checks that are made while `sweep` runs.
fn checks_during(keys: &[String], check: impl Fn(&String) + Sync, sweep: impl FnOnce()) -> f64 {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let checks = scope.spawn(|| {
            let mut took = Vec::with_capacity(1 << 22);
            for key in keys.iter().cycle() {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let began = Instant::now();
                check(key);
                took.push(began.elapsed().as_nanos() as f64 / 1e3);
            }
            Sample::new(took).at(0.9999)
        });
        sweep();
        done.store(true, Ordering::Relaxed);
        checks.join().unwrap_or(f64::NAN)
    })
}

/// Keys that have expired, and keys that are in use.
const OLD: usize = 1_000_000;
const KNOWN: usize = 1_000;
