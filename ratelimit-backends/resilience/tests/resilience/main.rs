//! Promises of the wrappers, each over a store that fails on cue.

mod breaker_fixture;
mod faulty;

mod breaker;
mod breaker_probes;
#[cfg(feature = "tokio")]
mod deadline;
mod deny_cache;
mod fallback;
mod lists;
#[cfg(feature = "tokio")]
mod resilient;
mod shadow;
