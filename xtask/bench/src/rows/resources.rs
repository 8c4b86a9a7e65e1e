//! The cost of a decision besides time: allocations, memory, instructions.

use std::{hint::black_box, sync::Arc};

use anyhow::{Result, bail};
use ratelimit_algorithms::{Algorithm, FixedWindow, Limiter, SlidingWindowCounter, TokenBucket};
use ratelimit_backend::{Backend, ManualClock};
use ratelimit_memory::Memory;

use crate::{
    bench::{Bench, Title},
    row::{Mark, Unit},
    rows::{awaited::polled, composite},
    setup::{self, Keys, Outcome, SharedClock},
    subprocess,
};

pub(crate) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    for outcome in [Outcome::Allowed, Outcome::Denied] {
        allocations(bench, outcome)?;
        for count in [2, 4, 16] {
            allocations_together(bench, outcome, count)?;
        }
    }
    for counted in RESIDENT {
        resident(bench, counted)?;
    }
    for outcome in [Outcome::Allowed, Outcome::Denied] {
        instructions(bench, outcome)?;
    }
    Ok(())
}

/// Runs a probe in this process.
pub(crate) fn probe(name: &str) -> Result<()> {
    if let Some(what) = name.strip_prefix("resident ") {
        println!("{}", resident_probe(what)?);
        return Ok(());
    }
    let Some((what, outcome)) = name.rsplit_once(' ') else { bail!("no probe {name}") };
    let outcome = if outcome == "denied" { Outcome::Denied } else { Outcome::Allowed };
    instructions_probe(what, outcome)
}

/// Allocations of a thousand checks of a known key.
fn allocations(bench: &mut Bench<'_>, outcome: Outcome) -> Result<()> {
    let clock = ManualClock::default();
    let limiter = setup::ours(clock, outcome.bucket())?;
    let generic = limiter.clone();
    let store: Arc<dyn Backend> = Arc::new(Memory::new());
    let dynamic = Limiter::new(store, "bench", outcome.bucket())?;
    let checks: [(&str, &dyn Fn()); 3] = [
        ("sync", &|| drop(black_box(limiter.check("user:42").now()))),
        ("async", &|| drop(black_box(polled(generic.check("user:42"))))),
        ("async, dyn", &|| drop(black_box(polled(dynamic.check("user:42"))))),
    ];
    for (how, check) in checks {
        let name = format!("allocations, warm check, {}, {how}", outcome.name());
        if !bench.wants(&name) {
            continue;
        }
        check();
        let counted = allocation_counter::measure(|| (0..1_000).for_each(|_| check()));
        let title = Title { name: &name, beside: "–", mark: Mark::Figure(0.0) };
        bench.add(&title, Unit::Allocations, (counted.count_total as f64 / 1e3).into(), None);
    }
    Ok(())
}

/// Allocations of a check of several limits, of known keys.
fn allocations_together(bench: &mut Bench<'_>, outcome: Outcome, count: usize) -> Result<()> {
    let name = format!("allocations, warm check, {}, composite of {count}", outcome.name());
    if !bench.wants(&name) {
        return Ok(());
    }
    let limiters = composite::limiters(count, outcome)?;
    let check = || drop(black_box(composite::together(&limiters, "user:42").check().now()));
    check();
    let counted = allocation_counter::measure(|| (0..1_000).for_each(|_| check()));
    let title = Title { name: &name, beside: "–", mark: Mark::Figure(0.0) };
    bench.add(&title, Unit::Allocations, (counted.count_total as f64 / 1e3).into(), None);
    Ok(())
}

const RESIDENT: [&str; 3] = ["token bucket", "fixed window", "sliding window counter"];

/// Resident bytes per key, with a million of them.
fn resident(bench: &mut Bench<'_>, what: &str) -> Result<()> {
    let name = format!("resident bytes per key, 10^6 keys, {what}");
    if bench.wants(&name) {
        let ours = subprocess::figure(&format!("resident {what}"))?;
        let theirs = subprocess::figure("resident governor")?;
        let title = Title { name: &name, beside: "governor", mark: Mark::Ratio(0.8) };
        bench.add(&title, Unit::Bytes, ours.into(), Some(theirs.into()));
    }
    Ok(())
}

fn resident_probe(what: &str) -> Result<f64> {
    let (limit, clock) = (1_000, SharedClock::new());
    let algorithm: Algorithm = match what {
        "token bucket" => TokenBucket::per_hour(limit).try_into()?,
        "fixed window" => FixedWindow::per_hour(limit).try_into()?,
        "sliding window counter" => SlidingWindowCounter::per_hour(limit).try_into()?,
        _ => {
            let governor = setup::governor::<std::hash::RandomState>(&clock, Outcome::Denied)?;
            return grown(|key| drop(governor.check_key(&key)));
        }
    };
    let ours = Limiter::new(Memory::with_clock(clock.0, setup::ROOM), "bench", algorithm)?;
    grown(|key| drop(ours.check(&key).now()))
}

/// Bytes that `spend` adds per key.
fn grown(spend: impl Fn(String)) -> Result<f64> {
    let before = subprocess::resident_bytes()?;
    Keys::Zipf.each().for_each(spend);
    Ok((subprocess::resident_bytes()? - before) as f64 / Keys::Zipf.count() as f64)
}

/// Instructions of a check of a known key, as callgrind counts them.
fn instructions(bench: &mut Bench<'_>, outcome: Outcome) -> Result<()> {
    let name = format!("instructions, 1 hot key, {}, same clock", outcome.name());
    if !bench.wants(&name) {
        return Ok(());
    }
    let count = |what: &str| {
        let [work, idle] =
            [what, &format!("{what}-idle")].map(|what| format!("{what} {}", outcome.name()));
        subprocess::instructions(&work, &idle, COUNTED as f64)
    };
    let (Some(ours), Some(theirs)) = (count("ours")?, count("governor")?) else {
        eprintln!("{name}: needs valgrind");
        return Ok(());
    };
    let title = Title { name: &name, beside: "governor", mark: Mark::None };
    bench.add(&title, Unit::Instructions, ours.into(), Some(theirs.into()));
    Ok(())
}

fn instructions_probe(what: &str, outcome: Outcome) -> Result<()> {
    let (what, checks) = what.strip_suffix("-idle").map_or((what, COUNTED), |what| (what, 0));
    let (clock, key) = (SharedClock::new(), setup::key(42));
    let ours = setup::ours(clock.0.clone(), outcome.bucket())?;
    let theirs = setup::governor::<std::hash::RandomState>(&clock, outcome)?;
    let _ = (ours.check(&key).now(), theirs.check_key(&key));
    for _ in 0..checks {
        match what {
            "ours" => drop(black_box(ours.check(black_box(key.as_str())).now())),
            _ => drop(black_box(theirs.check_key(black_box(&key)))),
        }
    }
    Ok(())
}

const COUNTED: usize = 10_000;
