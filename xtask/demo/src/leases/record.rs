//! The record of admissions: how many lie in each window of the limit's length.

use std::collections::VecDeque;

use crate::leases::terms::WINDOW;

/// The permits that all processes admitted, by window.
///
/// A window is a whole number of slots, and there is one for each slot that it ends with. An admission is known
/// to lie between an instant before it and one after it. It counts in the windows that have both, so that no count
/// is too high.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// The slot that the first window ends with.
    first: u64,
    counts: VecDeque<u64>,
    most: u64,
}

impl Record {
    /// Counts permits that were admitted between two instants, in microseconds since the epoch.
    pub(crate) fn add(&mut self, before: u64, after: u64, permits: u64) {
        let (before, after) = (before / SLOT, after / SLOT);
        let end = before.saturating_add(WINDOW_SLOTS);
        self.reach(before, end);
        for last in after.max(self.first)..end {
            let count = &mut self.counts[index(last - self.first)];
            *count += permits;
            self.most = self.most.max(*count);
        }
    }

    /// Makes room for the windows up to `end`, and forgets those that are shown no more. A clock that jumps ahead
    /// begins a new record.
    fn reach(&mut self, begin: u64, end: u64) {
        let known = self.first + self.counts.len() as u64;
        if self.counts.is_empty() || known + SHOWN < begin {
            self.counts.clear();
            self.first = begin;
        }
        let missing = end.saturating_sub(self.first + self.counts.len() as u64);
        self.counts.extend((0..missing).map(|_| 0));
        let excess = self.counts.len().saturating_sub(index(SHOWN + WINDOW_SLOTS));
        self.counts.drain(..excess);
        self.first += excess as u64;
    }

    /// The counts of the windows of the last minute up to the one that ends with slot `last`, in order.
    pub(crate) fn counts(&self, last: u64) -> Vec<u64> {
        let first = self.first.max((last + 1).saturating_sub(SHOWN));
        let count = |slot| slot_count(&self.counts, slot, self.first);
        (first..=last).map(count).collect()
    }

    /// The highest count of all windows so far.
    pub(crate) const fn most(&self) -> u64 {
        self.most
    }
}

fn slot_count(counts: &VecDeque<u64>, slot: u64, first: u64) -> u64 {
    counts.get(index(slot - first)).copied().unwrap_or(0)
}

fn index(slots: u64) -> usize {
    usize::try_from(slots).unwrap_or(usize::MAX)
}

/// The length of a slot, in microseconds.
pub(crate) const SLOT: u64 = 100_000;

const WINDOW_SLOTS: u64 = WINDOW.as_secs() * 1_000_000 / SLOT;

/// Windows that are shown: those of a minute.
const SHOWN: u64 = 600;

#[cfg(test)]
mod tests {
    use super::*;

    /// Admissions, in slots.
    type Admissions = Vec<(u64, u64, u64)>;

    /// By the definition.
    fn slowly(admissions: &Admissions, last: u64) -> u64 {
        let first = (last + 1).saturating_sub(WINDOW_SLOTS);
        let is_inside = |&&(before, after, _): &&(u64, u64, u64)| first <= before && after <= last;
        admissions.iter().filter(is_inside).map(|(_, _, permits)| permits).sum()
    }

    #[test]
    fn a_window_counts_what_lies_in_it_as_a_whole() {
        fastrand::seed(5);
        for _ in 0..200 {
            let (mut record, mut admissions, mut most) = (Record::default(), Vec::new(), 0);
            let start = 1_000;
            record.add(start * SLOT, start * SLOT, 0);
            let mut last = start;
            for _ in 0..40 {
                // Reports come late, and in any order.
                let before = start + fastrand::u64(0..300);
                let after = before + fastrand::u64(0..4) * fastrand::u64(0..60);
                let permits = fastrand::u64(1..9);
                record.add(before * SLOT + fastrand::u64(0..SLOT), after * SLOT, permits);
                admissions.push((before, after, permits));
                last = last.max(after);
            }
            for slot in start..=last + 10 {
                let count = slowly(&admissions, slot);
                assert_eq!(record.counts(slot).last(), Some(&count), "{slot} {admissions:?}");
                most = most.max(count);
            }
            assert_eq!(record.most(), most);
        }
    }

    #[test]
    fn a_minute_is_shown_and_no_more_is_kept() {
        let mut record = Record::default();
        for slot in 0..5_000 {
            record.add(slot * SLOT, slot * SLOT, 1);
        }
        assert_eq!(record.counts(4_999), vec![WINDOW_SLOTS; 600]);
        assert!(record.counts.len() <= 700);
    }

    #[test]
    fn clocks_that_jump_need_no_memory_and_do_no_harm() {
        let mut record = Record::default();
        for at in [5_000 * SLOT, u64::MAX, 0, 7 * SLOT] {
            record.add(at, at, 1);
            record.add(at, 0, 1);
            record.add(0, at, 1);
            assert!(record.counts.len() <= 700);
            assert!(record.counts(at / SLOT).len() <= 600);
            assert!(record.counts(0).len() <= 1);
        }
    }
}
