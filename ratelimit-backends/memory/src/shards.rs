//! Shards, each a hash table behind a lock: the traits that both kinds implement.
//!
//! This is all that the kinds differ in, and the part of dashmap that loom does not see. The
//! [`Table`](crate::table::Table) over them bounds the number of records and sweeps.

use crate::{entry::Entry, slot::HashedSlot};

/// The shards of a table.
pub(crate) trait Shards: Send + Sync {
    /// The records of a shard, locked.
    type Records<'a>: Records
    where
        Self: 'a;

    /// Makes `count` shards, or a few more.
    fn new(count: usize) -> Self;

    /// The number of shards.
    fn count(&self) -> usize;

    /// Locks a shard.
    fn lock(&self, index: usize) -> Self::Records<'_>;

    /// Locks a shard, unless somebody else has.
    fn try_lock(&self, index: usize) -> Option<Self::Records<'_>>;
}

/// The records of a shard.
pub(crate) trait Records {
    fn get(&mut self, slot: &HashedSlot<'_>) -> Option<&mut Entry>;

    /// The record in a slot, and its place until something is added or removed.
    fn find(&mut self, slot: &HashedSlot<'_>) -> Option<(usize, &mut Entry)>;

    /// The record that was [found](Self::find) in this place.
    fn found(&mut self, place: usize, slot: &HashedSlot<'_>) -> Option<&mut Entry>;

    fn take(&mut self, slot: &HashedSlot<'_>) -> Option<Entry>;

    /// Adds a record that is not there. A hash table that grows calls `rehash` for the others.
    fn insert(&mut self, hash: u64, entry: Entry, rehash: impl Fn(&Entry) -> u64);

    /// Takes all records out, and returns those that `is_kept` approves of.
    fn drain(&mut self, is_kept: impl FnMut(&Entry) -> bool) -> Vec<Entry>;

    /// Becomes an empty hash table with this capacity.
    fn start_anew(&mut self, capacity: usize);

    fn count(&self) -> usize;

    /// The number of records that fit before the hash table grows.
    fn capacity(&self) -> usize;

    fn buckets(&self) -> usize;
}
