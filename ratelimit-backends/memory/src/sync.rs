//! What threads share, in one place, so that loom can stand in for it.

#[cfg(not(ratelimit_loom))]
pub(crate) use foldhash::fast::RandomState as TableSeed;
#[cfg(not(ratelimit_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, AtomicUsize},
};

/// Loom has to find each key in the same place again and again.
#[cfg(ratelimit_loom)]
pub(crate) use foldhash::fast::FixedState as TableSeed;
#[cfg(ratelimit_loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, AtomicUsize},
};
