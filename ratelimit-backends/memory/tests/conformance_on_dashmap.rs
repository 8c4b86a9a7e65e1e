//! Memory keeps every promise of a store in the shards of a dashmap, too.
#![cfg(feature = "dashmap")]

use std::num::NonZeroUsize;

use ratelimit_conformance::{Effort, suite};
use ratelimit_memory::Memory;
use ratelimit_servers::effort;

const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

suite!(
    async |clock| Memory::with_dashmap(clock, KEYS_MAX),
    Effort::new().with_checks_per_task(10_000).with_trace_steps(effort(100_000, 20_000))
);
