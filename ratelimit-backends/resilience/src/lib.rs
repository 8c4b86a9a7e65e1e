//! What stands between a limiter and its store: each a small [`Backend`] over a [`Backend`].
//!
//! | wrapper | answers instead of the store | [`Source`] |
//! |---|---|---|
//! | [`Lists`] | for keys that are always let through, or never | `List` |
//! | [`Shadow`] | lets through what the store denies, for as long as a limit is only watched | `Shadow` |
//! | [`DenyCache`] | what it has denied before, until that no longer holds | `Cache` |
//! | [`Fallback`] | when it fails: nobody, everybody, or by a local limit | `Open`, `Local` |
//! | [`Breaker`] | while it does not answer: an error, at once | |
//! | `Deadline` | when it takes too long: an error, in time | |
//!
//! Take those that you need, in this order, the first around all others. Three of them are what a
//! store elsewhere needs to answer in time whatever becomes of it: `Resilient` stacks these. It
//! and the deadline are behind the feature `tokio`, whose timer they need.
//!
//! Limiters that are asked together are asked by the store of the first, so wrap a store once and
//! build all of its limiters on clones of that.
//!
//! Nothing is sent twice, nothing that was answered here is told to the store later, no lock is
//! held while the store is asked, and nothing is logged: what happens is told by decisions and
//! counted.
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
mod local;

pub use crate::{
    breaker::Breaker,
    circuit::CircuitState,
    deny_cache::DenyCache,
    fallback::{Failures, Fallback, OnFailure},
    lists::{List, Lists},
    local::Local,
    shadow::Shadow,
};
#[cfg(feature = "tokio")]
pub use crate::{deadline::Deadline, resilient::Resilient};
