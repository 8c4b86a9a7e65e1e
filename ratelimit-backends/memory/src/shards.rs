//! Where records lie: shards, each a hash table behind a lock. There are two kinds.
//!
//! This is all that the kinds differ in, and what loom does not see of dashmap's. How many records
//! there may be, when a shard is swept, and what becomes of them is the
//! [`Table`](crate::table::Table)'s, over either kind.

use crate::{slot::Place, stored::Stored};

/// The shards of a table.
pub(crate) trait Shards: Send + Sync {
    /// The records of a shard, locked.
    type Records<'a>: Records
    where
        Self: 'a;

    /// So many shards, or a few more.
    fn new(count: usize) -> Self;

    /// How many there are.
    fn count(&self) -> usize;

    /// Locks a shard.
    fn lock(&self, index: usize) -> Self::Records<'_>;

    /// Locks a shard, unless somebody else has.
    fn try_lock(&self, index: usize) -> Option<Self::Records<'_>>;
}

/// The records of a shard.
pub(crate) trait Records {
    fn get(&mut self, place: &Place<'_>) -> Option<&mut Stored>;

    fn take(&mut self, place: &Place<'_>) -> Option<Stored>;

    /// Adds a record that is not there. If the hash table has to grow, it asks for the hashes of
    /// the others.
    fn insert(&mut self, hash: u64, stored: Stored, rehash: impl Fn(&Stored) -> u64);

    /// Takes the records out that `is_kept` says.
    fn drain(&mut self, is_kept: impl FnMut(&Stored) -> bool) -> Vec<Stored>;

    /// Becomes a hash table with room for so many; without records.
    fn start_anew(&mut self, capacity: usize);

    fn count(&self) -> usize;

    /// Records that there is room for before the hash table grows.
    fn capacity(&self) -> usize;

    fn buckets(&self) -> usize;
}
