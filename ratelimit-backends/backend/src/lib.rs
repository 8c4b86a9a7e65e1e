//! What a store of rate-limit state has to be: one method that applies an action atomically.
//!
//! A [`Backend`] never decides. It fetches the records of a batch, hands them to
//! [`ratelimit_core::apply`] while nobody else can touch them, and stores what follows. This crate
//! holds the trait, its errors, the clocks and the register of names; it does no I/O itself.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod clock;
mod error;
mod names;

pub use crate::{
    backend::{Backend, Reply, SyncBackend},
    clock::{Clock, ManualClock, MonotonicClock, WallClock},
    error::{BackendError, Effect, ErrorKind},
    names::{Claim, Names},
};
