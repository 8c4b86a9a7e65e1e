//! A log, or an adaptive hybrid, stepped where it lies: what [`apply`](crate::store::apply) does for one
//! check of a known key under the policy it was written under, without taking the record apart.

use crate::{
    Algorithm, Check, Cost, Decision, Outcome, Timestamp, algorithm::definition::Arithmetic,
    meter::State, store::Record,
};

impl Record {
    /// Spends as [`apply`](crate::store::apply) does, if the record was written under this very policy,
    /// has a state too large for a [`SmallRecord`](crate::store::SmallRecord), and needs no other record.
    ///
    /// `None` says that nothing has changed, and that it is for [`apply`](crate::store::apply) to decide.
    #[inline(never)]
    pub fn spend(&mut self, check: &Check<'_>, now: Timestamp) -> Option<Decision> {
        let (policy, cost) = (check.policy(), check.cost());
        if !self.under.is(policy) || policy.algorithm().shares_sensor() {
            return None;
        }
        match (policy.algorithm(), &mut self.state) {
            (Algorithm::SlidingWindowLog(quota), State::SlidingWindowLog(log)) => {
                Some(step(quota, log, cost, now))
            }
            (Algorithm::Adaptive(quota), State::Adaptive(state)) => {
                Some(step(quota, state, cost, now))
            }
            _ => None,
        }
    }
}

fn step<A: Arithmetic>(quota: &A, state: &mut A::State, cost: Cost, now: Timestamp) -> Decision {
    quota.rewind(state, now);
    quota.renew(state, now);
    let outcome = quota.outcome(state, now, cost);
    if let Outcome::Allow { .. } = outcome {
        quota.charge(state, now, cost);
        quota.record_load(state, now);
    }
    quota.standing(state, now).with(outcome, now)
}
