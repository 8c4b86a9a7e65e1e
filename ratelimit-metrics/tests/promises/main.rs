//! What the recorders promise.
#![expect(clippy::unwrap_used, reason = "tests")]

mod counting;
#[cfg(feature = "metrics")]
mod facade;
mod faults;
#[cfg(feature = "keys")]
mod keys;
#[cfg(feature = "tracing")]
mod log;
mod prometheus;
mod secrets;
mod support;
