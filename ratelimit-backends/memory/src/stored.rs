//! The table's entry for one key: a slot and a record, in 56 bytes.

use ratelimit_core::{
    Action, Batch, Check, Decision, Micros, Policy, StateError, Timestamp,
    store::{Decisions, Record, SmallRecord, apply},
};

use crate::slot::{HashedSlot, StoredKey};

/// A record at its slot.
pub(crate) enum Stored {
    /// The record of a bucket, a window or a counter.
    Small { id: StoredKey, record: SmallRecord },
    /// Any other; none while a step is about to forget it. The policy is there for its name.
    Large { id: StoredKey, policy: Policy, record: Box<Option<Record>> },
}

impl Stored {
    pub(crate) fn new(id: StoredKey, record: Record) -> Self {
        match SmallRecord::try_from(record) {
            Ok(record) => Self::Small { id, record },
            Err(record) => {
                Self::Large { id, policy: record.policy().clone(), record: Box::new(Some(record)) }
            }
        }
    }

    #[inline(always)]
    pub(crate) const fn id(&self) -> &StoredKey {
        match self {
            Self::Small { id, .. } | Self::Large { id, .. } => id,
        }
    }

    /// A policy of the name that is part of the slot.
    #[inline(always)]
    pub(crate) const fn policy(&self) -> &Policy {
        match self {
            Self::Small { record, .. } => record.policy(),
            Self::Large { policy, .. } => policy,
        }
    }

    #[inline(always)]
    pub(crate) fn is_at(&self, slot: &HashedSlot<'_>) -> bool {
        slot.is(self.policy(), self.id())
    }

    /// Spends on a log or an adaptive hybrid where it lies, if nothing has changed around it.
    pub(crate) fn spend_large(&mut self, check: &Check<'_>, now: Timestamp) -> Option<Decision> {
        match self {
            Self::Small { .. } => None,
            Self::Large { record, .. } => (**record).as_mut()?.spend(check, now),
        }
    }

    pub(crate) fn to_record(&self) -> Option<Record> {
        match self {
            Self::Small { record, .. } => Some(record.clone().into()),
            Self::Large { record, .. } => (**record).clone(),
        }
    }

    pub(crate) fn into_record(self) -> Option<Record> {
        match self {
            Self::Small { record, .. } => Some(record.into()),
            Self::Large { record, .. } => *record,
        }
    }

    /// Applies an action that changes something to a batch of one. A log stays where it is.
    pub(crate) fn apply(
        &mut self,
        batch: Batch<'_>,
        action: Action,
        now: Timestamp,
    ) -> Result<Decisions, StateError> {
        if let Self::Large { record, .. } = self {
            return apply(batch, action, std::slice::from_mut(&mut **record), now);
        }
        let mut record = [self.to_record()];
        let decisions = apply(batch, action, &mut record, now)?;
        let [record] = record;
        *self = match record {
            Some(record) => Self::new(*self.id(), record),
            None => Self::Large {
                id: *self.id(),
                policy: self.policy().clone(),
                record: Box::default(),
            },
        };
        Ok(decisions)
    }

    /// Whether the last step forgot it.
    pub(crate) fn is_forgotten(&self) -> bool {
        matches!(self, Self::Large { record, .. } if record.is_none())
    }

    /// When to look whether it may be dropped: when it is as good as new unless somebody spends,
    /// but within a minute, since a refund or a live change may bring that forward.
    pub(crate) fn expires(&self, now: Timestamp) -> Timestamp {
        let lifetime = match self {
            Self::Small { record, .. } => record.lifetime(now),
            Self::Large { record, .. } => {
                record.as_ref().as_ref().map_or(Micros::ZERO, |record| record.lifetime(now))
            }
        };
        now + lifetime.min(LOOK_AGAIN)
    }
}

const LOOK_AGAIN: Micros = Micros::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_key_and_a_bucket_take_less_than_a_cache_line() {
        assert_eq!(size_of::<Stored>(), 56);
    }
}
