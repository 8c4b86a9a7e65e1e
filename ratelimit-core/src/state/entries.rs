//! A log of charges: when each was made, and how much it weighed.
//!
//! A charge is one entry, whatever its cost. Entries keep the running total of all costs up to
//! and including their own, so the cost of any stretch is one subtraction, and the time at which
//! enough of it will have left the window is one binary search. Charges of the same instant share
//! an entry; entries that have left the window are dropped by the next charge.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::num::NonZeroU64;

use crate::{
    Cost, Micros, Timestamp,
    number::{self, division, encoding::Reader},
};

/// Charges, oldest first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    /// The running total before the oldest entry.
    base: u64,
    /// Of a log that is shown in part: entries that stand for more, and how many besides
    /// themselves.
    hidden: Option<Box<[(Timestamp, u64)]>>,
}

/// One charge, or several of the same instant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) at: Timestamp,
    /// The running total, this entry included.
    pub(crate) total: u64,
}

impl Log {
    /// Permits spent within the `window` that ends at `now`, in O(log n).
    pub(crate) fn used(&self, window: Micros, now: Timestamp) -> u64 {
        self.total().saturating_sub(self.total_before(self.first_live(window, now)))
    }

    /// Returns true if `count` entries or more are within the `window` that ends at `now`.
    pub(crate) fn has_live(&self, count: u64, window: Micros, now: Timestamp) -> bool {
        let reaches = |first| count <= self.count_from(first);
        // Most logs have fewer, of whatever age.
        reaches(0)
            && match self.first_live(window, now) {
                0 => true,
                live => reaches(live),
            }
    }

    /// The number of entries from the one at `index` on.
    fn count_from(&self, index: usize) -> u64 {
        let shown = self.entries.len().saturating_sub(index);
        let is_there = |&&(at, _): &&(Timestamp, u64)| {
            self.entries
                .binary_search_by_key(&at, |entry| entry.at)
                .is_ok_and(|found| index <= found)
        };
        let hidden = self.hidden.iter().flat_map(|hidden| hidden.iter().filter(is_there));
        let shown = u64::try_from(shown).unwrap_or(u64::MAX);
        hidden.fold(shown, |all, &(_, entries)| all.saturating_add(entries))
    }

    /// The instant at which the oldest entry that counts at `now` leaves the `window`; `now` if
    /// there is none.
    pub(crate) fn first_leaves(&self, window: Micros, now: Timestamp) -> Timestamp {
        self.entries.get(self.first_live(window, now)).map_or(now, |entry| entry.at + window)
    }

    /// The instant from which no more than `keep` permits of those that count at `now` are left in
    /// the `window`.
    pub(crate) fn falls_to(&self, keep: u64, window: Micros, now: Timestamp) -> Timestamp {
        let gone = self.total().saturating_sub(keep);
        if gone <= self.total_before(self.first_live(window, now)) {
            return now;
        }
        let last_to_leave = self.entries.partition_point(|entry| entry.total < gone);
        self.entries.get(last_to_leave).map_or(now, |entry| entry.at + window)
    }

    /// The instant at which the last entry that counts at `now` leaves the `window`; `now` if there
    /// is none.
    pub(crate) fn last_leaves(&self, window: Micros, now: Timestamp) -> Timestamp {
        self.newest().map_or(now, |newest| now.max(newest + window))
    }

    /// The instant of the oldest entry.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.entries.front().map(|entry| entry.at)
    }

    /// The instant of the newest entry.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        self.entries.back().map(|entry| entry.at)
    }

    /// Adds a charge, and drops the entries that have left the `window`: amortised O(1).
    pub(crate) fn push(&mut self, window: Micros, now: Timestamp, cost: Cost) {
        self.drop_expired(window, now);
        self.rebase();
        let total = self.total().saturating_add(cost.get());
        match self.entries.back_mut() {
            Some(newest) if newest.at == now => newest.total = total,
            _ => self.entries.push_back(Entry { at: now, total }),
        }
    }

    /// Takes up to `cost` off the entries that count at `now`, newest first.
    pub(crate) fn take(&mut self, window: Micros, now: Timestamp, cost: Cost) {
        let expired = self.total_before(self.first_live(window, now));
        let total = self.total().saturating_sub(cost.get()).max(expired);
        self.truncate(total);
    }

    /// Takes up to `cost` off the entry of the instant `at`, if it counts at `now`.
    pub(crate) fn take_at(&mut self, at: Timestamp, window: Micros, now: Timestamp, cost: Cost) {
        let Ok(index) = self.entries.binary_search_by_key(&at, |entry| entry.at) else { return };
        if index < self.first_live(window, now) {
            return;
        }
        let before = self.total_before(index);
        let total = self.total_before(index.saturating_add(1));
        let taken = cost.get().min(total.saturating_sub(before));
        for entry in self.entries.iter_mut().skip(index) {
            entry.total = entry.total.saturating_sub(taken);
        }
        if taken == total.saturating_sub(before) {
            self.entries.remove(index);
        }
    }

    /// Makes the oldest entry stand for `entries` more.
    pub(crate) fn hide(&mut self, entries: usize) {
        let entries = u64::try_from(entries).unwrap_or(u64::MAX);
        let oldest = self.oldest().filter(|_| 0 < entries);
        self.hidden = oldest.map(|oldest| Box::from([(oldest, entries)]));
    }

    /// Merges the entries dated later than `now` into one at `now`.
    pub(crate) fn rewind(&mut self, now: Timestamp) {
        let total = self.total();
        while let Some(newest) = self.entries.back()
            && now < newest.at
        {
            self.entries.pop_back();
        }
        if self.total() < total {
            if self.newest() == Some(now) {
                self.entries.pop_back();
            }
            self.entries.push_back(Entry { at: now, total });
        }
    }

    /// Multiplies what any stretch up to now has spent by `numerator / denominator`, rounded up.
    pub(crate) fn scale(&mut self, numerator: NonZeroU64, denominator: NonZeroU64) {
        let scaled = |cost| division::scale_ceil(cost, numerator.get(), denominator);
        let total = self.total();
        let all = scaled(total.saturating_sub(core::mem::take(&mut self.base)));
        let mut before = 0;
        self.entries.retain_mut(|entry| {
            entry.total = all.saturating_sub(scaled(total.saturating_sub(entry.total)));
            core::mem::replace(&mut before, entry.total) < entry.total
        });
    }

    /// A log that counts at least as much: of more than [`SUMMARY_MAX`] entries that count at `now`,
    /// those of one part of the `window` in that number become one, as late as that part is. So none
    /// counts longer than such a part too long.
    pub(crate) fn summary(&self, window: Micros, now: Timestamp) -> Self {
        let live = self.first_live(window, now);
        let costs = self.costs().skip(live);
        if self.count_from(live) <= SUMMARY_MAX.get() {
            return Self::from_costs(costs.map(Some)).unwrap_or_default();
        }
        let part = window.as_micros().div_ceil(SUMMARY_MAX.get());
        let part = NonZeroU64::new(part).unwrap_or(NonZeroU64::MIN);
        let last = Micros::new(part.get().saturating_sub(1));
        let mut parts: Vec<(Timestamp, u64)> = Vec::new();
        for (at, cost) in costs {
            let end = (at.floor(part) + last).min(now);
            match parts.last_mut() {
                Some((newest, sum)) if *newest == end => *sum = sum.saturating_add(cost),
                _ => parts.push((end, cost)),
            }
        }
        Self::from_costs(parts.into_iter().map(Some)).unwrap_or_default()
    }

    /// Counts in every stretch that ends with the newest entry as much as the one of both logs that
    /// counts more.
    pub(crate) fn join(&mut self, other: &Self) {
        let (ours, theirs) = (self.sums_since(), other.sums_since());
        let (mut ours, mut theirs) = (ours.iter().peekable(), theirs.iter().peekable());
        let (mut our_sum, mut their_sum, mut before) = (0, 0, 0);
        let mut costs = Vec::new();
        while let Some(at) = ours.peek().into_iter().chain(theirs.peek()).map(|&&(at, _)| at).max()
        {
            our_sum = ours.next_if(|&&(own, _)| own == at).map_or(our_sum, |&(_, sum)| sum);
            their_sum = theirs.next_if(|&&(own, _)| own == at).map_or(their_sum, |&(_, sum)| sum);
            let sum = u64::max(our_sum, their_sum);
            if before < sum {
                costs.push(Some((at, sum.saturating_sub(before))));
                before = sum;
            }
        }
        let joined = Self::from_costs(costs.into_iter().rev()).unwrap_or_default();
        *self = Self { hidden: self.hidden.take(), ..joined };
    }

    /// For each entry, the newest first, its instant and the cost from there on.
    fn sums_since(&self) -> Vec<(Timestamp, u64)> {
        let total = self.total();
        let sums = (0..)
            .zip(&self.entries)
            .map(|(index, entry)| (entry.at, total.saturating_sub(self.total_before(index))));
        let mut sums: Vec<_> = sums.collect();
        sums.reverse();
        sums
    }

    /// The entries, as instant and cost.
    pub(crate) fn costs(&self) -> impl ExactSizeIterator<Item = (Timestamp, u64)> {
        let mut before = self.base;
        self.entries.iter().map(move |entry| {
            (entry.at, entry.total.saturating_sub(core::mem::replace(&mut before, entry.total)))
        })
    }

    /// The number of entries; then of each the time since the one before it, and its cost.
    pub(crate) fn words(&self) -> impl Iterator<Item = u64> {
        let entries = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        let mut before = 0;
        let costs = self.costs().flat_map(move |(at, cost)| {
            let at = at.as_micros();
            [at.saturating_sub(core::mem::replace(&mut before, at)), cost]
        });
        core::iter::once(entries).chain(costs)
    }

    /// Reads a log from its [`words`](Self::words).
    pub(crate) fn read(input: &mut Reader<'_>) -> Option<Self> {
        let entries = input.number()?;
        // Each takes two numbers, so there is room for no more entries than that.
        if input.numbers_max() / 2 < usize::try_from(entries).ok()? {
            return None;
        }
        let mut at = 0_u64;
        Self::from_costs((0..entries).map(|_| {
            let [since, cost] = input.numbers()?;
            at = at.checked_add(since)?;
            Some((Timestamp::from_micros(at)?, cost))
        }))
    }

    /// A log of the given charges, or `None` unless they are in order and cost something.
    pub(crate) fn from_costs(
        costs: impl Iterator<Item = Option<(Timestamp, u64)>>,
    ) -> Option<Self> {
        let mut entries = Vec::with_capacity(costs.size_hint().0);
        let (mut newest, mut total) = (None, 0_u64);
        for cost in costs {
            let (at, cost) = cost?;
            if cost == 0 || newest.is_some_and(|newest| at <= newest) {
                return None;
            }
            (newest, total) = (Some(at), total.checked_add(cost)?);
            entries.push(Entry { at, total });
        }
        Some(Self { entries: entries.into(), ..Self::default() })
    }

    /// A log of entries that stand for several each: instant, cost, number. `None` unless they are
    /// in order, and cost something.
    pub(crate) fn from_parts(
        parts: impl IntoIterator<Item = (Timestamp, u64, u64)>,
    ) -> Option<Self> {
        let mut hidden = Vec::new();
        let cost = |(at, cost, entries): (_, _, u64)| {
            if 1 < entries {
                hidden.push((at, entries.saturating_sub(1)));
            }
            Some((at, cost))
        };
        let log = Self::from_costs(parts.into_iter().map(cost))?;
        Some(Self { hidden: (!hidden.is_empty()).then(|| hidden.into()), ..log })
    }

    fn total(&self) -> u64 {
        self.entries.back().map_or(self.base, |entry| entry.total)
    }

    fn total_before(&self, index: usize) -> u64 {
        let before = index.checked_sub(1).and_then(|index| self.entries.get(index));
        before.map_or(self.base, |entry| entry.total)
    }

    /// The index of the oldest entry younger than `window`. Most often few are older: it is looked
    /// for from the front, in steps that grow, and then between the last two of them.
    pub(crate) fn first_live(&self, window: Micros, now: Timestamp) -> usize {
        let is_gone =
            |index: usize| self.entries.get(index).is_some_and(|entry| window <= now - entry.at);
        if !is_gone(0) {
            return 0;
        }
        let (mut gone, mut live) = (0_usize, 1_usize);
        while is_gone(live) {
            (gone, live) = (live, live.saturating_mul(2));
        }
        while gone.saturating_add(1) < live {
            let middle = gone.midpoint(live);
            if is_gone(middle) {
                gone = middle;
            } else {
                live = middle;
            }
        }
        live
    }

    /// Merges the oldest entries into the next one, until there are at most `entries_max`.
    pub(crate) fn merge_oldest(&mut self, entries_max: u64) {
        while entries_max < self.count_from(0) && 1 < self.entries.len() {
            // The running totals stay, so the cost falls to the entry that is first now.
            self.entries.pop_front();
        }
    }

    /// Drops the entries that have left the `window`.
    pub(crate) fn drop_expired(&mut self, window: Micros, now: Timestamp) {
        while let Some(oldest) = self.entries.front()
            && window <= now - oldest.at
        {
            self.base = oldest.total;
            self.entries.pop_front();
        }
        if self.entries.len() < self.entries.capacity().div_euclid(SLACK) {
            self.entries.shrink_to(self.entries.len().saturating_mul(2));
        }
    }

    fn truncate(&mut self, total: u64) {
        while let Some(newest) = self.entries.back_mut() {
            newest.total = newest.total.min(total);
            if self.total_before(self.entries.len().saturating_sub(1)) < total {
                break;
            }
            self.entries.pop_back();
        }
    }

    /// Starts the running totals anew before they grow beyond what every store counts exactly.
    fn rebase(&mut self) {
        if self.entries.is_empty() {
            self.base = 0;
        } else if number::PRODUCT_MAX < self.total() {
            let base = core::mem::take(&mut self.base);
            for entry in &mut self.entries {
                entry.total = entry.total.saturating_sub(base);
            }
        }
    }
}

/// The most entries of a [`summary`](Log::summary).
const SUMMARY_MAX: NonZeroU64 = NonZeroU64::new(32).unwrap();

/// A log gives memory back when it fills less than one part in this many of what it holds.
const SLACK: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(micros).unwrap()
    }

    #[test]
    fn totals_start_anew_before_they_pass_what_every_store_counts_exactly() {
        let (window, cost) = (Micros::new(10), Cost::new((1 << 50) + 1).unwrap());
        let mut log = Log::default();
        for now in (0..10_000).map(|time| at(6 * time)) {
            log.push(window, now, cost);
            assert!(log.used(window, now) <= 2 * cost.get());
            assert!(log.total() <= number::PRODUCT_MAX + cost.get());
        }
    }

    #[test]
    fn a_log_gives_memory_back_when_most_of_it_has_gone_and_not_before() {
        let (window, entries) = (Micros::new(1_000), 1_000);
        let mut log = Log::default();
        for now in 0..entries {
            log.push(window, at(now), Cost::ONE);
        }
        let whole = log.entries.capacity();
        log.push(window, at(entries + 500), Cost::ONE);
        assert_eq!((log.entries.len(), log.entries.capacity()), (500, whole));
        log.push(window, at(entries + 990), Cost::ONE);
        assert!(log.entries.capacity() < whole / 8, "{}", log.entries.capacity());
    }
}
