//! A recorder that writes to `tracing`, at a bounded rate.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ratelimit_backend::{BackendError, Clock, ErrorKind, MonotonicClock};
use ratelimit_core::{Decision, Micros, Source, Timestamp};
use tracing::{Level, debug, enabled, warn};

use crate::{Event, Recorder, Verdict, limiter_map::LimiterMap};

/// Writes denials (at debug), errors and fallbacks (at warn) to `tracing`, on the target
/// `ratelimit`.
///
/// Each limiter has a line a second at most for its denials, for its fallbacks and for each kind of
/// error. The field `swallowed` of a line counts the events of that limiter and kind since the line
/// before. [`flush`](Self::flush) writes the counts that are left, and so does dropping it. No line
/// has a key.
///
/// ```
/// use ratelimit_memory::Memory;
/// use ratelimit_metrics::{Observed, Statistics, TracingLog};
///
/// let store = Observed::new(Memory::new(), (Statistics::new(), TracingLog::new()));
/// # let _ = store;
/// ```
pub struct TracingLog<C = MonotonicClock> {
    clock: C,
    limiters: LimiterMap<Gates>,
}

/// The gates of a limiter.
#[derive(Debug, Default)]
struct Gates(Mutex<HashMap<Kind, Gate>>);

/// An event that has lines of its own.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Kind {
    Deny,
    Fallback,
    Error(ErrorKind),
}

/// The time of the last line, and the number of events since that have none.
#[derive(Clone, Copy, Debug, Default)]
struct Gate {
    last: Option<Timestamp>,
    swallowed: u64,
}

impl TracingLog {
    /// Makes a recorder that reads the monotonic clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(MonotonicClock::new())
    }
}

impl<C: Clock> TracingLog<C> {
    /// Makes a recorder that reads `clock`.
    #[must_use]
    pub fn with_clock(clock: C) -> Self {
        Self { clock, limiters: LimiterMap::new() }
    }

    /// Returns the number of events that were swallowed before this one, if it is to be written.
    fn pass(&self, event: &Event<'_>, kind: Kind) -> Option<u64> {
        // A clock without an answer lets one line through.
        let now = self.clock.now().unwrap_or(Timestamp::EPOCH);
        let gates = self.limiters.get(event.policy, |_, _| Gates::default());
        gates.lock().entry(kind).or_default().pass(now)
    }
}

impl<C> TracingLog<C> {
    /// Writes a line for each limiter and kind that has swallowed events since its last line.
    pub fn flush(&self) {
        for entry in self.limiters.all() {
            let (limiter, algorithm) = (&*entry.limiter, entry.algorithm);
            let mut gates = entry.value.lock();
            let swallowed = gates.iter_mut().map(|(kind, gate)| (*kind, gate.take()));
            for (kind, swallowed) in swallowed.filter(|(_, swallowed)| 0 < *swallowed) {
                match kind {
                    Kind::Deny => {
                        debug!(target: TARGET, limiter, algorithm, swallowed, "denied");
                    }
                    Kind::Fallback => {
                        warn!(target: TARGET, limiter, algorithm, swallowed, "store failed, went on");
                    }
                    Kind::Error(error) => {
                        warn!(target: TARGET, limiter, algorithm, ?error, swallowed, "no decision");
                    }
                }
            }
        }
    }
}

impl<C> Drop for TracingLog<C> {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Gates {
    /// Locks the gates; nothing panics while they are locked.
    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Gate>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    fn pass(&mut self, now: Timestamp) -> Option<u64> {
        // A time a little behind was read by another thread; one far behind means that the clock was
        // set.
        let is_near = |last| now - last < INTERVAL && last - now < INTERVAL;
        if self.last.is_some_and(is_near) {
            self.swallowed = self.swallowed.saturating_add(1);
            return None;
        }
        self.last = Some(now);
        Some(self.take())
    }

    const fn take(&mut self) -> u64 {
        std::mem::replace(&mut self.swallowed, 0)
    }
}

const INTERVAL: Micros = Micros::from_secs(1);

impl<C: Clock> Recorder for TracingLog<C> {
    fn record(&self, event: &Event<'_>) {
        match event.result {
            Err(error) => self.error(event, error),
            Ok(decision) if is_fallback(decision.source()) => self.fallback(event, decision),
            Ok(decision) if event.verdict == Verdict::Deny => self.denial(event, decision),
            Ok(_) => {}
        }
    }
}

/// Goes through a gate only where a subscriber listens.
impl<C: Clock> TracingLog<C> {
    fn error(&self, event: &Event<'_>, error: &BackendError) {
        let (limiter, algorithm) = names(event);
        if enabled!(target: TARGET, Level::WARN)
            && let Some(swallowed) = self.pass(event, Kind::Error(error.kind()))
        {
            warn!(target: TARGET, limiter, algorithm, %error, swallowed, "no decision");
        }
    }

    fn fallback(&self, event: &Event<'_>, decision: &Decision) {
        let source = decision.source();
        let (limiter, algorithm) = names(event);
        if enabled!(target: TARGET, Level::WARN)
            && let Some(swallowed) = self.pass(event, Kind::Fallback)
        {
            warn!(target: TARGET, limiter, algorithm, ?source, swallowed, "store failed, went on");
        }
    }

    fn denial(&self, event: &Event<'_>, decision: &Decision) {
        let (limiter, algorithm) = names(event);
        if enabled!(target: TARGET, Level::DEBUG)
            && let Some(swallowed) = self.pass(event, Kind::Deny)
        {
            let (cost, retry_after) = (event.cost, decision.retry_after());
            debug!(target: TARGET, limiter, algorithm, cost, %retry_after, swallowed, "denied");
        }
    }
}

fn names<'a>(event: &Event<'a>) -> (&'a str, &'static str) {
    (event.policy.name(), event.policy.algorithm().name())
}

const fn is_fallback(source: Source) -> bool {
    matches!(source, Source::Local | Source::Open)
}

const TARGET: &str = "ratelimit";

impl Default for TracingLog {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: fmt::Debug> fmt::Debug for TracingLog<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracingLog").field("clock", &self.clock).finish_non_exhaustive()
    }
}
