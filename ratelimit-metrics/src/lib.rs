//! What a rate limiter did, for people and for machines.
//!
//! An [`Observed`] store decides what the store in it decides, and tells a [`Recorder`] of every
//! check. Ready-made ones:
//!
//! - [`Statistics`]: totals in memory, and [as text for Prometheus](Snapshot::to_prometheus);
//! - `TopKeys` (feature `keys`): who asks most, and who is denied most, in bounded memory;
//! - `Facade` (feature `metrics`): the `metrics` facade, for any of its exporters;
//! - `Log` (feature `tracing`): denials and errors, a line a second at most;
//! - [`Buffered`]: any of these, or one's own, on a thread of its own.
//!
//! No key is ever a label, and none is shown, logged or kept in clear, unless
//! `TopKeys::in_clear` asks for it.
//!
//! # The names
//!
//! The same in the text for Prometheus and through the facade. No series is made of anything that a
//! client sends, so that their number stays what it is.
//!
//! | name | labels | counts |
//! |---|---|---|
//! | `ratelimit_decisions_total` | `limiter`, `algorithm`, `outcome`, `source` | checks that were decided |
//! | `ratelimit_errors_total` | `limiter`, `algorithm`, `kind` | checks that were not |
//! | `ratelimit_cost_total` | `limiter`, `algorithm`, `outcome` | costs of what was admitted, and of what was not |
//! | `ratelimit_latency_seconds` | `limiter`, `algorithm` | a histogram of the latencies that were measured |
//! | `ratelimit_near_limit_total` | `limiter`, `algorithm` | admitted, with little left (text only) |
//! | `ratelimit_calls_total` | `outcome` | calls, each once, however many limits it asked about (text only) |
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
mod facade;
#[cfg(feature = "tracing")]
mod log;
mod prometheus;
mod statistics;
#[cfg(feature = "keys")]
mod top_keys;

mod by_limiter;
mod counter;
mod family;
mod latency;
#[cfg(feature = "keys")]
mod space_saving;

#[cfg(feature = "metrics")]
pub use crate::facade::Facade;
#[cfg(feature = "tracing")]
pub use crate::log::Log;
#[cfg(feature = "keys")]
pub use crate::top_keys::{Digest, TopKey, TopKeys};
pub use crate::{
    buffered::Buffered,
    event::{Event, Verdict},
    family::{ByKind, BySource},
    latency::Latency,
    observed::Observed,
    prometheus::PROMETHEUS_CONTENT_TYPE,
    recorder::Recorder,
    statistics::{Calls, LimiterTotals, Snapshot, Statistics},
};

/// The README's examples are tests.
#[cfg(all(doctest, feature = "keys", feature = "tracing"))]
#[doc = include_str!("../README.md")]
struct Readme;
