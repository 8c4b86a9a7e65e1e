//! The level of a bucket, and how much of a charge may still be given back.
//!
//! With a smaller charge the bucket would have been fuller ever since, except for permits that
//! would have overflowed. So an excess charge may be given back as far as the bucket had room for
//! it at every instant since. That history is not kept, but two lower bounds do without it:
//!
//! - what was missing right after the charge, less what has come back and what was given back
//!   since: what others spent can only have added to it;
//! - the charge itself, less what has come back since: any earlier refund was of another charge.
//!
//! The larger of the two is given back. The first takes what has come back off the oldest charges,
//! the second off this one; so as long as nothing has come back, everything is given back, in
//! whatever order charges are settled. Parts of a permit are given back as well: a full bucket whose only
//! charge is settled early is full again.

use super::key_state::KeyState;
use crate::{
    Micros, Receipt, Timestamp,
    number::{encoding::Reader, rate::Rate},
    time::EXACT_MAX,
};

/// A level, and the instant up to which it is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Level {
    pub(crate) units: u64,
    pub(crate) at: Timestamp,
}

/// The words of a level.
pub(crate) const LEVEL_WORDS: usize = 2;

impl Level {
    pub(crate) const fn words(self) -> [u64; LEVEL_WORDS] {
        [self.units, self.at.as_micros()]
    }

    /// Reads a level of at most `units_max`.
    pub(crate) fn read(input: &mut Reader<'_>, units_max: u64) -> Option<Self> {
        let (units, at) = (input.number()?, input.timestamp()?);
        (units <= units_max).then_some(Self { units, at })
    }
}

/// A level, the instant up to which it is counted, and what was given back to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) units: u64,
    pub(crate) at: Timestamp,
    /// Permits given back since the bucket last rested for as long as it takes to fill, after
    /// which nothing is left of any charge. Each time a part of one counts as one, so that no bound is
    /// too high. At most 2^53 − 1, which then means: too many to count.
    pub(crate) returned: u64,
}

impl KeyState for Bucket {
    #[inline(always)]
    fn compact(&self) -> Option<[u64; 3]> {
        Some([self.units, self.at.as_micros(), self.returned])
    }

    #[inline(always)]
    fn expand([units, at, returned]: [u64; 3]) -> Option<Self> {
        Some(Self { units, at: Timestamp::from_word(at), returned })
    }
}

impl Bucket {
    /// A bucket of so many units.
    pub(crate) const fn new(units: u64, at: Timestamp) -> Self {
        Self { units, at, returned: 0 }
    }

    /// Reads a bucket of at most `units_max`.
    pub(crate) fn read(input: &mut Reader<'_>, units_max: u64) -> Option<Self> {
        let Level { units, at } = Level::read(input, units_max)?;
        let returned = input.number()?;
        (returned <= EXACT_MAX).then_some(Self { units, at, returned })
    }

    /// The same bucket when it has come to hold `units`, `rested` if it took the time to fill.
    #[inline]
    pub(crate) const fn counted(self, units: u64, at: Timestamp, rested: bool) -> Self {
        Self { units, at, returned: if rested { 0 } else { self.returned } }
    }

    /// The same bucket with so many permits given back, at most, which holds `units` by now.
    pub(crate) fn given(self, permits: u64, units: u64) -> Self {
        let returned = self.returned.saturating_add(permits).min(EXACT_MAX);
        Self { units, returned, ..self }
    }

    /// The units that may still be given back of a charge.
    pub(crate) fn left_of(&self, receipt: Receipt, rate: &Rate, now: Timestamp) -> u64 {
        let back = rate.units_in(now - receipt.at);
        let given = rate.units(self.returned_since(receipt));
        let missing = receipt.level.saturating_sub(back).saturating_sub(given);
        let own = rate.units(receipt.cost).saturating_sub(back);
        missing.max(own)
    }

    /// Fewer than the receipt says is a bucket that was emptied, or has rested, since then.
    fn returned_since(&self, receipt: Receipt) -> u64 {
        match self.returned.checked_sub(receipt.count) {
            Some(since) if self.returned < EXACT_MAX => since,
            _ => u64::MAX,
        }
    }

    /// The time for which what was given back has to be known, in a bucket that takes `fill` to
    /// fill.
    pub(crate) fn lifetime(&self, fill: Micros, now: Timestamp) -> Micros {
        if self.returned == 0 { Micros::ZERO } else { fill - (now - self.at) }
    }
}
