//! A key that was checked is found nowhere in what is shown.

use std::fmt::Write as _;

use ratelimit_algorithms::Limits;
use ratelimit_metrics::{Event, Observed, Statistics};

use crate::support::{Run, memory, shared, three};

const CANARY: &str = "canary-7f3a9c";

// FAULTS 193.
#[test]
fn a_key_is_found_in_no_event_no_snapshot_and_no_debug() {
    let shown = std::sync::Mutex::new(String::new());
    let (theirs, shown) = shared(shown);
    let show = Run(move |event: &Event<'_>| {
        write!(theirs.lock().unwrap(), "{event:?}").unwrap();
    });
    let (theirs, statistics) = shared(Statistics::new());
    let store = Observed::new(memory(), (show, theirs));
    let limiter = three(store.clone(), "api");
    let other = three(store.clone(), "other");
    for _ in 0..5 {
        let _ = limiter.check(CANARY).now().unwrap();
        let _ = Limits::new(&limiter, CANARY, 1).and(&other, CANARY, 1).check().now().unwrap();
    }
    let mut text = shown.lock().unwrap().clone();
    assert!(text.contains("Key(13 bytes)"), "events are shown");
    let snapshot = statistics.snapshot();
    write!(text, "{store:?}{statistics:?}{snapshot:?}{}", snapshot.to_prometheus()).unwrap();
    #[cfg(feature = "serde")]
    text.push_str(&serde_json::to_string(&snapshot).unwrap());
    assert!(!shows_canary(&text), "{text}");
}

// FAULTS 193.
#[cfg(all(feature = "keys", feature = "tracing", feature = "metrics", feature = "serde"))]
#[test]
fn a_key_is_found_in_no_log_no_list_and_no_series() {
    use metrics_util::debugging::DebuggingRecorder;
    use ratelimit_backend::ErrorKind;
    use ratelimit_metrics::{MetricsFacade, Ranking, TopKeys, TracingLog};

    use crate::support::{Failing, size};

    let exporter = DebuggingRecorder::new();
    let snapshotter = exporter.snapshotter();
    let (theirs, offenders) = shared(TopKeys::new(Ranking::Denials, size(10)).with_pepper(CANARY));
    let (log, logs) = shared(TracingLog::new());
    let recorder = (theirs, log, MetricsFacade::new());
    let limiter = three(Observed::new(Failing::new(ErrorKind::Auth), recorder), "api");
    let lines = crate::tracing_log::Lines::of(tracing::Level::TRACE, || {
        metrics::with_local_recorder(&exporter, || {
            for _ in 0..5 {
                let _ = limiter.check(CANARY).now();
                let _ = limiter.check(&format!("fail {CANARY}")).now();
            }
        });
    });
    let top = offenders.top(10);
    assert_eq!((top.len(), lines.len()), (1, 2));
    let series = snapshotter.snapshot().into_vec();
    let json = serde_json::to_string(&top).unwrap();
    let text = format!("{lines:?}{top:?}{offenders:?}{logs:?}{series:?}{json}");
    assert!(!shows_canary(&text), "{text}");
}

/// As text, or as the numbers of its bytes.
fn shows_canary(text: &str) -> bool {
    let bytes = format!("{:?}", CANARY.as_bytes()).replace(['[', ']', ' '], "");
    text.contains(CANARY) || text.replace(' ', "").contains(&bytes)
}
