//! A store keeps every promise behind each wrapper, as long as that has nothing to say.

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicU64, Ordering},
};

use ratelimit_backend::{Backend, BackendError, Clock, ManualClock, Names, Reply};
use ratelimit_conformance::suite;
use ratelimit_core::{Action, Batch, Timestamp};
use ratelimit_memory::Memory;
use ratelimit_resilience::{Breaker, DenyCache, Fallback, Lists, LocalLimits, OnFailure, Shadow};

const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

fn memory(clock: ManualClock) -> Memory<ManualClock> {
    Memory::with_clock(clock, KEYS_MAX)
}

mod breaker {
    use super::*;
    suite!(async |clock| Breaker::with_clock(memory(clock.clone()), clock));
}

mod fallback {
    use super::*;
    suite!(async |clock| {
        let local = OnFailure::Local(LocalLimits::new(Memory::new()));
        Fallback::with_clock(memory(clock.clone()), local, clock)
    });
}

mod deny_cache {
    use super::*;
    suite!(async |clock| DenyCache::with_clock(memory(clock), Backwards::default(), KEYS_MAX));
}

mod shadow {
    use super::*;
    suite!(async |clock| {
        let shadow = Shadow::new(memory(clock));
        shadow.enforce(100).expect("a percentage");
        shadow
    });
}

mod shadow_of_other_names {
    use super::*;
    suite!(async |clock| Shadow::new(memory(clock)).with_names(["another"]));
}

mod lists {
    use super::*;
    suite!(async |clock| {
        let lists = Lists::with_clock(memory(clock.clone()), clock);
        lists.under("another").deny("key");
        lists.everywhere().deny("another");
        lists
    });
}

#[cfg(feature = "tokio")]
mod resilient {
    use ratelimit_resilience::Resilient;

    use super::*;
    suite!(async |clock| Resilient::with_clock(memory(clock.clone()), clock));
}

#[cfg(feature = "tokio")]
mod all_of_them_over_a_store_that_waits {
    use std::time::Duration;

    use ratelimit_resilience::Resilient;

    use super::*;
    suite!(async |clock| {
        let store = Resilient::with_clock(Waiting(memory(clock.clone())), clock.clone());
        let store = store.with_deadline(Duration::from_secs(60));
        let store = DenyCache::with_clock(store, Backwards::default(), KEYS_MAX);
        let store = Shadow::new(store);
        store.enforce(100).expect("a percentage");
        Lists::with_clock(store, clock)
    });
}

/// Time that goes back by a microsecond whenever it is looked at: so no denial is known to hold.
#[derive(Debug)]
struct Backwards(AtomicU64);

impl Default for Backwards {
    fn default() -> Self {
        Self(AtomicU64::new(Timestamp::MAX.as_micros()))
    }
}

impl Clock for Backwards {
    fn now(&self) -> Result<Timestamp, BackendError> {
        let micros = self.0.fetch_sub(1, Ordering::Relaxed);
        Ok(Timestamp::from_micros(micros).expect("less than the most"))
    }
}

/// A store that lets others run before it answers, and after.
#[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "only wrapped in what needs it"))]
struct Waiting(Memory<ManualClock>);

impl Backend for Waiting {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::waiting(async move {
            tokio::task::yield_now().await;
            let decisions = self.0.apply(batch, action).await;
            tokio::task::yield_now().await;
            decisions
        })
    }

    fn names(&self) -> &Names {
        self.0.names()
    }
}
