//! The entries of a log apart from their record, for a store that keeps a long log in pieces.
//!
//! A log may have a million entries, and a decision needs few of them. A store can keep most of
//! them in [`LogSegment`]s, and give [`apply`](crate::store::apply) a record whose log has one
//! entry in place of all that the store has not read. The store knows between which instants these
//! were made. That is enough if the decision is the same at both: the later an entry was made, the
//! longer it counts, and nothing else depends on its time. Where numbers have changed, more does:
//! [`Record::entries_apart`].

use crate::{
    CarryOver, Policy, StateError, Timestamp,
    algorithm::{definition::Definition as _, with_quota},
    state::{entries::Log, record::Record},
};

/// Entries of a log that follow one another, oldest first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LogSegment(pub(crate) Log);

impl LogSegment {
    /// Makes a segment of entries, each given by its instant, its cost, and the number of entries
    /// that it stands for, itself included.
    ///
    /// # Errors
    ///
    /// [`StateError::Corrupt`] unless they are in order, of different instants, and cost something.
    pub fn from_entries(
        entries: impl IntoIterator<Item = (Timestamp, u64, u64)>,
    ) -> Result<Self, StateError> {
        Log::from_parts(entries).map(Self).ok_or(StateError::Corrupt)
    }

    /// The instants and costs of the entries.
    #[must_use]
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (Timestamp, u64)> {
        self.0.costs()
    }
}

impl Record {
    /// The number of its log's newest entries that stay as they are when the record is read under `policy`.
    ///
    /// Those before them are merged, or each is looked at: a store has to read them all (if the number
    /// is zero), or the one that is the next to the newest (else), before it applies anything.
    #[must_use]
    pub fn entries_apart(&self, policy: &Policy) -> u64 {
        match policy.carry_over() {
            _ if self.under.is(policy) => u64::MAX,
            CarryOver::Reset => u64::MAX,
            CarryOver::AsIs if self.earlier.is_none() => {
                with_quota!(policy.algorithm(), quota => quota.entries_max()).unwrap_or(u64::MAX)
            }
            _ => 0,
        }
    }

    /// Empties the log, and returns its entries; `None` if the state has no log.
    pub fn take_log(&mut self) -> Option<LogSegment> {
        self.log_mut().map(core::mem::take).map(LogSegment)
    }

    /// The same record with these entries in place of its own.
    ///
    /// # Errors
    ///
    /// [`StateError::Corrupt`] if the state has no log.
    pub fn with_log(mut self, entries: LogSegment) -> Result<Self, StateError> {
        *self.log_mut().ok_or(StateError::Corrupt)? = entries.0;
        Ok(self)
    }
}
