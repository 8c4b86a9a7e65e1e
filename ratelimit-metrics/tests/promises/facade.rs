//! What the `metrics` facade is told.

use std::time::Duration;

use metrics::with_local_recorder;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::{Action, Check, Key, Source};
use ratelimit_metrics::{Event, Facade, Recorder};

use crate::support::{decision, policy, tell};

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
    let facade = Facade::new();
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
    let of = "limiter=api,algorithm=token bucket";
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

// FAULTS 192.
#[test]
fn keys_make_no_series() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let facade = Facade::new();
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
