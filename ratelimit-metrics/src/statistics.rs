//! Totals in memory: counters for each limiter, and snapshots of them.

use std::fmt;

use ratelimit_core::Policy;

use crate::{
    Event, Recorder, Verdict,
    counter::{Counter, Sharded},
    histogram::{Histogram, Latency},
    limiter_map::{Entry, LimiterMap},
    series::{ByKind, BySource, EachKind, EachSource},
};

/// Counts what limiters decide.
///
/// An event of a known limiter costs a few relaxed additions, on counters that threads have apart: no
/// lock, no allocation. There is room for 256 limiters; all others are counted together, as `(rest)`.
/// Counters stop at [`u64::MAX`].
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
    calls: Sharded<CallCounters>,
    limiters: LimiterMap<LimiterCounters>,
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
    checks: Sharded<CheckCounters>,
    latency: Histogram,
}

#[derive(Default)]
struct CheckCounters {
    allowed: EachSource<Counter>,
    denied: EachSource<Counter>,
    withheld: EachSource<Counter>,
    done: EachSource<Counter>,
    errors: EachKind<Counter>,
    cost_allowed: Counter,
    cost_denied: Counter,
    near_limit: Counter,
}

/// The counts at a moment.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The calls, each once, however many limits it checked.
    pub calls: Calls,
    /// The checks of each limiter, by name.
    pub limiters: Vec<LimiterTotals>,
}

/// Counts of calls, by how they ended. Together they are all calls that have returned.
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
    /// Calls that were no requests (but peeks, refunds, resets, penalties or blocks), and succeeded.
    pub done: u64,
}

/// Counts of one limiter's checks, by how they ended. Together, [`allowed`](Self::allowed),
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
    /// Requests that were admitted.
    pub allowed: BySource,
    /// Requests that this limit denied.
    pub denied: BySource,
    /// Requests that another limit of the same call denied, and this one did not.
    pub withheld: BySource,
    /// Calls that were no requests, and succeeded.
    pub done: BySource,
    /// Checks without a decision.
    pub errors: ByKind,
    /// The costs of what was admitted.
    pub cost_allowed: u64,
    /// The costs of what was denied, by this limit or by another one of the same call.
    pub cost_denied: u64,
    /// Requests that were admitted with no more than a share of the limit left, see
    /// [`Statistics::with_near_limit_percent`].
    pub near_limit: u64,
    /// The durations of calls.
    pub latency: Latency,
}

impl Statistics {
    /// Makes a recorder that has counted nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { calls: Sharded::default(), limiters: LimiterMap::new(), near_limit_percent: 10 }
    }

    /// Sets the share of a limit, in hundredths, that a key has left at most when it counts as near its
    /// limit: 10 by default.
    #[must_use]
    pub fn with_near_limit_percent(self, percent: u8) -> Self {
        Self { near_limit_percent: percent, ..self }
    }

    /// Returns a copy of all counters.
    ///
    /// It may hold a part of what other threads count meanwhile.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let calls = Calls {
            allowed: self.calls.sum(|calls| &calls.allowed),
            denied: self.calls.sum(|calls| &calls.denied),
            errors: self.calls.sum(|calls| &calls.errors),
            done: self.calls.sum(|calls| &calls.done),
        };
        Snapshot { calls, limiters: self.limiters.all().into_iter().map(totals).collect() }
    }

    fn is_near_limit(&self, event: &Event<'_>) -> bool {
        event.result.is_ok_and(|decision| {
            let left = u128::from(decision.remaining) * 100;
            left <= u128::from(decision.limit) * u128::from(self.near_limit_percent)
        })
    }
}

impl Recorder for Statistics {
    fn record(&self, event: &Event<'_>) {
        if event.index == 0 {
            self.calls.local().of(event.call).increment();
        }
        let limiter = self.limiters.get(event.policy, |_, _| LimiterCounters::default());
        let checks = limiter.checks.local();
        checks.count(event);
        if event.verdict == Verdict::Allow && self.is_near_limit(event) {
            checks.near_limit.increment();
        }
        if let Some(latency) = event.latency {
            limiter.latency.record(latency);
        }
    }

    fn register(&self, policy: &Policy) {
        self.limiters.get(policy, |_, _| LimiterCounters::default());
    }
}

impl CallCounters {
    const fn of(&self, verdict: Verdict) -> &Counter {
        match verdict {
            Verdict::Allow => &self.allowed,
            Verdict::Deny | Verdict::Withhold => &self.denied,
            Verdict::Done => &self.done,
            Verdict::Error => &self.errors,
        }
    }
}

impl CheckCounters {
    fn count(&self, event: &Event<'_>) {
        match event.result {
            Err(error) => self.errors.of(error.kind()).increment(),
            Ok(decision) => {
                let by_source = match event.verdict {
                    Verdict::Allow => &self.allowed,
                    Verdict::Deny => &self.denied,
                    Verdict::Withhold => &self.withheld,
                    Verdict::Done | Verdict::Error => &self.done,
                };
                by_source.of(decision.source()).increment();
            }
        }
        match event.verdict {
            Verdict::Allow => self.cost_allowed.add(event.charged()),
            Verdict::Deny | Verdict::Withhold => self.cost_denied.add(event.cost),
            Verdict::Done | Verdict::Error => {}
        }
    }
}

fn totals(entry: &Entry<LimiterCounters>) -> LimiterTotals {
    let LimiterCounters { checks, latency } = &entry.value;
    LimiterTotals {
        limiter: entry.limiter.clone().into(),
        algorithm: entry.algorithm,
        allowed: BySource::sum(checks.all().map(|checks| &checks.allowed)),
        denied: BySource::sum(checks.all().map(|checks| &checks.denied)),
        withheld: BySource::sum(checks.all().map(|checks| &checks.withheld)),
        done: BySource::sum(checks.all().map(|checks| &checks.done)),
        errors: ByKind::sum(checks.all().map(|checks| &checks.errors)),
        cost_allowed: checks.sum(|checks| &checks.cost_allowed),
        cost_denied: checks.sum(|checks| &checks.cost_denied),
        near_limit: checks.sum(|checks| &checks.near_limit),
        latency: latency.snapshot(),
    }
}

impl Calls {
    /// Returns the number of all calls that have returned.
    #[must_use]
    pub const fn total(&self) -> u64 {
        let Self { allowed, denied, errors, done } = *self;
        allowed.saturating_add(denied).saturating_add(errors).saturating_add(done)
    }

    /// Returns the share of the decided requests that was denied; 0 if there were none.
    #[must_use]
    pub fn drop_rate(&self) -> f64 {
        share(self.denied, self.allowed)
    }
}

impl LimiterTotals {
    /// Returns the number of all checks that have returned.
    #[must_use]
    pub fn total(&self) -> u64 {
        let answered = [&self.allowed, &self.denied, &self.withheld, &self.done];
        let errors = self.errors.total();
        answered.into_iter().fold(errors, |sum, counts| sum.saturating_add(counts.total()))
    }

    /// Returns the share of the requests that this limit denied, of those that it decided; 0 if there
    /// were none. A request that another limit denied is not among them.
    #[must_use]
    pub fn drop_rate(&self) -> f64 {
        share(self.denied.total(), self.allowed.total())
    }

    /// Returns the number of requests that were decided without the store because it had failed.
    #[must_use]
    pub fn fallbacks(&self) -> u64 {
        let answered = [&self.allowed, &self.denied, &self.withheld];
        answered.into_iter().fold(0, |sum, counts| sum.saturating_add(counts.fallbacks()))
    }
}

/// A double is exact enough for people.
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
        let timeouts = api.checks.local().errors.of(ErrorKind::Timeout);
        let calls = statistics.calls.local();
        for counter in [&calls.errors, &calls.allowed, timeouts] {
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
