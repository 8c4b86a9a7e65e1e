//! A recorder for the `metrics` facade, behind which any exporter may stand.

use std::fmt;

use metrics::{Counter, Histogram, counter, histogram};

use crate::{
    Event, Recorder, Verdict,
    by_limiter::ByLimiter,
    family::{EachKind, EachSource},
};

/// Passes events on to the [`metrics`] facade, under [these names](crate#the-names).
///
/// The series of a limiter are registered at its first event, all of them, with the exporter that
/// is installed by then; later events take no look-up by labels, and no allocation of ours. So
/// install the exporter before the first check.
pub struct Facade {
    limiters: ByLimiter<Series>,
}

struct Series {
    allowed: EachSource<Counter>,
    denied: EachSource<Counter>,
    withheld: EachSource<Counter>,
    done: EachSource<Counter>,
    errors: EachKind<Counter>,
    cost_allowed: Counter,
    cost_denied: Counter,
    latency: Histogram,
}

impl Facade {
    /// A recorder that has registered nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { limiters: ByLimiter::new() }
    }
}

impl Recorder for Facade {
    fn record(&self, event: &Event<'_>) {
        self.limiters.get(event.policy, Series::register).record(event);
    }
}

impl Series {
    fn register(limiter: &str, algorithm: &'static str) -> Self {
        let own = || [("limiter", limiter.to_owned()), ("algorithm", algorithm.to_owned())];
        let with = |label, value: &str| [&own()[..], &[(label, value.to_owned())]].concat();
        let decisions = |outcome: &'static str| {
            EachSource::make(|source| {
                let labels = [with("outcome", outcome), vec![("source", source.to_owned())]];
                counter!("ratelimit_decisions_total", &labels.concat())
            })
        };
        let errors = |kind| counter!("ratelimit_errors_total", &with("kind", kind));
        let cost = |outcome| counter!("ratelimit_cost_total", &with("outcome", outcome));
        Self {
            allowed: decisions("allow"),
            denied: decisions("deny"),
            withheld: decisions("withhold"),
            done: decisions("done"),
            errors: EachKind::make(errors),
            cost_allowed: cost("allow"),
            cost_denied: cost("deny"),
            latency: histogram!("ratelimit_latency_seconds", &own()),
        }
    }

    fn record(&self, event: &Event<'_>) {
        let decided = match event.verdict {
            Verdict::Allow => &self.allowed,
            Verdict::Deny => &self.denied,
            Verdict::Withhold => &self.withheld,
            Verdict::Done | Verdict::Error => &self.done,
        };
        match event.answer {
            Ok(decision) => decided.of(decision.source()).increment(1),
            Err(error) => self.errors.of(error.kind()).increment(1),
        }
        match event.verdict {
            Verdict::Allow => self.cost_allowed.increment(event.cost),
            Verdict::Deny | Verdict::Withhold => self.cost_denied.increment(event.cost),
            Verdict::Done | Verdict::Error => {}
        }
        if let Some(latency) = event.latency {
            self.latency.record(latency);
        }
    }
}

impl Default for Facade {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Facade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facade").field("limiters", &self.limiters).finish()
    }
}
