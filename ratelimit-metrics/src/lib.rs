//! Metrics of rate limiters: statistics, top keys, and recorders for monitoring systems.
//!
//! An [`Observed`] store decides as the store in it does, and hands every check to a [`Recorder`].
//! These recorders are ready-made:
//!
//! - [`Statistics`]: totals in memory, and [as text for Prometheus](Snapshot::to_prometheus);
//! - `TopKeys` (feature `keys`): the keys with most requests or denials, in bounded memory;
//! - `MetricsFacade` (feature `metrics`): the `metrics` facade, for any of its exporters;
//! - `TracingLog` (feature `tracing`): denials and errors, a line a second at most for each limiter;
//! - [`Buffered`]: any recorder, on a thread of its own.
//!
//! No key is ever a label, and none is shown, logged or kept in clear, unless
//! `TopKeys::with_keys_in_clear` is called.
//!
//! # The names
//!
//! The text for Prometheus and the facade have the same names. Nothing that a client sends makes a
//! new series: each limiter has all of its series from the moment when it is made.
//!
//! | name | labels | counts |
//! |---|---|---|
//! | `ratelimit_decisions_total` | `limiter`, `algorithm`, `outcome`, `source` | checks that were decided |
//! | `ratelimit_errors_total` | `limiter`, `algorithm`, `kind` | checks that were not |
//! | `ratelimit_cost_total` | `limiter`, `algorithm`, `outcome` | costs of what was admitted, and of what was not |
//! | `ratelimit_latency_seconds` | `limiter`, `algorithm` | a histogram of the latencies that were measured |
//! | `ratelimit_near_limit_total` | `limiter`, `algorithm` | admitted, with little left (text only) |
//! | `ratelimit_calls_total` | `outcome` | calls, each once, however many limits it checked (text only) |
//!
//! An `outcome` is `allow`, `deny`, `withhold` (another limit of the same call denied) or `done`
//! (no request, but a peek, a refund, a reset, a penalty or a block); of calls `error` as well. A
//! `source` is a field of [`BySource`], a `kind` one of [`ByKind`].
#![cfg_attr(docsrs, feature(doc_cfg))]

mod event;
mod observed;
mod recorder;

mod buffered;
#[cfg(feature = "metrics")]
mod metrics_facade;
mod statistics;
#[cfg(feature = "keys")]
mod top_keys;
#[cfg(feature = "tracing")]
mod tracing_log;

mod counter;
mod histogram;
mod limiter_map;
mod prometheus;
mod series;

#[cfg(feature = "metrics")]
pub use crate::metrics_facade::MetricsFacade;
#[cfg(feature = "keys")]
pub use crate::top_keys::{Digest, Ranking, TopKey, TopKeys};
#[cfg(feature = "tracing")]
pub use crate::tracing_log::TracingLog;
pub use crate::{
    buffered::Buffered,
    event::{Event, Verdict},
    histogram::Latency,
    observed::Observed,
    prometheus::PROMETHEUS_CONTENT_TYPE,
    recorder::Recorder,
    series::{ByKind, BySource},
    statistics::{Calls, LimiterTotals, Snapshot, Statistics},
};

/// The README's examples are tests.
#[cfg(all(doctest, feature = "keys", feature = "tracing"))]
#[doc = include_str!("../README.md")]
struct Readme;
