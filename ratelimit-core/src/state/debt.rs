//! A debt: permits that were charged beyond what a key had room for.
//!
//! The permits that a key owes lie beside a state that has no room. They are paid back by charging the
//! state for them as soon as they fit, and nothing else is admitted before the last of them is. So a key
//! in debt is decided about as its state will stand at that instant, which follows from the state alone:
//! the stored record does not change while a debt is paid back.

use core::num::NonZeroU64;

use super::record::Record;
use crate::{
    Cost, Micros, Outcome, Policy, Timestamp, UNLIMITED,
    algorithm::{Listed, State, with_quota},
    decision::Standing,
    number::division::scale_ceil,
};

/// A key as it will stand when it has paid back what it owes.
pub(crate) struct Repaid {
    at: Timestamp,
    record: Record,
}

impl Record {
    /// The key as it will stand when it owes nothing; `None` if it owes nothing now.
    pub(crate) fn repaid(&self) -> Option<Repaid> {
        let (at, state) = self.repay(self.owed)?;
        Some(Repaid { at, record: Self::plain(&self.under, state) })
    }

    /// The state once `permits` of what it owes are paid back, and the instant of that.
    fn repay(&self, permits: u64) -> Option<(Timestamp, State)> {
        fn repay<A: Listed>(quota: &A, state: &State, owed: Cost) -> Option<(Timestamp, State)> {
            let (at, state) = quota.repay(quota.state(state)?, owed)?;
            Some((at, quota.wrap(state)))
        }
        let owed = Cost::new(permits)?;
        with_quota!(self.under.algorithm(), quota => repay(quota, &self.state, owed))
    }

    /// Reads the debt under other numbers than it was made under, if they know how it is paid back; else
    /// nothing is owed any more.
    pub(crate) fn read_debt(&mut self, policy: &Policy) {
        if self.owed == 0 {
            return;
        }
        match self.under.algorithm().for_debt(policy.algorithm()) {
            Some(algorithm) => self.under = self.under.with_algorithm(algorithm),
            None => self.owed = 0,
        }
    }

    /// Makes what has been paid back by `now` charges like any, if that is all.
    pub(crate) fn end_debt(&mut self, now: Timestamp) {
        if self.owed == 0 {
            return;
        }
        match self.repay(self.owed) {
            Some((at, _)) if now < at => {}
            repaid => {
                self.owed = 0;
                if let Some((_, state)) = repaid {
                    self.state = state;
                }
            }
        }
    }

    /// Makes what has been paid back by `now` charges like any: what is owed then is the rest.
    fn repay_part(&mut self, now: Timestamp) {
        self.end_debt(now);
        let (mut paid, mut owed) = (0_u64, self.owed);
        while paid.saturating_add(1) < owed {
            let middle = paid.midpoint(owed);
            if self.repay(middle).is_some_and(|(at, _)| at <= now) {
                paid = middle;
            } else {
                owed = middle;
            }
        }
        if let Some((_, state)) = self.repay(paid) {
            self.state = state;
            self.owed = self.owed.saturating_sub(paid);
        }
    }

    /// Charges `cost` permits without deciding: as many as there is room for, and of the others as many
    /// as make the key owe no more than `debt_max`. Returns the number of all that were charged.
    pub(crate) fn penalize(&mut self, now: Timestamp, cost: u64, debt_max: u64) -> u64 {
        self.repay_part(now);
        let fits = cost.min(self.room(now));
        if let Some(fits) = Cost::new(fits) {
            self.charge(now, fits);
        }
        let debt_max = debt_max.min(self.under.algorithm().debt_max());
        let more = cost.saturating_sub(fits).min(debt_max.saturating_sub(self.owed));
        self.owed = self.owed.saturating_add(more);
        fits.saturating_add(more)
    }

    /// Gives permits back by `give`. As far as the key owes any, that pays them back.
    pub(crate) fn give_back(&mut self, now: Timestamp, give: impl FnOnce(&mut Self)) {
        if self.owed == 0 {
            return give(self);
        }
        self.repay_part(now);
        let owed = core::mem::take(&mut self.owed);
        give(self);
        self.owe(now, owed);
    }

    /// Charges permits that were owed, as far as there is room for them, and owes the rest.
    fn owe(&mut self, now: Timestamp, owed: u64) {
        let fits = Cost::new(owed.min(self.room(now)));
        if let Some(fits) = fits {
            self.charge(now, fits);
        }
        self.owed = owed.saturating_sub(fits.map_or(0, Cost::get));
    }

    /// Carries a debt over by `change`, which changes the numbers, and tells if the state goes on. The
    /// debt is as many permits as before, or the same share of the limit, but no more than are paid back in
    /// [`WINDOW_MAX`](crate::WINDOW_MAX).
    pub(crate) fn carry_debt(
        &mut self,
        now: Timestamp,
        is_proportional: bool,
        change: impl FnOnce(&mut Self) -> bool,
    ) {
        if self.owed == 0 {
            change(self);
            return;
        }
        self.repay_part(now);
        let (owed, before) = (core::mem::take(&mut self.owed), self.under.limit());
        if !change(self) {
            return;
        }
        let limit = self.under.limit();
        let owed = match NonZeroU64::new(before) {
            Some(before) if is_proportional && limit < UNLIMITED => scale_ceil(owed, limit, before),
            _ => owed,
        };
        self.owe(now, owed);
        self.owed = self.owed.min(self.under.algorithm().debt_max());
    }
}

impl Repaid {
    /// Denies a request until it fits once nothing is owed.
    pub(crate) fn outcome(&self, now: Timestamp, cost: Cost) -> Outcome {
        if self.at <= now {
            return self.record.outcome(now, cost);
        }
        let retry_after = match self.record.outcome(self.at, cost) {
            Outcome::Allow { .. } => Micros::ZERO,
            Outcome::Deny { retry_after } => retry_after,
        };
        Outcome::Deny { retry_after: self.left(now) + retry_after }
    }

    /// The standing of the key: nothing remains before everything is paid back.
    pub(crate) fn standing(&self, now: Timestamp) -> Standing {
        let standing = self.record.standing(self.at.max(now));
        let reset_after = self.left(now) + standing.reset_after;
        Standing { remaining: 0, reset_after, ..standing }
    }

    /// The time from `now` until the record may be dropped.
    pub(crate) fn lifetime(&self, now: Timestamp) -> Micros {
        self.left(now) + self.record.lifetime(self.at.max(now))
    }

    fn left(&self, now: Timestamp) -> Micros {
        self.at - now
    }
}
