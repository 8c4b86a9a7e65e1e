//! Random traces, asked of the store and of the reference alike.

use std::collections::VecDeque;

use fastrand::Rng;
use ratelimit_backend::BackendError;
use ratelimit_core::{
    Action, Batch, CarryOver, Check, Decision, Micros, Policy, Receipt, Timestamp,
};

use crate::{
    Subject,
    generators::{self, Draw, of_any_size, pick},
    reference::Reference,
    store_under_test::check,
};

/// A store and the reference, asked the same.
pub(crate) struct Trace {
    subject: Subject,
    reference: Reference,
    random: Rng,
    /// What the last step was told, to come back at the very moment.
    last: Option<Decision>,
    /// Of some charge, or of none at all: stores have to agree about odd receipts, too.
    receipt: Option<Receipt>,
    /// The last steps, to be shown when one goes wrong.
    history: VecDeque<String>,
}

impl Trace {
    pub(crate) fn of(subject: &Subject) -> Self {
        Self {
            subject: subject.clone(),
            reference: Reference::default(),
            random: Rng::with_seed(subject.effort.seed),
            last: None,
            receipt: None,
            history: VecDeque::new(),
        }
    }

    /// Asks about up to `most` policies as one: there is a name for each of `draws`, and other
    /// numbers come under it all the while, by one of `rules`.
    pub(crate) async fn through(mut self, draws: &[Draw], rules: &[CarryOver], most: usize) {
        let (start, steps) = (self.subject.now(), self.subject.effort.trace_steps);
        let (mut often, mut seldom) = (Vec::new(), Vec::new());
        for step in 0..steps {
            if step % PHASE == 0 {
                [often, seldom] =
                    [(); 2].map(|()| generators::policies(&mut self.random, draws, rules));
            }
            self.move_clock(share(start, step + 1, steps));
            // A batch has one set of numbers for a name.
            let policies = if self.random.u8(..13) == 0 { &seldom } else { &often };
            let checks = self.some_checks(policies, most);
            let action = self.some_action();
            self.ask(step, &checks, action).await;
        }
    }

    /// Asks about one key of two policies by turns, so that logs grow long, and longer than a window;
    /// and now and then about anything.
    pub(crate) async fn along(mut self, draws: &[Draw], rules: &[CarryOver]) {
        let steps = self.subject.effort.trace_steps.max(LONG_STEPS);
        let window = Micros::from_duration_ceil(generators::LONG_WINDOW).as_micros();
        let mut policies = Vec::new();
        for step in 0..steps {
            if step % LONG_PHASE == 0 {
                policies = generators::policies(&mut self.random, draws, rules);
            }
            let longest =
                if (step / BURST).is_multiple_of(4) { 2 } else { window / generators::LONG };
            self.subject.advance(Micros::new(self.random.u64(..=longest)));
            let turn = self.random.u16(..400);
            match turn {
                1 => {
                    let now = self.subject.now();
                    let then = now - Micros::new(of_any_size(&mut self.random, window));
                    self.subject.set(then.max(self.reference.earliest(now)));
                }
                2 => self.subject.advance(Micros::new(self.random.u64(..=window / 2))),
                _ => {}
            }
            let (one, action) = match turn {
                0 => (self.some_check(&policies[0]), self.some_action()),
                3..150 => {
                    let cost = of_any_size(&mut self.random, policies[0].limit());
                    (check(&policies[0], b"a", cost), Action::Peek)
                }
                _ => (check(&policies[0], b"a", 1), Action::Spend),
            };
            let checks = [one, check(&policies[1], b"a", 1)];
            let checks = if self.random.u8(..4) == 0 { &checks[..] } else { &checks[..1] };
            self.ask(step, checks, action).await;
            policies.reverse();
        }
    }

    fn some_checks<'a>(&mut self, policies: &'a [Policy], most: usize) -> Vec<Check<'a>> {
        let mut checks: Vec<Check<'_>> = Vec::new();
        for _ in 0..self.random.usize(1..=most) {
            let index = self.random.usize(..policies.len());
            let check = self.some_check(&policies[index]);
            if checks.iter().all(|known| !known.is_about(&check)) {
                checks.push(check);
            }
        }
        checks
    }

    fn some_check<'a>(&mut self, policy: &'a Policy) -> Check<'a> {
        let key = pick::<&[u8]>(&mut self.random, &[b"a", b"b", b"{c}"]);
        let cost = match self.random.u8(..10) {
            0..6 => 1,
            6..9 => self.random.u64(1..=policy.limit().div_ceil(3)),
            _ => self.random.u64(1..=policy.limit()),
        };
        let receipt = self.receipt.filter(|_| self.random.bool());
        check(policy, key, cost).with_receipt(receipt)
    }

    fn some_action(&mut self) -> Action {
        match self.random.u16(..400) {
            0..70 => Action::Spend,
            70..80 => Action::Peek,
            80..93 => Action::Refund,
            93..96 => Action::Penalize,
            96..98 => Action::Block(Micros::new(of_any_size(&mut self.random, 1 << 24))),
            _ => Action::Reset,
        }
    }

    /// Lets time stand, pass, pass to the very moment that was promised, or step back: but not
    /// beyond `end`, nor before a moment at which the store may have forgotten what was as good as
    /// new.
    fn move_clock(&mut self, end: Timestamp) {
        let now = self.subject.now();
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
        self.subject.set(then.min(end).max(self.reference.earliest(now)));
    }

    fn promised(&self) -> Micros {
        let Some(last) = self.last else { return Micros::ZERO };
        if last.is_allowed() { last.reset_after } else { last.retry_after() }
    }

    /// Asks both at this moment, and compares every field.
    async fn ask(&mut self, step: u64, checks: &[Check<'_>], action: Action) {
        let now = self.subject.now();
        let batch = Batch::new(checks).expect("no promise names a state twice");
        let wanted = self.reference.apply(batch, action, now);
        let found = self.subject.apply(checks, action).await;
        self.last = wanted.as_ref().ok().and_then(|decisions| decisions.last().copied());
        if self.random.u8(..4) == 0 {
            let charge = self.last.as_ref().zip(checks.last());
            self.receipt = charge.map(|(last, check)| Receipt::of(last, check.cost().get()));
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

/// The time up to the latest that there is, spread over all steps: what the first ones leave, a
/// later one may leap over.
fn share(start: Timestamp, step: u64, steps: u64) -> Timestamp {
    start + Micros::new((Timestamp::MAX - start).as_micros() / steps * step)
}

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
