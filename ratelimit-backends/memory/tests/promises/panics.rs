//! A clock that panics, which is the one thing of a caller's that runs under a lock.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ratelimit_backend::{BackendError, Clock};
use ratelimit_core::{Action, Timestamp};

use crate::store_under_test::{
    ask_all, at, check, is_allowed, policy, remaining, spend, with_clock,
};

#[test]
// FAULTS 54.
fn after_a_panic_of_the_clock_nothing_has_changed_and_all_goes_on() {
    let panics = Panicking::default();
    let memory = with_clock(panics.clone(), 10);
    let policy = policy("fixed-window", 5);
    assert!(is_allowed(&spend(&memory, &policy, "a")));

    panics.0.store(true, Ordering::Relaxed);
    let checks = ["a", "new"].map(|key| check(&policy, key, 1));
    for _ in 0..3 {
        let single = catch_unwind(AssertUnwindSafe(|| spend(&memory, &policy, "a")));
        let batch = catch_unwind(AssertUnwindSafe(|| ask_all(&memory, &checks, Action::Spend)));
        assert!(single.is_err() && batch.is_err());
    }
    panics.0.store(false, Ordering::Relaxed);

    assert_eq!([remaining(&memory, &policy, "a"), remaining(&memory, &policy, "new")], [4, 5]);
    assert!(ask_all(&memory, &checks, Action::Spend).is_ok());
    assert_eq!(memory.keys(), 2);
}

#[test]
// FAULTS 55.
fn a_thread_that_panics_under_the_lock_leaves_it_to_the_others() {
    let panics = Panicking::default();
    let memory = with_clock(panics.clone(), 10);
    let policy = policy("fixed-window", 5);
    assert!(is_allowed(&spend(&memory, &policy, "a")));

    panics.0.store(true, Ordering::Relaxed);
    let (store, same) = (memory.clone(), policy.clone());
    let thread = std::thread::spawn(move || drop(spend(&store, &same, "a")));
    assert!(thread.join().is_err());
    panics.0.store(false, Ordering::Relaxed);

    assert_eq!(remaining(&memory, &policy, "a"), 4, "as it was");
    assert!(is_allowed(&spend(&memory, &policy, "a")));
    assert_eq!((remaining(&memory, &policy, "a"), memory.keys()), (3, 1));
}

/// A clock that stands, or panics.
#[derive(Clone, Debug, Default)]
struct Panicking(Arc<AtomicBool>);

impl Clock for Panicking {
    fn now(&self) -> Result<Timestamp, BackendError> {
        assert!(!self.0.load(Ordering::Relaxed), "the clock broke");
        Ok(at(1_700_000_000_000_000))
    }
}
