//! The growth of the cost of a check: with keys, with evictions, with limits in a batch, with
//! entries of a log, with callers.
//!
//! Each row stands beside the smallest of its kind. `--plots` draws them.

use std::{num::NonZeroUsize, time::Duration};

use anyhow::Result;
use ratelimit_algorithms::{Limiter, Limits, SlidingWindowLog, TokenBucket};
use ratelimit_core::Micros;
use ratelimit_memory::Memory;
use ratelimit_sqlite::SqliteSettings;

use crate::{
    bench::{Bench, Title},
    row::{Mark, Unit},
    sample::{Side, nanos_each},
    setup::{self, Keys, Outcome, SharedClock, key},
};

pub(crate) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    let sizes = [1_000, 10_000, 100_000, 1_000_000];
    series(bench, "keys", &sizes, keys)?;
    series(bench, "keys that make room for new ones", &sizes, evicted)?;
    series(bench, "limits asked as one", &[1, 2, 4, 8, 16], limits)?;
    series(bench, "entries of a log", &[1, 10, 100, 1_000, 10_000, 100_000], entries)?;
    let lengths = [1, 100, 1_000, 10_000];
    series(bench, "entries of a log, SQLite", &lengths, stored_entries)?;
    series(bench, "entries half of which have to go, SQLite", &lengths, stored_denials)?;
    series(bench, "callers at once, each", &[1, 2, 4, 8], callers)
}

fn series(
    bench: &mut Bench<'_>,
    name: &str,
    counts: &[usize],
    side: fn(usize) -> Result<Side<'static>>,
) -> Result<()> {
    for &count in counts {
        let row = format!("growth, {name}: {count}");
        if bench.wants(&row) {
            let (ours, least) = (side(count)?, side(counts[0])?);
            let beside = format!("{}", counts[0]);
            let title = Title { name: &row, beside: &beside, mark: Mark::None };
            bench.race(&title, Unit::Nanos, || (ours, least));
        }
    }
    Ok(())
}

/// A number of known keys, used evenly.
fn keys(count: usize) -> Result<Side<'static>> {
    let limiter = setup::ours(SharedClock::new().0, Outcome::Allowed.bucket())?;
    (0..count).for_each(|number| drop(limiter.check(&key(number)).now()));
    let mut asked = Keys::Zipf.asked(PART);
    // A number that shares no divisor with any of the counts visits all of them in turns.
    asked.iter_mut().enumerate().for_each(|(index, asked)| *asked = key(index * 7_919 % count));
    Ok(Box::new(move || nanos_each(1, &asked, |key| limiter.check(key.as_str()).now())))
}

/// New keys, into a store that is full of expired ones.
fn evicted(count: usize) -> Result<Side<'static>> {
    let (clock, room) = (SharedClock::new().0, NonZeroUsize::new(count));
    let store = Memory::with_clock(clock.clone(), room.unwrap_or(NonZeroUsize::MIN));
    let limiter = Limiter::new(store, "bench", TokenBucket::per_second(1))?;
    (0..count).for_each(|number| drop(limiter.check(&key(number)).now()));
    let mut next = count;
    Ok(Box::new(move || {
        clock.advance(Micros::from_secs(10));
        let new: Vec<_> = (next..).take(PART.min(count / 2)).map(key).collect();
        next += new.len();
        nanos_each(1, &new, |key| limiter.check(key.as_str()).now())
    }))
}

fn limits(count: usize) -> Result<Side<'static>> {
    let store = Memory::with_clock(SharedClock::new().0, setup::ROOM);
    let limiter =
        |number| Limiter::new(store.clone(), &format!("limit-{number}"), Outcome::Allowed.bucket());
    let limiters = (0..count).map(limiter).collect::<Result<Vec<_>, _>>()?;
    let asked: Vec<_> = (0..PART / count).map(|number| key(number % 100)).collect();
    Ok(Box::new(move || {
        nanos_each(1, &asked, |key| {
            let limits = Limits::new(&limiters[0], key, 1);
            limiters[1..]
                .iter()
                .fold(limits, |limits, limiter| limits.and(limiter, key, 1))
                .check()
                .now()
        })
    }))
}

/// A log that is full, of one key: an entry comes and one goes.
fn entries(count: usize) -> Result<Side<'static>> {
    let clock = SharedClock::new().0;
    let entries = count as u64;
    let log = SlidingWindowLog::per(entries + 1, Duration::from_micros(entries));
    let limiter = setup::ours(clock.clone(), log)?;
    let asked = Keys::One.asked(PART.max(2 * count));
    Ok(Box::new(move || {
        nanos_each(1, &asked, |key| {
            clock.advance(Micros::new(1));
            limiter.check(key.as_str()).now()
        })
    }))
}

/// The same in a file.
fn stored_entries(count: usize) -> Result<Side<'static>> {
    stored(count, |_| 1)
}

/// There, requests that have to wait until half of the entries have gone.
fn stored_denials(count: usize) -> Result<Side<'static>> {
    stored(count, |entries| entries / 2 + 2)
}

fn stored(count: usize, cost: fn(u64) -> u64) -> Result<Side<'static>> {
    let (folder, clock) = (tempfile::tempdir()?, SharedClock::new().0);
    let file = SqliteSettings::file(folder.path().join("limits.db")).with_clock(clock.clone());
    let entries = count as u64;
    let log = SlidingWindowLog::per(entries + 1, Duration::from_micros(1_000 * entries));
    let limiter = Limiter::new(file.open()?, "log", log)?;
    let check = move |key: &String, cost| {
        // Kept for as long as the file is asked.
        let _ = &folder;
        clock.advance(Micros::new(if cost == 1 { 1_000 } else { 0 }));
        limiter.check(key.as_str()).cost(cost).now()
    };
    Keys::One.asked(count).iter().for_each(|key| drop(check(key, 1)));
    let (asked, cost) = (Keys::One.asked(PART / 256), cost(entries));
    Ok(Box::new(move || nanos_each(1, &asked, |key| check(key, cost))))
}

fn callers(count: usize) -> Result<Side<'static>> {
    let limiter = setup::ours(SharedClock::new().0, Outcome::Allowed.bucket())?;
    let asked = Keys::Many.asked(PART);
    Ok(Box::new(move || nanos_each(count, &asked, |key| limiter.check(key.as_str()).now())))
}

/// Checks a round.
const PART: usize = 1 << 13;
