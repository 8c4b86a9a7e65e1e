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

    /// The retention: how long a store keeps a record after it has expired.
    ///
    /// A clock that steps back by no more than that grants nothing: whatever counts at the earlier
    /// time is still there. After a longer step, a key that was forgotten has one full limit at most.
    /// By default zero, for clocks that never step back.
    fn retention(&self) -> Micros {
        Micros::ZERO
    }
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> Result<Timestamp, BackendError> {
        (**self).now()
    }

    fn retention(&self) -> Micros {
        (**self).retention()
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    #[inline]
    fn now(&self) -> Result<Timestamp, BackendError> {
        (**self).now()
    }

    fn retention(&self) -> Micros {
        (**self).retention()
    }
}

/// Time that never steps back: [`Instant`], set to the wall clock once, when it is made.
///
/// Its times mean nothing in another process. On Linux and macOS it stands still while the machine
/// sleeps, so windows, blocks and waits end later by that time. [`WallClock`] counts it.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    anchor: Instant,
    at_anchor: Result<Timestamp, TimeOutOfRange>,
}

impl MonotonicClock {
    /// A clock that starts at the wall clock's time, and is never set.
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

/// The system's wall clock: all processes of a host share it, it counts the time for which the machine
/// sleeps, and it may be set.
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

    /// Ten seconds: more than a time server steps a clock that it has once set.
    fn retention(&self) -> Micros {
        Micros::from_secs(10)
    }
}

/// A clock for tests: it stands still until it is set. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct ManualClock {
    now: Arc<AtomicU64>,
    retention: Micros,
}

impl ManualClock {
    /// A clock that says `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { now: Arc::new(AtomicU64::new(now.as_micros())), retention: Micros::ZERO }
    }

    /// The same clock with another [retention](Clock::retention); by default it is zero.
    #[must_use]
    pub fn with_retention(self, retention: Micros) -> Self {
        Self { retention, ..self }
    }

    /// Sets it, forward or back.
    pub fn set(&self, now: Timestamp) {
        // Relaxed here and below: a clock orders nothing but itself.
        self.now.store(now.as_micros(), Ordering::Relaxed);
    }

    /// Moves it forward.
    pub fn advance(&self, length: Micros) {
        self.now.fetch_add(length.as_micros(), Ordering::Relaxed);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new(Timestamp::EPOCH)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Result<Timestamp, BackendError> {
        Ok(Timestamp::from_micros(self.now.load(Ordering::Relaxed)).ok_or(TimeOutOfRange)?)
    }

    fn retention(&self) -> Micros {
        self.retention
    }
}

impl From<TimeOutOfRange> for BackendError {
    fn from(error: TimeOutOfRange) -> Self {
        Self::not_applied(ErrorKind::Clock).with_source(error)
    }
}
