//! The table's entry for one key: a slot and a record, in 56 bytes.

use ratelimit_core::{
    Action, Batch, Micros, Policy, StateError, Timestamp,
    store::{CompactState, Decisions, Record, apply},
};

use crate::slot::{HashedSlot, StoredKey};

/// A record at its slot.
// Laid out in the order of its fields, so that both variants have the policy in one place.
#[repr(u8)]
pub(crate) enum Entry {
    /// A record of three words and its policy.
    Compact { id: StoredKey, policy: Policy, state: CompactState },
    /// Any other record; none while a step is about to forget it. The policy is there for its name.
    Boxed { id: StoredKey, policy: Policy, record: Box<Option<Record>> },
}

impl Entry {
    pub(crate) fn new(id: StoredKey, record: Record) -> Self {
        match record.into_compact() {
            Ok((policy, state)) => Self::Compact { id, policy, state },
            Err(record) => {
                Self::Boxed { id, policy: record.policy().clone(), record: Box::new(Some(record)) }
            }
        }
    }

    #[inline(always)]
    pub(crate) const fn id(&self) -> &StoredKey {
        match self {
            Self::Compact { id, .. } | Self::Boxed { id, .. } => id,
        }
    }

    /// A policy of the name that is part of the slot.
    #[inline(always)]
    pub(crate) const fn policy(&self) -> &Policy {
        match self {
            Self::Compact { policy, .. } | Self::Boxed { policy, .. } => policy,
        }
    }

    #[inline(always)]
    pub(crate) fn is_at(&self, slot: &HashedSlot<'_>) -> bool {
        slot.is(self.policy(), self.id())
    }

    /// The state, if it is compact and was written under this very policy.
    #[inline(always)]
    pub(crate) fn compact_under(&mut self, policy: &Policy) -> Option<&mut CompactState> {
        match self {
            Self::Compact { policy: under, state, .. } if under.is(policy) => Some(state),
            _ => None,
        }
    }

    /// The state, if it is compact and was written under equal numbers, which are this policy's from now on.
    pub(crate) fn compact_under_equal(&mut self, policy: &Policy) -> Option<&mut CompactState> {
        match self {
            Self::Compact { policy: under, state, .. }
                if under.algorithm() == policy.algorithm() =>
            {
                *under = policy.clone();
                Some(state)
            }
            _ => None,
        }
    }

    /// The record, if it is boxed.
    #[inline]
    pub(crate) fn boxed(&mut self) -> Option<&mut Record> {
        match self {
            Self::Compact { .. } => None,
            Self::Boxed { record, .. } => (**record).as_mut(),
        }
    }

    pub(crate) fn to_record(&self) -> Option<Record> {
        match self {
            Self::Compact { policy, state, .. } => Record::from_compact(policy.clone(), *state),
            Self::Boxed { record, .. } => (**record).clone(),
        }
    }

    pub(crate) fn into_record(self) -> Option<Record> {
        match self {
            Self::Compact { policy, state, .. } => Record::from_compact(policy, state),
            Self::Boxed { record, .. } => *record,
        }
    }

    /// Applies an action that changes something to a batch of one. A boxed record stays where it
    /// is.
    pub(crate) fn apply(
        &mut self,
        batch: Batch<'_>,
        action: Action,
        now: Timestamp,
    ) -> Result<Decisions, StateError> {
        if let Self::Boxed { record, .. } = self {
            return apply(batch, action, std::slice::from_mut(&mut **record), now);
        }
        let mut record = [self.to_record()];
        let decisions = apply(batch, action, &mut record, now)?;
        let (id, [record]) = (*self.id(), record);
        *self = match record {
            Some(record) => Self::new(id, record),
            None => Self::Boxed { id, policy: self.policy().clone(), record: Box::default() },
        };
        Ok(decisions)
    }

    /// Returns true if the last step forgot it.
    pub(crate) fn is_forgotten(&self) -> bool {
        matches!(self, Self::Boxed { record, .. } if record.is_none())
    }

    /// The time of the next look at whether it may be dropped: when it has been as good as new for
    /// the `retention`, unless somebody spends, but within a minute, since a refund or a live change
    /// may bring that forward.
    pub(crate) fn expires(&self, now: Timestamp, retention: Micros) -> Timestamp {
        let left = match self.lifetime(now) {
            Micros::ZERO => self.lifetime(now - retention),
            lifetime => lifetime + retention,
        };
        Self::look_after(left, now)
    }

    /// The time of a look after so long, or after a minute.
    pub(crate) fn look_after(left: Micros, now: Timestamp) -> Timestamp {
        now + left.min(LOOK_AGAIN)
    }

    fn lifetime(&self, now: Timestamp) -> Micros {
        match self {
            Self::Compact { policy, state, .. } => state.lifetime(policy, now),
            Self::Boxed { record, .. } => {
                record.as_ref().as_ref().map_or(Micros::ZERO, |record| record.lifetime(now))
            }
        }
    }
}

const LOOK_AGAIN: Micros = Micros::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_key_and_a_bucket_take_less_than_a_cache_line() {
        assert_eq!(size_of::<Entry>(), 56);
    }
}
