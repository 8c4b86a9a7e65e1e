//! Time that goes on when it is told to: for a store, and for those who wait for it.

use std::{
    future::{Future, poll_fn},
    sync::{Arc, Mutex},
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use ratelimit_algorithms::{Clock, ManualClock, Micros, Timer, Timestamp};

/// A clock, and a timer that goes by it. Clones are the same.
#[derive(Clone)]
pub(crate) struct Time {
    pub(crate) clock: ManualClock,
    /// The timer's instant at [`START`].
    start: Instant,
    sleepers: Arc<Mutex<Vec<(Instant, Waker)>>>,
}

/// No multiple of anything, so that windows aligned to the epoch and others differ.
pub(crate) const START: Timestamp = Timestamp::from_micros(1_700_000_012_345_678).unwrap();

impl Time {
    pub(crate) fn new() -> Self {
        let (clock, start) = (ManualClock::new(START), Instant::now());
        Self { clock, start, sleepers: Arc::default() }
    }

    /// Moves to so long after the start, and wakes who slept until then.
    pub(crate) fn set(&self, since_start: Micros) {
        self.clock.set(START + since_start);
        let now = self.now();
        let is_due = |(then, _): &mut (Instant, Waker)| *then <= now;
        let due: Vec<_> = self.sleepers.lock().unwrap().extract_if(.., is_due).collect();
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// The time since the start at which the next sleeper wakes.
    pub(crate) fn next(&self) -> Option<Micros> {
        let sleepers = self.sleepers.lock().unwrap();
        let first = sleepers.iter().map(|(then, _)| *then).min()?;
        Some(Micros::from_duration_ceil(first - self.start))
    }

    pub(crate) fn since_start(&self) -> Micros {
        self.clock.now().unwrap() - START
    }
}

impl Timer for Time {
    fn now(&self) -> Instant {
        self.start + Duration::from(self.since_start())
    }

    fn sleep_until(&self, then: Instant) -> impl Future<Output = ()> + Send {
        poll_fn(move |context| {
            if then <= self.now() {
                return Poll::Ready(());
            }
            self.sleepers.lock().unwrap().push((then, context.waker().clone()));
            Poll::Pending
        })
    }
}
