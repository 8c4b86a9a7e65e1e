//! A bounded table of records over dashmap's shards: the seam behind which dashmap stays.
//!
//! A shard is one lock and one hash table. The number of shards follows the bound, so that a
//! shard stays small enough to be swept as a whole under its lock. A sweep rebuilds a shard
//! without the records that are as good as new. It happens where a shard would otherwise grow
//! (which rebuilds it as well), and where the table is full; but only when it is [`Due`], so that
//! it frees a share of what it looks at.

use std::{
    hash::BuildHasher,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use dashmap::{DashMap, RwLockWriteGuard, SharedValue};
use foldhash::quality::RandomState;
use hashbrown::raw::RawTable;
use ratelimit_core::{Micros, Record, Slot, Timestamp};

use crate::{
    due::Due,
    place::{Hashers, Place, StoredPlace},
};

/// Records by place, at most `records_max` of them.
pub(crate) struct Table {
    shards: DashMap<StoredPlace, Option<Record>, RandomState>,
    hashers: Hashers,
    /// For each shard, when to sweep it.
    due: Box<[Due]>,
    records_max: usize,
    /// Records stored, and places reserved for such. Never above `records_max`.
    records: AtomicUsize,
    /// The shard that the next sweep of a full table begins with.
    next_sweep: AtomicUsize,
    refused: AtomicU64,
}

/// A shard, locked.
pub(crate) struct Shard<'a> {
    table: &'a Table,
    index: usize,
    records: RwLockWriteGuard<'a, RawTable<Stored>>,
}

type Stored = (StoredPlace, SharedValue<Option<Record>>);

/// The table is full of records that are not as good as new.
#[derive(Debug)]
pub(crate) struct Full;

impl Table {
    pub(crate) fn new(records_max: usize) -> Self {
        let shards = records_max.div_ceil(SHARD_RECORDS).next_power_of_two();
        let shards = shards.clamp(SHARDS_MIN, SHARDS_MAX);
        let hashers = Hashers::default();
        let hasher = hashers.table.clone();
        Self {
            shards: DashMap::with_capacity_and_hasher_and_shard_amount(0, hasher, shards),
            hashers,
            due: (0..shards).map(|_| Due::never()).collect(),
            records_max,
            records: AtomicUsize::new(0),
            next_sweep: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }
    }

    pub(crate) fn place<'a>(&self, slot: Slot<'a>) -> Place<'a> {
        self.hashers.place(slot)
    }

    /// The number of the shard that holds `place`.
    #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
    pub(crate) fn shard_of(&self, place: &Place<'_>) -> usize {
        self.shards.determine_shard(place.hash as usize)
    }

    /// Locks a shard.
    pub(crate) fn lock(&self, index: usize) -> Shard<'_> {
        Shard { table: self, index, records: self.shards.shards()[index].write() }
    }

    /// Copies the record at `place`, beside other readers, and does `meanwhile` before anybody can
    /// change it.
    pub(crate) fn copy<T>(
        &self,
        place: &Place<'_>,
        meanwhile: impl FnOnce() -> T,
    ) -> (Option<Record>, T) {
        let records = self.shards.shards()[self.shard_of(place)].read();
        let stored = records.get(place.hash, |(stored, _)| place.is(stored));
        (stored.and_then(|(_, record)| record.get().clone()), meanwhile())
    }

    pub(crate) fn records(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }

    /// New keys refused for want of room.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Reserves room for `new` records, sweeping if there is none. `held` are the shards that the
    /// caller has locked; others are only tried, so nobody ever waits with a lock in hand.
    pub(crate) fn reserve(
        &self,
        new: usize,
        held: &mut [Shard<'_>],
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
            if let Some(records) = self.shards.shards()[index].try_write() {
                Shard { table: self, index, records }.sweep(now);
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

    fn hash(&self, (place, _): &Stored) -> u64 {
        self.shards.hasher().hash_one(place)
    }

    /// Relaxed throughout: the counter guards no memory, and each of its changes is atomic.
    fn try_reserve(&self, new: usize) -> bool {
        let room = |records: usize| {
            records.checked_add(new).filter(|&records| records <= self.records_max)
        };
        self.records.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
    }

    /// The next shard, round and round, that is to be swept.
    fn next_due(&self, now: Timestamp) -> Option<usize> {
        let shards = self.due.len();
        (0..shards)
            .map(|_| self.next_sweep.fetch_add(1, Ordering::Relaxed) % shards)
            .find(|&index| self.due[index].has_come(now))
    }
}

impl Shard<'_> {
    /// The record at `place`. Whoever takes it puts something back, or calls
    /// [`remove`](Self::remove).
    pub(crate) fn get(&mut self, place: &Place<'_>) -> Option<&mut Option<Record>> {
        let (_, record) = self.records.get_mut(place.hash, |(stored, _)| place.is(stored))?;
        Some(record.get_mut())
    }

    /// Copies the record at `place`.
    pub(crate) fn copy(&mut self, place: &Place<'_>) -> Option<Record> {
        self.get(place)?.clone()
    }

    /// Stores a record at `place`, or forgets what is there. Room for a new one has been reserved.
    pub(crate) fn put(&mut self, place: &Place<'_>, record: Option<Record>, now: Timestamp) {
        match (self.get(place), record) {
            (Some(stored), Some(record)) => *stored = Some(record),
            (Some(_), None) => self.remove(place),
            (None, Some(record)) => self.insert(place, record, now),
            (None, None) => {}
        }
    }

    /// Stores a record at a `place` that has none. Room for it has been reserved.
    pub(crate) fn insert(&mut self, place: &Place<'_>, record: Record, now: Timestamp) {
        if self.records.len() == self.records.capacity() {
            self.sweep(now);
        }
        self.table.due[self.index].stored(expires(&record, now), self.records.len() + 1);
        let stored = (place.to_stored(), SharedValue::new(Some(record)));
        self.records.insert(place.hash, stored, |stored| self.table.hash(stored));
    }

    /// Forgets the record at `place`, and gives its room back.
    pub(crate) fn remove(&mut self, place: &Place<'_>) {
        if self.records.remove_entry(place.hash, |(stored, _)| place.is(stored)).is_some() {
            self.table.release(1);
        }
    }

    /// Drops the records that are as good as new, if that is worth its while.
    fn sweep(&mut self, now: Timestamp) {
        let due = &self.table.due[self.index];
        if !due.has_come(now) {
            return;
        }
        let mut kept = Vec::with_capacity(self.records.len());
        let mut is_live = |(_, record): &Stored| {
            // A place whose record is taken belongs to the batch that holds this lock.
            let Some(record) = record.get() else { return true };
            let expires = expires(record, now);
            if now < expires {
                kept.push(expires);
            }
            now < expires
        };
        let all = std::mem::replace(&mut *self.records, RawTable::new());
        let before = all.len();
        let live: Vec<_> = all.into_iter().filter(|stored| is_live(stored)).collect();
        due.swept(&mut kept);
        self.table.release(before - live.len());

        // Half as much again, so that a shard of live records is not full again at once.
        *self.records = RawTable::with_capacity(live.len() + live.len() / 2);
        for stored in live {
            self.records.insert(self.table.hash(&stored), stored, |stored| self.table.hash(stored));
        }
    }
}

/// When to look whether `record` may be dropped: when it is as good as new unless somebody
/// spends, but within a minute, since a refund or a live change may bring that forward.
fn expires(record: &Record, now: Timestamp) -> Timestamp {
    now + record.lifetime(now).min(LOOK_AGAIN)
}

const LOOK_AGAIN: Micros = Micros::from_secs(60);

/// Records per shard when the table is full. They are swept under its lock, all at once.
const SHARD_RECORDS: usize = 1_024;

/// Enough for the threads of a large machine to stay out of each other's way.
const SHARDS_MIN: usize = 64;

/// A megabyte or so of empty shards.
const SHARDS_MAX: usize = 1 << 14;

/// Shards that one call sweeps at most before it says that the table is full. One that is due
/// frees something unless somebody has spent on all that had expired.
const SWEEPS_MAX: usize = 4;
