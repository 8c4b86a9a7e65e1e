//! A record, which a store keeps for one key: a state, the policy it was written under, and perhaps
//! a debt, a block, and states under earlier numbers.

use alloc::boxed::Box;
use core::mem;

use super::{block::Block, earlier::Earlier, entries::Log, key_state::KeyState, sensor::Sensor};
use crate::{
    CarryOver, Cost, Micros, Outcome, Policy, Receipt, Timestamp,
    algorithm::{Listed, State, definition::Definition, with_quota},
    decision::Standing,
};

/// Evaluates an expression for the quota and the state of a key's record; `None` if the state is
/// another's, as it is not once the record has been brought up.
macro_rules! with_state {
    ($record:expr, $quota:ident, $state:ident => $work:expr) => {
        with_quota!($record.under.algorithm(), $quota => {
            $quota.state(&$record.state).map(|$state| $work)
        })
    };
}

/// The same, to change the state.
macro_rules! with_state_mut {
    ($record:expr, $quota:ident, $state:ident => $work:expr) => {
        with_quota!($record.under.algorithm(), $quota => {
            $quota.state_mut(&mut $record.state).map(|$state| $work)
        })
    };
}

/// The record that a store keeps for one key, or for the load sensor that all keys of a policy
/// share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    pub(crate) under: Policy,
    pub(crate) state: State,
    /// Permits that were charged beyond what the state has room for.
    pub(crate) owed: u64,
    pub(crate) block: Option<Block>,
    pub(crate) earlier: Option<Box<Earlier>>,
}

impl Record {
    /// The record of a key never seen.
    pub(crate) fn fresh(policy: &Policy, now: Timestamp) -> Self {
        Self::plain(policy, with_quota!(policy.algorithm(), quota => quota.wrap(quota.fresh(now))))
    }

    /// The record of a shared sensor.
    pub(crate) fn of_sensor(policy: &Policy, sensor: Sensor) -> Self {
        Self::plain(policy, State::Sensor(Box::new(sensor)))
    }

    /// A record with nothing beside the state.
    pub(crate) fn plain(policy: &Policy, state: State) -> Self {
        Self { under: policy.clone(), state, owed: 0, block: None, earlier: None }
    }

    /// The policy that it was written under; its name is part of the record's place in a store.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.under
    }

    /// The time from `now` until the record may be dropped, because no record is as good.
    #[must_use]
    pub fn lifetime(&self, now: Timestamp) -> Micros {
        let block = self.block.map_or(Micros::ZERO, |block| {
            block.until + with_quota!(self.under.algorithm(), quota => quota.memory()) - now
        });
        let earlier = self.earlier.as_ref().map_or(Micros::ZERO, |earlier| earlier.left(now));
        self.lifetime_of_state(now).max(block).max(earlier)
    }

    /// The same of a record that is to be read under `policy`.
    pub(crate) fn lifetime_under(&self, policy: &Policy, now: Timestamp) -> Micros {
        let mut record = self.clone();
        record.read_debt(policy);
        record.lifetime(now)
    }

    /// Returns true if the state may be dropped, even if states under earlier numbers still count.
    pub(crate) fn is_state_over(&self, now: Timestamp) -> bool {
        self.block.is_none() && self.lifetime_of_state(now).is_zero()
    }

    fn lifetime_of_state(&self, now: Timestamp) -> Micros {
        with_quota!(self.under.algorithm(), quota => match &self.state {
            State::Sensor(sensor) => quota.sub_window().map(|length| sensor.lifetime(length, now)),
            state => match self.repaid() {
                Some(repaid) => Some(repaid.lifetime(now)),
                None => quota.state(state).map(|state| quota.lifetime(state, now)),
            },
        })
        .unwrap_or(Micros::ZERO)
    }

    /// Returns true if there is nothing beside the state: no debt, no block, no states under earlier
    /// numbers.
    pub(crate) const fn is_plain(&self) -> bool {
        self.owed == 0 && self.block.is_none() && self.earlier.is_none()
    }

    /// Returns true if a step at `now` is of the state alone: there is no debt and no block, and states
    /// under earlier numbers stay as they are.
    pub(crate) fn is_plain_at(&self, now: Timestamp) -> bool {
        let rests = |earlier: &Earlier| earlier.rests_at(now);
        self.owed == 0 && self.block.is_none() && self.earlier.as_deref().is_none_or(rests)
    }

    /// Pulls times later than `now` back to it, before the record is read under `policy`.
    pub(crate) fn rewind(&mut self, policy: &Policy, now: Timestamp) {
        if !self.under.is(policy) && self.under.algorithm() == policy.algorithm() {
            // Equal numbers are as good, and their calendar may have more boundaries.
            self.under = policy.clone();
        }
        let is_own = self.under.is(policy);
        if !is_own {
            self.read_debt(policy);
        }
        with_quota!(self.under.algorithm(), quota => match quota.state_mut(&mut self.state) {
            Some(state) if is_own => quota.rewind(state, now),
            Some(state) => quota.rewind_stored(state, now),
            None => {}
        });
        if let Some(block) = &mut self.block {
            block.rewind(now);
        }
        if let Some(earlier) = &mut self.earlier {
            earlier.rewind(now);
        }
    }

    /// Reads the record, which is rewound, under `policy` at `now`: a debt or a block that is over goes,
    /// a state written under other numbers is carried over, one that has expired begins anew.
    pub(crate) fn bring_up(&mut self, policy: &Policy, now: Timestamp) {
        self.end_debt(now);
        if let Some(block) = self.block.filter(|_| self.owed == 0) {
            // A block is no rest, nor is a debt: the key is known until it is over.
            with_state_mut!(self, quota, state => quota.touch(state, block.until.min(now)));
        }
        self.block.take_if(|block| block.is_over(now));
        self.earlier.take_if(|earlier| earlier.is_over(now));
        with_quota!(policy.algorithm(), quota => {
            if !self.under.is(policy) || quota.state(&self.state).is_none() {
                let rule = policy.carry_over();
                self.carry_debt(now, rule == CarryOver::Proportional, |record| {
                    let goes_on = carry_over(quota, rule, record, now);
                    record.under = policy.clone();
                    goes_on
                });
            }
            if let Some(state) = quota.state_mut(&mut self.state)
                && self.owed == 0
            {
                quota.renew(state, now);
            }
        });
    }

    pub(crate) fn outcome(&self, now: Timestamp, cost: Cost) -> Outcome {
        if let Some(repaid) = self.repaid() {
            return repaid.outcome(now, cost);
        }
        with_state!(self, quota, state => {
            quota.look(state, now, |found| quota.outcome(found, now, cost))
        })
        .unwrap_or(Outcome::ALLOW)
    }

    pub(crate) fn charge(&mut self, now: Timestamp, cost: Cost) {
        with_state_mut!(self, quota, state => {
            if let Some(found) = quota.found(state, now) {
                *state = found;
            }
            quota.charge(state, now, cost);
        });
    }

    pub(crate) fn record_load(&mut self, now: Timestamp) {
        with_state_mut!(self, quota, state => quota.record_load(state, now));
    }

    pub(crate) fn refund(&mut self, now: Timestamp, cost: Cost) {
        self.give_back(now, |record| {
            with_state_mut!(record, quota, state => quota.refund(state, now, cost));
        });
    }

    /// Gives back what is left of a charge, if its receipt is good.
    pub(crate) fn settle(&mut self, now: Timestamp, cost: Cost, receipt: Receipt) {
        // A hold is named by its number, whatever the receipt says of its cost.
        let cost = if self.under.algorithm().holds_permits() {
            Some(cost)
        } else {
            cost.at_most(receipt.cost)
        };
        if let Some(cost) = cost
            && self.is_good(receipt, now)
        {
            self.give_back(now, |record| {
                with_state_mut!(record, quota, state => quota.settle(state, now, cost, receipt));
            });
        }
    }

    /// Returns true if the charge that a receipt is of can be extended.
    pub(crate) fn holds(&self, now: Timestamp, receipt: Option<Receipt>) -> bool {
        let receipt = receipt.filter(|receipt| self.is_good(*receipt, now));
        with_state!(self, quota, state => quota.holds(state, now, receipt)).unwrap_or(false)
    }

    /// Extends the charge that a receipt is of, if that is good.
    pub(crate) fn extend(&mut self, now: Timestamp, receipt: Receipt) {
        if self.is_good(receipt, now) {
            with_state_mut!(self, quota, state => quota.extend(state, now, receipt));
        }
    }

    /// Returns true if a receipt is of a charge that was made under the present numbers, since the last
    /// change of them, and not at a time that the clock has stepped back over; or if it names a charge
    /// of this policy.
    fn is_good(&self, receipt: Receipt, now: Timestamp) -> bool {
        let is_lost = || {
            let earlier = self.earlier.as_ref();
            now < receipt.at || earlier.is_some_and(|it| it.is_before_change(receipt.at))
        };
        receipt.scope == self.under.receipt_scope()
            && (self.under.algorithm().holds_permits() || !is_lost())
    }

    /// The largest cost that one request would be admitted with, blocks aside.
    pub(crate) fn room(&self, now: Timestamp) -> u64 {
        if 0 < self.owed {
            return 0;
        }
        with_state!(self, quota, state => {
            quota.look(state, now, |found| quota.room(found, now))
        })
        .unwrap_or(0)
    }

    /// The standing of the key, its block aside.
    pub(crate) fn standing(&self, now: Timestamp) -> Standing {
        if let Some(repaid) = self.repaid() {
            return repaid.standing(now);
        }
        with_state!(self, quota, state => {
            quota.look(state, now, |found| quota.standing(found, now))
        })
        .unwrap_or(Standing::NONE)
    }

    /// Exchanges the load sensor of the state, to lend it a shared one, and back.
    pub(crate) fn swap_sensor(&mut self, sensor: &mut Sensor) {
        if let Some(own) = with_state_mut!(self, quota, state => state.sensor_mut()).flatten() {
            mem::swap(own, sensor);
        }
    }

    /// The sensor of a shared sensor's record, read under `policy` at `now`.
    pub(crate) fn into_sensor(self, policy: &Policy, now: Timestamp) -> Option<Sensor> {
        let State::Sensor(mut sensor) = self.state else { return None };
        let [to, from] = [policy, &self.under].map(|policy| policy.algorithm().sub_window());
        let (to, from) = (to?, from?);
        sensor.rewind(from.number(now));
        sensor.adopt(from, to, now);
        Some(*sensor)
    }

    /// The log of the state, if it has one.
    pub(crate) fn log_mut(&mut self) -> Option<&mut Log> {
        with_state_mut!(self, quota, state => state.log_mut()).flatten()
    }
}

/// Makes a state written under other numbers one of `to`; one of another algorithm begins anew. Returns
/// true if the state goes on.
fn carry_over<A: Listed>(to: &A, rule: CarryOver, record: &mut Record, now: Timestamp) -> bool {
    let Record { under, state, earlier, .. } = record;
    match A::of(under.algorithm()).zip(to.state_mut(state)) {
        Some((from, _)) if from == to => {}
        Some((from, state)) if rule != CarryOver::Reset => {
            let left = (!A::HOLDS_PERMITS).then(|| from.keep(state, now));
            let is_over = from.lifetime(state, now).is_zero();
            if is_over {
                *state = to.fresh(now);
            } else {
                to.carry(from, state, rule, now);
            }
            if let Some(left) = left
                && (!is_over || earlier.is_some())
            {
                let left = (under.algorithm(), left);
                *earlier = Earlier::after_change(earlier.take(), left, (to, state), now);
            }
        }
        _ => {
            (record.state, record.earlier) = (to.wrap(to.fresh(now)), None);
            return false;
        }
    }
    true
}
