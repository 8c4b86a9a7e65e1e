//! What a store of rate-limit state has to be: one method that applies an action atomically.
//!
//! A [`Backend`] never decides. It fetches the records of a batch, hands them to
//! [`ratelimit_core::apply`] while nobody else can touch them, and stores what follows. Whatever
//! can compare and swap bytes makes a backend as well: a [`Store`] is two methods, and a
//! [`StoreBackend`] does the rest.
//!
//! This crate holds the traits, their errors, the clocks and the register of names; it does no
//! I/O itself.

mod backend;
mod clock;
mod error;
mod names;
mod store;
mod store_backend;

pub use crate::{
    backend::{Backend, Reply, SyncBackend},
    clock::{Clock, ManualClock, MonotonicClock, WallClock},
    error::{BackendError, Effect, ErrorKind},
    names::{Claim, Names},
    store::{Change, Store, Swap, Versioned},
    store_backend::StoreBackend,
};
