//! The store's clock: held to [`Instant`], at a fraction of its cost.
//!
//! The processor's counter is cheap to read, but not reliable: it has been seen to jump, and its
//! rate is only measured. So it merely fills the gaps between readings of [`Instant`]: how far the
//! two are apart, the *offset*, is determined anew every millisecond, and whenever the counter
//! looks odd.
//!
//! The counter is taken to be a little slower than it is, and the offset never shrinks: so time
//! lags by up to a microsecond, and what it steps back is no more than that. A counter that goes
//! back, or is found ahead of [`Instant`] by then, is not used any more.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use ratelimit_backend::{BackendError, Clock};
use ratelimit_core::{Micros, Timestamp};

/// Monotonic time, read from the processor's counter and held to [`Instant`].
pub struct SwiftClock {
    counter: quanta::Clock,
    /// The count when the clock began.
    first_count: u64,
    began: Instant,
    began_at: Result<Timestamp, BackendError>,
    /// With the count, the time in nanoseconds.
    offset: AtomicU64,
    /// The count up to which the offset is good; [`NEVER`] if it is not.
    good_until: AtomicU64,
}

impl SwiftClock {
    /// A clock that is right now, and goes on evenly from here.
    ///
    /// The first one in a process measures the rate of the counter, for up to 200 milliseconds.
    #[must_use]
    pub fn new() -> Self {
        Self::counting(quanta::Clock::new())
    }

    fn counting(counter: quanta::Clock) -> Self {
        let clock = Self {
            began_at: ratelimit_backend::MonotonicClock::new().now(),
            began: Instant::now(),
            first_count: counter.raw(),
            counter,
            offset: AtomicU64::new(0),
            good_until: AtomicU64::new(0),
        };
        clock.anchor();
        clock
    }

    /// Nanoseconds since [`AHEAD`] of the beginning.
    #[inline]
    fn nanos(&self) -> u64 {
        let count = self.count();
        // Acquire: who sees how long an offset is good sees that offset, or a later one.
        let left = self.good_until.load(Ordering::Acquire).wrapping_sub(count);
        if left <= GOOD_FOR { self.offset.load(Ordering::Relaxed) + count } else { self.anchor() }
    }

    /// The counter since the clock began, in nanoseconds, a little slower than it is.
    #[inline]
    fn count(&self) -> u64 {
        let nanos = self.counter.delta_as_nanos(self.first_count, self.counter.raw());
        nanos - nanos / SLOWER
    }

    /// Tells the time by [`Instant`], and determines the offset anew.
    #[cold]
    fn anchor(&self) -> u64 {
        // Before the counter is: it is not odd to be behind what others see of it meanwhile.
        let good_until = self.good_until.load(Ordering::Acquire);
        let offset = self.offset.load(Ordering::Acquire);
        let before = self.count();
        let nanos = (AHEAD + self.began.elapsed()).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        let after = self.count();
        // The counter was read before and after, so the true offset lies between these.
        let (least, most) = (nanos.saturating_sub(after), nanos.saturating_sub(before));
        // The processor may read it a little before it reads what comes first.
        let went_back = after < before || before + HASTE < good_until.saturating_sub(GOOD_FOR);
        if went_back || most < offset {
            self.good_until.store(NEVER, Ordering::Relaxed);
        } else if after - before < HASTE {
            self.offset.fetch_max(least, Ordering::Relaxed);
            // The maximum: NEVER stays, and so does what a thread has found out that came later.
            self.good_until.fetch_max(after + GOOD_FOR, Ordering::Release);
        }
        nanos
    }
}

impl Clock for SwiftClock {
    #[inline]
    fn now(&self) -> Result<Timestamp, BackendError> {
        match &self.began_at {
            Ok(began_at) => Ok(*began_at + Micros::new((self.nanos() - AHEAD_NANOS) / 1_000)),
            Err(error) => Err(error.clone()),
        }
    }
}

impl Default for SwiftClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SwiftClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SwiftClock").field("began_at", &self.began_at).finish_non_exhaustive()
    }
}

/// Nanoseconds by which counting begins before the clock does, so that an offset which is too large is seen to
/// be.
const AHEAD: Duration = Duration::from_nanos(AHEAD_NANOS);
const AHEAD_NANOS: u64 = 1_000_000_000;

/// The time for which an offset is good, in nanoseconds.
const GOOD_FOR: u64 = 1_000_000;

/// No count is a millisecond or less before this one; and every one went back from it.
const NEVER: u64 = u64::MAX;

/// The count loses one nanosecond in so many: far more than the measured rate is wrong by, and a
/// quarter of a microsecond until the offset makes up for it.
const SLOWER: u64 = 4_096;

/// An offset is only determined if reading both clocks takes less than this: else the thread was
/// interrupted, and the offset could lag by as much.
const HASTE: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock over a counter that stands until it is moved, and a reading of it between two of
    /// what it is held to, give or take what it may lag.
    fn check(clock: &SwiftClock, ahead: Duration) {
        let least = (AHEAD + clock.began.elapsed()).as_nanos();
        let nanos = u128::from(clock.nanos());
        let most = (AHEAD + clock.began.elapsed() + ahead).as_nanos();
        let lag = u128::from(GOOD_FOR);
        assert!(least <= nanos + lag && nanos <= most, "{least} <= {nanos} <= {most}");
    }

    #[test]
    fn a_counter_that_jumps_ahead_moves_no_time() {
        let (counter, hand) = quanta::Clock::mock();
        let clock = SwiftClock::counting(counter);
        for _ in 0..1_000 {
            hand.increment(3_600_000_000_000_u64);
            check(&clock, Duration::ZERO);
        }
    }

    #[test]
    fn a_counter_that_runs_fast_is_found_out_within_a_millisecond() {
        let (counter, hand) = quanta::Clock::mock();
        let clock = SwiftClock::counting(counter);
        for _ in 0..1_000_000 {
            hand.increment(100_000_u64);
            check(&clock, Duration::from_millis(1));
        }
        assert_eq!(clock.good_until.load(Ordering::Relaxed), NEVER);
        check(&clock, Duration::ZERO);
    }

    #[test]
    fn a_counter_that_goes_back_is_not_believed_any_more() {
        let (counter, hand) = quanta::Clock::mock();
        hand.increment(u64::from(u32::MAX));
        let clock = SwiftClock::counting(counter);
        hand.increment(5_000_000_u64);
        check(&clock, Duration::ZERO);
        hand.decrement(3_000_000_u64);
        check(&clock, Duration::ZERO);
        assert_eq!(clock.good_until.load(Ordering::Relaxed), NEVER);
        hand.increment(100_000_000_u64);
        check(&clock, Duration::ZERO);
    }

    #[test]
    fn threads_that_interrupt_each_other_do_not_make_the_counter_look_odd() {
        let clock = SwiftClock::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1_000_000).for_each(|_| _ = clock.nanos()));
            }
        });
        assert_ne!(clock.good_until.load(Ordering::Relaxed), NEVER);
    }

    #[test]
    fn time_never_steps_back_by_more_than_a_microsecond() {
        let clock = SwiftClock::new();
        let mut last = clock.nanos();
        for _ in 0..2_000_000 {
            let nanos = clock.nanos();
            assert!(last <= nanos + 1_000, "{last}, then {nanos}");
            last = nanos;
        }
        check(&clock, Duration::ZERO);
    }
}
