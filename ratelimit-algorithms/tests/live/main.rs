//! Limits that change while they are in use, as an application changes them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cost;
#[cfg(all(feature = "json", feature = "toml"))]
mod file;
mod names;
#[cfg(feature = "serde")]
mod rules;
mod tiers;
mod updates;

use std::num::NonZeroUsize;

use ratelimit_algorithms::{ManualClock, Micros, Timestamp};
use ratelimit_memory::Memory;

/// The return type of tests that use `?`.
type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A store whose time stands still until somebody moves it.
fn store() -> (Memory<ManualClock>, ManualClock) {
    let clock = ManualClock::new(Timestamp::EPOCH + Micros::from_secs(1_700_000_000));
    (Memory::with_clock(clock.clone(), NonZeroUsize::MAX), clock)
}
