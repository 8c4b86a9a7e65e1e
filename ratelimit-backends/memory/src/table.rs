//! A bounded table of records, in [`Shards`] of one kind or the other.
//!
//! A shard is one lock and one hash table. The number of shards follows the bound, so that a shard
//! stays small enough to be swept as a whole under its lock, and is well filled when the table is
//! full. A sweep drops the records that are as good as new. It happens where a shard would
//! otherwise grow, and where the table is full; but only when [`Expiry`] says that it is due, so
//! that it frees a share of what it looks at.

use std::sync::atomic::Ordering;

use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::{
    Key, Micros, Policy, Timestamp,
    store::{CompactState, Record},
};

use crate::{
    entry::Entry,
    expiry::Expiry,
    shards::{Records, Shards},
    slot::{HashedSlot, Hashers},
    sync::{AtomicU64, AtomicUsize},
};

/// Records by slot, at most `records_max` of them.
pub(crate) struct Table<S> {
    shards: S,
    /// The time of each shard's next sweep.
    expiries: Box<[Expiry]>,
    hashers: Hashers,
    records_max: usize,
    /// The time for which records are kept after they have expired.
    retention: Micros,
    /// Records stored, and room reserved for more. Never above `records_max`.
    records: AtomicUsize,
    /// The shard that the next sweep of a full table begins with.
    next_sweep: AtomicUsize,
    /// A time before which no shard is due: so a full table refuses without looking at them.
    none_due_before: AtomicU64,
    refused: AtomicU64,
}

/// A shard, locked.
pub(crate) struct Locked<'a, S: Shards + 'a> {
    table: &'a Table<S>,
    index: usize,
    records: S::Records<'a>,
}

/// The table is full of records that are not as good as new.
#[derive(Debug)]
pub(crate) struct Full;

impl From<Full> for BackendError {
    fn from(_: Full) -> Self {
        Self::not_applied(ErrorKind::Capacity)
    }
}

impl<S> Table<S> {
    pub(crate) fn records(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }

    /// New keys refused because the table was full.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl<S: Shards> Table<S> {
    /// A table of at most `records_max` records.
    pub(crate) fn new(records_max: usize, retention: Micros) -> Self {
        let shards = S::new(records_max.div_ceil(SHARD_RECORDS).clamp(SHARDS_MIN, SHARDS_MAX));
        Self {
            expiries: (0..shards.count()).map(|_| Expiry::never()).collect(),
            shards,
            hashers: Hashers::default(),
            records_max,
            retention,
            records: AtomicUsize::new(0),
            next_sweep: AtomicUsize::new(0),
            none_due_before: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    #[inline(always)]
    pub(crate) fn slot<'a>(&self, policy: &'a Policy, key: Option<Key<'_>>) -> HashedSlot<'a> {
        self.hashers.slot(policy, key)
    }

    /// The number of the shard that holds `slot`. The hash table goes by the lowest and the
    /// highest bits of a hash, so this takes those between.
    #[inline]
    pub(crate) fn shard_of(&self, slot: &HashedSlot<'_>) -> usize {
        let bits = (slot.hash >> 16) & u64::from(u32::MAX);
        ((bits * self.shards.count() as u64) >> 32) as usize
    }

    #[inline(always)]
    pub(crate) fn lock(&self, index: usize) -> Locked<'_, S> {
        Locked { table: self, index, records: self.shards.lock(index) }
    }

    /// Reserves room for `new` records, sweeping if there is none. `held` are the shards that the
    /// caller has locked; others are only tried, so nobody ever waits with a lock in hand.
    pub(crate) fn reserve(
        &self,
        new: usize,
        held: &mut [Locked<'_, S>],
        now: Timestamp,
    ) -> Result<(), Full> {
        if self.try_reserve(new) {
            return Ok(());
        }
        for shard in held {
            shard.sweep(now);
        }
        for _ in 0..SWEEPS_MAX {
            if self.try_reserve(new) {
                return Ok(());
            }
            let Some(index) = self.next_due(now) else { break };
            if let Some(mut shard) = self.try_lock(index) {
                shard.sweep(now);
            }
        }
        if self.try_reserve(new) {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(Full)
    }

    /// Gives back room for `unused` records.
    pub(crate) fn release(&self, unused: usize) {
        self.records.fetch_sub(unused, Ordering::Relaxed);
    }

    fn try_lock(&self, index: usize) -> Option<Locked<'_, S>> {
        let records = self.shards.try_lock(index)?;
        Some(Locked { table: self, index, records })
    }

    fn hash(&self, entry: &Entry) -> u64 {
        self.hashers.hash(entry.policy(), entry.id().into())
    }

    /// Relaxed throughout: the counter guards no memory, and each of its changes is atomic.
    fn try_reserve(&self, new: usize) -> bool {
        let room = |records: usize| {
            records.checked_add(new).filter(|&records| records <= self.records_max)
        };
        self.records.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
    }

    /// The next shard whose sweep is due, round and round.
    ///
    /// It looks at all of them at most once in [`LOOK_AGAIN`], unless one becomes due earlier.
    fn next_due(&self, now: Timestamp) -> Option<usize> {
        if now.as_micros() < self.none_due_before.load(Ordering::Relaxed) {
            return None;
        }
        let shards = self.shards.count();
        let first = self.next_sweep.load(Ordering::Relaxed);
        let mut none_due_before = (now + LOOK_AGAIN).as_micros();
        for index in (first..first + shards).map(|index| index % shards) {
            let at = self.expiries[index].at();
            if at <= now.as_micros() {
                self.next_sweep.store(index + 1, Ordering::Relaxed);
                return Some(index);
            }
            none_due_before = none_due_before.min(at);
        }
        self.none_due_before.store(none_due_before, Ordering::Relaxed);
        None
    }

    /// Notes that a shard is due at a time that may be earlier than known. Of a thread that looks at
    /// the same time it may lose; then the next look finds the shard.
    fn note_due(&self, at: u64) {
        if at < self.none_due_before.load(Ordering::Relaxed) {
            self.none_due_before.store(at, Ordering::Relaxed);
        }
    }
}

impl<'a, S: Shards> Locked<'a, S> {
    /// The time of the shard's next sweep.
    fn expiry(&self) -> &'a Expiry {
        &self.table.expiries[self.index]
    }

    /// The record at `slot`.
    #[inline(always)]
    pub(crate) fn get(&mut self, slot: &HashedSlot<'_>) -> Option<&mut Entry> {
        self.records.get(slot)
    }

    /// Looks up the record in a slot, and its place until something is added or removed.
    #[inline(always)]
    pub(crate) fn find(&mut self, slot: &HashedSlot<'_>) -> Option<(usize, &mut Entry)> {
        self.records.find(slot)
    }

    /// The record that was [found](Self::find) in this place.
    #[inline(always)]
    pub(crate) fn found(&mut self, place: usize, slot: &HashedSlot<'_>) -> Option<&mut Entry> {
        self.records.found(place, slot)
    }

    /// Takes the record at `slot` out; its room stays reserved.
    pub(crate) fn take(&mut self, slot: &HashedSlot<'_>) -> Option<Record> {
        self.records.take(slot)?.into_record()
    }

    /// Stores a record at a `slot` that has none. Room for it has been reserved.
    pub(crate) fn insert(&mut self, slot: &HashedSlot<'_>, record: Record, now: Timestamp) {
        let entry = Entry::new(slot.id.into(), record);
        let expires = entry.expires(now, self.table.retention);
        self.insert_entry(slot, entry, expires, now);
    }

    /// The same of the compact state of a new key, which may be dropped after `lifetime`.
    pub(crate) fn insert_new(
        &mut self,
        slot: &HashedSlot<'_>,
        state: CompactState,
        lifetime: Micros,
        now: Timestamp,
    ) {
        let (id, policy) = (slot.id.into(), slot.policy.clone());
        let expires = Entry::look_after(lifetime + self.table.retention, now);
        self.insert_entry(slot, Entry::Compact { id, policy, state }, expires, now);
    }

    fn insert_entry(
        &mut self,
        slot: &HashedSlot<'_>,
        entry: Entry,
        expires: Timestamp,
        now: Timestamp,
    ) {
        if self.records.count() == self.records.capacity() {
            self.make_room(now);
        }
        self.records.insert(slot.hash, entry, |entry| self.table.hash(entry));
        self.expiry().record_stored(expires, self.records.count());
        self.table.note_due(self.expiry().at());
    }

    /// Forgets the record at `slot`, and gives its room back.
    pub(crate) fn remove(&mut self, slot: &HashedSlot<'_>) {
        if self.records.take(slot).is_some() {
            self.table.release(1);
        }
    }

    /// Keeps the hash table from growing where there is something to drop, or where it is full of
    /// the traces of what was removed.
    fn make_room(&mut self, now: Timestamp) {
        self.sweep(now);
        let whole = self.records.buckets() / 8 * 7;
        if self.records.count() == self.records.capacity() && self.records.count() < whole / 16 * 15
        {
            let records = self.records.drain(|_| true);
            self.fill(records);
        }
    }

    /// Drops the records that are as good as new, if that is worth its while.
    fn sweep(&mut self, now: Timestamp) {
        if !self.expiry().is_due(now) {
            return;
        }
        let before = self.records.count();
        let (mut kept, retention) = (Vec::with_capacity(before), self.table.retention);
        let is_live = |entry: &Entry| {
            let expires = entry.expires(now, retention);
            if now < expires {
                kept.push(expires);
            }
            now < expires
        };
        let live = self.records.drain(is_live);
        self.expiry().record_sweep(&mut kept);
        self.table.release(before - live.len());
        self.fill(live);
    }

    /// Puts `records` into the hash table, which is empty, and much smaller if there are few.
    fn fill(&mut self, records: Vec<Entry>) {
        if records.len() < self.records.capacity() / 4 {
            self.records.start_anew(records.len() * 2);
        }
        for entry in records {
            let hash = self.table.hash(&entry);
            self.records.insert(hash, entry, |entry| self.table.hash(entry));
        }
    }
}

/// Records per shard when the table is full. They are swept under its lock, all at once. A hash
/// table of 1 024 places holds 896 of them, so few shards have to grow beyond that by chance.
const SHARD_RECORDS: usize = 824;

/// Enough for the threads of a large machine to stay out of each other's way; for loom's, two.
const SHARDS_MIN: usize = if cfg!(ratelimit_loom) { 2 } else { 64 };

/// A megabyte of empty shards.
const SHARDS_MAX: usize = 1 << 14;

/// The time between two looks at all shards of a full table: a bound for what a race may hide.
const LOOK_AGAIN: Micros = Micros::from_millis(100);

/// Shards that one call sweeps at most before it says that the table is full. One that is due
/// frees something unless somebody has spent on all that had expired.
const SWEEPS_MAX: usize = 4;

#[cfg(all(test, not(ratelimit_loom)))]
mod tests {
    use std::time::Duration;

    use ratelimit_core::fixed_window::{Align, Quota};

    use super::*;
    use crate::mutexes::Mutexes;

    #[test]
    fn a_full_table_refuses_without_looking_at_its_shards_until_one_is_due() {
        let table = Table::<Mutexes>::new(1, Micros::ZERO);
        table.reserve(1, &mut [], Timestamp::EPOCH).unwrap();
        let quota = Quota::new(1, Duration::from_secs(60), Align::First).unwrap();
        let policy = Policy::new("api", quota).unwrap();
        let slot = table.slot(&policy, Key::new("key").ok());
        let check = ratelimit_core::Check::new(&policy, Key::new("key").unwrap(), 1).unwrap();
        let mut records = [None];
        let batch = ratelimit_core::Batch::one(&check);
        let action = ratelimit_core::Action::Spend;
        let _ = ratelimit_core::store::apply(batch, action, &mut records, Timestamp::EPOCH);
        let [record] = records;
        table.lock(table.shard_of(&slot)).insert(&slot, record.unwrap(), Timestamp::EPOCH);

        let looks = |now: Micros| {
            let before = table.none_due_before.load(Ordering::Relaxed);
            assert!(table.reserve(1, &mut [], Timestamp::EPOCH + now).is_err());
            before != table.none_due_before.load(Ordering::Relaxed)
        };
        assert!(looks(Micros::ZERO));
        assert!((0..100).all(|passed| !looks(Micros::from_millis(passed))));
        assert!(looks(LOOK_AGAIN));
        assert!(looks(Micros::from_secs(60) - Micros::new(1)));
        table.reserve(1, &mut [], Timestamp::EPOCH + Micros::from_secs(60)).unwrap();
        assert_eq!(table.records(), 1, "the expired record has made room");
    }
}
