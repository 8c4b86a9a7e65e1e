//! For a store that steps elsewhere: records, and policies, as plain numbers.
//!
//! Most stores hand their records to [`apply`](crate::store::apply) and keep what it leaves. One that
//! runs the step where the records are, as a script inside a database does, restates the
//! arithmetic there, and needs three things for it:
//!
//! - the **header** of a state: version, algorithm and numbers, as bytes. Equal headers mean
//!   equal numbers, so a script compares it whole, and steps only where it is the policy's own;
//! - the **words** of a state: its numbers, which follow the header;
//! - the **terms** of a policy: what its numbers come to, so that the script multiplies and
//!   divides as [`apply`](crate::store::apply) does, and never derives anything.
//!
//! All of them are integers that doubles hold exactly. The script says what it found, whether all
//! checks were admitted, and at what time; given the same records and the same time,
//! [`apply`](crate::store::apply) then tells the decisions. So a decision is worked out in one place,
//! and a script that disagrees with it is found out at once. Of a log the script need not show
//! all: see [`Record::hiding`].

use alloc::vec::Vec;

use crate::{
    Algorithm, Policy, StateError,
    store::encode::{self, SENSOR},
    store::{Record, Slot},
    time::EXACT_MAX,
};

impl Slot<'_> {
    /// The header of the states that are written in this place.
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        let algorithm = self.policy.algorithm();
        encode::header(self.key.map_or(SENSOR, |_| encode::kind(algorithm)), algorithm)
    }

    /// The numbers that the arithmetic works with.
    ///
    /// | algorithm | terms |
    /// | --- | --- |
    /// | fixed window | limit, window, 1 if aligned to the first request |
    /// | sliding window log | limit, window, most entries |
    /// | sliding window counter | limit, window, tick, window in ticks, largest count |
    /// | token bucket | in units: capacity, permit, gain per microsecond, initial level; memory, or 0 |
    /// | leaky bucket | in units: capacity, permit, loss per microsecond, most to queue behind |
    /// | adaptive hybrid | window, tick, window in ticks, sub-window; whole burst, cut burst, load to which it is whole, load from which it is cut, offset, slope, divisor |
    /// | its shared sensor | as the adaptive hybrid |
    ///
    /// Lengths are in microseconds. A number beyond 2^53 − 1, which nothing ever reaches, is given
    /// as that.
    #[must_use]
    pub fn terms(&self) -> Vec<u64> {
        let mut terms = match self.policy.algorithm() {
            Algorithm::FixedWindow(quota) => quota.terms().to_vec(),
            Algorithm::SlidingWindowLog(quota) => quota.terms().to_vec(),
            Algorithm::SlidingWindowCounter(quota) => quota.terms().to_vec(),
            Algorithm::TokenBucket(quota) => quota.terms().to_vec(),
            Algorithm::LeakyBucket(quota) => quota.terms().to_vec(),
            Algorithm::Adaptive(quota) => [&quota.terms()[..], &quota.load().terms()[..]].concat(),
        };
        terms.iter_mut().for_each(|term| *term = EXACT_MAX.min(*term));
        terms
    }
}

impl Record {
    /// Version, algorithm and numbers: with the words, all of the record.
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        encode::header(self.kind(), self.under.algorithm())
    }

    /// The numbers of the state.
    ///
    /// | state of | words |
    /// | --- | --- |
    /// | fixed window | start, used |
    /// | sliding window log | entries; of each, oldest first: time since the one before (of the first: its instant), cost |
    /// | sliding window counter | start, previous, current |
    /// | token and leaky bucket | units, instant, permits given back |
    /// | adaptive hybrid | those of its log, its bucket, its sensor |
    /// | its sensor | sub-window of the first count; 64 counts, newest first |
    /// | a key that is blocked | those of the above; since when, until when |
    #[must_use]
    pub fn words(&self) -> Vec<u64> {
        let mut words = Vec::new();
        self.state.each_word(&mut |word| words.push(word));
        words
    }

    /// The record of that header and those words. It shares the numbers of `policy` where they
    /// are the same.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode): no header and no words, whatever wrote them, lead to a state
    /// that no step could have left.
    pub fn from_words(header: &[u8], words: &[u64], policy: &Policy) -> Result<Self, StateError> {
        Self::read(header, words, policy)
    }

    /// The same record with a log that holds so many entries more than it shows.
    ///
    /// To tell the decision about a log, [`apply`](crate::store::apply) needs the total of its live
    /// entries, their number, and three of them: the oldest; the one that has to leave for the
    /// request to fit, or that a refund is taken off last; and the newest. A log of these three,
    /// where the oldest also costs what is not shown before the second, and the newest what is not
    /// shown after it, says the same as the whole. The records that [`apply`](crate::store::apply) leaves
    /// are then to be thrown away.
    #[must_use]
    pub fn hiding(mut self, entries: usize) -> Self {
        if let Some(log) = self.log_mut() {
            log.hide(entries);
        }
        self
    }
}
