//! The adapter: load, apply, swap, and once more if somebody else was first.

use std::fmt;

use ratelimit_core::{
    Action, Batch, Decisions, Micros, Record, Slot, StateError, Timestamp, apply,
};

use crate::{
    Backend, BackendError, Change, Clock, ErrorKind, Names, Reply, Store, Swap, Versioned,
    WallClock,
};

/// A full backend over a [`Store`].
///
/// It loads the records of a batch, applies the action, and swaps what has changed, all of it or
/// nothing. Where others have been first it starts over, a bounded number of times; then it gives
/// up with [`ErrorKind::Overloaded`], and nothing was charged. A decision that changes nothing
/// writes nothing, and a record that is as good as new is removed.
///
/// A policy's record is stored under its name, a colon and the key; its shared load sensor under
/// its name and a number sign. Bytes that are no record are [`ErrorKind::Corrupt`] and stay as
/// they are until a reset removes them.
pub struct StoreBackend<S, C = WallClock> {
    store: S,
    clock: C,
    names: Names,
}

impl<S: Store> StoreBackend<S> {
    /// A backend over `store` that goes by the wall clock, as stores that others share must.
    #[must_use]
    pub fn new(store: S) -> Self {
        Self::with_clock(store, WallClock::new())
    }
}

impl<S: Store, C: Clock> StoreBackend<S, C> {
    /// A backend over `store` that goes by `clock`.
    #[must_use]
    pub fn with_clock(store: S, clock: C) -> Self {
        Self { store, clock, names: Names::default() }
    }

    /// The store.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.store
    }

    /// The store.
    #[must_use]
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Gives the store back.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.store
    }

    async fn run(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        let keys: Vec<_> = batch.slots().map(stored_key).collect();
        for _ in 0..ATTEMPTS_MAX {
            if let Some(decisions) = self.attempt(batch, action, &keys).await? {
                return Ok(decisions);
            }
        }
        Err(BackendError::not_applied(ErrorKind::Overloaded).with_source(Contended))
    }

    /// Decides by what is stored now; `None` if that has changed meanwhile.
    async fn attempt(
        &self,
        batch: Batch<'_>,
        action: Action,
        keys: &[Vec<u8>],
    ) -> Result<Option<Decisions>, BackendError> {
        let mut loaded = Vec::with_capacity(keys.len());
        for key in keys {
            loaded.push(self.store.load(key).await?);
        }
        // Read after loading, the clock is never behind the one that dated what was loaded,
        // unless it does step back.
        let now = self.clock.now()?;
        let mut records = decode(batch, action, &loaded)?;
        let decisions = apply(batch, action, &mut records, now)?;

        let next: Vec<_> = records.iter().map(|record| Next::of(record.as_ref()?, now)).collect();
        let mut swaps = Vec::with_capacity(keys.len());
        for ((key, loaded), next) in keys.iter().zip(&loaded).zip(&next) {
            let change = if action == Action::Peek { Change::Keep } else { change(loaded, next) };
            swaps.push(Swap { key, loaded: loaded.as_ref().map(|old| &old.version), change });
        }
        // What one load saw was so at one time. What several saw was, if it still is.
        if let [] | [Swap { change: Change::Keep, .. }] = *swaps {
            return Ok(Some(decisions));
        }
        Ok(self.store.compare_and_swap(&swaps).await?.then_some(decisions))
    }
}

/// Shows the clock, and nothing of the store, which may show keys.
impl<S, C: fmt::Debug> fmt::Debug for StoreBackend<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreBackend").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl<S: Store, C: Clock> Backend for StoreBackend<S, C> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::waiting(self.run(batch, action))
    }

    fn names(&self) -> &Names {
        &self.names
    }
}

/// Every time somebody was first somebody got through, so as many callers as this may ask about
/// one key at once, and all of them do.
const ATTEMPTS_MAX: usize = 64;

/// Why a decision was given up.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("others were first, {ATTEMPTS_MAX} times in a row")]
struct Contended;

/// Neither sign is in the alphabet of names, so no two slots share a key, whatever theirs is.
fn stored_key(slot: Slot<'_>) -> Vec<u8> {
    let name = slot.policy.name().as_bytes();
    match slot.key {
        Some(key) => [name, b":", key.as_bytes()].concat(),
        None => [name, b"#"].concat(),
    }
}

fn decode<V>(
    batch: Batch<'_>,
    action: Action,
    loaded: &[Option<Versioned<V>>],
) -> Result<Vec<Option<Record>>, StateError> {
    let record = |(slot, loaded): (Slot<'_>, &Option<Versioned<V>>)| {
        let Some(Versioned { bytes, .. }) = loaded else { return Ok(None) };
        match Record::decode(bytes, slot.policy) {
            Err(_) if action == Action::Reset => Ok(None),
            record => record.map(Some),
        }
    };
    batch.slots().zip(loaded).map(record).collect()
}

/// What is to be stored from now on.
struct Next {
    bytes: Vec<u8>,
    ttl: Micros,
}

impl Next {
    /// Nothing, where that is as good.
    fn of(record: &Record, now: Timestamp) -> Option<Self> {
        let ttl = record.lifetime(now);
        (!ttl.is_zero()).then(|| Self { bytes: record.encode(), ttl })
    }
}

fn change<'a, V>(loaded: &Option<Versioned<V>>, next: &'a Option<Next>) -> Change<'a> {
    match (loaded, next) {
        (Some(loaded), Some(next)) if loaded.bytes == next.bytes => Change::Keep,
        (_, Some(Next { bytes, ttl })) => Change::Put { bytes, ttl: *ttl },
        (Some(_), None) => Change::Remove,
        (None, None) => Change::Keep,
    }
}
