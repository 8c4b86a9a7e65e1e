//! The shards of a dashmap whose own keys say nothing: we know the hashes.

use dashmap::{DashMap, RwLockWriteGuard, SharedValue};
use hashbrown_of_dashmap::raw::RawTable;

use crate::{
    entry::Entry,
    shards::{Records, Shards},
    slot::HashedSlot,
};

/// Keeps records in the shards of a [dashmap](https://docs.rs/dashmap).
#[expect(missing_debug_implementations, reason = "nobody holds one but a `Memory`")]
pub struct Dashmap(DashMap<(), Entry>);

impl Shards for Dashmap {
    type Records<'a> = RwLockWriteGuard<'a, RawTable<((), SharedValue<Entry>)>>;

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

impl Records for RwLockWriteGuard<'_, RawTable<((), SharedValue<Entry>)>> {
    #[inline(always)]
    fn get(&mut self, slot: &HashedSlot<'_>) -> Option<&mut Entry> {
        let found = self.get_mut(slot.hash, |(_, entry)| entry.get().is_at(slot));
        found.map(|(_, entry)| entry.get_mut())
    }

    /// There is no place to be known here: it is looked for again.
    fn find(&mut self, slot: &HashedSlot<'_>) -> Option<(usize, &mut Entry)> {
        Records::get(self, slot).map(|entry| (0, entry))
    }

    fn found(&mut self, _: usize, slot: &HashedSlot<'_>) -> Option<&mut Entry> {
        Records::get(self, slot)
    }

    fn take(&mut self, slot: &HashedSlot<'_>) -> Option<Entry> {
        let taken = self.remove_entry(slot.hash, |(_, entry)| entry.get().is_at(slot));
        taken.map(|(_, entry)| entry.into_inner())
    }

    fn insert(&mut self, hash: u64, entry: Entry, rehash: impl Fn(&Entry) -> u64) {
        let rehash = |(_, entry): &((), SharedValue<_>)| rehash(entry.get());
        RawTable::insert(self, hash, ((), SharedValue::new(entry)), rehash);
    }

    fn drain(&mut self, is_kept: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        RawTable::drain(self).map(|(_, entry)| entry.into_inner()).filter(is_kept).collect()
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
