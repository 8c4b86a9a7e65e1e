//! A deadline for every call of a store.

use std::time::Duration;

use ratelimit_backend::{Backend, BackendError, ErrorKind, Names, Reply};
use ratelimit_core::{Action, Batch, ConfigError, Policy, store::Decisions};
use tokio::{runtime::Handle, time::timeout};

/// Ends calls of a store that take too long. A clone has the same deadline.
///
/// The deadline covers all that the inner store does: queueing, connecting, sending, receiving. It
/// begins when the reply is first polled. After it the reply ends in [`Timeout`](ErrorKind::Timeout),
/// and the inner reply is dropped, which leaves one whole charge or none. So the error says that a
/// charge may have landed, except after a peek, and nothing is sent again. A reply that is ready from
/// the start costs nothing more.
///
/// A call that blocks its thread cannot be ended, so this is no
/// [`SyncBackend`](ratelimit_backend::SyncBackend): a blocking store needs a timeout of its own. The
/// timer is `tokio`'s. Outside its runtimes a reply that has to wait ends in
/// [`Closed`](ErrorKind::Closed), and the store is not called.
///
/// ```
/// use std::time::Duration;
///
/// use ratelimit_algorithms::{Limiter, TokenBucket};
/// use ratelimit_memory::Memory;
/// use ratelimit_resilience::Deadline;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Deadline::new(Memory::new()).with_length(Duration::from_millis(50));
/// let limiter = Limiter::new(store, "api", TokenBucket::per_second(10))?;
/// assert!(limiter.check("user:42").await?.is_allowed());
/// # Ok(())
/// # }
/// ```
///
/// # Panics
///
/// A reply that has to wait panics in a runtime whose timer is off, which only a hand-made
/// [`Builder`](tokio::runtime::Builder) leaves so.
#[derive(Clone, Debug)]
pub struct Deadline<B> {
    inner: B,
    pub(crate) length: Duration,
}

impl<B> Deadline<B> {
    /// A deadline of 100 ms over `inner`.
    #[must_use]
    pub const fn new(inner: B) -> Self {
        Self { inner, length: LENGTH }
    }

    /// The same deadline with another length.
    #[must_use]
    pub fn with_length(self, length: Duration) -> Self {
        Self { length, ..self }
    }

    accessors!();
}

impl<B: Backend> Backend for Deadline<B> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        let reply = self.inner.apply(batch, action);
        if reply.as_ready().is_some() {
            reply
        } else {
            Reply::waiting(in_time(reply, self.length, action))
        }
    }

    delegate!();
}

async fn in_time(
    reply: Reply<'_>,
    length: Duration,
    action: Action,
) -> Result<Decisions, BackendError> {
    if let Err(error) = Handle::try_current() {
        return Err(BackendError::not_applied(ErrorKind::Closed).with_source(error));
    }
    timeout(length, reply).await.unwrap_or_else(|late| Err(overdue(action).with_source(late)))
}

/// A command that was polled may have run.
const fn overdue(action: Action) -> BackendError {
    match action {
        Action::Peek => BackendError::not_applied(ErrorKind::Timeout),
        _ => BackendError::unknown(ErrorKind::Timeout),
    }
}

/// Longer than a healthy store nearby takes, and short enough that nobody notices.
const LENGTH: Duration = Duration::from_millis(100);
