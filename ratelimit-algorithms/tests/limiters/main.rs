//! Decisions about one limit and about several, waits in threads, and permits that are held.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod at_once;
mod blocking;
mod debt;
mod in_flight;
mod limits;
mod permit;
mod permits;

use std::num::NonZeroUsize;

use ratelimit_algorithms::{ManualClock, Timestamp};
use ratelimit_memory::Memory;

/// A store whose clock stands, and that clock.
fn store() -> (Memory<ManualClock>, ManualClock) {
    let clock = ManualClock::new(Timestamp::EPOCH);
    (Memory::with_clock(clock.clone(), KEYS_MAX), clock)
}

const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(100).unwrap();
