//! The trait of a store of rate-limit state: it applies actions to its records, atomically.
//!
//! A [`Backend`] never decides. It fetches the records of a batch, passes them to
//! [`ratelimit_core::store::apply`] while nobody else can touch them, and stores what follows. There is a
//! shorter way for anything that compares and swaps bytes: implement [`Store`], two methods, and
//! wrap it in a [`StoreBackend`].
//!
//! This crate holds the traits, their errors, the clocks and the register of names; it does no
//! I/O itself.

mod backend;
mod reply;

mod store;
pub mod transact;
mod turns;

mod clock;
mod error;
mod names;

pub use crate::{
    backend::{Backend, SyncBackend},
    clock::{Clock, ManualClock, MonotonicClock, WallClock},
    error::{BackendError, Effect, ErrorKind},
    names::{Claim, Names},
    reply::Reply,
    store::{Store, StoreBackend, Swap, Versioned},
    transact::Change,
};
