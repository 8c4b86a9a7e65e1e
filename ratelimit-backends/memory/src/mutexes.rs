//! Shards behind mutexes of their own: as many as fill them well.

use hashbrown::HashTable;

use crate::{
    entry::Entry,
    shards::{Records, Shards},
    slot::HashedSlot,
    sync::{self, Mutex, MutexGuard},
};

/// Keeps records behind mutexes.
#[expect(missing_debug_implementations, reason = "nobody holds one but a `Memory`")]
pub struct Mutexes(Box<[Shard]>);

/// A lock of a cache line of its own, so that threads do not meet at the one of a neighbour.
#[repr(align(64))]
struct Shard(Mutex<HashTable<Entry>>);

impl Shards for Mutexes {
    type Records<'a> = MutexGuard<'a, HashTable<Entry>>;

    fn new(count: usize) -> Self {
        Self((0..count).map(|_| Shard(Mutex::new(HashTable::new()))).collect())
    }

    #[inline(always)]
    fn count(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn lock(&self, index: usize) -> Self::Records<'_> {
        sync::lock(&self.0[index].0)
    }

    fn try_lock(&self, index: usize) -> Option<Self::Records<'_>> {
        sync::try_lock(&self.0[index].0)
    }
}

impl Records for MutexGuard<'_, HashTable<Entry>> {
    #[inline(always)]
    fn get(&mut self, slot: &HashedSlot<'_>) -> Option<&mut Entry> {
        self.find_mut(slot.hash, |entry| entry.is_at(slot))
    }

    #[inline(always)]
    fn find(&mut self, slot: &HashedSlot<'_>) -> Option<(usize, &mut Entry)> {
        let place = self.find_bucket_index(slot.hash, |entry| entry.is_at(slot))?;
        Some((place, self.get_bucket_mut(place)?))
    }

    #[inline(always)]
    fn found(&mut self, place: usize, _: &HashedSlot<'_>) -> Option<&mut Entry> {
        self.get_bucket_mut(place)
    }

    fn take(&mut self, slot: &HashedSlot<'_>) -> Option<Entry> {
        let entry = self.find_entry(slot.hash, |entry| entry.is_at(slot)).ok()?;
        Some(entry.remove().0)
    }

    fn insert(&mut self, hash: u64, entry: Entry, rehash: impl Fn(&Entry) -> u64) {
        self.insert_unique(hash, entry, rehash);
    }

    fn drain(&mut self, is_kept: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        HashTable::drain(self).filter(is_kept).collect()
    }

    fn start_anew(&mut self, capacity: usize) {
        **self = HashTable::with_capacity(capacity);
    }

    fn count(&self) -> usize {
        self.len()
    }

    fn capacity(&self) -> usize {
        HashTable::capacity(self)
    }

    fn buckets(&self) -> usize {
        self.num_buckets()
    }
}
