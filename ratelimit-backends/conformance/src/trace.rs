//! Random traces, asked of the store and of the reference alike.

use ratelimit_backend::BackendError;
use ratelimit_core::{Action, Batch, Check, Decision, Micros, Policy, Receipt};

use crate::{Subject, dice::Dice, reference::Reference, rules::SPAN, subject::check};

/// A store and the reference, asked the same.
pub(crate) struct Trace {
    subject: Subject,
    reference: Reference,
    dice: Dice,
    /// What the last step was told, to come back at the very moment.
    last: Option<Decision>,
    /// Of some charge, or of none at all: stores have to agree about odd receipts, too.
    receipt: Option<Receipt>,
}

impl Trace {
    pub(crate) fn of(subject: &Subject) -> Self {
        Self {
            subject: subject.clone(),
            reference: Reference::default(),
            dice: Dice::new(subject.effort.seed),
            last: None,
            receipt: None,
        }
    }

    /// Asks about one of `policies` at a time, chosen at random. Some may share a name.
    pub(crate) async fn of_single_checks(mut self, policies: &[Policy]) {
        for _ in 0..self.subject.effort.trace_steps {
            self.move_clock();
            let policy = self.dice.pick(policies);
            let check = self.some_check(policy);
            self.ask(&[check]).await;
        }
    }

    /// Asks about several of `policies` as one, each under a name of its own.
    pub(crate) async fn of_batches(mut self, policies: &[Policy]) {
        for _ in 0..self.subject.effort.trace_steps {
            self.move_clock();
            let mut checks: Vec<Check<'_>> = Vec::new();
            for _ in 0..=self.dice.below(4) {
                let policy = self.dice.pick(policies);
                let check = self.some_check(policy);
                if checks.iter().all(|known| !known.is_about(&check)) {
                    checks.push(check);
                }
            }
            self.ask(&checks).await;
        }
    }

    /// Asks both at this moment, and compares every field.
    async fn ask(&mut self, checks: &[Check<'_>]) {
        let action = self.some_action();
        let now = self.subject.now();
        let batch = Batch::new(checks).expect("no promise names a state twice");
        let wanted = self.reference.apply(batch, action, now);
        let found = self.subject.apply(checks, action).await;
        self.last = wanted.as_ref().ok().and_then(|decisions| decisions.last().copied());
        if self.dice.below(4) == 0 {
            let charge = self.last.as_ref().zip(checks.last());
            self.receipt = charge.map(|(last, check)| Receipt::of(last, check.cost().get()));
        }

        let kind = |error: BackendError| (error.kind(), error.effect());
        let (wanted, found) = (wanted.map_err(kind), found.map_err(kind));
        assert_eq!(found, wanted, "the store (left) is not as the core: {action:?} {checks:#?}");
    }

    fn some_check<'a>(&mut self, policy: &'a Policy) -> Check<'a> {
        let key = *self.dice.pick(&[b"a", b"b", b"c"]);
        let cost = match self.dice.below(10) {
            0..6 => 1,
            6..9 => 1 + self.dice.below(policy.limit().div_ceil(3)),
            _ => 1 + self.dice.below(policy.limit()),
        };
        let receipt = self.receipt.filter(|_| self.dice.below(2) == 0);
        check(policy, key, cost).with_receipt(receipt)
    }

    const fn some_action(&mut self) -> Action {
        match self.dice.below(100) {
            0..70 => Action::Spend,
            70..80 => Action::Peek,
            80..93 => Action::Refund,
            93..96 => Action::Charge,
            96..98 => Action::Block(Micros::new(self.dice.any_size(24))),
            _ => Action::Reset,
        }
    }

    /// Lets time stand, pass, pass to the very moment that was promised, or step back: but not
    /// before one at which the store may have forgotten what was as good as new.
    fn move_clock(&mut self) {
        let now = self.subject.now();
        let span = Micros::from_duration_ceil(SPAN).as_micros();
        let then = match self.dice.below(12) {
            0..5 => now,
            5 => now + Micros::new(1),
            6 | 7 => now + Micros::new(self.dice.any_size(28)),
            8 => now + Micros::new(self.dice.below(2 * span)),
            9 => now + self.promised() - Micros::new(1),
            10 => now + self.promised(),
            _ => now - Micros::new(self.dice.any_size(26)),
        };
        self.subject.set(then.max(self.reference.earliest(now)));
    }

    fn promised(&self) -> Micros {
        let Some(last) = self.last else { return Micros::ZERO };
        if last.is_allowed() { last.reset_after } else { last.retry_after() }
    }
}
