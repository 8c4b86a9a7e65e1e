//! Why a limiter made no decision. A denial is not among the reasons: that is an answer.

use ratelimit_core::{CostError, KeyTooLong};

use crate::BackendError;

/// No decision was made.
///
/// Key, cost and configuration errors are the caller's to mend: nothing was asked of the store.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key is refused.
    #[error(transparent)]
    Key(#[from] KeyTooLong),
    /// The cost can never be admitted.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// Limits that were to be asked together are on different stores.
    #[error("limits on different stores cannot be asked together")]
    DifferentStores,
    /// The store gave no answer; [`BackendError::effect`] says whether a charge may have landed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}
