//! The cost of a check in the shards of a dashmap, beside mutexes of our own.

use anyhow::Result;
use ratelimit_algorithms::Limiter;
use ratelimit_memory::Memory;

use crate::{
    bench::{Bench, Title},
    row::{Mark, Unit},
    sample::side,
    setup::{self, Keys, Outcome, SharedClock},
};

pub(crate) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    if bench.is_brief() {
        return Ok(());
    }
    for keys in [Keys::One, Keys::Many, Keys::Zipf] {
        for threads in [1, 2] {
            on_dashmap(bench, keys, threads)?;
        }
    }
    Ok(())
}

fn on_dashmap(bench: &mut Bench<'_>, keys: Keys, threads: usize) -> Result<()> {
    let name = format!("memory on dashmap, {}, threads: {threads}", keys.name());
    if !bench.wants(&name) {
        return Ok(());
    }
    let clock = SharedClock::new().0;
    let store = Memory::with_dashmap(clock.clone(), setup::ROOM);
    let dashmap = Limiter::new(store, "bench", Outcome::Allowed.bucket())?;
    let mutexes = setup::ours(clock, Outcome::Allowed.bucket())?;
    let asked = &keys.asked(bench.effort(if keys == Keys::Zipf { 1 << 22 } else { 1 << 18 }));
    keys.each().for_each(|key| drop((dashmap.check(&key).now(), mutexes.check(&key).now())));
    let title = Title { name: &name, beside: "on mutexes", mark: Mark::None };
    bench.race(&title, Unit::Nanos, || {
        let on_dashmap = side(threads, asked, |key| dashmap.check(key.as_str()).now());
        (on_dashmap, side(threads, asked, |key| mutexes.check(key.as_str()).now()))
    });
    Ok(())
}
