//! What scripts reply: the time at which they ran, then the rest.

use fred::types::Value as Reply;
use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::Timestamp;

/// The time, and the rest; `None` if the reply makes no sense.
pub(crate) fn dated(reply: Reply) -> Option<(Timestamp, Vec<Reply>)> {
    let Reply::Array(mut reply) = reply else { return None };
    let Reply::Integer(now) = reply.first()? else { return None };
    let now = Timestamp::from_micros(u64::try_from(*now).ok()?)?;
    Some((now, reply.split_off(1)))
}

/// A reply that makes no sense, to a command that charges or does not.
pub(crate) fn nonsense(charges: bool) -> BackendError {
    let kind = ErrorKind::Protocol;
    if charges { BackendError::unknown(kind) } else { BackendError::not_applied(kind) }
}
