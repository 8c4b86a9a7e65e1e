//! Backends over a backend: between a limiter and its store.
//!
//! | wrapper | decides instead of the store | [`Source`] |
//! |---|---|---|
//! | [`Lists`] | about keys that are always allowed, or always denied | `List` |
//! | [`Shadow`] | lets requests through that the store denies, while a limit is on trial | `Shadow` |
//! | [`DenyCache`] | repeats a denial until it no longer holds | `Cache` |
//! | [`Fallback`] | when the store fails: deny, allow, or decide by a local limit | `Open`, `Local` |
//! | [`Breaker`] | while the store does not answer: an error, at once | |
//! | `Deadline` | when the store takes too long: an error, in time | |
//!
//! Use those that you need, in this order, the first around all others. A remote store needs the
//! last three to decide in time whatever happens to it: `Resilient` stacks these. It and the
//! deadline need tokio's timer: enable the feature `tokio`.
//!
//! Limiters that are checked together go to the store of the first, so wrap a store once and build all
//! of its limiters on clones of that.
//!
//! No call is sent twice, no decision made here is sent to the store later, no lock is held while
//! the store is called, and nothing is logged: decisions and counters show what happens.
//!
//! [`Backend`]: ratelimit_backend::Backend
//! [`Source`]: ratelimit_core::Source
#![cfg_attr(docsrs, feature(doc_cfg))]

#[macro_use]
mod macros;

#[cfg(feature = "tokio")]
mod resilient;

mod breaker;
#[cfg(feature = "tokio")]
mod deadline;
mod fallback;

mod deny_cache;
mod lists;
mod shadow;

mod circuit;
mod decisions;
mod digest;
mod local_limits;

pub use crate::{
    breaker::Breaker,
    circuit::CircuitState,
    deny_cache::DenyCache,
    fallback::{Failures, Fallback, OnFailure},
    lists::{List, Lists},
    local_limits::LocalLimits,
    shadow::Shadow,
};
#[cfg(feature = "tokio")]
pub use crate::{deadline::Deadline, resilient::Resilient};
