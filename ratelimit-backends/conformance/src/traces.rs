//! Promises: on random traces a store decides as [`ratelimit_core::store::apply`] over a map does,
//! field by field.
#![expect(missing_docs, reason = "a promise is its name")]

use std::collections::VecDeque;

use fastrand::Rng;
use ratelimit_backend::BackendError;
use ratelimit_core::{
    Action, Batch, CarryOver, Check, Decision, LIMIT_MAX, Micros, Policy, Receipt, Timestamp,
};

use crate::{
    StoreUnderTest,
    generators::{self, Generator, of_any_size, pick},
    policies,
    reference::ReferenceStore,
    store_under_test::{RETENTION, check, penalty},
};

// FAULTS 2, 38, 166.
pub async fn fixed_windows_decide_as_the_core(store: StoreUnderTest) {
    agree(&store, generators::fixed_window).await;
}

// FAULTS 2, 38, 166.
pub async fn sliding_window_logs_decide_as_the_core(store: StoreUnderTest) {
    agree(&store, generators::sliding_window_log).await;
}

// FAULTS 2, 38, 166.
pub async fn sliding_window_counters_decide_as_the_core(store: StoreUnderTest) {
    agree(&store, generators::sliding_window_counter).await;
}

// FAULTS 2, 38, 166.
pub async fn token_buckets_decide_as_the_core(store: StoreUnderTest) {
    agree(&store, generators::token_bucket).await;
}

// FAULTS 2, 38, 166.
pub async fn leaky_buckets_decide_as_the_core(store: StoreUnderTest) {
    agree(&store, generators::leaky_bucket).await;
}

// FAULTS 2, 38, 166.
pub async fn adaptive_hybrids_decide_as_the_core(store: StoreUnderTest) {
    agree(&store, generators::adaptive_hybrid).await;
}

// FAULTS 2, 38, 166.
pub async fn permits_in_flight_decide_as_the_core(store: StoreUnderTest) {
    agree(&store, generators::permits_in_flight).await;
}

// FAULTS 166.
pub async fn batches_decide_as_the_core(store: StoreUnderTest) {
    Trace::new(&store).run(&generators::ONE_OF_EACH, &generators::ANY_CARRY_OVER, 5).await;
}

/// Under one name, algorithms of all kinds: what is stored under another one is an error, or starts anew.
pub async fn algorithms_that_change_decide_as_the_core(store: StoreUnderTest) {
    let rules = [CarryOver::AsIs, CarryOver::Reset, CarryOver::Reset];
    Trace::new(&store).run(&generators::ANY_ALGORITHM, &rules, 2).await;
}

/// Logs of hundreds of entries: a store may read and write a part of one.
// FAULTS 2, 38, 166.
pub async fn long_logs_decide_as_the_core(store: StoreUnderTest) {
    Trace::new(&store).run_long_logs(&generators::LONG_LOGS, &generators::ANY_CARRY_OVER).await;
}

async fn agree(store: &StoreUnderTest, generator: Generator) {
    Trace::new(store).run(&[generator], &generators::ANY_CARRY_OVER, 1).await;
}

/// Many keys. Some have expired whenever new ones come, and all of them in the end.
pub async fn growing_stores_decide_as_the_core(store: StoreUnderTest) {
    let policies = policies::one_of_each(10);
    let mut reference = ReferenceStore::default();
    let step = Micros::new(3 * Micros::from_duration_ceil(policies::SPAN).as_micros());
    let step = Micros::new(step.as_micros() / store.effort.keys.max(1));
    for round in 0..2 {
        for index in 0..store.effort.keys {
            let policy = &policies[usize::try_from(index).expect("an index") % policies.len()];
            let key = index.to_string();
            let found = store.spend(policy, &key, 1).await;

            let check = check(policy, key.as_bytes(), 1);
            let batch = Batch::one(&check);
            let wanted = reference.apply(batch, Action::Spend, store.now());
            assert_eq!(wanted.as_deref().ok(), Some(&[found][..]), "round {round}, key {index}");
            store.advance(step);
        }
    }
}

/// A store and the reference, on the same trace.
pub(crate) struct Trace {
    store: StoreUnderTest,
    reference: ReferenceStore,
    random: Rng,
    /// The decision of the last step: its times are used to hit the very moment.
    last: Option<Decision>,
    /// Receipts of some charges, or of no charge at all: stores must agree on odd receipts, too.
    receipts: VecDeque<Receipt>,
    /// The last steps, shown when one goes wrong.
    history: VecDeque<String>,
}

impl Trace {
    pub(crate) fn new(store: &StoreUnderTest) -> Self {
        Self {
            store: store.clone(),
            reference: ReferenceStore::default(),
            random: Rng::with_seed(store.effort.seed),
            last: None,
            receipts: VecDeque::new(),
            history: VecDeque::new(),
        }
    }

    /// Runs batches of up to `most` checks. Each generator has a name of its own, under which its numbers
    /// change all the time, by one of the carry-over `rules`.
    pub(crate) async fn run(mut self, generators: &[Generator], rules: &[CarryOver], most: usize) {
        let (start, steps) = (self.store.now(), self.store.effort.trace_steps);
        self.store.set(Timestamp::EPOCH);
        let (mut sets, mut others) = ([const { Vec::new() }; SETS], 13);
        for step in 0..steps {
            if step % PHASE == 0 {
                sets = sets.map(|_| generators::policies(&mut self.random, generators, rules));
                others = if self.random.u8(..4) == 0 { 2 } else { 13 };
            }
            self.move_clock(share(start, step + 1, steps));
            // A batch has one set of numbers for a name.
            let is_other = self.random.u8(..others) == 0;
            let policies = &sets[if is_other { self.random.usize(1..SETS) } else { 0 }];
            let checks = self.random_checks(policies, most);
            let action = self.random_action();
            self.compare(step, &checks, action).await;
        }
    }

    /// Runs checks of one key under two policies by turns, so that logs grow long, longer than a
    /// window; and now and then any other action.
    pub(crate) async fn run_long_logs(mut self, generators: &[Generator], rules: &[CarryOver]) {
        let steps = self.store.effort.trace_steps.max(LONG_STEPS);
        let window = Micros::from_duration_ceil(generators::LONG_WINDOW).as_micros();
        let mut policies = Vec::new();
        for step in 0..steps {
            if step % LONG_PHASE == 0 {
                policies = generators::policies(&mut self.random, generators, rules);
            }
            let longest =
                if (step / BURST).is_multiple_of(4) { 2 } else { window / generators::LONG };
            self.store.advance(Micros::new(self.random.u64(..=longest)));
            let turn = self.random.u16(..400);
            match turn {
                1 => {
                    let now = self.store.now();
                    let then = now - Micros::new(of_any_size(&mut self.random, window));
                    self.store.set(then.max(self.reference.earliest(now, RETENTION)));
                }
                2 => self.store.advance(Micros::new(self.random.u64(..=window / 2))),
                _ => {}
            }
            let (one, action) = match turn {
                0 => (self.random_check(&policies[0]), self.random_action()),
                3..150 => {
                    let cost = of_any_size(&mut self.random, policies[0].limit());
                    (check(&policies[0], b"a", cost), Action::Peek)
                }
                _ => (check(&policies[0], b"a", 1), Action::Spend),
            };
            let checks = [one, check(&policies[1], b"a", 1)];
            let checks = if self.random.u8(..4) == 0 { &checks[..] } else { &checks[..1] };
            self.compare(step, checks, action).await;
            policies.reverse();
        }
    }

    fn random_checks<'a>(&mut self, policies: &'a [Policy], most: usize) -> Vec<Check<'a>> {
        let mut checks: Vec<Check<'_>> = Vec::new();
        for _ in 0..self.random.usize(1..=most) {
            let index = self.random.usize(..policies.len());
            let check = self.random_check(&policies[index]);
            if checks.iter().all(|known| !known.is_about(&check)) {
                checks.push(check);
            }
        }
        checks
    }

    fn random_check<'a>(&mut self, policy: &'a Policy) -> Check<'a> {
        let key = pick::<&[u8]>(&mut self.random, &[b"a", b"b", b"{c}"]);
        let largest = policy.limit().clamp(1, LIMIT_MAX);
        let cost = match self.random.u8(..12) {
            0..6 => 1,
            6..9 => self.random.u64(1..=largest.div_ceil(3)),
            9 => self.random.u64(1..=largest),
            10 => self.last.map_or(1, |last| last.remaining).clamp(1, largest),
            _ => self.last.map_or(1, |last| last.remaining.saturating_add(1)).clamp(1, largest),
        };
        if self.random.u8(..8) == 0 {
            let over = match policy.debt_max() {
                0 => 0,
                debt_max => of_any_size(&mut self.random, debt_max),
            };
            return penalty(policy, key, cost + over);
        }
        let receipt = self.random.choice(&self.receipts).copied();
        check(policy, key, cost).with_receipt(receipt.filter(|_| self.random.bool()))
    }

    fn random_action(&mut self) -> Action {
        match self.random.u8(..100) {
            0..60 => Action::Spend,
            60..70 => Action::Take,
            70..78 => Action::Peek,
            78..80 => Action::Extend,
            80..92 => Action::Refund,
            92..96 => Action::Penalize,
            96..98 => Action::Block(Micros::new(of_any_size(&mut self.random, 1 << 24))),
            98 => Action::Block(Micros::new(of_any_size(&mut self.random, 1 << 50))),
            _ => Action::Reset,
        }
    }

    /// Lets time stand, pass, pass to the very moment that was promised, or step back: but not
    /// beyond `end`, nor before a moment at which what the store may have forgotten was not yet as good
    /// as new. What has expired within the retention is still there.
    fn move_clock(&mut self, end: Timestamp) {
        let now = self.store.now();
        let promised = self.promised().as_micros();
        let random = &mut self.random;
        let then = match random.u8(..16) {
            0..6 => now,
            6 => now + Micros::new(1),
            7 => now + Micros::new(2),
            8 | 9 => now + Micros::new(of_any_size(random, 1 << 25)),
            10 => now + Micros::new(of_any_size(random, 1 << 32)),
            11 => now + Micros::new(promised.saturating_sub(1)),
            12 => now + Micros::new(promised),
            13 => now + Micros::new(random.u64(..=promised)),
            14 => now - Micros::new(of_any_size(random, 1 << 20)),
            _ => now - Micros::new(of_any_size(random, 1 << 27)),
        };
        self.store.set(then.min(end).max(self.reference.earliest(now, RETENTION)));
    }

    fn promised(&self) -> Micros {
        let Some(last) = self.last else { return Micros::ZERO };
        if last.is_allowed() { last.reset_after } else { last.retry_after() }
    }

    /// Applies the action to both, and compares every field.
    async fn compare(&mut self, step: u64, checks: &[Check<'_>], action: Action) {
        let now = self.store.now();
        let batch = Batch::new(checks).expect("no promise names a state twice");
        let _ = self.reference.earliest(now, RETENTION);
        let wanted = self.reference.apply(batch, action, now);
        let found = self.store.apply(checks, action).await;
        self.last = wanted.as_ref().ok().and_then(|decisions| decisions.last().copied());
        if self.random.u8(..4) == 0 {
            let cost = |last: &Decision, check: &Check<'_>| match action {
                Action::Take => last.charged().max(1),
                _ => check.cost().get(),
            };
            let charge = self.last.as_ref().zip(checks.last());
            self.receipts.extend(
                charge.map(|(last, check)| Receipt::of(last, check.policy(), cost(last, check))),
            );
            if RECEIPTS < self.receipts.len() {
                self.receipts.pop_front();
            }
        }

        let kind = |error: BackendError| (error.kind(), error.effect());
        let (wanted, found) = (wanted.map_err(kind), found.map_err(kind));
        self.history.push_back(format!("{step}: {now:?} {action:?} {checks:?}\n  {wanted:?}"));
        if HISTORY < self.history.len() {
            self.history.pop_front();
        }
        assert_eq!(found, wanted, "the store (left) is not as the core: {:#?}", self.history);
    }
}

/// The latest time for a step: some days after the epoch, or before the end of time, in the first and the
/// last eighth of all steps. All time from `start` on is spread over the others; a later step may use up
/// what earlier ones have left.
fn share(start: Timestamp, step: u64, steps: u64) -> Timestamp {
    let part = |first: Timestamp, last: Timestamp, from: u64, to: u64| {
        first + Micros::new((last - first).as_micros() / (to - from).max(1) * (step - from))
    };
    let (early, late) = (steps / 8, steps - steps / 8);
    if step <= early {
        part(Timestamp::EPOCH, Timestamp::EPOCH + DAYS, 0, early)
    } else if step <= late {
        part(start, Timestamp::MAX - DAYS, early, late)
    } else {
        part(Timestamp::MAX - DAYS, Timestamp::MAX, late, steps)
    }
}

const DAYS: Micros = Micros::from_secs(10 * 86_400);

/// So many sets of numbers take turns: more than a record keeps beside the present ones.
const SETS: usize = 7;

/// So many receipts are at hand.
const RECEIPTS: usize = 4;

/// Enough for several long logs.
const LONG_STEPS: u64 = 10_000;

/// So many steps come at once, one time in four: then a bucket is emptier than a window is full.
const BURST: u64 = 50;

/// So many steps under the same numbers that logs are long in the end.
const LONG_PHASE: u64 = 2_500;

/// So many steps under the same numbers that they are felt.
const PHASE: u64 = 40;

/// As many steps as a failure shows.
const HISTORY: usize = 6;
