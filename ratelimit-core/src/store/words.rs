//! For a store that steps elsewhere: records, and policies, as plain numbers.
//!
//! Most stores hand their records to [`apply`](crate::store::apply) and keep what it leaves. One
//! that runs the step where the records are, as a script inside a database does, restates the
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
//! [`apply`](crate::store::apply) then tells the decisions. So a decision is computed in one place,
//! and a script that disagrees with it is detected at once. The script need not show the whole of a
//! log: see [`Record::hiding`].

use alloc::{boxed::Box, vec::Vec};

use super::encode::{self, BLOCKED, OWING, VERSION};
use crate::{
    Check, StateError, Timestamp,
    algorithm::{self, State, definition::Definition, with_quota},
    number::encoding::Reader,
    request::Slot,
    state::{block::Block, earlier::Earlier, record::Record},
    time::EXACT_MAX,
};

impl Slot<'_> {
    /// The header of the states that are written in this place.
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        let algorithm = self.policy.algorithm();
        let kind = self.key.map_or_else(|| algorithm.sensor_kind(), |_| Some(algorithm.kind()));
        encode::header(kind, algorithm)
    }

    /// The numbers that the steps compute with at about `now`, by name, always in the same order. A
    /// shared sensor has those of its adaptive hybrid.
    ///
    /// Lengths are in microseconds. A number beyond 2^53 − 1, which nothing ever reaches, is given
    /// as that. Windows of a calendar are given one at a time, the one around `now`; a script whose
    /// clock is in another one has to be given that.
    #[must_use]
    pub fn terms(&self, now: Timestamp) -> Vec<(&'static str, u64)> {
        let mut terms = with_quota!(self.policy.algorithm(), quota => quota.terms(now));
        terms.iter_mut().for_each(|(_, term)| *term = EXACT_MAX.min(*term));
        terms
    }
}

impl Check<'_> {
    /// The number of the hold that the receipt is of, where permits are held; zero, which no hold has,
    /// if there is no receipt, or one of another policy.
    #[must_use]
    pub fn hold(&self) -> u64 {
        let policy = self.policy();
        let receipt = self.receipt().filter(|it| it.scope == policy.receipt_scope());
        receipt.filter(|_| policy.algorithm().holds_permits()).map_or(0, |receipt| receipt.count)
    }
}

/// The number of words besides those of its log that a state has, by its header; `None` if it has
/// no log. The words of the log come first.
#[must_use]
pub fn words_beside_log(header: &[u8]) -> Option<usize> {
    let [VERSION, kinds @ ..] = header else { return None };
    let (block, kinds) = match kinds {
        [BLOCKED, kinds @ ..] => (Block::WORDS, kinds),
        _ => (0, kinds),
    };
    let (debt, kinds) = match kinds {
        [OWING, kinds @ ..] => (1, kinds),
        _ => (0, kinds),
    };
    let beside = algorithm::words_beside_log(*kinds.first()?)?;
    Some(beside.saturating_add(block).saturating_add(debt))
}

impl Record {
    /// The numbers of the state.
    ///
    /// | state of | words |
    /// | --- | --- |
    /// | fixed window | start, used; of a calendar, length |
    /// | sliding window log | entries; of each, oldest first: time since the one before (of the first: its instant), cost |
    /// | sliding window counter | start, previous, current |
    /// | token and leaky bucket | units, instant, permits given back |
    /// | adaptive hybrid | those of its log, its bucket, its sensor |
    /// | permits in flight | the last hold's number; the newest instant; permits held; holds; of each, as they lapse: instant, length, number, cost |
    /// | its sensor | sub-window of the first count; 64 counts, newest first |
    /// | a key that is blocked | those of the above; since when, until when |
    /// | a key that owes permits | those of the above; how many |
    #[must_use]
    pub fn words(&self) -> Vec<u64> {
        let mut all = match &self.state {
            State::Sensor(sensor) => sensor.words(),
            state => state.words(self.under.algorithm()),
        };
        all.extend(self.block.into_iter().flat_map(Block::words));
        all.extend((0 < self.owed).then_some(self.owed));
        all
    }

    /// The states that are kept under earlier numbers, as words; none if there are none. The first two
    /// are the instant of the last change of numbers, and the instant from which nothing of it counts.
    ///
    /// A step under the present numbers leaves them as they are, from the one instant to the other.
    #[must_use]
    pub fn earlier(&self) -> Vec<u64> {
        self.earlier.as_ref().map_or_else(Vec::new, |earlier| earlier.words())
    }

    /// The same record with states under earlier numbers, from the words of [`earlier`](Self::earlier).
    ///
    /// # Errors
    ///
    /// [`StateError::Corrupt`] for words that no change leaves.
    pub fn with_earlier(mut self, words: &[u64]) -> Result<Self, StateError> {
        let mut input = Reader { bytes: &[], words };
        let earlier = Earlier::read(self.under.algorithm().kind(), &mut input);
        let earlier = earlier.filter(|_| input.is_empty()).ok_or(StateError::Corrupt)?;
        self.earlier = Some(Box::new(earlier));
        Ok(self)
    }

    /// The same record with a log that holds so many entries more than it shows.
    ///
    /// To tell the decision about a log, [`apply`](crate::store::apply) needs the total of its live
    /// entries, their number, and three of them: the oldest; the one that has to leave for the
    /// request to fit, or that a refund is taken off last; and the newest. A log of these three,
    /// where the oldest also costs what is not shown before the second, and the newest what is not
    /// shown after it, says the same as the whole. The records that [`apply`](crate::store::apply)
    /// leaves are then to be thrown away.
    #[must_use]
    pub fn hiding(mut self, entries: usize) -> Self {
        if let Some(log) = self.log_mut() {
            log.hide(entries);
        }
        self
    }
}
