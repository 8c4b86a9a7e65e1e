//! The promises of stores that are watched, and of recorders.
#![expect(clippy::unwrap_used, reason = "tests")]

mod allocations;
mod conformance;
#[cfg(feature = "keys")]
mod examples;
mod faults;
#[cfg(feature = "metrics")]
mod metrics_facade;
mod prometheus;
mod secrets;
mod statistics;
mod support;
#[cfg(feature = "keys")]
mod top_keys;
#[cfg(feature = "tracing")]
mod tracing_log;
