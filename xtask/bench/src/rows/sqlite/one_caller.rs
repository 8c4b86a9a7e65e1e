//! One caller, which waits for each answer.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{DEADLINE, Files, handwritten::Handwritten, keys, open};
use crate::{
    bench::{Bench, Title, turns},
    row::{Mark, Unit},
    sample::Sample,
    setup::Outcome,
};

pub(super) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    row(bench, Outcome::Allowed, 1.15)?;
    row(bench, Outcome::Denied, 2.5)
}

fn row(bench: &mut Bench<'_>, outcome: Outcome, reach: f64) -> Result<()> {
    let name = format!("sqlite, one caller, {}", outcome.name());
    if !bench.wants(&name) {
        return Ok(());
    }
    let (files, keys) = (Files::new()?, keys());
    let ours = open(&files.ours(), outcome, DEADLINE)?;
    let theirs = Handwritten::open(&files.theirs(), outcome)?;
    // The one permit of each key is spent before.
    for key in &keys {
        let _ = (ours.check(key).now()?, theirs.check(key)?);
    }
    let beside = "BEGIN IMMEDIATE, SELECT, UPSERT, COMMIT";
    let title = Title { name: &name, beside, mark: Mark::AtLeast(reach) };
    let (ours, theirs) = turns(
        bench.effort(ROUNDS),
        || rate(&keys, |key| Ok(ours.check(key).now()?.is_allowed())),
        || rate(&keys, |key| theirs.check(key)),
    );
    let [ours, theirs] = [ours, theirs].map(|rounds| rounds.into_iter().collect::<Result<_>>());
    bench.add(&title, Unit::PerSecond, Sample::new(ours?), Some(Sample::new(theirs?)));
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

const ROUNDS: usize = 80;

const LENGTH: Duration = Duration::from_millis(50);
