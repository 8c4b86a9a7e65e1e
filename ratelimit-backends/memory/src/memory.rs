//! The store: a table, a clock, and the register of names.

use std::{fmt, num::NonZeroUsize, sync::Arc};

use ratelimit_backend::{
    Backend, BackendError, Clock, ErrorKind, MonotonicClock, Names, Reply, SyncBackend,
};
use ratelimit_core::{Action, Batch, Decisions, Record, apply};

use crate::{
    place::Place,
    table::{Shard, Table},
};

/// Keeps state in the memory of this process. Clones are the same store.
///
/// A check takes the lock of one shard for the time of one step, and costs O(1) whatever the
/// number of keys.
pub struct Memory<C = MonotonicClock>(Arc<Inner<C>>);

struct Inner<C> {
    table: Table,
    clock: C,
    names: Names,
}

impl Memory {
    /// A store of at most a million keys.
    #[must_use]
    pub fn new() -> Self {
        Self::bounded(KEYS_MAX)
    }

    /// A store of at most `keys_max` keys.
    #[must_use]
    pub fn bounded(keys_max: NonZeroUsize) -> Self {
        Self::with_clock(MonotonicClock::new(), keys_max)
    }
}

impl<C: Clock> Memory<C> {
    /// A store of at most `keys_max` keys that goes by `clock`.
    #[must_use]
    pub fn with_clock(clock: C, keys_max: NonZeroUsize) -> Self {
        let table = Table::new(keys_max.get());
        Self(Arc::new(Inner { table, clock, names: Names::default() }))
    }

    /// The number of keys that are stored now, shared load sensors included.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.0.table.records()
    }

    /// How many times a new key was refused because the store was full of live ones.
    #[must_use]
    pub fn capacity_rejected(&self) -> u64 {
        self.0.table.refused()
    }

    /// The clock is read under the lock, here and below: a time read before it would be in the
    /// past by then, and pull back what others have stored meanwhile.
    fn one(
        &self,
        place: Place<'_>,
        batch: Batch<'_>,
        action: Action,
    ) -> Result<Decisions, BackendError> {
        let Inner { table, clock, .. } = &*self.0;
        if action == Action::Peek {
            let (record, now) = table.copy(&place, || clock.now());
            return Ok(apply(batch, action, &mut [record], now?)?);
        }
        let mut shard = table.lock(table.shard_of(&place));
        let now = clock.now()?;
        if let Some(record) = shard.get(&place) {
            let decisions = apply(batch, action, std::slice::from_mut(record), now)?;
            if record.is_none() {
                shard.remove(&place);
            }
            return Ok(decisions);
        }
        let mut record = [None];
        let decisions = apply(batch, action, &mut record, now)?;
        if let [Some(record)] = record {
            let held = std::slice::from_mut(&mut shard);
            table.reserve(1, held, now).map_err(|_| full())?;
            shard.insert(&place, record, now);
        }
        Ok(decisions)
    }

    fn several(
        &self,
        places: &[Place<'_>],
        batch: Batch<'_>,
        action: Action,
    ) -> Result<Decisions, BackendError> {
        let Inner { table, clock, .. } = &*self.0;
        let mut shards = Shards::lock(table, places);
        let now = clock.now()?;
        if action == Action::Peek {
            let mut records: Vec<_> =
                places.iter().map(|place| shards.of(place).copy(place)).collect();
            return Ok(apply(batch, action, &mut records, now)?);
        }
        // Taken before room is made: a sweep passes over a place whose record is taken.
        let take = |place| shards.of(place).get(place).and_then(Option::take);
        let mut records: Vec<_> = places.iter().map(take).collect();
        let makes_known = action.makes_known();
        let vacant = |records: &[Option<Record>]| {
            records.iter().filter(|record| makes_known && record.is_none()).count()
        };
        let decisions = match table.reserve(vacant(&records), &mut shards.locked, now) {
            Err(_) => Err(full()),
            Ok(()) => {
                let decisions = apply(batch, action, &mut records, now);
                table.release(vacant(&records));
                decisions.map_err(BackendError::from)
            }
        };
        for (place, record) in places.iter().zip(records) {
            let shard = shards.of(place);
            if makes_known || shard.get(place).is_some() {
                shard.put(place, record, now);
            }
        }
        decisions
    }
}

/// The shards of a batch, locked in ascending order, each once.
struct Shards<'a> {
    table: &'a Table,
    order: Vec<usize>,
    locked: Vec<Shard<'a>>,
}

impl<'a> Shards<'a> {
    fn lock(table: &'a Table, places: &[Place<'_>]) -> Self {
        let mut order: Vec<_> = places.iter().map(|place| table.shard_of(place)).collect();
        order.sort_unstable();
        order.dedup();
        let locked = order.iter().map(|&index| table.lock(index)).collect();
        Self { table, order, locked }
    }

    /// The shard of one of the places that these were locked for.
    fn of(&mut self, place: &Place<'_>) -> &mut Shard<'a> {
        let index = self.order.partition_point(|&index| index < self.table.shard_of(place));
        &mut self.locked[index]
    }
}

impl<C: Clock> SyncBackend for Memory<C> {
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        let table = &self.0.table;
        let mut slots = batch.slots().map(|slot| table.place(slot));
        match (slots.next(), slots.next()) {
            (Some(place), None) => self.one(place, batch, action),
            (first, second) => {
                let places: Vec<_> = first.into_iter().chain(second).chain(slots).collect();
                self.several(&places, batch, action)
            }
        }
    }
}

impl<C: Clock> Backend for Memory<C> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::ready(self.apply_now(batch, action))
    }

    fn names(&self) -> &Names {
        &self.0.names
    }
}

impl<C> Clone for Memory<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Shows how many keys there are, and none of them.
impl<C> fmt::Debug for Memory<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("keys", &self.0.table.records()).finish_non_exhaustive()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

const fn full() -> BackendError {
    BackendError::not_applied(ErrorKind::Capacity)
}

/// A million short keys of a bucket take some 150 MB.
const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(1_000_000).unwrap();
