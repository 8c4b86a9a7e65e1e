//! Several records as one: each of their shards is locked once, in ascending order, so that two
//! batches never wait for each other.

use ratelimit_backend::BackendError;
use ratelimit_core::{Action, Batch, Check, Decisions, Slot, SmallRecord, Spent, Timestamp, apply};
use smallvec::SmallVec;

use crate::{
    memory::full,
    shards::Shards,
    slot::Place,
    stored::Stored,
    table::{Locked, Table},
};

/// The places of a batch, in order, and their shards, locked.
pub(crate) struct Several<'a, S: Shards> {
    table: &'a Table<S>,
    places: Few<Place<'a>>,
    /// The numbers of the shards, in ascending order, each once.
    shards: Few<usize>,
    locked: Few<Locked<'a, S>>,
}

/// As many as need no allocation.
pub(crate) type Few<T> = SmallVec<[T; 16]>;

impl<'a, S: Shards> Several<'a, S> {
    /// Of no batch yet: nothing is locked.
    pub(crate) fn none(table: &'a Table<S>) -> Self {
        Self { table, places: Few::new(), shards: Few::new(), locked: Few::new() }
    }

    /// Locks the shards of `slots`; to be called once. What is locked is filled in where it lies,
    /// since it is too large to be moved for nothing.
    #[inline(always)]
    pub(crate) fn lock(&mut self, slots: impl Iterator<Item = Slot<'a>>) {
        for slot in slots {
            let place = self.table.place(slot.policy, slot.key);
            self.shards.push(self.table.shard_of(&place));
            self.places.push(place);
        }
        self.shards.sort_unstable();
        self.shards.dedup();
        for &shard in &self.shards {
            self.locked.push(self.table.lock(shard));
        }
    }

    /// The place and its shard, if there is only one.
    pub(crate) fn only(&mut self) -> Option<(Place<'a>, Locked<'a, S>)> {
        match self.places[..] {
            [place] => Some((place, self.locked.pop()?)),
            _ => None,
        }
    }

    /// Spends on records that are all small, known and written under the policies of `checks`; `all`
    /// is what has become of them.
    ///
    /// `false` says that nothing has changed, and that it is for [`apply`](Self::apply) to decide.
    #[inline(always)]
    pub(crate) fn spend<'b>(
        &mut self,
        checks: &'b [Check<'b>],
        now: Timestamp,
        all: &mut Few<Spent<'b>>,
    ) -> bool {
        for (index, check) in checks.iter().enumerate() {
            match self.small(index).and_then(|record| record.spend(check, now)) {
                Some(spent) => all.push(spent),
                None => {
                    self.each_of(all, |record, spent| record.undo(spent));
                    return false;
                }
            }
        }
        if !all.iter().all(Spent::is_allowed) {
            self.each_of(all, SmallRecord::take_back);
        }
        true
    }

    fn each_of<'b>(
        &mut self,
        all: &mut [Spent<'b>],
        change: impl Fn(&mut SmallRecord, &mut Spent<'b>),
    ) {
        for (index, spent) in all.iter_mut().enumerate() {
            if let Some(record) = self.small(index) {
                change(record, spent);
            }
        }
    }

    /// The record at one of the places, if it is small.
    #[inline(always)]
    fn small(&mut self, index: usize) -> Option<&mut SmallRecord> {
        // Borrowed field by field, so that the place is not copied.
        let place = &self.places[index];
        let at = position(&self.shards, self.table.shard_of(place));
        match self.locked[at].get(place) {
            Some(Stored::Small { record, .. }) => Some(record),
            _ => None,
        }
    }

    /// Tells what would become of a batch of which these are the places.
    pub(crate) fn peek(
        &mut self,
        batch: Batch<'_>,
        now: Timestamp,
    ) -> Result<Decisions, BackendError> {
        let places = self.places.clone();
        let copy = |place: Place<'_>| self.shard_of(&place).get(&place)?.to_record();
        let mut records: Vec<_> = places.into_iter().map(copy).collect();
        Ok(apply(batch, Action::Peek, &mut records, now)?)
    }

    /// Applies an action that changes something to a batch of which these are the places.
    pub(crate) fn apply(
        &mut self,
        batch: Batch<'_>,
        action: Action,
        now: Timestamp,
    ) -> Result<Decisions, BackendError> {
        let places = self.places.clone();
        // Taken before room is made: so a sweep passes over them.
        let mut records: Vec<_> =
            places.iter().map(|place| self.shard_of(place).take(place)).collect();
        let known = records.iter().flatten().count();
        let new = if action.makes_known() { places.len() - known } else { 0 };
        let decisions = match self.table.reserve(new, &mut self.locked, now) {
            Err(_) => Err(full()),
            Ok(()) => {
                let decisions = apply(batch, action, &mut records, now);
                self.table.release(known + new - records.iter().flatten().count());
                decisions.map_err(BackendError::from)
            }
        };
        for (place, record) in places.iter().zip(records) {
            if let Some(record) = record {
                self.shard_of(place).insert(place, record, now);
            }
        }
        decisions
    }

    #[inline(always)]
    fn shard_of(&mut self, place: &Place<'_>) -> &mut Locked<'a, S> {
        let at = position(&self.shards, self.table.shard_of(place));
        &mut self.locked[at]
    }
}

/// Where a shard is, or belongs, among `shards`.
#[inline(always)]
fn position(shards: &[usize], shard: usize) -> usize {
    shards.iter().take_while(|&&other| other < shard).count()
}
