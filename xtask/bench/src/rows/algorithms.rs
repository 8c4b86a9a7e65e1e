//! The cost of the other algorithms, beside the token bucket.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Result, ensure};
use ratelimit_algorithms::{
    Adaptive, Algorithm, FixedWindow, InFlight, LeakyBucket, Limiter, SlidingWindowCounter,
    SlidingWindowLog,
};
use ratelimit_backend::{ManualClock, SyncBackend};
use ratelimit_core::{Action, Batch, Check, Key, Micros, Policy, Receipt};
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
    for limit in [10, 1_000] {
        held(bench, limit)?;
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

/// A permit is acquired, and another of all but one that are held is given back; beside the check of a
/// bucket, and its refund.
fn held(bench: &mut Bench<'_>, limit: u64) -> Result<()> {
    let name = format!("memory, in flight, acquire and release, limit {limit}");
    if !bench.wants(&name) {
        return Ok(());
    }
    let [ours, bucket] =
        [InFlight::limit(limit).try_into()?, Outcome::Allowed.bucket().try_into()?]
            .map(|algorithm: Algorithm| Held::new(algorithm, limit));
    let (ours, bucket) = (ours?, bucket?);
    let asked = &(0..bench.effort(1 << 18)).collect::<Vec<_>>();
    let title =
        Title { name: &name, beside: "check and refund of a bucket", mark: Mark::Ratio(2.5) };
    bench.race(&title, Unit::Nanos, || (ours.turns(asked), bucket.turns(asked)));
    Ok(())
}

/// A key, and receipts of what it holds.
struct Held {
    memory: Memory<ManualClock>,
    policy: Policy,
    receipts: Mutex<VecDeque<Receipt>>,
}

impl Held {
    /// Holds all but one.
    fn new(algorithm: Algorithm, limit: u64) -> Result<Self> {
        let memory = Memory::with_clock(SharedClock::new().0, setup::ROOM);
        let policy = Policy::new("bench", algorithm)?;
        let held = Self { memory, policy, receipts: Mutex::default() };
        for _ in 1..limit {
            held.acquire(&mut held.receipts())?;
        }
        Ok(held)
    }

    fn receipts(&self) -> MutexGuard<'_, VecDeque<Receipt>> {
        self.receipts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acquire(&self, receipts: &mut VecDeque<Receipt>) -> Result<()> {
        let check = Check::new(&self.policy, Key::new("user:42")?, 1)?;
        let decision = self.memory.apply_now(Batch::one(&check), Action::Spend)?[0];
        ensure!(decision.is_allowed(), "there is room");
        receipts.push_back(Receipt::of(&decision, &self.policy, 1));
        Ok(())
    }

    /// The oldest, the newest and those between by turns.
    fn turns<'a>(&'a self, asked: &'a [usize]) -> Side<'a> {
        side(1, asked, |turn| {
            let mut receipts = self.receipts();
            self.acquire(&mut receipts)?;
            let index = turn.wrapping_mul(7_919) % receipts.len();
            let receipt = receipts.swap_remove_back(index);
            let check = Check::new(&self.policy, Key::new("user:42")?, 1)?.with_receipt(receipt);
            anyhow::Ok(self.memory.apply_now(Batch::one(&check), Action::Refund)?[0])
        })
    }
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
