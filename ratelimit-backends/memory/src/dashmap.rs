//! The shards of a dashmap whose own keys say nothing: we know the hashes.

use dashmap::{DashMap, RwLockWriteGuard, SharedValue};
use hashbrown_of_dashmap::raw::RawTable;

use crate::{
    shards::{Records, Shards},
    slot::HashedSlot,
    stored::Stored,
};

/// Keeps records in the shards of a [dashmap](https://docs.rs/dashmap).
#[expect(missing_debug_implementations, reason = "nobody holds one but a `Memory`")]
pub struct Dashmap(DashMap<(), Stored>);

impl Shards for Dashmap {
    type Records<'a> = RwLockWriteGuard<'a, RawTable<((), SharedValue<Stored>)>>;

    /// A power of two of them.
    fn new(count: usize) -> Self {
        let count = count.max(2).next_power_of_two();
        Self(DashMap::with_hasher_and_shard_amount(Default::default(), count))
    }

    #[inline(always)]
    fn count(&self) -> usize {
        self.0.shards().len()
    }

    #[inline(always)]
    fn lock(&self, index: usize) -> Self::Records<'_> {
        self.0.shards()[index].write()
    }

    fn try_lock(&self, index: usize) -> Option<Self::Records<'_>> {
        self.0.shards()[index].try_write()
    }
}

impl Records for RwLockWriteGuard<'_, RawTable<((), SharedValue<Stored>)>> {
    #[inline(always)]
    fn get(&mut self, slot: &HashedSlot<'_>) -> Option<&mut Stored> {
        let found = self.get_mut(slot.hash, |(_, stored)| stored.get().is_at(slot));
        found.map(|(_, stored)| stored.get_mut())
    }

    fn take(&mut self, slot: &HashedSlot<'_>) -> Option<Stored> {
        let taken = self.remove_entry(slot.hash, |(_, stored)| stored.get().is_at(slot));
        taken.map(|(_, stored)| stored.into_inner())
    }

    fn insert(&mut self, hash: u64, stored: Stored, rehash: impl Fn(&Stored) -> u64) {
        let rehash = |(_, stored): &((), SharedValue<_>)| rehash(stored.get());
        RawTable::insert(self, hash, ((), SharedValue::new(stored)), rehash);
    }

    fn drain(&mut self, is_kept: impl FnMut(&Stored) -> bool) -> Vec<Stored> {
        RawTable::drain(self).map(|(_, stored)| stored.into_inner()).filter(is_kept).collect()
    }

    fn start_anew(&mut self, capacity: usize) {
        **self = RawTable::with_capacity(capacity);
    }

    fn count(&self) -> usize {
        self.len()
    }

    fn capacity(&self) -> usize {
        RawTable::capacity(self)
    }

    fn buckets(&self) -> usize {
        RawTable::buckets(self)
    }
}
