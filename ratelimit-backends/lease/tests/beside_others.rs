//! Leases beside what else stands around a store, and what applications do with a decision.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ratelimit_algorithms::{Backend, Limiter, Source, SyncBackend, TokenBucket};
use ratelimit_backend::{BackendError, Clock, ErrorKind, ManualClock, Names, Reply};
use ratelimit_core::{
    Action, Batch, Calendar, Micros, Policy, Timestamp, fixed_window, store::Decisions,
};
use ratelimit_lease::{LeaseLength, Leased};
use ratelimit_memory::Memory;
use ratelimit_metrics::{Observed, Statistics};
use ratelimit_resilience::{DenyCache, Lists, LocalLimits, OnFailure, Resilient, Shadow};

type Store = Memory<ManualClock>;

const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000).unwrap();
const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(64).unwrap();

fn store() -> (Store, ManualClock) {
    let clock = ManualClock::new(START);
    (Memory::with_clock(clock.clone(), KEYS_MAX), clock)
}

fn leased<B: Backend>(store: B, clock: &ManualClock) -> Leased<B, ManualClock> {
    Leased::with_clock(store, LeaseLength::share(0.01).unwrap(), clock.clone(), KEYS_MAX)
}

fn limiter<B: Backend>(store: B) -> Limiter<B> {
    Limiter::new(store, "api", TokenBucket::per_minute(10_000)).unwrap()
}

/// Checks until a lease decides; returns the number of checks.
#[track_caller]
fn make_hot<B: SyncBackend>(limiter: &Limiter<B>) -> u64 {
    let is_leased = |_: &u64| limiter.check("key").now().unwrap().source() == Source::Lease;
    (1..100).find(is_leased).expect("the key is hot")
}

#[test]
fn lists_and_shadow_mode_stand_around_leases() {
    let (store, clock) = store();
    let lists = Lists::with_clock(Shadow::new(leased(store, &clock)), clock);
    let limiter = limiter(lists.clone());
    make_hot(&limiter);
    lists.under("api").deny("key");
    assert_eq!(limiter.check("key").now().unwrap().source(), Source::List);
}

/// A store that has to be awaited, and does what nobody awaits by itself.
#[derive(Clone)]
struct Awaited(Store);

impl Backend for Awaited {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::waiting(async move {
            tokio::task::yield_now().await;
            self.0.apply(batch, action).await
        })
    }

    fn apply_unawaited(&self, batch: Batch<'_>, action: Action) -> bool {
        self.0.apply_now(batch, action).is_ok()
    }

    fn names(&self) -> &Names {
        self.0.names()
    }
}

#[tokio::test]
async fn what_nobody_awaits_goes_through_all_wrappers_to_the_store() {
    let (store, clock) = store();
    let resilient = Resilient::with_clock(Awaited(store.clone()), clock.clone());
    let cached = DenyCache::with_clock(resilient, clock.clone(), KEYS_MAX);
    let leased = leased(Observed::new(cached, Statistics::new()), &clock);
    let lists = Lists::with_clock(Shadow::new(leased).with_names(["other"]), clock);
    let limiter = limiter(Arc::new(lists));
    let spent = limiter.acquire("key").cost(10_000).await.unwrap().refund_on_drop();
    assert!(limiter.acquire("key").await.is_err(), "nothing is left");
    drop(spent);
    limiter.acquire("key").cost(10_000).await.expect("no denial is repeated");
}

#[test]
fn metrics_count_what_leases_decide_and_below_them_what_the_store_is_asked() {
    let (store, clock) = store();
    let below = Observed::new(store, Statistics::new());
    let above = Observed::new(leased(below, &clock), Statistics::new());
    let limiter = limiter(above.clone());
    let checks = make_hot(&limiter) + 9;
    assert!((0..9).all(|_| limiter.check("key").now().unwrap().is_allowed()));
    let totals = &above.recorder().snapshot().limiters[0];
    assert_eq!((totals.allowed.lease, totals.allowed.store), (10, checks - 10));
    let store = &above.get_ref().get_ref().recorder().snapshot().limiters[0];
    assert_eq!(store.allowed.store, above.get_ref().stats().round_trips);
}

#[tokio::test]
async fn a_deadline_and_a_breaker_may_stand_below_leases_and_above() {
    let (store, clock) = store();
    let below = leased(Resilient::with_clock(store.clone(), clock.clone()), &clock);
    let above = Resilient::with_clock(leased(store, &clock), clock);
    let stores: [Arc<dyn Backend>; 2] = [Arc::new(below), Arc::new(above)];
    for store in stores {
        let (limiter, mut is_leased) = (limiter(store), false);
        for _ in 0..100 {
            tokio::task::yield_now().await;
            is_leased |= limiter.check("key").await.unwrap().source() == Source::Lease;
        }
        assert!(is_leased);
    }
}

/// A store that can be made to fail.
#[derive(Clone)]
struct Failing(Store, Arc<AtomicBool>);

impl Backend for Failing {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        if self.1.load(Ordering::Relaxed) {
            return Reply::ready(Err(BackendError::not_applied(ErrorKind::Unavailable)));
        }
        self.0.apply(batch, action)
    }

    fn names(&self) -> &Names {
        self.0.names()
    }
}

#[tokio::test]
async fn held_permits_are_used_while_a_breaker_below_is_open_and_not_while_one_above_is() {
    let (store, clock) = store();
    let is_down = Arc::new(AtomicBool::new(false));
    let store = Failing(store, Arc::clone(&is_down));
    let below = leased(Resilient::with_clock(store.clone(), clock.clone()), &clock);
    let above = Resilient::with_clock(leased(store, &clock), clock);
    let stores: [(Arc<dyn Backend>, bool); 2] = [(Arc::new(below), true), (Arc::new(above), false)];
    for (store, is_used) in stores {
        is_down.store(false, Ordering::Relaxed);
        let limiter = limiter(store);
        while limiter.check("key").await.unwrap().source() != Source::Lease {
            tokio::task::yield_now().await;
        }
        is_down.store(true, Ordering::Relaxed);
        for _ in 0..5 {
            limiter.check("other").await.expect_err("the store fails");
        }
        let source = limiter.check("key").await.map(|decision| decision.source()).ok();
        assert_eq!(source, is_used.then_some(Source::Lease));
    }
}

#[tokio::test]
async fn what_a_fallback_decides_is_not_leased() {
    let clock = ManualClock::new(START);
    let full = Memory::with_clock(clock.clone(), NonZeroUsize::MIN);
    let other = Limiter::new(full.clone(), "other", TokenBucket::per_hour(1)).unwrap();
    assert!(other.check("key").now().unwrap().is_allowed());
    let local = OnFailure::Local(LocalLimits::new(Memory::with_clock(clock.clone(), KEYS_MAX)));
    let failing = Resilient::with_clock(full, clock.clone()).with_fallback(local);
    let store = leased(failing, &clock);
    let limiter = limiter(store.clone());
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert_eq!(limiter.check("key").await.unwrap().source(), Source::Local);
    }
    assert_eq!(store.stats().leased, 0);
}

#[test]
fn a_deny_cache_may_stand_around_leases_as_well() {
    let (store, clock) = store();
    let store = DenyCache::with_clock(leased(store, &clock), clock, KEYS_MAX);
    let limiter = limiter(store);
    let admitted = (0..11_000).filter(|_| limiter.check("key").now().unwrap().is_allowed());
    assert_eq!(admitted.count(), 10_000);
}

#[test]
fn a_leased_permit_is_settled_in_the_store() {
    let (store, clock) = store();
    let store = leased(store, &clock);
    let limiter = limiter(store.clone());
    make_hot(&limiter);
    // Takes aside.
    let remaining = || limiter.peek("key").now().unwrap().remaining + store.stats().leased;
    let before = remaining();
    let permit = limiter.acquire("key").now().unwrap();
    assert_eq!(permit.decision().source(), Source::Lease);
    permit.settle(21).now().unwrap();
    assert_eq!(remaining(), before - 20);
    let permit = limiter.acquire("key").cost(2).now().unwrap();
    assert_eq!(permit.decision().source(), Source::Lease);
    permit.refund().now().unwrap();
    assert_eq!(remaining(), before - 18);
}

/// The last window of the calendar ends, and what was taken in it with it.
#[test]
fn windows_of_a_calendar_are_leased() {
    let (store, clock) = store();
    let second = |number: u64| START + Micros::from_secs(number);
    let calendar = Calendar::new("by hand", [0, 10, 40].map(second)).unwrap();
    let quota = fixed_window::Quota::by_calendar(1_000, calendar).unwrap();
    let policy = Policy::new("calendar", quota).unwrap();
    let limiter = Limiter::with_policies(leased(store, &clock), policy).unwrap();
    clock.set(second(10) - Micros::new(1_000));
    make_hot(&limiter);
    clock.set(second(10));
    let admitted = (0..2_000).filter(|_| limiter.check("key").now().unwrap().is_allowed());
    assert_eq!(admitted.count(), 1_000);
}

#[tokio::test]
async fn who_waits_for_a_permit_of_a_hot_key_gets_one() {
    let (store, clock) = store();
    let limiter = limiter(leased(store, &clock));
    make_hot(&limiter);
    for _ in 0..100 {
        limiter.until_ready("key").within(Duration::from_secs(1)).await.unwrap().keep();
        limiter.pace("key").await.unwrap().keep();
    }
}

/// A store that takes a second for each take, once it is slow.
struct SlowTakes(Store, ManualClock, AtomicBool);

impl Backend for SlowTakes {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::ready(self.apply_now(batch, action))
    }

    fn names(&self) -> &Names {
        self.0.names()
    }
}

impl SyncBackend for SlowTakes {
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        if action == Action::Take && self.2.load(Ordering::Relaxed) {
            self.1.advance(Micros::from_secs(1));
        }
        self.0.apply_now(batch, action)
    }
}

/// On the calling thread: the permits that it has drawn may not be used any more then.
// FAULTS 236.
#[test]
fn what_was_drawn_before_a_take_that_outlasts_the_lease_is_not_used() {
    let (store, clock) = store();
    let store = Arc::new(SlowTakes(store, clock.clone(), AtomicBool::new(false)));
    let limiter = limiter(leased(store.clone(), &clock));
    make_hot(&limiter);
    store.2.store(true, Ordering::Relaxed);
    let mut late = (0..100).map(|_| {
        let source = limiter.check("key").now().unwrap().source();
        (START < clock.now().unwrap()).then_some(source)
    });
    assert_eq!(late.find_map(|late| late), Some(Source::Store));
}
