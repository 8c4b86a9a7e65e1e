//! A deadline: nobody waits for a store longer than that.

use std::time::Duration;

use ratelimit_backend::{Backend, BackendError, ErrorKind, Names, Reply};
use ratelimit_core::{Action, Batch, ConfigError, Policy, store::Decisions};
use tokio::{runtime::Handle, time::timeout};

/// Answers in the place of a store that takes too long. A clone has the same deadline.
///
/// There is one deadline for everything that the store within does to answer: queueing,
/// connecting, sending, receiving. It begins when the reply is first polled. When it has passed,
/// the reply ends in [`Timeout`](ErrorKind::Timeout), and that of the store is dropped, which
/// leaves one whole charge or none; so the error says that a charge may have landed, but after a
/// peek, and nothing is sent again. A reply that is ready at once costs nothing more.
///
/// There is no deadline for a call that blocks its thread, so this is no
/// [`SyncBackend`](ratelimit_backend::SyncBackend): a store that blocks has to keep a time of its
/// own. The timer is `tokio`'s; in no runtime of it, a reply that has to wait ends in
/// [`Closed`](ErrorKind::Closed), and the store is not asked.
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

    /// The same with another length.
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

/// Whatever was polled may have run.
const fn overdue(action: Action) -> BackendError {
    match action {
        Action::Peek => BackendError::not_applied(ErrorKind::Timeout),
        _ => BackendError::unknown(ErrorKind::Timeout),
    }
}

/// Longer than a store at hand ever takes, and short enough that nobody notices.
const LENGTH: Duration = Duration::from_millis(100);
