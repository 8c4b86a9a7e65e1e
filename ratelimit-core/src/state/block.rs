//! A block: a stretch of time in which a key is denied, however its limit stands.
//!
//! It lies beside the state, which goes on as if there were no block.

use crate::{Micros, Outcome, Timestamp, WINDOW_MAX, decision::Standing, number::encoding::Reader};

/// The instants at which a block begins and ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Block {
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
}

impl Block {
    /// A block that begins at `now`, unless `other` lasts longer.
    pub(crate) fn begin(now: Timestamp, length: Micros, other: Option<Self>) -> Self {
        let block = Self { since: now, until: now + length.min(WINDOW_MAX) };
        other.filter(|other| block.until < other.until).unwrap_or(block)
    }

    /// Pulls a block that begins later than `now` back to it; it lasts as long as it did.
    pub(crate) fn rewind(&mut self, now: Timestamp) {
        if now < self.since {
            *self = Self { since: now, until: now + (self.until - self.since) };
        }
    }

    /// The number of its [`words`](Self::words).
    pub(crate) const WORDS: usize = 2;

    pub(crate) const fn words(self) -> [u64; Self::WORDS] {
        [self.since.as_micros(), self.until.as_micros()]
    }

    /// Reads a block from its [`words`](Self::words). Its end may lie beyond representable time.
    pub(crate) fn read(input: &mut Reader<'_>) -> Option<Self> {
        let (since, until) = (input.timestamp()?, Timestamp::from_word(input.number()?));
        (since < until && until - since <= WINDOW_MAX).then_some(Self { since, until })
    }

    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.until <= now
    }

    /// The time until it is over.
    pub(crate) fn left(&self, now: Timestamp) -> Micros {
        self.until - now
    }

    /// Denies a request until it fits once the block is over.
    pub(crate) fn outcome(&self, now: Timestamp, after: Outcome) -> Outcome {
        let retry_after = match after {
            Outcome::Allow { .. } => Micros::ZERO,
            Outcome::Deny { retry_after } => retry_after,
        };
        Outcome::Deny { retry_after: self.left(now) + retry_after }
    }

    /// The standing of a key with the block, from its `standing` without it.
    pub(crate) fn standing(&self, now: Timestamp, standing: Standing) -> Standing {
        let reset_after = standing.reset_after.max(self.left(now));
        Standing { remaining: 0, reset_after, ..standing }
    }
}
