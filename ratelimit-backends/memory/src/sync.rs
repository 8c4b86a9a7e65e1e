//! Types that threads share, in one place, so that loom can stand in for them.

use std::{
    hint,
    sync::{PoisonError, TryLockError},
};

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

/// Locks a mutex. A panic of somebody's clock under the lock leaves nothing half written, so a
/// poisoned one is as good as any.
#[inline(always)]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    try_lock(mutex).unwrap_or_else(|| wait_for(mutex))
}

/// Locks a mutex, unless somebody else has.
#[inline(always)]
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Waits for a mutex that is held briefly: tries again after growing pauses, so that the holder can
/// take several steps before its cache line is taken away, and only then sleeps.
#[cold]
fn wait_for<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    for round in 1..=PATIENCE {
        (0..1 << round).for_each(|_| hint::spin_loop());
        if let Some(guard) = try_lock(mutex) {
            return guard;
        }
    }
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Pauses, each twice as long as the one before: some two microseconds.
const PATIENCE: u32 = if cfg!(ratelimit_loom) { 0 } else { 6 };
