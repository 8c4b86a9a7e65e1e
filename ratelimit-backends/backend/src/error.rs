//! Errors of a store: the kind, and the effect that a failed call may have had.

use std::{error::Error, fmt, sync::Arc};

use ratelimit_core::StateError;

/// The error of a call that made no decision: its kind, its possible effect, and its cause.
///
/// Its text names all three in one line, and contains neither keys nor secrets. Errors are equal if kind
/// and effect are; causes cannot be compared.
#[derive(Clone, Debug)]
pub struct BackendError {
    kind: ErrorKind,
    effect: Effect,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kind of an error.
// A whole word, as `Effect` is: with bytes among its fields, the result of every check would be copied
// byte by byte.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[repr(u64)]
pub enum ErrorKind {
    /// The store cannot be reached, or cannot serve now. Retrying may help.
    #[error("store is unavailable")]
    Unavailable,
    /// The store did not answer in time. Retrying may help.
    #[error("store did not answer in time")]
    Timeout,
    /// Too much is waiting already. Retrying later may help.
    #[error("store is overloaded")]
    Overloaded,
    /// The store takes no writes.
    #[error("store is read-only")]
    ReadOnly,
    /// The store refuses the credentials.
    #[error("store refuses access")]
    Auth,
    /// The store has no space left.
    #[error("store is full")]
    Full,
    /// The bytes under the key are not a valid state. An explicit reset repairs it.
    #[error("stored state is corrupt")]
    Corrupt,
    /// The stored state, or the store itself, is of another version or another algorithm.
    #[error("store or stored state is incompatible")]
    Incompatible,
    /// The key is new, and the store holds as many keys as it may, none of them idle.
    #[error("store holds as many keys as it may")]
    Capacity,
    /// The store broke its protocol.
    #[error("store broke its protocol")]
    Protocol,
    /// The store was closed.
    #[error("store is closed")]
    Closed,
    /// The clock is before 1970 or after 2255.
    #[error("clock is out of range")]
    Clock,
}

/// The effect that a failed call may have had.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
#[repr(u64)]
pub enum Effect {
    /// None: no charge has landed, and none will.
    #[error("nothing was charged")]
    NotApplied,
    /// A charge may have landed, or may land yet.
    #[error("a charge may have landed")]
    Unknown,
}

impl BackendError {
    /// An error of a call that charged nothing.
    #[must_use]
    pub const fn not_applied(kind: ErrorKind) -> Self {
        Self { kind, effect: Effect::NotApplied, cause: None }
    }

    /// An error of a call whose charge may have landed.
    #[must_use]
    pub const fn unknown(kind: ErrorKind) -> Self {
        Self { kind, effect: Effect::Unknown, cause: None }
    }

    /// The same error with its cause, whose text becomes part of the error's.
    #[must_use]
    pub fn with_source(self, source: impl Error + Send + Sync + 'static) -> Self {
        Self { cause: Some(Arc::new(source)), ..self }
    }

    /// The kind of the error.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The effect: a charge may have landed, or not.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        self.effect
    }

    /// The cause, if it is known.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.cause.as_deref()
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, effect, cause } = self;
        write!(f, "{kind} ({effect})")?;
        cause.as_ref().map_or(Ok(()), |cause| write!(f, ": {cause}"))
    }
}

/// The source is that of the cause, which the text has named already.
impl Error for BackendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref()?.source()
    }
}

impl Eq for BackendError {}

impl PartialEq for BackendError {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, self.effect) == (other.kind, other.effect)
    }
}

impl From<StateError> for BackendError {
    fn from(error: StateError) -> Self {
        let kind = match error {
            StateError::Corrupt => ErrorKind::Corrupt,
            _ => ErrorKind::Incompatible,
        };
        Self::not_applied(kind).with_source(error)
    }
}
