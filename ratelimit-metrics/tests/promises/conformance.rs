//! A store that is watched keeps every promise that it keeps alone.

use std::{num::NonZeroUsize, sync::Arc};

use ratelimit_backend::{Backend, BackendError, ManualClock, Names, Reply, SyncBackend};
use ratelimit_core::{Action, Batch, store::Decisions};
use ratelimit_memory::Memory;
use ratelimit_metrics::{Event, Observed, Recorder, Statistics};

const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

fn memory(clock: ManualClock) -> Memory<ManualClock> {
    Memory::with_clock(clock, KEYS_MAX)
}

mod at_once {
    use super::*;

    ratelimit_conformance::suite!(async |clock| Observed::new(memory(clock), Statistics::new()));
}

/// A store that has to be awaited.
struct Slow(Memory<ManualClock>);

impl Backend for Slow {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::waiting(async move {
            tokio::task::yield_now().await;
            self.0.apply_now(batch, action)
        })
    }

    fn names(&self) -> &Names {
        self.0.names()
    }
}

mod awaited {
    use super::*;

    ratelimit_conformance::suite!(async |clock| {
        let store = Slow(memory(clock));
        Observed::new(store, Arc::new(Statistics::new()))
    });
}

/// A recorder that panics every other time, without a word.
struct Panics;

impl Recorder for Panics {
    fn record(&self, event: &Event<'_>) {
        if event.key.as_bytes().len().is_multiple_of(2) {
            std::panic::resume_unwind(Box::new(()));
        }
    }
}

/// FAULTS 54 and 195, for every promise.
mod with_a_recorder_that_panics {
    use super::*;

    ratelimit_conformance::suite!(async |clock| Observed::new(memory(clock), Panics));
}

/// The decisions of a store in this process are handed on as they are.
#[test]
fn a_watched_store_answers_what_it_answers_alone() -> Result<(), Box<dyn std::error::Error>> {
    use ratelimit_core::{Check, Key, Policy, token_bucket};

    let quota = token_bucket::Quota::new(3, 1, std::time::Duration::from_secs(1))?;
    let policy = Policy::new("api", quota)?;
    let check = Check::new(&policy, Key::new("user")?, 1)?;
    let (alone, watched) = (memory(ManualClock::default()), memory(ManualClock::default()));
    let watched = Observed::new(watched, Statistics::new());
    for action in [Action::Spend, Action::Peek, Action::Spend, Action::Spend, Action::Spend] {
        let answer = |store: &dyn SyncBackend| -> Result<Decisions, BackendError> {
            store.apply_now(Batch::one(&check), action)
        };
        assert_eq!(answer(&alone)?, answer(&watched)?);
    }
    Ok(())
}
