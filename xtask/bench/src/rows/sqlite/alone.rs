//! One caller, which waits for each answer.

use std::time::{Duration, Instant};

use anyhow::Result;
use ratelimit_algorithms::{Limiter, SlidingWindowLog};
use ratelimit_sqlite::Sqlite;

use super::{DEADLINE, Files, by_hand::ByHand, keys, open};
use crate::{
    bench::{Bench, Title, turns},
    row::{Mark, Unit},
    sample::Sample,
    subject::{Outcome, key},
};

pub(super) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    row(bench, Outcome::Allowed, 0.85)?;
    row(bench, Outcome::Denied, 1.5)?;
    beside_a_log(bench)
}

fn row(bench: &mut Bench<'_>, outcome: Outcome, reach: f64) -> Result<()> {
    let name = format!("sqlite, one caller, {}", outcome.name());
    if !bench.wants(&name) {
        return Ok(());
    }
    let (files, keys) = (Files::new()?, keys());
    let ours = open(&files.ours(), outcome, DEADLINE)?;
    let theirs = ByHand::open(&files.theirs(), outcome)?;
    // The one permit of each key is spent before.
    for key in &keys {
        let _ = (ours.check(key)?, theirs.check(key)?);
    }
    let beside = "BEGIN IMMEDIATE, SELECT, UPSERT, COMMIT";
    let title = Title { name: &name, beside, mark: Mark::AtLeast(reach) };
    race(
        bench,
        &title,
        || rate(&keys, |key| Ok(ours.check(key)?.is_allowed())),
        || rate(&keys, |key| theirs.check(key)),
    )
}

/// What a long log costs the keys that lie beside it.
fn beside_a_log(bench: &mut Bench<'_>) -> Result<()> {
    let name = "sqlite, one caller, beside a log of 3000 entries";
    if !bench.wants(name) {
        return Ok(());
    }
    let (files, keys) = (Files::new()?, [key(0)]);
    let [beside, alone] = [files.ours(), files.theirs()]
        .map(|file| open(&file, Outcome::Allowed, Duration::from_secs(10)));
    let (beside, alone) = (beside?, alone?);
    let log =
        Limiter::new(Sqlite::open(files.ours())?, "a-log", SlidingWindowLog::per_day(ENTRIES))?;
    for _ in 0..ENTRIES {
        let _ = log.check(&keys[0])?;
    }
    let title = Title { name, beside: "without it", mark: Mark::AtLeast(0.9) };
    race(
        bench,
        &title,
        || rate(&keys, |key| Ok(beside.check(key)?.is_allowed())),
        || rate(&keys, |key| Ok(alone.check(key)?.is_allowed())),
    )
}

fn race(
    bench: &mut Bench<'_>,
    title: &Title<'_>,
    ours: impl FnMut() -> Result<f64>,
    theirs: impl FnMut() -> Result<f64>,
) -> Result<()> {
    let (ours, theirs) = turns(bench.effort(ROUNDS), ours, theirs);
    let [ours, theirs] = [ours, theirs].map(|rounds| rounds.into_iter().collect::<Result<_>>());
    bench.add(title, Unit::PerSecond, Sample::new(ours?), Some(Sample::new(theirs?)));
    Ok(())
}

/// Answers a second.
fn rate(keys: &[String], ask: impl Fn(&str) -> Result<bool>) -> Result<f64> {
    let (began, mut asked) = (Instant::now(), 0.0);
    while began.elapsed() < LENGTH {
        for key in keys.iter().take(100) {
            ask(key)?;
            asked += 1.0;
        }
    }
    Ok(asked / began.elapsed().as_secs_f64())
}

const ENTRIES: u64 = 3_000;

const ROUNDS: usize = 80;

const LENGTH: Duration = Duration::from_millis(50);
