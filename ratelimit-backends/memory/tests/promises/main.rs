//! Promises of memory beyond those of every store: a bound that is kept, forgetting that
//! nobody notices, and threads that meet.

use std::num::NonZeroUsize;

use ratelimit_backend::Clock;

mod store_under_test;

mod capacity;
mod forgetting;
mod history;
mod panics;
mod threads;

type Memory<C> = ratelimit_memory::Memory<C>;

fn store<C: Clock>(clock: C, keys_max: NonZeroUsize) -> Memory<C> {
    Memory::with_clock(clock, keys_max)
}
