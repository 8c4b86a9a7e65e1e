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
    slots: Few<LockedSlot<'a>>,
    locked: Few<Locked<'a, S>>,
}

/// A slot, the number of its lock, and the place of its record once that is found.
#[derive(Clone, Copy)]
struct LockedSlot<'a> {
    slot: HashedSlot<'a>,
    lock: usize,
    place: usize,
}

/// As many as need no allocation.
pub(crate) type Few<T> = SmallVec<[T; FEW]>;

const FEW: usize = 16;

impl<'a, S: Shards> ShardLocks<'a, S> {
    /// No locks yet.
    pub(crate) fn none(table: &'a Table<S>) -> Self {
        Self { table, slots: Few::new(), locked: Few::new() }
    }

    /// Locks the shards of `slots`; to be called once. What is locked is filled in where it lies,
    /// since it is too large to be moved for nothing.
    #[inline(always)]
    pub(crate) fn lock(&mut self, slots: impl Iterator<Item = Slot<'a>>) {
        let table = self.table;
        let mut order: Few<u64> = Few::new();
        for (slot, index) in slots.zip(0..) {
            let slot = table.slot(slot.policy, slot.key);
            order.push((table.shard_of(&slot) as u64) << 32 | index);
            self.slots.push(LockedSlot { slot, lock: 0, place: 0 });
        }
        let mut sorted = [0; FEW];
        let order = sort(&mut order, &mut sorted);
        let (slots, mut last) = (&mut self.slots[..], usize::MAX);
        for &shard_and_index in order {
            let [shard, index] = [shard_and_index >> 32, shard_and_index & u64::from(u32::MAX)]
                .map(|number| usize::try_from(number).unwrap_or(0));
            if shard != last {
                self.locked.push(table.lock(shard));
                last = shard;
            }
            slots[index].lock = self.locked.len() - 1;
        }
    }

    /// The slot and its locked shard, if the batch has one slot.
    pub(crate) fn only(&mut self) -> Option<(HashedSlot<'a>, Locked<'a, S>)> {
        match self.slots[..] {
            [LockedSlot { slot, .. }] => Some((slot, self.locked.pop()?)),
            _ => None,
        }
    }

    /// Spends on compact states that are all known and written under the policies of `checks`:
    /// first all outcomes, then all charges. All are found before the first is stepped, so that
    /// the processor waits for the memory of all at once.
    ///
    /// `false` says that nothing was charged, and that [`apply`](Self::apply) has to decide.
    #[inline(always)]
    pub(crate) fn spend(
        &mut self,
        checks: &[Check<'_>],
        now: Timestamp,
        steps: &mut Few<CompactStep>,
    ) -> bool {
        let (slots, locked) = (&mut self.slots[..], &mut self.locked[..]);
        for (slot, check) in slots.iter_mut().zip(checks) {
            let Some((place, entry)) = locked[slot.lock].find(&slot.slot) else { return false };
            if entry.compact_under(check.policy()).is_none() {
                return false;
            }
            slot.place = place;
        }
        let mut fits = true;
        for (slot, check) in slots.iter().zip(checks) {
            let Some(state) = locked[slot.lock].compact(slot) else { return false };
            let Some(step) = state.step(check.policy(), check.cost(), now) else { return false };
            fits &= step.is_allowed();
            steps.push(step);
        }
        if !fits {
            self.deny(checks, now, steps);
            return true;
        }
        for (slot, step) in slots.iter().zip(&*steps) {
            if let Some(state) = locked[slot.lock].compact(slot) {
                state.store(step);
            }
        }
        true
    }

    /// Makes the steps anew of a batch that is denied.
    #[inline(never)]
    fn deny(&mut self, checks: &[Check<'_>], now: Timestamp, steps: &mut Few<CompactStep>) {
        let Self { slots, locked, .. } = self;
        for ((slot, check), step) in slots.iter().zip(checks).zip(steps) {
            let state = locked[slot.lock].compact(slot);
            if let Some(denied) =
                state.and_then(|state| state.deny(check.policy(), check.cost(), now))
            {
                *step = denied;
            }
        }
    }

    /// Peeks for the batch whose shards these are.
    pub(crate) fn peek(
        &mut self,
        batch: Batch<'_>,
        now: Timestamp,
    ) -> Result<Decisions, BackendError> {
        let Self { slots, locked, .. } = self;
        let copy = |slot: &LockedSlot<'_>| locked[slot.lock].get(&slot.slot)?.to_record();
        let mut records: Vec<_> = slots.iter().map(copy).collect();
        Ok(apply(batch, Action::Peek, &mut records, now)?)
    }

    /// Applies an action that changes something to the batch whose shards these are.
    pub(crate) fn apply(
        &mut self,
        batch: Batch<'_>,
        action: Action,
        now: Timestamp,
    ) -> Result<Decisions, BackendError> {
        let Self { table, slots, locked } = self;
        // Taken before room is made: so a sweep passes over them.
        let take = |slot: &LockedSlot<'_>| locked[slot.lock].take(&slot.slot);
        let mut records: Vec<_> = slots.iter().map(take).collect();
        let known = records.iter().flatten().count();
        let new = if action.makes_known() { slots.len() - known } else { 0 };
        let decisions = match table.reserve(new, locked, now) {
            Err(full) => Err(full.into()),
            Ok(()) => {
                let decisions = apply(batch, action, &mut records, now);
                table.release(known + new - records.iter().flatten().count());
                decisions.map_err(BackendError::from)
            }
        };
        for (slot, record) in slots.iter().zip(records) {
            if let Some(record) = record {
                locked[slot.lock].insert(&slot.slot, record, now);
            }
        }
        decisions
    }
}

impl<S: Shards> Locked<'_, S> {
    /// The state that was found in a slot.
    #[inline(always)]
    fn compact(&mut self, slot: &LockedSlot<'_>) -> Option<&mut CompactState> {
        match self.found(slot.place, &slot.slot) {
            Some(Entry::Compact { state, .. }) => Some(state),
            _ => None,
        }
    }
}

/// Sorts numbers that are different. Few take their places by how many are smaller, which needs no
/// branch that a processor could not foresee.
#[inline(always)]
fn sort<'n>(order: &'n mut [u64], sorted: &'n mut [u64; FEW]) -> &'n [u64] {
    match order {
        [one, other] => (*one, *other) = (u64::min(*one, *other), u64::max(*one, *other)),
        _ if FEW < order.len() => order.sort_unstable(),
        _ => {
            for &one in &*order {
                sorted[order.iter().filter(|&&other| other < one).count()] = one;
            }
            return &sorted[..order.len()];
        }
    }
    order
}
