//! The shorter way to a [`Backend`]: two methods over keys and bytes, and an adapter.

use std::{fmt, iter};

use async_trait::async_trait;
use ratelimit_core::{
    Action, Batch, Timestamp,
    store::{Decisions, Record, Slot},
};

use crate::{
    Backend, BackendError, Change, Clock, Names, Reply, WallClock,
    transact::{CompareAndSwap, Entry, refuse, transact},
    turns::{Turn, Turns},
};

/// Keeps bytes under keys, and swaps them; [`StoreBackend`] makes a full backend of it.
///
/// Keys are any bytes, at most [`Key::BYTES_MAX`](ratelimit_core::Key::BYTES_MAX) and 65 of them,
/// to be compared as bytes. Values mean nothing to a store.
///
/// Limits hold exactly if a swap is atomic, and if entries are kept for their time to live.
///
/// # Examples
///
/// The whole of a store in memory, which keeps all promises by
/// `ratelimit_conformance::suite!(async |clock| StoreBackend::with_clock(Map::default(), clock))`:
///
/// ```
#[doc = include_str!("../examples/hash_map.rs")]
/// ```
///
/// And one that every process of a host shares:
///
/// ```
#[doc = include_str!("../examples/file.rs")]
/// ```
#[async_trait]
pub trait Store: Send + Sync {
    /// The mark that tells an entry from all that have been under its key: a revision, an ETag, or a copy
    /// of the bytes themselves. One that is used again, even after the entry was removed, has to
    /// stand for the same bytes.
    type Version: Send + Sync;

    /// Loads the entry under `key`, if there is one.
    ///
    /// # Errors
    ///
    /// If the store gives no answer.
    async fn load(&self, key: &[u8]) -> Result<Option<Versioned<Self::Version>>, BackendError>;

    /// Makes all of `swaps` if every entry is still the one that was loaded; else makes none of
    /// them, and returns false.
    ///
    /// This is one atomic step, also between processes that share the store. Most often there is
    /// one swap; a batch has several, each of another key. Entries to keep are compared as well.
    ///
    /// Dropping the future before it is ready leaves all of the swaps, or none.
    ///
    /// # Errors
    ///
    /// If it was not done ([`Effect::NotApplied`](crate::Effect::NotApplied)), or may not have been
    /// ([`Effect::Unknown`](crate::Effect::Unknown)). It is not retried.
    async fn compare_and_swap(
        &self,
        swaps: &[Swap<'_, Self::Version>],
    ) -> Result<bool, BackendError>;
}

/// An entry, as it was loaded.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "stores make it, of both")]
pub struct Versioned<V> {
    /// The bytes that are stored.
    pub bytes: Vec<u8>,
    /// The mark that tells them from all that were and will be stored.
    pub version: V,
}

/// A change of one key's entry, to be made if the entry is still the one that was loaded.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Swap<'a, V> {
    /// The key.
    pub key: &'a [u8],
    /// The version that was loaded; `None` if there was no entry.
    pub loaded: Option<&'a V>,
    /// The change; its `ttl` is never zero.
    pub change: Change<&'a [u8]>,
}

/// A full backend over a [`Store`].
///
/// It loads the records of a batch, applies the action, and swaps what has changed, all of it or
/// nothing. Where another caller was faster it starts over, at most 63 times; then it gives up with
/// [`ErrorKind::Overloaded`](crate::ErrorKind::Overloaded), and nothing was charged. A decision that changes nothing
/// writes nothing, and a record that is as good as new is removed.
///
/// Callers of one backend that have lost eight swaps of a key take turns, in order. The first of them tries
/// again; if it loses eight more to callers that have just come, these stand behind it. So however many share
/// a key, each loses at most 17 swaps to the others, and gives up only if other processes win the rest. A caller
/// whose store hangs keeps those behind it waiting: give calls a deadline, which ends both.
///
/// A policy's record is stored under its name, a colon and the key; its shared load sensor under
/// its name and a number sign. Bytes that are not a valid record are
/// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt), and stay until a reset removes them.
pub struct StoreBackend<S, C = WallClock> {
    store: S,
    clock: C,
    names: Names,
    turns: Turns,
}

impl<S: Store> StoreBackend<S> {
    /// A backend over `store` with the wall clock, as stores that several processes share need it.
    #[must_use]
    pub fn new(store: S) -> Self {
        Self::with_clock(store, WallClock::new())
    }
}

impl<S: Store, C: Clock> StoreBackend<S, C> {
    /// A backend over `store` with another clock.
    #[must_use]
    pub fn with_clock(store: S, clock: C) -> Self {
        Self { store, clock, names: Names::default(), turns: Turns::default() }
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
        let keys = batch.slots().map(stored_key).collect();
        let (loaded, turns) = (Vec::new(), Vec::new());
        let mut entries = Entries { backend: self, batch, action, keys, loaded, turns, lost: 0 };
        transact(batch, action, &mut entries).await
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
        match refuse(batch, action, &self.clock) {
            Some(refused) => Reply::ready(refused),
            None => Reply::waiting(self.run(batch, action)),
        }
    }

    fn names(&self) -> &Names {
        &self.names
    }
}

/// The entries of one batch, as they were loaded last.
struct Entries<'a, S: Store, C> {
    backend: &'a StoreBackend<S, C>,
    batch: Batch<'a>,
    action: Action,
    keys: Vec<Vec<u8>>,
    loaded: Vec<Option<Versioned<S::Version>>>,
    /// Its turn of each key, once it has waited for it.
    turns: Vec<Turn<'a>>,
    /// The swaps that it has lost; in its turn, those since then.
    lost: u32,
}

impl<S: Store, C: Clock> CompareAndSwap for Entries<'_, S, C> {
    async fn load(&mut self) -> Result<(Vec<Entry>, Timestamp), BackendError> {
        self.loaded.clear();
        for key in &self.keys {
            self.loaded.push(self.backend.store.load(key).await?);
        }
        let now = self.backend.clock.now()?;
        let entry = |(slot, loaded): (Slot<'_>, &Option<Versioned<_>>)| {
            let decode = |loaded: &Versioned<_>| Record::decode(&loaded.bytes, slot.policy);
            Entry::new(self.action, loaded.as_ref().map(decode))
        };
        let entries = self.batch.slots().zip(&self.loaded).map(entry).collect::<Result<_, _>>()?;
        Ok((entries, now))
    }

    async fn swap(&mut self, changes: Vec<Change<Record>>) -> Result<bool, BackendError> {
        let retention = self.backend.clock.retention();
        let changes = changes.into_iter().map(|change| change.kept_for(retention));
        let changes: Vec<_> = changes.zip(&self.loaded).map(encode).collect();
        // One load saw one moment. What several loads saw is sure only if nothing has changed since.
        if let [] | [Change::Keep] = changes[..] {
            return Ok(true);
        }
        if self.turns.is_empty() && self.backend.turns.are_closed(&self.keys) {
            self.turns = self.backend.turns.of(&self.keys).await;
            return Ok(false);
        }
        let mut swaps = Vec::with_capacity(changes.len());
        for ((key, loaded), change) in iter::zip(&self.keys, &self.loaded).zip(&changes) {
            let change = change.as_ref().map(Vec::as_slice);
            swaps.push(Swap { key, loaded: loaded.as_ref().map(|old| &old.version), change });
        }
        let is_swapped = self.backend.store.compare_and_swap(&swaps).await?;
        if !is_swapped {
            self.lose().await;
        }
        Ok(is_swapped)
    }
}

impl<S: Store, C> Entries<'_, S, C> {
    /// Counts a swap that was lost, and has others wait for this caller, or this one for others.
    async fn lose(&mut self) {
        self.lost = self.lost.saturating_add(1);
        if self.lost < LOST_MAX {
            return;
        }
        if self.turns.is_empty() {
            self.turns = self.backend.turns.of(&self.keys).await;
            self.lost = 0;
        } else {
            self.turns.iter().for_each(Turn::close);
        }
    }
}

/// As many swaps are lost before a caller stands in line, and before it closes the line.
const LOST_MAX: u32 = 8;

/// A record that is as good as new is removed.
fn encode<V>((change, loaded): (Change<Record>, &Option<Versioned<V>>)) -> Change<Vec<u8>> {
    match change {
        Change::Put { ttl, .. } if ttl.is_zero() && loaded.is_some() => Change::Remove,
        Change::Put { ttl, .. } if ttl.is_zero() => Change::Keep,
        change => change.map(|record| record.encode()),
    }
}

/// Neither sign is in the alphabet of names, so no two slots share a key, whatever theirs is.
fn stored_key(slot: Slot<'_>) -> Vec<u8> {
    let name = slot.policy.name().as_bytes();
    match slot.key {
        Some(key) => [name, b":", key.as_bytes()].concat(),
        None => [name, b"#"].concat(),
    }
}
