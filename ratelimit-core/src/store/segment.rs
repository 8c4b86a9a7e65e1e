//! For a store that keeps a long log in pieces: its entries, apart from their record.
//!
//! A log may have a million entries, of which a decision needs few. A store can keep most of them
//! in [`LogSegment`]s, and give [`apply`](crate::store::apply) a record whose log shows some of these, and
//! has one entry [in the place](LogSegment::merged) of all between them, see
//! [`Record::hiding`]. When these entries were made is then known by its bounds only, and that is
//! enough as long as the decision is the same at both: the later an entry was made, the later does
//! a denied request fit, and nothing else depends on it.

use crate::{
    Micros, StateError, Timestamp,
    state::{entries::Log, record::Record},
};

/// Entries of a log that follow one another, oldest first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LogSegment(pub(crate) Log);

impl LogSegment {
    /// One entry in the place of many that cost as much.
    ///
    /// # Errors
    ///
    /// [`StateError::Corrupt`] if they cost nothing.
    pub fn merged(at: Timestamp, cost: u64) -> Result<Self, StateError> {
        Log::from_costs([Some((at, cost))].into_iter()).map(Self).ok_or(StateError::Corrupt)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.costs().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the entries cost together.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.0.cost()
    }

    /// When the first entry was made.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.0.oldest()
    }

    /// When the last entry was made.
    #[must_use]
    pub fn newest(&self) -> Option<Timestamp> {
        self.0.newest()
    }

    /// Takes off the oldest entries, so many of them, or all there are.
    #[must_use]
    pub fn split_off_oldest(&mut self, entries: usize) -> Self {
        Self(self.0.split_off_oldest(entries))
    }
}

impl Record {
    /// Leaves the record with an empty log, and gives its entries; `None` if its state has no log.
    pub fn take_log(&mut self) -> Option<LogSegment> {
        self.log_mut().map(core::mem::take).map(LogSegment)
    }

    /// The same record with a log of all those entries, in the place of its own.
    ///
    /// # Errors
    ///
    /// [`StateError::Corrupt`] unless they are in order, or if there is no log.
    pub fn with_log(
        mut self,
        segments: impl IntoIterator<Item = LogSegment>,
    ) -> Result<Self, StateError> {
        let entries = Log::join(segments.into_iter().map(|segment| segment.0));
        let (log, entries) = self.log_mut().zip(entries).ok_or(StateError::Corrupt)?;
        *log = entries;
        Ok(self)
    }

    /// How many entries of a segment of its log no longer count at `now`.
    #[must_use]
    pub fn expired(&self, segment: &LogSegment, now: Timestamp) -> usize {
        let window = self.under.window().unwrap_or(Micros::ZERO);
        segment.0.first_live(window, now)
    }
}
