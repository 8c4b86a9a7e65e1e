//! The store: a table, a clock, and the register of names.

use std::{fmt, num::NonZeroUsize, sync::Arc};

use ratelimit_backend::{Backend, BackendError, Clock, Names, Reply, SyncBackend};
use ratelimit_core::{
    Action, Batch, Check, Decision, Timestamp,
    store::{CompactState, Decisions, apply},
};

#[cfg(feature = "dashmap")]
use crate::dashmap::Dashmap;
use crate::{
    SwiftClock,
    mutexes::Mutexes,
    shard_locks::{Few, ShardLocks},
    shards::Shards,
    slot::HashedSlot,
    table::{Locked, Table},
};

/// Keeps state in the memory of this process, by default behind [`Mutexes`]. Clones are the same
/// store.
///
/// A check takes the lock of one shard for the time of one step, and costs O(1) whatever the
/// number of keys.
pub struct Memory<C = SwiftClock, S = Mutexes>(Arc<Inner<C, S>>);

struct Inner<C, S> {
    table: Table<S>,
    clock: C,
    names: Names,
}

/// WebAssembly without a system has no clock: there, give [`with_clock`](Self::with_clock) the host's.
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
impl Memory {
    /// A store of at most a million keys.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(KEYS_MAX)
    }

    /// A store of at most `keys_max` keys.
    #[must_use]
    pub fn with_capacity(keys_max: NonZeroUsize) -> Self {
        Self::with_clock(SwiftClock::new(), keys_max)
    }
}

impl<C: Clock> Memory<C> {
    /// A store of at most `keys_max` keys with another clock: a
    /// [`WallClock`](ratelimit_backend::WallClock), for instance, also counts the time for which
    /// the machine sleeps.
    #[must_use]
    pub fn with_clock(clock: C, keys_max: NonZeroUsize) -> Self {
        Self::over(clock, keys_max)
    }
}

#[cfg(feature = "dashmap")]
impl<C: Clock> Memory<C, Dashmap> {
    /// The same in the shards of a [dashmap](https://docs.rs/dashmap) instead of mutexes. It makes
    /// the same decisions.
    #[must_use]
    pub fn with_dashmap(clock: C, keys_max: NonZeroUsize) -> Self {
        Self::over(clock, keys_max)
    }
}

impl<C, S> Memory<C, S> {
    /// The number of keys that are stored now, shared load sensors included.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.0.table.records()
    }

    /// The number of new keys that were refused because the store was full of live ones.
    #[must_use]
    pub fn capacity_rejected(&self) -> u64 {
        self.0.table.refused()
    }
}

#[expect(private_bounds, reason = "both kinds are ours")]
impl<C: Clock, S: Shards> Memory<C, S> {
    fn over(clock: C, keys_max: NonZeroUsize) -> Self {
        let table = Table::new(keys_max.get(), clock.retention());
        Self(Arc::new(Inner { table, clock, names: Names::default() }))
    }

    #[cfg(all(test, ratelimit_loom))]
    pub(crate) fn shard_of(&self, policy: &ratelimit_core::Policy, key: &str) -> usize {
        let table = &self.0.table;
        table.shard_of(&table.slot(policy, ratelimit_core::Key::new(key).ok()))
    }

    /// Spends on a key: at once where it is known, and its policy has not changed.
    ///
    /// The clock is read under the lock, here and below: a time read before it would be in the
    /// past by then, and pull back what others have stored meanwhile.
    #[inline(always)]
    fn spend(&self, check: &Check<'_>) -> Result<Decisions, BackendError> {
        let Inner { table, clock, .. } = &*self.0;
        let (policy, cost) = (check.policy(), check.cost());
        let slot = table.slot(policy, Some(check.key()));
        let mut shard = table.lock(table.shard_of(&slot));
        let now = clock.now()?;
        let Some(entry) = shard.get(&slot) else {
            return Ok(self.spend_first(shard, slot, *check, now)?.into());
        };
        if let Some(state) = entry.compact_under(policy)
            && let Some(step) = state.spend(policy, cost, now)
        {
            // The decision needs no lock.
            drop(shard);
            return Ok(step.decision(policy, now).into());
        }
        Ok(self.spend_otherwise(shard, slot, *check, now)?.into())
    }

    /// Spends on a new key. A compact state is made without a record around it.
    #[cold]
    #[inline(never)]
    fn spend_first(
        &self,
        mut shard: Locked<'_, S>,
        slot: HashedSlot<'_>,
        check: Check<'_>,
        now: Timestamp,
    ) -> Result<Decision, BackendError> {
        let policy = check.policy();
        let Some((step, state)) = CompactState::begin(policy, check.cost(), now) else {
            return self.spend_otherwise(shard, slot, check, now);
        };
        if let Some((state, lifetime)) = state {
            self.0.table.reserve(1, std::slice::from_mut(&mut shard), now)?;
            shard.insert_new(&slot, state, lifetime, now);
        }
        drop(shard);
        Ok(step.decision(policy, now))
    }

    /// Spends on a key that has a log, or will, or whose policy has changed or feeds a shared sensor.
    #[cold]
    #[inline(never)]
    fn spend_otherwise(
        &self,
        mut shard: Locked<'_, S>,
        slot: HashedSlot<'_>,
        check: Check<'_>,
        now: Timestamp,
    ) -> Result<Decision, BackendError> {
        let (policy, cost) = (check.policy(), check.cost());
        if let Some(entry) = shard.get(&slot) {
            if let Some(state) = entry.compact_under_equal(policy)
                && let Some(step) = state.spend(policy, cost, now)
            {
                drop(shard);
                return Ok(step.decision(policy, now));
            }
            if let Some(record) = entry.boxed()
                && let Some(decision) = record.spend(&check, now)
            {
                return Ok(decision);
            }
        }
        let batch = Batch::one(&check);
        if check.policy().algorithm().shares_sensor() {
            drop(shard);
            return Ok(self.apply_any(batch, Action::Spend)?[0]);
        }
        Ok(self.one(shard, &slot, batch, Action::Spend, now)?[0])
    }

    /// Applies an action to a batch that needs one record.
    fn one(
        &self,
        mut shard: Locked<'_, S>,
        slot: &HashedSlot<'_>,
        batch: Batch<'_>,
        action: Action,
        now: Timestamp,
    ) -> Result<Decisions, BackendError> {
        let Some(entry) = shard.get(slot) else {
            let mut record = [None];
            let decisions = apply(batch, action, &mut record, now)?;
            if let [Some(record)] = record
                && action != Action::Peek
            {
                self.0.table.reserve(1, std::slice::from_mut(&mut shard), now)?;
                shard.insert(slot, record, now);
            }
            return Ok(decisions);
        };
        if action == Action::Peek {
            return Ok(apply(batch, action, &mut [entry.to_record()], now)?);
        }
        let decisions = entry.apply(batch, action, now)?;
        if entry.is_forgotten() {
            shard.remove(slot);
        }
        Ok(decisions)
    }

    /// Spends on several keys as one: at once where all of them are known, and their policies have
    /// not changed.
    #[inline(never)]
    fn spend_all(&self, batch: Batch<'_>) -> Result<Decisions, BackendError> {
        let Inner { table, clock, .. } = &*self.0;
        let checks = batch.checks();
        let mut steps = Few::new();
        // The locks are dropped where they lie: they are too large to be moved for that.
        let at = {
            let mut locks = ShardLocks::none(table);
            locks.lock(checks.iter().map(Check::slot));
            let now = clock.now()?;
            locks.spend(checks, now, &mut steps).then_some(now)
        };
        let Some(now) = at else { return self.apply_any(batch, Action::Spend) };
        // The decisions need no lock.
        let steps = checks.iter().zip(&steps);
        Ok(steps.map(|(check, step)| step.decision(check.policy(), now)).collect())
    }

    #[cold]
    #[inline(never)]
    fn apply_any(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        let Inner { table, clock, .. } = &*self.0;
        let mut locks = ShardLocks::none(table);
        locks.lock(batch.slots());
        let now = clock.now()?;
        if let Some((slot, shard)) = locks.only() {
            return self.one(shard, &slot, batch, action, now);
        }
        match action {
            Action::Peek => locks.peek(batch, now),
            _ => locks.apply(batch, action, now),
        }
    }
}

impl<C: Clock, S: Shards> SyncBackend for Memory<C, S> {
    /// Rare cases are put together anew, here and below: otherwise the compiler would copy the
    /// whole answer in every case.
    #[inline(always)]
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        match (batch.checks(), action) {
            ([check], Action::Spend) => self.spend(check),
            (_, Action::Spend) => Ok(self.spend_all(batch)?),
            _ => Ok(self.apply_any(batch, action)?),
        }
    }
}

impl<C: Clock, S: Shards> Backend for Memory<C, S> {
    #[inline(always)]
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::ready(self.apply_now(batch, action))
    }

    #[inline(always)]
    fn apply_if_ready(
        &self,
        batch: Batch<'_>,
        action: Action,
    ) -> Option<Result<Decisions, BackendError>> {
        match self.apply_now(batch, action) {
            Ok(decisions) => Some(Ok(decisions)),
            Err(error) => Some(Err(error)),
        }
    }

    fn names(&self) -> &Names {
        &self.0.names
    }
}

impl<C, S> Clone for Memory<C, S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Shows how many keys there are, and none of them.
impl<C, S> fmt::Debug for Memory<C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("keys", &self.0.table.records()).finish_non_exhaustive()
    }
}

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// A million short keys of a bucket take some 80 MB.
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(1_000_000).unwrap();
