//! The lines of the log, and how often they are written.

use std::{
    fmt::{self, Debug},
    sync::{Arc, Mutex},
};

use ratelimit_backend::{BackendError, ErrorKind, ManualClock};
use ratelimit_core::{Micros, Source, Timestamp};
use ratelimit_metrics::TracingLog;
use tracing::{
    Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::with_default,
};

use crate::support::{decision, policy, tell};

/// Keeps what is written on the target `ratelimit`, a line each.
#[derive(Clone)]
pub(crate) struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    level: Level,
}

impl Lines {
    /// Returns the lines that `run` writes.
    pub(crate) fn of(level: Level, run: impl FnOnce()) -> Vec<String> {
        let lines = Self { lines: Arc::default(), level };
        with_default(lines.clone(), run);
        std::mem::take(&mut lines.lines.lock().unwrap())
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "ratelimit" && *metadata.level() <= self.level
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.lines.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        fmt::Write::write_fmt(&mut self.0, format_args!(" {field}={value:?}")).unwrap();
    }
}

fn log() -> (ManualClock, TracingLog<ManualClock>) {
    let clock = ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000).unwrap());
    (clock.clone(), TracingLog::with_clock(clock))
}

// FAULTS 197.
#[test]
fn a_storm_of_errors_is_a_line_a_second_of_each_kind_with_a_count() {
    let (clock, log) = log();
    let api = policy("api");
    let lines = Lines::of(Level::WARN, || {
        for n in 0..100_000 {
            let kind = if n % 4 == 0 { ErrorKind::Timeout } else { ErrorKind::Unavailable };
            tell(&log, &api, "k", Err(&BackendError::unknown(kind)));
            clock.advance(Micros::new(10));
        }
        // A second has passed since the first of each.
        tell(&log, &api, "k", Err(&BackendError::unknown(ErrorKind::Timeout)));
        clock.advance(Micros::new(10));
        tell(&log, &api, "k", Err(&BackendError::unknown(ErrorKind::Unavailable)));
        clock.advance(Micros::from_secs(1));
        tell(&log, &api, "k", Err(&BackendError::unknown(ErrorKind::Timeout)));
    });
    let counts: Vec<_> = lines
        .iter()
        .map(|line| {
            let swallowed = line.split("swallowed=").nth(1).unwrap();
            let swallowed = swallowed.split(' ').next().unwrap().parse::<u64>().unwrap();
            (line.contains("did not answer in time"), swallowed)
        })
        .collect();
    assert_eq!(
        counts,
        [(true, 0), (false, 0), (true, 24_999), (false, 74_999), (true, 0)],
        "{lines:#?}"
    );
}

#[test]
fn a_line_says_which_limiter_and_what() {
    let (_, log) = log();
    let api = policy("api");
    let lines = Lines::of(Level::TRACE, || {
        tell(&log, &api, "k", Ok(&decision(&api, true, Source::Store)));
        tell(&log, &api, "k", Ok(&decision(&api, false, Source::Store)));
        tell(&log, &api, "k", Ok(&decision(&api, true, Source::Open)));
        tell(&log, &api, "k", Err(&BackendError::not_applied(ErrorKind::ReadOnly)));
    });
    assert_eq!(
        lines,
        [
            "DEBUG message=denied limiter=\"api\" algorithm=\"token bucket\" cost=1 \
             retry_after=3s swallowed=0",
            "WARN message=store failed, went on limiter=\"api\" \
             algorithm=\"token bucket\" source=Open swallowed=0",
            "WARN message=no decision limiter=\"api\" algorithm=\"token bucket\" \
             error=store is read-only (nothing was charged) swallowed=0",
        ]
    );
}

// One gate was for all limiters: a noisy one hid the others.
// FAULTS 240.
#[test]
fn a_noisy_limiter_hides_no_other_one_and_each_has_its_own_count() {
    let (clock, log) = log();
    let [noisy, quiet] = ["noisy", "quiet"].map(policy);
    let lines = Lines::of(Level::DEBUG, || {
        for number in 0..100 {
            tell(&log, &noisy, "k", Ok(&decision(&noisy, false, Source::Store)));
            if number % 20 == 19 {
                tell(&log, &quiet, "k", Ok(&decision(&quiet, false, Source::Store)));
            }
        }
        clock.advance(Micros::from_secs(1));
        tell(&log, &quiet, "k", Ok(&decision(&quiet, false, Source::Store)));
        tell(&log, &noisy, "k", Ok(&decision(&noisy, false, Source::Store)));
    });
    assert_eq!(swallowed(&lines), [("noisy", 0), ("quiet", 0), ("quiet", 4), ("noisy", 99)]);
}

// The counts of the last second were never written.
#[test]
fn what_was_swallowed_last_is_written_at_the_end() {
    let (_, log) = log();
    let [noisy, quiet] = ["noisy", "quiet"].map(policy);
    let lines = Lines::of(Level::DEBUG, || {
        for _ in 0..3 {
            tell(&log, &noisy, "k", Ok(&decision(&noisy, false, Source::Store)));
        }
        tell(&log, &quiet, "k", Ok(&decision(&quiet, false, Source::Store)));
        log.flush();
        tell(&log, &quiet, "k", Err(&BackendError::unknown(ErrorKind::Timeout)));
        tell(&log, &quiet, "k", Err(&BackendError::unknown(ErrorKind::Timeout)));
        drop(log);
    });
    assert_eq!(
        swallowed(&lines),
        [("noisy", 0), ("quiet", 0), ("noisy", 2), ("quiet", 0), ("quiet", 1)]
    );
    assert!(lines[4].starts_with("WARN message=no decision"), "{}", lines[4]);
}

/// The limiter of each line, and the events that it says were swallowed.
fn swallowed(lines: &[String]) -> Vec<(&str, u64)> {
    lines
        .iter()
        .map(|line| {
            let limiter = line.split_once("limiter=\"").unwrap().1.split_once('"').unwrap().0;
            let count = line.split_once("swallowed=").unwrap().1.split(' ').next().unwrap();
            (limiter, count.parse().unwrap())
        })
        .collect()
}

#[test]
fn a_denial_is_no_warning() {
    let (_, log) = log();
    let api = policy("api");
    let lines = Lines::of(Level::INFO, || {
        tell(&log, &api, "k", Ok(&decision(&api, false, Source::Store)));
    });
    assert!(lines.is_empty(), "{lines:?}");
}

#[test]
fn a_clock_that_is_set_back_does_not_silence_the_log() {
    let (clock, log) = log();
    let api = policy("api");
    let lines = Lines::of(Level::WARN, || {
        for seconds in [10, 11, 5] {
            clock.set(Timestamp::EPOCH + Micros::from_secs(seconds));
            tell(&log, &api, "k", Err(&BackendError::unknown(ErrorKind::Timeout)));
        }
    });
    assert_eq!(lines.len(), 3);
}
