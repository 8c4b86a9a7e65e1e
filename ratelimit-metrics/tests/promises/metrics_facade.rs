//! The series of the `metrics` facade.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::{
    Counter, Gauge, Histogram, KeyName, Metadata, SharedString, Unit, with_local_recorder,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::{Action, Check, Key, Source};
use ratelimit_metrics::{Event, MetricsFacade, Observed, Recorder};

use crate::support::{decision, memory, policy, tell, three};

/// Every series, as Prometheus would write it, with its value.
fn series(snapshotter: &Snapshotter) -> Vec<(String, DebugValue)> {
    let all = snapshotter.snapshot().into_vec();
    let series = all.into_iter().map(|(key, _, _, value)| {
        let labels: Vec<_> =
            key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        (format!("{}{{{}}}", key.key().name(), labels.join(",")), value)
    });
    series.collect()
}

#[test]
fn the_facade_is_told_the_counts_under_the_documented_names() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let facade = MetricsFacade::new();
    let api = policy("api");
    with_local_recorder(&recorder, || {
        tell(&facade, &api, "k", Ok(&decision(&api, true, Source::Store)));
        tell(&facade, &api, "k", Ok(&decision(&api, false, Source::Cache)));
        tell(&facade, &api, "k", Err(&BackendError::unknown(ErrorKind::Timeout)));
        let check = Check::new(&api, Key::new("k").unwrap(), 2).unwrap();
        let allow = decision(&api, true, Source::Store);
        let event = Event::new(&check, Action::Spend, Ok(&allow));
        facade.record(&event.with_latency(Duration::from_millis(5)));
    });
    let all = series(&snapshotter);
    let of = "limiter=api,algorithm=token_bucket";
    for (name, value) in [
        (format!("ratelimit_decisions_total{{{of},outcome=allow,source=store}}"), 2),
        (format!("ratelimit_decisions_total{{{of},outcome=deny,source=cache}}"), 1),
        (format!("ratelimit_decisions_total{{{of},outcome=deny,source=store}}"), 0),
        (format!("ratelimit_errors_total{{{of},kind=timeout}}"), 1),
        (format!("ratelimit_cost_total{{{of},outcome=allow}}"), 3),
        (format!("ratelimit_cost_total{{{of},outcome=deny}}"), 1),
    ] {
        assert!(all.contains(&(name.clone(), DebugValue::Counter(value))), "{name}: {all:#?}");
    }
    let latency = format!("ratelimit_latency_seconds{{{of}}}");
    assert!(all.contains(&(latency, DebugValue::Histogram(vec![0.005.into()]))), "{all:#?}");
}

/// An exporter that may forget its series, as exporters do with those that are idle.
#[derive(Default)]
struct Forgetful {
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    described: Mutex<BTreeMap<String, String>>,
}

impl Forgetful {
    fn count(&self, series: &str) -> Option<u64> {
        self.counters.lock().unwrap().get(series).map(|count| count.load(Ordering::Relaxed))
    }

    fn describe(&self, name: &KeyName, description: &SharedString) {
        let mut described = self.described.lock().unwrap();
        described.insert(name.as_str().to_owned(), description.to_string());
    }
}

impl metrics::Recorder for Forgetful {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&name, &description);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&name, &description);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&name, &description);
    }

    fn register_counter(&self, key: &metrics::Key, _: &Metadata<'_>) -> Counter {
        let mut counters = self.counters.lock().unwrap();
        Counter::from_arc(Arc::clone(counters.entry(key.to_string()).or_default()))
    }

    fn register_gauge(&self, _: &metrics::Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &metrics::Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

// Handles were kept, and counted for nobody once the exporter had dropped their series.
// FAULTS 240.
#[test]
fn series_that_an_exporter_has_dropped_come_back() {
    let exporter = Forgetful::default();
    let facade = MetricsFacade::new();
    let api = policy("api");
    let allow = decision(&api, true, Source::Store);
    let series = "Key(ratelimit_decisions_total, [limiter = api, algorithm = token_bucket, \
                  outcome = allow, source = store])";
    // An exporter that is installed late misses only what was before.
    tell(&facade, &api, "k", Ok(&allow));
    with_local_recorder(&exporter, || {
        for _ in 0..3 {
            tell(&facade, &api, "k", Ok(&allow));
        }
        assert_eq!(exporter.count(series), Some(3));
        exporter.counters.lock().unwrap().clear();
        for _ in 0..100 {
            tell(&facade, &api, "k", Ok(&allow));
        }
        assert_eq!(exporter.count(series), Some(100));
    });
}

#[test]
fn series_are_described_and_begin_at_zero_when_a_limiter_is_made() {
    let exporter = Forgetful::default();
    let facade = MetricsFacade::new();
    with_local_recorder(&exporter, || drop(three(Observed::new(memory(), facade), "api")));
    let series = "Key(ratelimit_errors_total, [limiter = api, algorithm = token_bucket, \
                  kind = timeout])";
    assert_eq!(exporter.count(series), Some(0));
    let described = exporter.described.lock().unwrap();
    let names: Vec<_> = described.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "ratelimit_cost_total",
            "ratelimit_decisions_total",
            "ratelimit_errors_total",
            "ratelimit_latency_seconds",
        ]
    );
    assert!(described.values().all(|description| description.ends_with('.')));
}

// FAULTS 192.
#[test]
fn keys_make_no_series() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let facade = MetricsFacade::new();
    let api = policy("api");
    with_local_recorder(&recorder, || {
        let allow = decision(&api, true, Source::Store);
        tell(&facade, &api, "first", Ok(&allow));
        let before = series(&snapshotter).len();
        for n in 0..10_000 {
            tell(&facade, &api, &format!("user:{n}"), Ok(&allow));
        }
        assert_eq!(series(&snapshotter).len(), before);
    });
}
