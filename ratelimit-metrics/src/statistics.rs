//! Totals in memory: counters for each limiter, and a plain copy of them on request.

use std::fmt;

use crate::{
    ByKind, BySource, Event, Latency, Recorder, Verdict,
    by_limiter::{ByLimiter, Entry},
    counter::Counter,
    family::{EachKind, EachSource},
    latency::Histogram,
};

/// Counts what limiters decide.
///
/// An event of a known limiter costs a few relaxed additions: no lock, no allocation. There is room
/// for 256 limiters; any more are counted together, as `(rest)`. Counters stop at [`u64::MAX`].
///
/// ```
/// use std::sync::Arc;
///
/// use ratelimit_algorithms::{Limiter, TokenBucket};
/// use ratelimit_memory::Memory;
/// use ratelimit_metrics::{Observed, Statistics};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let statistics = Arc::new(Statistics::new());
/// let store = Observed::new(Memory::new(), Arc::clone(&statistics));
/// let limiter = Limiter::new(store, "api", TokenBucket::per_hour(2))?;
/// for _ in 0..3 {
///     let _ = limiter.check("user:42").now()?;
/// }
///
/// let snapshot = statistics.snapshot();
/// assert_eq!((snapshot.calls.allowed, snapshot.calls.denied), (2, 1));
/// assert_eq!(snapshot.limiters[0].limiter, "api");
/// # Ok(())
/// # }
/// ```
pub struct Statistics {
    calls: CallCounters,
    limiters: ByLimiter<LimiterCounters>,
    near_limit_percent: u8,
}

#[derive(Default)]
struct CallCounters {
    allowed: Counter,
    denied: Counter,
    errors: Counter,
    done: Counter,
}

#[derive(Default)]
struct LimiterCounters {
    allowed: EachSource<Counter>,
    denied: EachSource<Counter>,
    withheld: EachSource<Counter>,
    done: EachSource<Counter>,
    errors: EachKind<Counter>,
    cost_allowed: Counter,
    cost_denied: Counter,
    near_limit: Counter,
    latency: Histogram,
}

/// What was counted up to a moment.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The calls, each once, however many limits it asked about.
    pub calls: Calls,
    /// The checks of each limiter, by name.
    pub limiters: Vec<LimiterTotals>,
}

/// How calls ended. Together they are all calls that have returned.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Calls {
    /// Requests that were admitted.
    pub allowed: u64,
    /// Requests that were denied.
    pub denied: u64,
    /// Calls that got no decision.
    pub errors: u64,
    /// Calls that were no requests (but peeks, refunds, resets, penalties, blocks), and were
    /// answered.
    pub done: u64,
}

/// How the checks of one limiter ended. Together, [`allowed`](Self::allowed),
/// [`denied`](Self::denied), [`withheld`](Self::withheld), [`done`](Self::done) and
/// [`errors`](Self::errors) are all that have returned.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LimiterTotals {
    /// The limiter's name.
    pub limiter: String,
    /// The algorithm's name.
    pub algorithm: &'static str,
    /// Admitted.
    pub allowed: BySource,
    /// Denied by this limit.
    pub denied: BySource,
    /// Not denied by this limit, but by another one of the same call.
    pub withheld: BySource,
    /// No requests, but answered.
    pub done: BySource,
    /// No decision.
    pub errors: ByKind,
    /// The costs of what was admitted.
    pub cost_allowed: u64,
    /// The costs of what was denied, by this limit or by another one of the same call.
    pub cost_denied: u64,
    /// Of what was admitted, how often no more than a share of the limit was left, see
    /// [`Statistics::with_near_limit_percent`].
    pub near_limit: u64,
    /// How long the calls took.
    pub latency: Latency,
}

impl Statistics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        Self { calls: CallCounters::default(), limiters: ByLimiter::new(), near_limit_percent: 10 }
    }

    /// Counts a key as near its limit when no more than so many hundredths of it are left after a
    /// request was admitted: 10 of 100, unless said here.
    #[must_use]
    pub fn with_near_limit_percent(self, percent: u8) -> Self {
        Self { near_limit_percent: percent, ..self }
    }

    /// A copy of all counters.
    ///
    /// What others count meanwhile may be in it in part.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let CallCounters { allowed, denied, errors, done } = &self.calls;
        let calls = Calls {
            allowed: allowed.get(),
            denied: denied.get(),
            errors: errors.get(),
            done: done.get(),
        };
        Snapshot { calls, limiters: self.limiters.all().into_iter().map(totals).collect() }
    }

    fn is_near_limit(&self, event: &Event<'_>) -> bool {
        event.answer.is_ok_and(|decision| {
            let left = u128::from(decision.remaining) * 100;
            left <= u128::from(decision.limit) * u128::from(self.near_limit_percent)
        })
    }
}

impl Recorder for Statistics {
    fn record(&self, event: &Event<'_>) {
        if event.index == 0 {
            self.calls.of(event.call).increment();
        }
        let limiter = self.limiters.get(event.policy, |_, _| LimiterCounters::default());
        limiter.count(event);
        if event.verdict == Verdict::Allow && self.is_near_limit(event) {
            limiter.near_limit.increment();
        }
    }
}

impl CallCounters {
    const fn of(&self, call: Verdict) -> &Counter {
        match call {
            Verdict::Allow => &self.allowed,
            Verdict::Deny | Verdict::Withhold => &self.denied,
            Verdict::Done => &self.done,
            Verdict::Error => &self.errors,
        }
    }
}

impl LimiterCounters {
    fn count(&self, event: &Event<'_>) {
        match event.answer {
            Err(error) => self.errors.of(error.kind()).increment(),
            Ok(decision) => {
                let by_source = match event.verdict {
                    Verdict::Allow => &self.allowed,
                    Verdict::Deny => &self.denied,
                    Verdict::Withhold => &self.withheld,
                    _ => &self.done,
                };
                by_source.of(decision.source()).increment();
            }
        }
        match event.verdict {
            Verdict::Allow => self.cost_allowed.add(event.cost),
            Verdict::Deny | Verdict::Withhold => self.cost_denied.add(event.cost),
            Verdict::Done | Verdict::Error => {}
        }
        if let Some(latency) = event.latency {
            self.latency.record(latency);
        }
    }
}

fn totals(entry: &Entry<LimiterCounters>) -> LimiterTotals {
    let counters = &entry.value;
    LimiterTotals {
        limiter: entry.limiter.clone().into(),
        algorithm: entry.algorithm,
        allowed: counters.allowed.snapshot(),
        denied: counters.denied.snapshot(),
        withheld: counters.withheld.snapshot(),
        done: counters.done.snapshot(),
        errors: counters.errors.snapshot(),
        cost_allowed: counters.cost_allowed.get(),
        cost_denied: counters.cost_denied.get(),
        near_limit: counters.near_limit.get(),
        latency: counters.latency.snapshot(),
    }
}

impl Calls {
    /// All calls that have returned.
    #[must_use]
    pub const fn total(&self) -> u64 {
        let Self { allowed, denied, errors, done } = *self;
        allowed.saturating_add(denied).saturating_add(errors).saturating_add(done)
    }

    /// The share of the requests that was denied, of those that were decided; 0 if there were
    /// none.
    #[must_use]
    pub fn drop_rate(&self) -> f64 {
        share(self.denied, self.allowed)
    }
}

impl LimiterTotals {
    /// All checks that have returned.
    #[must_use]
    pub fn total(&self) -> u64 {
        let answered = [&self.allowed, &self.denied, &self.withheld, &self.done];
        let errors = self.errors.total();
        answered.into_iter().fold(errors, |sum, counts| sum.saturating_add(counts.total()))
    }

    /// The share of the requests that this limit denied, of those that it decided; 0 if there were
    /// none. A request that another limit denied is not among them.
    #[must_use]
    pub fn drop_rate(&self) -> f64 {
        share(self.denied.total(), self.allowed.total())
    }

    /// How many requests were decided without the store because it had failed.
    #[must_use]
    pub fn fallbacks(&self) -> u64 {
        let answered = [&self.allowed, &self.denied, &self.withheld];
        answered.into_iter().fold(0, |sum, counts| sum.saturating_add(counts.fallbacks()))
    }
}

/// To show to people, so that a double will do.
#[expect(clippy::cast_precision_loss, reason = "to show to people")]
fn share(part: u64, rest: u64) -> f64 {
    if part == 0 { 0.0 } else { part as f64 / (part as f64 + rest as f64) }
}

impl Default for Statistics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statistics").field("limiters", &self.limiters).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratelimit_backend::{BackendError, ErrorKind};
    use ratelimit_core::{Action, Check, Key, Policy, token_bucket};

    use super::*;

    // FAULTS 196.
    #[test]
    fn counters_at_their_end_stay_there_and_still_add_up() {
        let quota = token_bucket::Quota::new(3, 1, Duration::from_secs(1)).unwrap();
        let policy = Policy::new("api", quota).unwrap();
        let check = Check::new(&policy, Key::new("k").unwrap(), 1).unwrap();
        let error = BackendError::unknown(ErrorKind::Timeout);
        let event = Event::new(&check, Action::Spend, Err(&error)).with_latency(Duration::MAX);

        let statistics = Statistics::new();
        let api = statistics.limiters.get(&policy, |_, _| LimiterCounters::default());
        let timeouts = api.errors.of(ErrorKind::Timeout);
        for counter in [&statistics.calls.errors, &statistics.calls.allowed, timeouts] {
            counter.raise(u64::MAX - 1);
        }
        for _ in 0..3 {
            statistics.record(&event);
        }

        let snapshot = statistics.snapshot();
        let totals = &snapshot.limiters[0];
        assert_eq!((snapshot.calls.errors, snapshot.calls.total()), (u64::MAX, u64::MAX));
        assert_eq!((totals.errors.timeout, totals.total()), (u64::MAX, u64::MAX));
        assert_eq!(snapshot.calls.drop_rate(), 0.0);
        assert!(snapshot.to_prometheus().contains("kind=\"timeout\"} 18446744073709551615\n"));
    }
}
