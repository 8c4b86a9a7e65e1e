//! Clocks: monotonic for a store in one process, the wall clock for a store that others share.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use ratelimit_core::{Micros, TimeOutOfRange, Timestamp};

use crate::{BackendError, ErrorKind};

/// A source of the current time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time since the Unix epoch.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Clock`] if it is before 1970 or after 2255.
    fn now(&self) -> Result<Timestamp, BackendError>;
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> Result<Timestamp, BackendError> {
        (**self).now()
    }
}

/// Time that never steps back: [`Instant`], set to the wall clock once, when it is made.
///
/// Its times mean nothing in another process. On most systems it stands still while the machine
/// sleeps.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    anchor: Instant,
    at_anchor: Result<Timestamp, TimeOutOfRange>,
}

impl MonotonicClock {
    /// A clock that starts at the wall clock's time, and goes on evenly.
    #[must_use]
    pub fn new() -> Self {
        Self { anchor: Instant::now(), at_anchor: SystemTime::now().try_into() }
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Result<Timestamp, BackendError> {
        Ok(self.at_anchor? + Micros::from_duration_floor(self.anchor.elapsed()))
    }
}

/// The system's wall clock: all processes of a host share it, and it may be set.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct WallClock;

impl WallClock {
    /// The system's clock.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Clock for WallClock {
    fn now(&self) -> Result<Timestamp, BackendError> {
        Ok(SystemTime::now().try_into()?)
    }
}

/// A clock for tests: it stands still until it is set. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that says `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(now.as_micros())))
    }

    /// Sets it, forward or back.
    pub fn set(&self, now: Timestamp) {
        // Relaxed here and below: a clock orders nothing but itself.
        self.0.store(now.as_micros(), Ordering::Relaxed);
    }

    /// Moves it forward.
    pub fn advance(&self, length: Micros) {
        self.0.fetch_add(length.as_micros(), Ordering::Relaxed);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new(Timestamp::EPOCH)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Result<Timestamp, BackendError> {
        Ok(Timestamp::from_micros(self.0.load(Ordering::Relaxed)).ok_or(TimeOutOfRange)?)
    }
}

impl From<TimeOutOfRange> for BackendError {
    fn from(error: TimeOutOfRange) -> Self {
        Self::not_applied(ErrorKind::Clock).with_source(error)
    }
}
