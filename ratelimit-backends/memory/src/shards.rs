//! Where records lie: shards, each a hash table behind a lock. There are two kinds.
//!
//! This is all that the kinds differ in, and what loom does not see of dashmap's. How many records
//! there may be, when a shard is swept, and what becomes of them is the
//! [`Table`](crate::table::Table)'s, over either kind.

#[cfg(feature = "dashmap")]
use dashmap::{DashMap, RwLockWriteGuard, SharedValue};
use hashbrown::HashTable;

use crate::{
    place::Place,
    stored::Stored,
    sync::{self, Mutex, MutexGuard},
};

/// The shards of a table.
pub(crate) enum Shards {
    /// A mutex each.
    Mutexes(Box<[Shard]>),
    /// Those of a map whose own keys say nothing: we know the hashes.
    #[cfg(feature = "dashmap")]
    Dashmap(DashMap<(), Stored>),
}

/// A lock of a cache line of its own, so that threads do not meet at the one of a neighbour.
#[repr(align(64))]
pub(crate) struct Shard(Mutex<HashTable<Stored>>);

/// The records of a shard, locked.
pub(crate) enum Records<'a> {
    Mutex(MutexGuard<'a, HashTable<Stored>>),
    #[cfg(feature = "dashmap")]
    Dashmap(RwLockWriteGuard<'a, hashbrown_of_dashmap::raw::RawTable<((), SharedValue<Stored>)>>),
}

impl Shards {
    /// So many mutexes.
    pub(crate) fn mutexes(count: usize) -> Self {
        Self::Mutexes((0..count).map(|_| Shard(Mutex::new(HashTable::new()))).collect())
    }

    /// At least so many shards of a dashmap, whose number is a power of two.
    #[cfg(feature = "dashmap")]
    pub(crate) fn dashmap(count: usize) -> Self {
        let count = count.max(2).next_power_of_two();
        Self::Dashmap(DashMap::with_hasher_and_shard_amount(Default::default(), count))
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Mutexes(shards) => shards.len(),
            #[cfg(feature = "dashmap")]
            Self::Dashmap(map) => map.shards().len(),
        }
    }

    #[inline(always)]
    pub(crate) fn lock(&self, index: usize) -> Records<'_> {
        match self {
            Self::Mutexes(shards) => Records::Mutex(sync::lock(&shards[index].0)),
            #[cfg(feature = "dashmap")]
            Self::Dashmap(map) => Records::Dashmap(map.shards()[index].write()),
        }
    }

    /// Locks a shard, unless somebody else has.
    pub(crate) fn try_lock(&self, index: usize) -> Option<Records<'_>> {
        match self {
            Self::Mutexes(shards) => sync::try_lock(&shards[index].0).map(Records::Mutex),
            #[cfg(feature = "dashmap")]
            Self::Dashmap(map) => map.shards()[index].try_write().map(Records::Dashmap),
        }
    }
}

impl Records<'_> {
    #[inline(always)]
    pub(crate) fn get(&mut self, place: &Place<'_>) -> Option<&mut Stored> {
        match self {
            Self::Mutex(records) => records.find_mut(place.hash, |stored| stored.is_at(place)),
            #[cfg(feature = "dashmap")]
            Self::Dashmap(records) => {
                let found = records.get_mut(place.hash, |(_, stored)| stored.get().is_at(place));
                found.map(|(_, stored)| stored.get_mut())
            }
        }
    }

    pub(crate) fn take(&mut self, place: &Place<'_>) -> Option<Stored> {
        match self {
            Self::Mutex(records) => {
                let entry = records.find_entry(place.hash, |stored| stored.is_at(place)).ok()?;
                Some(entry.remove().0)
            }
            #[cfg(feature = "dashmap")]
            Self::Dashmap(records) => {
                let taken =
                    records.remove_entry(place.hash, |(_, stored)| stored.get().is_at(place));
                taken.map(|(_, stored)| stored.into_inner())
            }
        }
    }

    /// Adds a record that is not there. If the hash table has to grow, it asks for the hashes of
    /// the others.
    pub(crate) fn insert(&mut self, hash: u64, stored: Stored, rehash: impl Fn(&Stored) -> u64) {
        match self {
            Self::Mutex(records) => {
                records.insert_unique(hash, stored, rehash);
            }
            #[cfg(feature = "dashmap")]
            Self::Dashmap(records) => {
                let rehash = |(_, stored): &((), SharedValue<_>)| rehash(stored.get());
                records.insert(hash, ((), SharedValue::new(stored)), rehash);
            }
        }
    }

    /// Takes the records out that `is_kept` says.
    pub(crate) fn drain(&mut self, is_kept: impl FnMut(&Stored) -> bool) -> Vec<Stored> {
        match self {
            Self::Mutex(records) => records.drain().filter(is_kept).collect(),
            #[cfg(feature = "dashmap")]
            Self::Dashmap(records) => {
                let all = records.drain().map(|(_, stored)| stored.into_inner());
                all.filter(is_kept).collect()
            }
        }
    }

    /// Becomes a hash table with room for so many; without records.
    pub(crate) fn start_anew(&mut self, capacity: usize) {
        match self {
            Self::Mutex(records) => **records = HashTable::with_capacity(capacity),
            #[cfg(feature = "dashmap")]
            Self::Dashmap(records) => {
                **records = hashbrown_of_dashmap::raw::RawTable::with_capacity(capacity);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Mutex(records) => records.len(),
            #[cfg(feature = "dashmap")]
            Self::Dashmap(records) => records.len(),
        }
    }

    /// Records that there is room for before the hash table grows.
    pub(crate) fn capacity(&self) -> usize {
        match self {
            Self::Mutex(records) => records.capacity(),
            #[cfg(feature = "dashmap")]
            Self::Dashmap(records) => records.capacity(),
        }
    }

    pub(crate) fn buckets(&self) -> usize {
        match self {
            Self::Mutex(records) => records.num_buckets(),
            #[cfg(feature = "dashmap")]
            Self::Dashmap(records) => records.buckets(),
        }
    }
}
