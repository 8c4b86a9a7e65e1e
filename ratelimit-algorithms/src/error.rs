//! The errors of a limiter: no decision, no permit, or a wait that fails. A denial is a decision; it
//! is an error only where a caller asks for a permit.

use ratelimit_core::{CostError, Decision, KeyTooLong, Micros};

use crate::{BackendError, decision::LimitsDecision};

/// No decision was made.
///
/// If the key, the cost or the limits are at fault, the store was not called.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key is refused.
    #[error(transparent)]
    Key(#[from] KeyTooLong),
    /// The cost can never be admitted.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// The limits of a batch are on different stores.
    #[error("limits on different stores cannot be checked together")]
    DifferentStores,
    /// The store failed; [`BackendError::effect`] says whether a charge may have landed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// A decision, or several, that charge nothing.
#[expect(unnameable_types, missing_debug_implementations, reason = "of a sealed trait")]
pub enum Denial {
    One(Decision),
    Together(LimitsDecision),
}

impl From<Denial> for AcquireError {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::One(decision) => Self::Denied(decision),
            Denial::Together(decision) => Self::DeniedTogether(decision),
        }
    }
}

impl From<Denial> for WaitError {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::One(decision) => Self::Denied(decision),
            Denial::Together(decision) => Self::DeniedTogether(decision),
        }
    }
}

/// The reason why no permit was given.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// The key does not have that many permits left.
    #[error("rate limit exceeded, retry after {}", .0.retry_after())]
    Denied(Decision),
    /// At least one of several limits does not have that many permits left.
    #[error("rate limit {} exceeded, retry after {}", .0.denied_by().unwrap_or_default(), .0.retry_after())]
    DeniedTogether(LimitsDecision),
    /// No decision was made.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl AcquireError {
    /// The time until the same request would be admitted, if nobody else spends; `None` if no
    /// decision was made.
    #[must_use]
    pub fn retry_after(&self) -> Option<Micros> {
        match self {
            Self::Denied(decision) => Some(decision.retry_after()),
            Self::DeniedTogether(decision) => Some(decision.retry_after()),
            Self::Failed(_) => None,
        }
    }
}

/// The reason why a wait ended without a permit. Nothing was charged, unless the store failed after
/// it may have charged.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The key has no permits left until after the deadline.
    #[error("rate limit exceeded, retry after {}", .0.retry_after())]
    Denied(Decision),
    /// At least one of several limits has no permits left until after the deadline.
    #[error("rate limit {} exceeded, retry after {}", .0.denied_by().unwrap_or_default(), .0.retry_after())]
    DeniedTogether(LimitsDecision),
    /// The deadline passed while other waiters were first.
    #[error("others were first until the deadline")]
    TimedOut,
    /// The limiter has as many waiters as it may have.
    #[error("too many are waiting")]
    Overloaded,
    /// No decision was made.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl WaitError {
    /// The time until the same request would be admitted, if nobody else spends; `None` if it is
    /// not known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Micros> {
        match self {
            Self::Denied(decision) => Some(decision.retry_after()),
            Self::DeniedTogether(decision) => Some(decision.retry_after()),
            Self::TimedOut | Self::Overloaded | Self::Failed(_) => None,
        }
    }
}
