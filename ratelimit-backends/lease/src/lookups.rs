//! The lookups of a request: how often it locks a set of the table, and searches it.

use std::num::NonZeroUsize;

use ratelimit_algorithms::{Error, Limiter, Limits, TokenBucket};
use ratelimit_backend::ManualClock;
use ratelimit_core::{Decision, Micros, Source, Timestamp};
use ratelimit_memory::Memory;

use crate::{LeaseLength, Leased};

type Store = Leased<Memory<ManualClock>, ManualClock>;

const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");
/// A hundredth of a minute, in which a key of three requests is cold.
const LENGTH: Micros = Micros::from_millis(600);

struct Scene {
    clock: ManualClock,
    store: Store,
    limiter: Limiter<Store>,
    runtime: tokio::runtime::Runtime,
}

impl Scene {
    fn new() -> Self {
        let clock = ManualClock::new(Timestamp::EPOCH + Micros::from_secs(1_700_000_000));
        let store = Memory::with_clock(clock.clone(), NonZeroUsize::MIN.saturating_add(1 << 12));
        let length = LeaseLength::share(0.01).expect("a share");
        let store = Leased::with_clock(store, length, clock.clone(), KEYS_MAX);
        let limiter = Limiter::new(store.clone(), "api", TokenBucket::per_minute(10_000));
        let limiter = limiter.expect("a bucket can be leased");
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        Self { clock, store, limiter, runtime: runtime.expect("a runtime") }
    }

    /// Spends until a lease decides, and more than a few permits are held.
    fn make_hot(&self, key: &str) {
        let spend = |cost| self.limiter.check(key).cost(cost).now().expect("the store decides");
        // No lease is as large as the first; permits are taken ahead for the second.
        let _ = (spend(20), spend(1));
        assert_eq!(spend(1).source(), Source::Lease);
    }

    /// Two requests: one on the calling thread, one awaited. Returns their decisions, and the lookups of each.
    fn check(&self, key: &str) -> [(Decision, u64); 2] {
        let counted = |check: &dyn Fn() -> Result<Decision, Error>| {
            let before = self.store.lookups();
            let decision = check().expect("the store decides");
            (decision, self.store.lookups() - before)
        };
        [
            counted(&|| self.limiter.check(key).now()),
            counted(&|| self.runtime.block_on(async { self.limiter.check(key).await })),
        ]
    }
}

#[test]
fn a_request_of_a_cold_key_is_one_lookup_whether_it_is_awaited_or_not() {
    let scene = Scene::new();
    // The table has room for a tenth of them.
    for round in 0..3 {
        for key in 0..640 {
            for (decision, lookups) in scene.check(&format!("key {key}")) {
                assert_eq!((decision.source(), lookups), (Source::Store, 1), "round {round}");
            }
        }
        scene.clock.advance(LENGTH + LENGTH);
    }
}

#[test]
fn a_request_that_a_lease_admits_is_one_lookup() {
    let scene = Scene::new();
    scene.make_hot("key");
    let checks = scene.check("key");
    assert!(checks.iter().all(|(decision, _)| decision.source() == Source::Lease), "{checks:?}");
    assert_eq!(checks.map(|(_, lookups)| lookups), [1, 1]);
}

#[test]
fn a_key_that_has_cooled_is_as_cold_as_one_that_was_never_hot() {
    let scene = Scene::new();
    scene.make_hot("key");
    // What it held is still there, and of no use.
    scene.clock.advance(LENGTH + LENGTH);
    for (decision, lookups) in scene.check("key") {
        assert_eq!((decision.source(), lookups), (Source::Store, 1));
    }
}

#[test]
fn a_batch_of_cold_keys_is_one_lookup_for_each() {
    let scene = Scene::new();
    for round in 0..3 {
        let limits = Limits::new(&scene.limiter, "one", 1).and(&scene.limiter, "another", 1);
        let before = scene.store.lookups();
        let decision = limits.check().now().expect("the store decides");
        assert!(decision.is_allowed());
        assert_eq!(scene.store.lookups() - before, 2, "round {round}");
    }
}
