//! What the recorders promise.

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
