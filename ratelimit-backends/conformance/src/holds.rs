//! Promises about permits in flight: held by somebody until they are given back, or lapse.
#![expect(missing_docs, reason = "a promise is its name")]

use std::time::Duration;

use fastrand::Rng;
use ratelimit_core::{
    Action, CarryOver, Check, Decision, Micros, Policy, Receipt, Timestamp, in_flight,
};

use crate::{StoreUnderTest, generators::pick, policies, store_under_test::check};

/// A hold, as the model keeps it.
#[derive(Clone, Copy)]
struct Hold {
    key: &'static str,
    at: Timestamp,
    cost: u64,
    receipt: Receipt,
}

impl Hold {
    fn end(&self) -> Timestamp {
        self.at + LENGTH
    }
}

/// The permits held, by the contract alone: every hold counts for itself, until it is given back whole or
/// for so long.
#[derive(Default)]
struct Model(Vec<Hold>);

impl Model {
    fn held(&self, key: &str, now: Timestamp) -> u64 {
        let held = self.0.iter().filter(|hold| hold.key == key && now < hold.end());
        held.map(|hold| hold.cost).sum()
    }

    /// Pulls what was made later than `now` back to it.
    fn rewind(&mut self, key: &str, now: Timestamp) {
        let holds = self.0.iter_mut().filter(|hold| hold.key == key);
        holds.for_each(|hold| hold.at = hold.at.min(now));
    }
}

/// Holders come, extend, give back, say so again, are late, are gone for good, and take receipts for
/// those of another policy; the clock goes on, stands, and steps back.
pub async fn permits_are_held_as_the_model_says_and_never_more_than_the_limit(
    store: StoreUnderTest,
) {
    let mut holders = Holders::new(store);
    for step in 0..holders.store.effort.trace_steps {
        holders.move_clock();
        holders.act(step).await;
        holders.compare(step).await;
    }
}

/// Those who hold permits of two keys of a store, beside the model.
struct Holders {
    store: StoreUnderTest,
    random: Rng,
    policy: Policy,
    other: Policy,
    model: Model,
    /// The holds that were given back once.
    strays: Vec<(&'static str, u64, Receipt)>,
    /// A store may have forgotten what was over by then.
    earliest: Timestamp,
}

impl Holders {
    fn new(store: StoreUnderTest) -> Self {
        let [policy, other] = ["calls", "other"].map(|name| in_flight(name, LIMIT, LENGTH));
        let (random, earliest) = (Rng::with_seed(store.effort.seed), store.now());
        let (model, strays) = (Model::default(), Vec::new());
        Self { store, random, policy, other, model, strays, earliest }
    }

    fn move_clock(&mut self) {
        let (now, longest) = (self.store.now(), LENGTH.as_micros());
        let then = match self.random.u8(..16) {
            0..8 => now,
            8..14 => now + Micros::new(self.random.u64(..=longest / 4)),
            14 => now + Micros::new(self.random.u64(..=2 * longest)),
            _ => now - Micros::new(self.random.u64(..=longest)),
        };
        let now = then.max(self.earliest);
        self.store.set(now);
        let ends = self.model.0.iter().map(Hold::end).filter(|&end| end <= now);
        self.earliest = ends.fold(self.earliest, Timestamp::max);
    }

    async fn act(&mut self, step: u64) {
        let (now, key) = (self.store.now(), pick(&mut self.random, &KEYS));
        let held = &self.model.0;
        let mine = (!held.is_empty()).then(|| self.random.usize(..held.len()));
        match (self.random.u8(..20), mine) {
            (0..8, _) => self.acquire(step, key).await,
            (8..14, Some(index)) => self.give_back(index).await,
            (14..16, Some(index)) => self.extend(step, index).await,
            (16, _) if !self.strays.is_empty() => self.give_back_again(step).await,
            (17, _) => {
                let spent = self.store.spend(&self.other, key, 1).await;
                self.model.rewind(key, now);
                let foreign = Receipt::of(&spent, &self.other, 1);
                let _ = give_back(&self.store, &self.policy, key, 1, foreign).await;
            }
            (18, _) => {
                // Without a receipt it is nobody's.
                self.model.rewind(key, now);
                let _ = self.store.refund(&self.policy, key, 1).await;
            }
            _ => self.acquire_both().await,
        }
    }

    async fn acquire(&mut self, step: u64, key: &'static str) {
        let now = self.store.now();
        self.model.rewind(key, now);
        let cost = self.random.u64(1..=2);
        let spent = self.store.spend(&self.policy, key, cost).await;
        let fits = self.model.held(key, now) + cost <= LIMIT;
        assert_eq!(spent.is_allowed(), fits, "step {step}: {spent:?}");
        if fits {
            self.hold(key, cost, &spent);
        }
    }

    /// Both keys or neither.
    async fn acquire_both(&mut self) {
        let now = self.store.now();
        KEYS.iter().for_each(|key| self.model.rewind(key, now));
        let policy = self.policy.clone();
        let checks = [(KEYS[0], 1), (KEYS[1], 2)];
        let batch = checks.map(|(key, cost)| check(&policy, key.as_bytes(), cost));
        let spent = self.store.apply(&batch, Action::Spend).await.expect("the store decides");
        if spent.iter().all(Decision::is_allowed) {
            for ((key, cost), spent) in checks.into_iter().zip(&spent) {
                self.hold(key, cost, spent);
            }
        }
    }

    fn hold(&mut self, key: &'static str, cost: u64, spent: &Decision) {
        let receipt = Receipt::of(spent, &self.policy, cost);
        self.model.0.push(Hold { key, at: self.store.now(), cost, receipt });
    }

    async fn give_back(&mut self, index: usize) {
        let Hold { key, cost, receipt, .. } = self.model.0.swap_remove(index);
        self.model.rewind(key, self.store.now());
        let _ = give_back(&self.store, &self.policy, key, cost, receipt).await;
        if self.random.u8(..3) == 0 {
            self.strays.push((key, cost, receipt));
        }
    }

    async fn give_back_again(&mut self, step: u64) {
        let (key, cost, receipt) = self.strays[self.random.usize(..self.strays.len())];
        let now = self.store.now();
        self.model.rewind(key, now);
        let again = give_back(&self.store, &self.policy, key, cost, receipt).await;
        assert_eq!(again.remaining, LIMIT - self.model.held(key, now), "step {step}: again");
    }

    async fn extend(&mut self, step: u64, index: usize) {
        let now = self.store.now();
        let Hold { key, at, cost, receipt } = self.model.0[index];
        self.model.rewind(key, now);
        let extended = extend(&self.store, &self.policy, key, cost, receipt).await;
        let is_held = now < at.min(now) + LENGTH;
        assert_eq!(extended.is_allowed(), is_held, "step {step}: {extended:?}");
        if is_held {
            let receipt = receipt.extended(&extended);
            self.model.0[index] = Hold { key, at: now, cost, receipt };
        }
    }

    async fn compare(&mut self, step: u64) {
        let now = self.store.now();
        for key in KEYS {
            let held = self.model.held(key, now);
            assert!(held <= LIMIT, "step {step}: {held} of {LIMIT}");
            let found = self.store.peek(&self.policy, key).await.remaining;
            assert_eq!(found, LIMIT - held, "step {step}, {key}");
            if held == 0 {
                self.earliest = now;
            }
        }
        self.model.0.retain(|hold| now < hold.end());
    }
}

const KEYS: [&str; 2] = ["a", "b"];

pub async fn a_permit_is_given_back_once_by_its_receipt(store: StoreUnderTest) {
    let policy = in_flight("calls", 3, LENGTH);
    let mut receipts = Vec::new();
    for _ in 0..3 {
        receipts.push(acquire(&store, &policy, "key").await);
    }
    assert!(!store.spend(&policy, "key", 1).await.is_allowed());
    assert_eq!(store.refund(&policy, "key", 3).await.remaining, 0, "without a receipt: nothing");
    for _ in 0..3 {
        let given = give_back(&store, &policy, "key", 1, receipts[1]).await;
        assert_eq!(given.remaining, 1, "once, whoever says it again");
    }
    assert_eq!(give_back(&store, &policy, "key", 1, receipts[0]).await.remaining, 2);
    assert_eq!(give_back(&store, &policy, "key", 1, receipts[2]).await.remaining, 3);
    store.advance(Micros::new(1));
    let _ = acquire(&store, &policy, "key").await;
    for receipt in receipts {
        assert_eq!(give_back(&store, &policy, "key", 1, receipt).await.remaining, 2, "another's");
    }
}

pub async fn a_permit_lapses_at_its_instant(store: StoreUnderTest) {
    let policy = in_flight("calls", 1, LENGTH);
    let receipt = acquire(&store, &policy, "key").await;
    let denied = store.spend(&policy, "key", 1).await;
    assert_eq!((denied.retry_after(), denied.reset_after), (LENGTH, LENGTH));
    store.advance(LENGTH - Micros::new(1));
    assert!(!store.spend(&policy, "key", 1).await.is_allowed());
    store.advance(Micros::new(1));
    let _ = acquire(&store, &policy, "key").await;
    let late = give_back(&store, &policy, "key", 1, receipt).await;
    assert_eq!(late.remaining, 0, "it is another's by now");
    assert!(!extend(&store, &policy, "key", 1, receipt).await.is_allowed());
}

pub async fn a_permit_that_is_extended_lapses_later(store: StoreUnderTest) {
    let policy = in_flight("calls", 2, LENGTH);
    let receipt = acquire(&store, &policy, "key").await;
    let half = Micros::new(LENGTH.as_micros() / 2);
    store.advance(half);
    let _ = acquire(&store, &policy, "key").await;
    let extended = extend(&store, &policy, "key", 1, receipt).await;
    assert!(extended.is_allowed(), "{extended:?}");
    store.advance(half);
    assert_eq!(store.peek(&policy, "key").await.remaining, 0, "it would have lapsed by now");
    store.advance(half);
    assert_eq!(store.peek(&policy, "key").await.remaining, 2);
    assert!(!extend(&store, &policy, "key", 1, receipt).await.is_allowed());
    assert!(!extend(&store, &policy, "unknown", 1, receipt).await.is_allowed());
}

/// Four in flight, and a rate: none of both is charged if one denies, and each is given back by its
/// receipt.
pub async fn permits_and_rates_are_held_as_one(store: StoreUnderTest) {
    let (calls, rate) = (in_flight("calls", 2, LENGTH), policies::fixed_windows(3).swap_remove(0));
    let both = [check(&calls, b"key", 1), check(&rate, b"key", 1)];
    let spend = async || store.apply(&both, Action::Spend).await.expect("the store decides");
    let [first, second] = [spend().await, spend().await];
    let denied = spend().await;
    assert_eq!([denied[0].is_allowed(), denied[1].is_allowed()], [false, true]);
    assert_eq!(store.peek(&rate, "key").await.remaining, 1, "the rate is not charged");

    let receipts = |spent: &[Decision]| -> Vec<Check<'_>> {
        both.iter()
            .zip(spent)
            .map(|(check, spent)| check.with_receipt(Some(Receipt::of(spent, check.policy(), 1))))
            .collect()
    };
    let extended = store.apply(&receipts(&second), Action::Extend).await;
    assert!(extended.expect("the store decides").iter().all(Decision::is_allowed));
    let given = store.apply(&receipts(&first), Action::Refund).await.expect("the store decides");
    assert_eq!([given[0].remaining, given[1].remaining], [1, 2]);
    let [third, denied] = [spend().await, spend().await];
    assert!(third.iter().all(Decision::is_allowed));
    assert_eq!([denied[0].is_allowed(), denied[1].is_allowed()], [false, true]);

    let gone = store.apply(&receipts(&first), Action::Extend).await.expect("the store decides");
    assert_eq!([gone[0].is_allowed(), gone[1].is_allowed()], [false, true], "only the rate's is");
}

pub async fn a_receipt_of_permits_in_flight_is_good_whatever_numbers_have_come(
    store: StoreUnderTest,
) {
    for rule in [CarryOver::AsIs, CarryOver::Proportional] {
        let of = |limit, length| in_flight("calls", limit, length).with_carry_over(rule);
        let (old, new) = (of(4, LENGTH), of(2, Micros::new(1_000)));
        let mut receipts = Vec::new();
        for _ in 0..4 {
            receipts.push(acquire(&store, &old, "key").await);
        }
        store.advance(Micros::from_secs(1));
        assert!(!store.spend(&new, "key", 1).await.is_allowed(), "held as when they were made");
        let mut left = Vec::new();
        for receipt in receipts {
            left.push(give_back(&store, &new, "key", 1, receipt).await.remaining);
        }
        assert_eq!(left, [0, 0, 1, 2]);
        let receipt = acquire(&store, &new, "key").await;
        assert!(extend(&store, &old, "key", 1, receipt).await.is_allowed());
        store.advance(Micros::from_secs(1));
        assert_eq!(store.peek(&new, "key").await.remaining, 1, "extended under the other numbers");
        assert_eq!(give_back(&store, &old, "key", 1, receipt).await.remaining, 4);
        store.reset(&old, "key").await;
    }
}

fn in_flight(name: &str, limit: u64, length: Micros) -> Policy {
    policies::policy(name, in_flight::Quota::new(limit, Duration::from(length)))
}

/// Acquires a permit that must be free.
async fn acquire(store: &StoreUnderTest, policy: &Policy, key: &str) -> Receipt {
    let spent = store.spend(policy, key, 1).await;
    assert!(spent.is_allowed(), "{policy}: {spent:?}");
    Receipt::of(&spent, policy, 1)
}

async fn give_back(
    store: &StoreUnderTest,
    policy: &Policy,
    key: &str,
    cost: u64,
    receipt: Receipt,
) -> Decision {
    let hold = [check(policy, key.as_bytes(), cost).with_receipt(Some(receipt))];
    store.apply(&hold, Action::Refund).await.expect("the store decides")[0]
}

async fn extend(
    store: &StoreUnderTest,
    policy: &Policy,
    key: &str,
    cost: u64,
    receipt: Receipt,
) -> Decision {
    let hold = [check(policy, key.as_bytes(), cost).with_receipt(Some(receipt))];
    store.apply(&hold, Action::Extend).await.expect("the store decides")[0]
}

const LIMIT: u64 = 4;

/// The longest hold.
const LENGTH: Micros = Micros::from_secs(10);
