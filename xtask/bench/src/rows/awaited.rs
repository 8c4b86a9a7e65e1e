//! The cost of awaiting a decision in memory, beside one on the spot.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use anyhow::Result;
use ratelimit_algorithms::Limiter;
use ratelimit_backend::Backend;
use ratelimit_memory::Memory;

use crate::{
    bench::{Bench, Title},
    row::{Mark, Unit},
    sample::side,
    setup::{self, Keys, Outcome, SharedClock},
};

pub(crate) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    let clock = SharedClock::new().0;
    let asked = &Keys::Many.asked(bench.effort(1 << 18));
    let sync = setup::ours(clock.clone(), Outcome::Allowed.bucket())?;
    let generic = setup::ours(clock.clone(), Outcome::Allowed.bucket())?;
    let store: Arc<dyn Backend> = Arc::new(Memory::with_clock(clock, setup::ROOM));
    let dynamic = Limiter::new(store, "bench", Outcome::Allowed.bucket())?;
    let title =
        |name, reach| Title { name, beside: "the synchronous check", mark: Mark::Ratio(reach) };
    let check = || side(1, asked, |key| sync.check(key.as_str()).now());
    bench.race(&title("memory, async check, generic", 1.05), Unit::Nanos, || {
        (side(1, asked, |key| polled(generic.check(key.as_str()))), check())
    });
    bench.race(&title("memory, async check, dyn", 1.2), Unit::Nanos, || {
        (side(1, asked, |key| polled(dynamic.check(key.as_str()))), check())
    });
    Ok(())
}

/// Returns the output of a future that is ready at its first poll.
#[inline(always)]
pub(crate) fn polled<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}
