//! A recorder for the `metrics` facade, behind which any exporter may stand.

use std::fmt;

use metrics::{
    Key, Label, Level, Metadata, Unit, describe_counter, describe_histogram, with_recorder,
};
use ratelimit_core::Policy;

use crate::{
    Event, Recorder, Verdict,
    limiter_map::LimiterMap,
    series::{COST, DECISIONS, ERRORS, EachKind, EachSource, LATENCY, Series, algorithm_label},
};

/// Passes events on to the [`metrics`] facade, under [these names](crate#the-names).
///
/// The series of a limiter are registered and described when it is made, with the exporter that is
/// installed by then, so that they begin at zero. Each event looks its series up again, as the macros
/// of the facade do: so a series that an exporter has dropped because it was idle comes back, and an
/// exporter that is installed late misses no later event.
pub struct MetricsFacade {
    limiters: LimiterMap<Keys>,
}

/// The keys of a limiter's series, made once.
struct Keys {
    allowed: EachSource<Key>,
    denied: EachSource<Key>,
    withheld: EachSource<Key>,
    done: EachSource<Key>,
    errors: EachKind<Key>,
    cost_allowed: Key,
    cost_denied: Key,
    latency: Key,
}

impl MetricsFacade {
    /// Makes a recorder that has registered nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { limiters: LimiterMap::new() }
    }
}

impl Recorder for MetricsFacade {
    fn record(&self, event: &Event<'_>) {
        self.limiters.get(event.policy, Keys::register).record(event);
    }

    fn register(&self, policy: &Policy) {
        self.limiters.get(policy, Keys::register);
    }
}

impl Keys {
    fn register(limiter: &str, algorithm: &'static str) -> Self {
        describe();
        let counter = |series: Series, labels: &[(&'static str, &'static str)]| {
            let key = key(series, limiter, algorithm, labels);
            count(&key, 0);
            key
        };
        let decisions = |outcome| {
            EachSource::make(|source| {
                counter(DECISIONS, &[("outcome", outcome), ("source", source)])
            })
        };
        let latency = key(LATENCY, limiter, algorithm, &[]);
        with_recorder(|recorder| drop(recorder.register_histogram(&latency, &METADATA)));
        Self {
            allowed: decisions("allow"),
            denied: decisions("deny"),
            withheld: decisions("withhold"),
            done: decisions("done"),
            errors: EachKind::make(|kind| counter(ERRORS, &[("kind", kind)])),
            cost_allowed: counter(COST, &[("outcome", "allow")]),
            cost_denied: counter(COST, &[("outcome", "deny")]),
            latency,
        }
    }

    fn record(&self, event: &Event<'_>) {
        let decided = match event.verdict {
            Verdict::Allow => &self.allowed,
            Verdict::Deny => &self.denied,
            Verdict::Withhold => &self.withheld,
            Verdict::Done | Verdict::Error => &self.done,
        };
        match event.result {
            Ok(decision) => count(decided.of(decision.source()), 1),
            Err(error) => count(self.errors.of(error.kind()), 1),
        }
        match event.verdict {
            Verdict::Allow => count(&self.cost_allowed, event.charged()),
            Verdict::Deny | Verdict::Withhold => count(&self.cost_denied, event.cost),
            Verdict::Done | Verdict::Error => {}
        }
        if let Some(latency) = event.latency {
            with_recorder(|recorder| {
                recorder.register_histogram(&self.latency, &METADATA).record(latency);
            });
        }
    }
}

/// Says it again for every limiter, since the exporter may have been installed in between.
fn describe() {
    for Series { name, help } in [DECISIONS, ERRORS, COST] {
        describe_counter!(name, Unit::Count, help);
    }
    describe_histogram!(LATENCY.name, Unit::Seconds, LATENCY.help);
}

fn key(
    series: Series,
    limiter: &str,
    algorithm: &str,
    labels: &[(&'static str, &'static str)],
) -> Key {
    let own = [("limiter", limiter.to_owned()), ("algorithm", algorithm_label(algorithm))];
    let own = own.into_iter().map(|(label, value)| Label::new(label, value));
    let others = labels.iter().map(|(label, value)| Label::new(*label, *value));
    Key::from_parts(series.name, own.chain(others).collect::<Vec<_>>())
}

fn count(key: &Key, number: u64) {
    with_recorder(|recorder| recorder.register_counter(key, &METADATA).increment(number));
}

const METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

impl Default for MetricsFacade {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MetricsFacade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsFacade").field("limiters", &self.limiters).finish()
    }
}
