//! Corners of long logs that random traces seldom reach: the store decides there as the core does.

use std::time::Duration;

use ratelimit_backend::{Clock as _, ManualClock, SyncBackend as _};
use ratelimit_conformance::ReferenceStore;
use ratelimit_core::{
    Action, Algorithm, Batch, Check, Key, Micros, Policy, Timestamp, adaptive, sliding_window_log,
};
use ratelimit_sqlite::Sqlite;

use crate::subject::Folder;

/// A store and the core, asked the same.
struct Both {
    _folder: Folder,
    clock: ManualClock,
    store: Sqlite,
    reference: ReferenceStore,
    policy: Policy,
}

const A_SECOND: Micros = Micros::from_secs(1);

impl Both {
    fn new(algorithm: impl Into<Algorithm>) -> Self {
        let (folder, clock) = (Folder::new(), ManualClock::new(Timestamp::EPOCH));
        let store = folder.settings().with_clock(clock.clone()).open().unwrap();
        let policy = Policy::new("log", algorithm.into()).unwrap();
        Self { _folder: folder, clock, store, reference: ReferenceStore::default(), policy }
    }

    #[track_caller]
    fn ask(&mut self, action: Action, cost: u64) -> bool {
        let check = Check::new(&self.policy, Key::new("key").unwrap(), cost).unwrap();
        let (batch, now) = (Batch::one(&check), self.clock.now().unwrap());
        let found = self.store.apply_now(batch, action).unwrap()[0];
        assert_eq!(
            [found],
            *self.reference.apply(batch, action, now).unwrap(),
            "{action:?} {cost}"
        );
        found.is_allowed()
    }

    /// Spends a permit a second, so many times.
    fn fill(&mut self, entries: u64) {
        for _ in 0..entries {
            self.clock.advance(A_SECOND);
            self.ask(Action::Spend, 1);
        }
    }

    fn step_back(&mut self, seconds: u64) {
        self.clock.set(self.clock.now().unwrap() - Micros::from_secs(seconds));
    }
}

fn log(limit: u64) -> sliding_window_log::Quota {
    sliding_window_log::Quota::new(limit, Duration::from_secs(limit)).unwrap()
}

fn hybrid(limit: u64) -> adaptive::Quota {
    adaptive::Quota::new(&adaptive::Parameters::new(limit, Duration::from_secs(limit))).unwrap()
}

/// What has left the window is gone for good, in the row of the record and in its segments.
#[test]
fn a_step_back_brings_nothing_back() {
    for seconds in [1, 10, 31, 32, 33, 200, 500, 899] {
        let mut both = Both::new(log(900));
        both.fill(1_000);
        both.step_back(seconds);
        both.ask(Action::Peek, 1);
        both.ask(Action::Spend, 900);
        both.ask(Action::Spend, 1);
        both.fill(50);
        both.ask(Action::Peek, 400);
    }
}

/// It waits for an entry, for a refill, or until a sub-window ends and the burst grows.
#[test]
fn a_hybrid_tells_when_any_cost_fits_while_its_load_falls() {
    let mut both = Both::new(hybrid(300));
    both.fill(700);
    for _ in 0..20 {
        both.clock.advance(Micros::from_secs(19));
        for cost in (1..=both.policy.limit()).step_by(7) {
            both.ask(Action::Peek, cost);
        }
        both.fill(5);
    }
}

/// The refund leaves the bucket later than the log; a denial pulls it back, and drops no entry that
/// counts again when the clock steps back once more.
#[test]
fn a_denial_drops_no_entry() {
    let mut both = Both::new(hybrid(300));
    both.fill(400);
    both.clock.advance(Micros::from_secs(50));
    both.ask(Action::Refund, 1);
    both.step_back(20);
    assert!(!both.ask(Action::Spend, both.policy.limit()));
    both.step_back(29);
    both.ask(Action::Peek, 1);
}
