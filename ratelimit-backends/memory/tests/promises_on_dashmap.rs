//! The promises of memory, of a store in the shards of a dashmap.
#![cfg(feature = "dashmap")]

use std::num::NonZeroUsize;

use ratelimit_backend::Clock;
use ratelimit_memory::Dashmap;

#[path = "promises/store_under_test.rs"]
mod store_under_test;

#[path = "promises/capacity.rs"]
mod capacity;
#[path = "promises/forgetting.rs"]
mod forgetting;
#[path = "promises/history.rs"]
mod history;
#[path = "promises/panics.rs"]
mod panics;
#[path = "promises/threads.rs"]
mod threads;

type Memory<C> = ratelimit_memory::Memory<C, Dashmap>;

fn store<C: Clock>(clock: C, keys_max: NonZeroUsize) -> Memory<C> {
    Memory::with_dashmap(clock, keys_max)
}
