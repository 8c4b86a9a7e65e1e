//! The shards of a batch, locked: each once, in ascending order, so that two batches never wait
//! for each other.

use ratelimit_backend::BackendError;
use ratelimit_core::{
    Action, Batch, Check, Timestamp,
    store::{CompactState, CompactStep, Decisions, Slot, apply},
};
use smallvec::SmallVec;

use crate::{
    entry::Entry,
    shards::Shards,
    slot::HashedSlot,
    table::{Locked, Table},
};

/// The slots of a batch, in order, and their shards, locked.
pub(crate) struct ShardLocks<'a, S: Shards> {
    table: &'a Table<S>,
    slots: Few<HashedSlot<'a>>,
    /// The numbers of the shards, in ascending order, each once.
    shards: Few<usize>,
    locked: Few<Locked<'a, S>>,
}

/// A step of one check of a batch, and the place of its state.
pub(crate) struct PlacedStep {
    pub(crate) step: CompactStep,
    /// The state to store.
    state: CompactState,
    /// The number of the lock.
    lock: usize,
    place: usize,
}

/// As many as need no allocation.
pub(crate) type Few<T> = SmallVec<[T; 16]>;

impl<'a, S: Shards> ShardLocks<'a, S> {
    /// No locks yet.
    pub(crate) fn none(table: &'a Table<S>) -> Self {
        Self { table, slots: Few::new(), shards: Few::new(), locked: Few::new() }
    }

    /// Locks the shards of `slots`; to be called once. What is locked is filled in where it lies,
    /// since it is too large to be moved for nothing.
    #[inline(always)]
    pub(crate) fn lock(&mut self, slots: impl Iterator<Item = Slot<'a>>) {
        for slot in slots {
            let slot = self.table.slot(slot.policy, slot.key);
            self.shards.push(self.table.shard_of(&slot));
            self.slots.push(slot);
        }
        self.shards.sort_unstable();
        self.shards.dedup();
        for &shard in &self.shards {
            self.locked.push(self.table.lock(shard));
        }
    }

    /// The slot and its locked shard, if the batch has one slot.
    pub(crate) fn only(&mut self) -> Option<(HashedSlot<'a>, Locked<'a, S>)> {
        match self.slots[..] {
            [slot] => Some((slot, self.locked.pop()?)),
            _ => None,
        }
    }

    /// Spends on compact states that are all known and written under the policies of `checks`:
    /// first all outcomes, then all charges.
    ///
    /// `false` says that nothing was charged, and that [`apply`](Self::apply) has to decide.
    #[inline(always)]
    pub(crate) fn spend(
        &mut self,
        checks: &[Check<'_>],
        now: Timestamp,
        steps: &mut Few<PlacedStep>,
    ) -> bool {
        for (slot, check) in self.slots.iter().zip(checks) {
            let lock = position(&self.shards, self.table.shard_of(slot));
            let Some((place, entry)) = self.locked[lock].find(slot) else { return false };
            // A copy: nothing may have changed if the batch is refused in the end.
            let state = entry.compact_under(check.policy());
            let Some(mut state) = state.copied() else { return false };
            let step = state.step(check.policy(), check.cost(), now);
            let Some(step) = step else { return false };
            steps.push(PlacedStep { step, state, lock, place });
        }
        let fits = steps.iter().all(|placed| placed.step.is_allowed());
        for (placed, slot) in steps.iter_mut().zip(&self.slots) {
            if fits {
                placed.step.charge(&mut placed.state);
            } else {
                placed.step = placed.step.uncharged();
            }
            let found = self.locked[placed.lock].found(placed.place, slot);
            if let Some(Entry::Compact { state, .. }) = found {
                *state = placed.state;
            }
        }
        true
    }

    /// Peeks for the batch whose shards these are.
    pub(crate) fn peek(
        &mut self,
        batch: Batch<'_>,
        now: Timestamp,
    ) -> Result<Decisions, BackendError> {
        let slots = self.slots.clone();
        let copy = |slot: HashedSlot<'_>| self.shard_of(&slot).get(&slot)?.to_record();
        let mut records: Vec<_> = slots.into_iter().map(copy).collect();
        Ok(apply(batch, Action::Peek, &mut records, now)?)
    }

    /// Applies an action that changes something to the batch whose shards these are.
    pub(crate) fn apply(
        &mut self,
        batch: Batch<'_>,
        action: Action,
        now: Timestamp,
    ) -> Result<Decisions, BackendError> {
        let slots = self.slots.clone();
        // Taken before room is made: so a sweep passes over them.
        let mut records: Vec<_> = slots.iter().map(|slot| self.shard_of(slot).take(slot)).collect();
        let known = records.iter().flatten().count();
        let new = if action.makes_known() { slots.len() - known } else { 0 };
        let decisions = match self.table.reserve(new, &mut self.locked, now) {
            Err(full) => Err(full.into()),
            Ok(()) => {
                let decisions = apply(batch, action, &mut records, now);
                self.table.release(known + new - records.iter().flatten().count());
                decisions.map_err(BackendError::from)
            }
        };
        for (slot, record) in slots.iter().zip(records) {
            if let Some(record) = record {
                self.shard_of(slot).insert(slot, record, now);
            }
        }
        decisions
    }

    #[inline(always)]
    fn shard_of(&mut self, slot: &HashedSlot<'_>) -> &mut Locked<'a, S> {
        let at = position(&self.shards, self.table.shard_of(slot));
        &mut self.locked[at]
    }
}

/// The position of a shard among `shards`, or where it would be.
#[inline(always)]
fn position(shards: &[usize], shard: usize) -> usize {
    shards.iter().take_while(|&&other| other < shard).count()
}
