//! A store's clock that follows tokio's.

use ratelimit_backend::{BackendError, Clock};
use ratelimit_core::{Micros, Timestamp};
use tokio::time::Instant;

/// The time of a tokio runtime, for stores in tests: it pauses and advances with the runtime's.
/// Copies are the same clock.
///
/// [Waits](crate::Wait) and the store then go by one time:
///
/// ```
/// use std::{num::NonZeroUsize, time::Duration};
///
/// use ratelimit_algorithms::{Limiter, Timestamp, TokenBucket, TokioClock};
/// use ratelimit_memory::Memory;
/// use tokio::time::Instant;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Memory::with_clock(TokioClock::new(Timestamp::EPOCH), NonZeroUsize::MAX);
/// let limiter = Limiter::new(store, "mails", TokenBucket::per_hour(1))?;
///
/// let start = Instant::now();
/// limiter.until_ready("user:42").await?;
/// limiter.until_ready("user:42").await?;
/// assert_eq!(start.elapsed(), Duration::from_secs(3_600));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    start: Timestamp,
    began: Instant,
}

impl TokioClock {
    /// A clock that says `start` now.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self { start, began: Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Result<Timestamp, BackendError> {
        Ok(self.start + Micros::from_duration_floor(self.began.elapsed()))
    }
}
