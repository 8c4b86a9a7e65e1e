//! A key under test: the only place that calls [`apply`].

use ratelimit_core::{
    Action, Batch, Check, Decision, Detail, Key, Micros, Policy, Receipt, StateError, Timestamp,
    store::{Record, apply},
};

use crate::rule::Rule;

/// One key, its policy, and what a store would keep.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) policy: Policy,
    pub(crate) record: Option<Record>,
    /// Of the sensor that all keys of the policy share, where they share one.
    pub(crate) sensor: Option<Record>,
}

impl Subject {
    pub(crate) fn new(rule: &Rule) -> Self {
        Self::of(rule.policy())
    }

    pub(crate) const fn of(policy: Policy) -> Self {
        Self { policy, record: None, sensor: None }
    }

    pub(crate) fn spend(&mut self, now: u64, cost: u64) -> Decision {
        self.act(Action::Spend, now, cost)
    }

    /// Looks, and throws away what it found.
    pub(crate) fn peek(&self, now: u64, cost: u64) -> Decision {
        self.clone().act(Action::Peek, now, cost)
    }

    /// The detail of a peek at `now`.
    pub(crate) fn look(&self, now: u64) -> Detail {
        self.detail(&self.peek(now, 1))
    }

    pub(crate) fn detail(&self, decision: &Decision) -> Detail {
        decision.detail(&self.policy).expect("a decision of this policy")
    }

    /// The receipt for a charge of `cost`.
    pub(crate) fn receipt(&self, charge: &Decision, cost: u64) -> Receipt {
        Receipt::of(charge, &self.policy, cost)
    }

    pub(crate) fn refund(&mut self, now: u64, cost: u64) -> Decision {
        self.act(Action::Refund, now, cost)
    }

    /// Gives back what is left of `cost` permits of the charge that `receipt` is of.
    pub(crate) fn settle(&mut self, now: u64, cost: u64, receipt: Receipt) -> Decision {
        let decision = self.apply(Action::Refund, now, cost, Some(receipt));
        decision.expect("the record is of the policy's algorithm")
    }

    /// Lets the charge that `receipt` is of be held for longer.
    pub(crate) fn extend(&mut self, now: u64, cost: u64, receipt: Receipt) -> Decision {
        let decision = self.apply(Action::Extend, now, cost, Some(receipt));
        decision.expect("the record is of the policy's algorithm")
    }

    /// Charges `cost` permits without deciding, also more than a request could spend.
    pub(crate) fn penalize(&mut self, now: u64, cost: u64) -> Decision {
        let key = Key::new("key").expect("a short key");
        let check = Check::penalty(&self.policy, key, cost).expect("a cost that may be owed");
        let batch = Batch::one(&check);
        let mut records = [self.record.take(), self.sensor.take()];
        let slots = batch.slots().count();
        let decisions = apply(batch, Action::Penalize, &mut records[..slots], at(now));
        [self.record, self.sensor] = records;
        decisions.expect("the record is of the policy's algorithm")[0]
    }

    pub(crate) fn block(&mut self, now: u64, length: u64) -> Decision {
        self.act(Action::Block(Micros::new(length)), now, 1)
    }

    pub(crate) fn reset(&mut self, now: u64) -> Decision {
        self.act(Action::Reset, now, 1)
    }

    pub(crate) fn act(&mut self, action: Action, now: u64, cost: u64) -> Decision {
        self.try_act(action, now, cost).expect("the record is of the policy's algorithm")
    }

    pub(crate) fn try_act(
        &mut self,
        action: Action,
        now: u64,
        cost: u64,
    ) -> Result<Decision, StateError> {
        self.apply(action, now, cost, None)
    }

    fn apply(
        &mut self,
        action: Action,
        now: u64,
        cost: u64,
        receipt: Option<Receipt>,
    ) -> Result<Decision, StateError> {
        let key = Key::new("key").expect("a short key");
        let check = Check::new(&self.policy, key, cost).expect("a cost within the limit");
        let check = check.with_receipt(receipt);
        let batch = Batch::one(&check);
        let mut records = [self.record.take(), self.sensor.take()];
        let slots = batch.slots().count();
        let decisions = apply(batch, action, &mut records[..slots], at(now));
        [self.record, self.sensor] = records;
        Ok(decisions?[0])
    }

    /// The same state under another policy of the same name.
    pub(crate) fn under(&self, policy: Policy) -> Self {
        Self { policy, ..self.clone() }
    }

    /// The time until the record may be dropped, in microseconds.
    pub(crate) fn lifetime(&self, now: u64) -> u64 {
        self.record.as_ref().map_or(0, |record| record.lifetime(at(now)).as_micros())
    }

    /// Tells whether there is a record that no store may drop.
    pub(crate) fn is_known(&self, now: u64) -> bool {
        0 < self.lifetime(now)
    }

    pub(crate) fn limit(&self) -> u64 {
        self.policy.limit()
    }

    /// Spends all that remains; returns how much was admitted.
    pub(crate) fn drain(&mut self, now: u64) -> u64 {
        let mut admitted = 0;
        while let remaining @ 1.. = self.peek(now, 1).remaining {
            assert!(self.spend(now, remaining).is_allowed(), "what remains may be spent at once");
            admitted += remaining;
        }
        admitted
    }
}

pub(crate) fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros).expect("tests stay within representable time")
}

/// The time until a denied request would be admitted, in microseconds.
pub(crate) fn retry_after(decision: &Decision) -> u64 {
    decision.retry_after().as_micros()
}

/// The time until the key is as good as new, in microseconds.
pub(crate) fn reset_after(decision: &Decision) -> u64 {
    Micros::as_micros(decision.reset_after)
}
