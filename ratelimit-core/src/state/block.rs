//! A block: a stretch of time in which a key is denied, however its limit stands.
//!
//! It lies around the state, which goes on as if it were not there.

use alloc::boxed::Box;

use crate::{Micros, Outcome, Timestamp, WINDOW_MAX, decision::Standing, meter::State};

/// From when, and until when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Block {
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
}

/// A state, and the block around it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Blocked {
    pub(crate) state: State,
    pub(crate) block: Block,
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

    /// How a key stands that stands as `standing` says without the block.
    pub(crate) fn standing(&self, now: Timestamp, standing: Standing) -> Standing {
        let reset_after = standing.reset_after.max(self.left(now));
        Standing { remaining: 0, reset_after, ..standing }
    }
}

impl State {
    /// The state without the block around it, and that block unless it is over.
    pub(crate) fn unblock(self, now: Timestamp) -> (Self, Option<Block>) {
        match self {
            Self::Blocked(blocked) => {
                let Blocked { state, block } = *blocked;
                (state, Some(block).filter(|block| now < block.until))
            }
            state => (state, None),
        }
    }

    /// The state with a block around it, if there is one.
    pub(crate) fn with_block(self, block: Option<Block>) -> Self {
        match block {
            None => self,
            Some(block) => Self::Blocked(Box::new(Blocked { state: self, block })),
        }
    }
}
