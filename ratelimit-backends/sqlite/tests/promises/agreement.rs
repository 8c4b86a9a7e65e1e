//! Corners of long logs that random traces seldom reach: the store decides there as the core does.

use std::time::Duration;

use ratelimit_backend::{Clock as _, ManualClock, SyncBackend as _};
use ratelimit_conformance::ReferenceStore;
use ratelimit_core::{
    Action, Algorithm, Batch, CarryOver, Check, Decision, Key, Micros, Policy, Receipt, Timestamp,
    adaptive, sliding_window_log,
};
use ratelimit_servers::effort;
use ratelimit_sqlite::Sqlite;

use crate::store_under_test::Folder;

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
        self.ask_about(action, cost, None).is_allowed()
    }

    #[track_caller]
    fn ask_about(&mut self, action: Action, cost: u64, receipt: Option<Receipt>) -> Decision {
        let check = Check::new(&self.policy, Key::new("key").unwrap(), cost).unwrap();
        let check = check.with_receipt(receipt);
        let (batch, now) = (Batch::one(&check), self.clock.now().unwrap());
        let found = self.store.apply_now(batch, action).unwrap()[0];
        assert_eq!(
            [found],
            *self.reference.apply(batch, action, now).unwrap(),
            "{action:?} {cost} {receipt:?}"
        );
        found
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

/// An entry that has left the window is gone for good, in the row of the record and in its segments.
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

/// Charges and receipts, and whatever else may happen to a log, again and again at random.
struct Life {
    both: Both,
    charges: Vec<(Receipt, u64)>,
    numbers: Numbers,
}

impl Life {
    fn new(algorithm: impl Into<Algorithm>, seed: u64) -> Self {
        Self { both: Both::new(algorithm), charges: Vec::new(), numbers: Numbers(seed) }
    }

    fn spend(&mut self, cost: u64) {
        let decision = self.both.ask_about(Action::Spend, cost, None);
        if decision.is_allowed() {
            self.charges.push((Receipt::of(&decision, &self.both.policy, cost), cost));
        }
    }

    /// Spends, so many times, now and then several permits or several times in a moment.
    fn fill(&mut self, charges: u64) {
        for _ in 0..charges {
            let (pause, cost) = (self.numbers.below(3_000_000), 1 + self.numbers.below(9) / 8);
            self.both.clock.advance(Micros::new(pause));
            self.spend(cost);
        }
    }

    fn settle(&mut self) {
        if !self.charges.is_empty() {
            let index = self.numbers.below(self.charges.len() as u64);
            let (receipt, cost) = self.charges.swap_remove(usize::try_from(index).unwrap());
            // The limit may be lower by now.
            let cost = cost.min(self.both.policy.limit());
            let _ =
                self.both.ask_about(Action::Refund, 1 + self.numbers.below(cost), Some(receipt));
        }
    }

    fn go_on(&mut self, changes: &[Policy]) {
        let limit = self.both.policy.limit();
        let (cost, charges) = (1 + self.numbers.below(limit), self.numbers.below(200));
        match self.numbers.below(16) {
            0..4 => self.fill(charges),
            4..8 => (0..8).for_each(|_| self.settle()),
            8 => drop(self.both.ask(Action::Refund, 1 + cost / 8)),
            9 => drop(self.both.ask(Action::Penalize, 1 + cost / 16)),
            10 => drop(self.both.ask(Action::Block(Micros::from_secs(cost)), 1)),
            11 => self.both.step_back(self.numbers.below(limit)),
            // Never so long that the record is dropped, which a step back would show.
            12 => {
                self.both.clock.advance(Micros::from_secs(cost / 4));
                self.spend(1);
            }
            13 => {
                let index = self.numbers.below(changes.len() as u64);
                self.both.policy = changes[usize::try_from(index).unwrap()].clone();
            }
            _ => self.spend(cost),
        }
        for _ in 0..4 {
            let cost = 1 + self.numbers.below(self.both.policy.limit());
            let _ = self.both.ask(Action::Peek, cost);
        }
    }
}

/// Numbers that look random.
#[derive(Clone)]
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }
}

#[test]
fn whatever_happens_to_a_long_log_the_store_decides_as_the_core() {
    let capped = sliding_window_log::Quota::capped(100_000, Duration::from_secs(2_000), 1_500);
    let algorithms: [Algorithm; 3] =
        [log(2_000).into(), capped.unwrap().into(), hybrid(700).into()];
    for (seed, algorithm) in (0..effort(60_u64, 6)).zip(algorithms.into_iter().cycle()) {
        let mut life = Life::new(algorithm.clone(), seed);
        let policy = |algorithm: &Algorithm, rule| {
            Policy::new("log", algorithm.clone())
                .map(|policy| policy.with_carry_over(rule))
                .unwrap()
        };
        let other: Algorithm = match algorithm {
            Algorithm::Adaptive(_) => hybrid(900).into(),
            _ => log(1_300).into(),
        };
        let rules = [CarryOver::AsIs, CarryOver::AsIs, CarryOver::Proportional, CarryOver::Reset];
        let changes: Vec<_> = rules
            .into_iter()
            .flat_map(|rule| [policy(&algorithm, rule), policy(&other, rule)])
            .collect();
        life.fill(1_400);
        for _ in 0..effort(300, 60) {
            life.go_on(&changes);
        }
    }
}
