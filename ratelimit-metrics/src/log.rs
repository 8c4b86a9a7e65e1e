//! A recorder that writes to the log, and does not flood it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use ratelimit_backend::{BackendError, Clock, ErrorKind, MonotonicClock};
use ratelimit_core::{Decision, Micros, Source, Timestamp};
use tracing::{Level, debug, enabled, warn};

use crate::{Event, Recorder, Verdict};

/// Writes denials (at debug), errors and fallbacks (at warn) to the log, on the target
/// `ratelimit`.
///
/// Of denials, of fallbacks and of each kind of error there is a line a second at most, which says
/// in `swallowed` how many there were since the one before that got none. No line has a key.
///
/// ```
/// use ratelimit_memory::Memory;
/// use ratelimit_metrics::{Log, Observed, Statistics};
///
/// let store = Observed::new(Memory::new(), (Statistics::new(), Log::new()));
/// # let _ = store;
/// ```
pub struct Log<C = MonotonicClock> {
    clock: C,
    gates: Mutex<HashMap<Kind, Gate>>,
}

/// What has a line of its own.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
enum Kind {
    Deny,
    Fallback,
    Error(ErrorKind),
}

/// When a line was let through last, and how many were not since.
#[derive(Clone, Copy, Default)]
struct Gate {
    last: Option<Timestamp>,
    swallowed: u64,
}

impl Log {
    /// A recorder that goes by the monotonic clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(MonotonicClock::new())
    }
}

impl<C: Clock> Log<C> {
    /// A recorder that goes by `clock`.
    #[must_use]
    pub fn with_clock(clock: C) -> Self {
        Self { clock, gates: Mutex::default() }
    }

    /// How many lines were swallowed before this one, if it is to be written.
    fn pass(&self, kind: Kind) -> Option<u64> {
        // A clock without an answer lets one line through.
        let now = self.clock.now().unwrap_or(Timestamp::EPOCH);
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.entry(kind).or_default().pass(now)
    }
}

impl Gate {
    fn pass(&mut self, now: Timestamp) -> Option<u64> {
        // A clock that is a little behind is another thread's; one that is far behind was set.
        let is_near = |last| now - last < INTERVAL && last - now < INTERVAL;
        if self.last.is_some_and(is_near) {
            self.swallowed = self.swallowed.saturating_add(1);
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.swallowed))
    }
}

const INTERVAL: Micros = Micros::from_secs(1);

impl<C: Clock> Recorder for Log<C> {
    fn record(&self, event: &Event<'_>) {
        match event.answer {
            Err(error) => self.error(event, error),
            Ok(decision) if is_fallback(decision.source()) => self.fallback(event, decision),
            Ok(decision) if event.verdict == Verdict::Deny => self.denial(event, decision),
            Ok(_) => {}
        }
    }
}

/// Asks the gate only where somebody listens.
impl<C: Clock> Log<C> {
    fn error(&self, event: &Event<'_>, error: &BackendError) {
        let (limiter, algorithm) = names(event);
        if enabled!(target: TARGET, Level::WARN)
            && let Some(swallowed) = self.pass(Kind::Error(error.kind()))
        {
            warn!(target: TARGET, limiter, algorithm, %error, swallowed, "no decision");
        }
    }

    fn fallback(&self, event: &Event<'_>, decision: &Decision) {
        let source = decision.source();
        let (limiter, algorithm) = names(event);
        if enabled!(target: TARGET, Level::WARN)
            && let Some(swallowed) = self.pass(Kind::Fallback)
        {
            warn!(target: TARGET, limiter, algorithm, ?source, swallowed, "store failed, went on");
        }
    }

    fn denial(&self, event: &Event<'_>, decision: &Decision) {
        let (limiter, algorithm) = names(event);
        if enabled!(target: TARGET, Level::DEBUG)
            && let Some(swallowed) = self.pass(Kind::Deny)
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

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: fmt::Debug> fmt::Debug for Log<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("clock", &self.clock).finish_non_exhaustive()
    }
}
