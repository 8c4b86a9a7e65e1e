//! The space-saving sketch: the most frequent of a stream, in memory that does not grow.
//!
//! Metwally, Agrawal, El Abbadi: "Efficient computation of frequent and top-k elements in data
//! streams", 2005. When all entries are taken, the one with the least count makes room for a new
//! element, which inherits that count: the element may have come so often before, and not more
//! often. So a count is never too low; it is too high by the inherited count at most, and that is no
//! more than an even share of all that was counted. An element that came more often than that share
//! is among the entries for certain.
//!
//! The entries are a heap by count, so counting takes O(log n).

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// The counts of one element.
#[derive(Debug)]
pub(crate) struct Entry<T> {
    id: Id,
    /// Never less than the element came.
    pub(crate) count: u64,
    /// The part of `count` that may be too much.
    pub(crate) overcount: u64,
    pub(crate) value: T,
    /// Its index in the heap.
    rank: usize,
}

/// The identity of an element.
pub(crate) type Id = [u8; 16];

/// A sketch of a stream of elements.
#[derive(Debug)]
pub(crate) struct SpaceSaving<T> {
    capacity: usize,
    entries: Vec<Entry<T>>,
    by_id: HashMap<Id, usize, RandomState>,
    /// Indices of entries; none has a lower count than the one at half its rank.
    heap: Vec<usize>,
    counted: u64,
}

impl<T> SpaceSaving<T> {
    /// Makes a sketch of this number of entries, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        let by_id = HashMap::default();
        let capacity = capacity.max(1);
        Self { capacity, entries: Vec::new(), by_id, heap: Vec::new(), counted: 0 }
    }

    /// Counts an element once; `make` gives the value of an element that is new here.
    pub(crate) fn count(&mut self, id: Id, make: impl FnOnce() -> T) -> &mut T {
        self.counted = self.counted.saturating_add(1);
        let index = match self.by_id.get(&id) {
            Some(&index) => index,
            None if self.entries.len() < self.capacity => self.append(id, make()),
            None => self.replace_least(id, make()),
        };
        let entry = &mut self.entries[index];
        entry.count = entry.count.saturating_add(1);
        let rank = entry.rank;
        self.sink(rank);
        &mut self.entries[index].value
    }

    /// Returns the entry of an element.
    pub(crate) fn get(&self, id: Id) -> Option<&Entry<T>> {
        self.by_id.get(&id).map(|&index| &self.entries[index])
    }

    /// Returns how often any element was counted.
    pub(crate) const fn counted(&self) -> u64 {
        self.counted
    }

    /// Returns the entries, in no order. An entry stays at its index until another element takes it.
    pub(crate) fn entries(&self) -> &[Entry<T>] {
        &self.entries
    }

    fn append(&mut self, id: Id, value: T) -> usize {
        let index = self.entries.len();
        self.entries.push(Entry { id, count: 0, overcount: 0, value, rank: index });
        self.heap.push(index);
        self.by_id.insert(id, index);
        self.rise(index);
        index
    }

    fn replace_least(&mut self, id: Id, value: T) -> usize {
        let index = self.heap[0];
        let entry = &mut self.entries[index];
        self.by_id.remove(&entry.id);
        self.by_id.insert(id, index);
        *entry = Entry { id, count: entry.count, overcount: entry.count, value, rank: 0 };
        index
    }

    fn count_at(&self, rank: usize) -> u64 {
        self.entries[self.heap[rank]].count
    }

    /// Moves an entry whose count may be too low for its rank towards the front.
    fn rise(&mut self, mut rank: usize) {
        while 0 < rank && self.count_at(rank) < self.count_at((rank - 1) / 2) {
            self.swap(rank, (rank - 1) / 2);
            rank = (rank - 1) / 2;
        }
    }

    /// Moves an entry whose count may be too high for its rank towards the end.
    fn sink(&mut self, mut rank: usize) {
        loop {
            let children = (2 * rank + 1..=2 * rank + 2).filter(|&child| child < self.heap.len());
            let Some(least) = children.min_by_key(|&child| self.count_at(child)) else { return };
            if self.count_at(rank) <= self.count_at(least) {
                return;
            }
            self.swap(rank, least);
            rank = least;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.entries[self.heap[a]].rank = a;
        self.entries[self.heap[b]].rank = b;
    }
}

impl<T> Entry<T> {
    pub(crate) const fn id(&self) -> Id {
        self.id
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn id(element: u8) -> Id {
        [element; 16]
    }

    proptest! {
        #[test]
        fn counts_are_never_too_low_and_too_high_by_no_more_than_they_say(
            capacity in 1usize..12,
            stream in vec((0u8..40, 0u8..40).prop_map(|(a, b)| a.min(b)), 0..600),
        ) {
            let mut sketch = SpaceSaving::new(capacity);
            let mut exact = [0u64; 40];
            for &element in &stream {
                exact[usize::from(element)] += 1;
                *sketch.count(id(element), || element) = element;
            }
            let all = sketch.entries();
            prop_assert!(all.len() <= capacity);
            prop_assert_eq!(all.iter().map(|entry| entry.count).sum::<u64>(), sketch.counted());
            let share = sketch.counted() / capacity as u64;
            for entry in all {
                let truth = exact[usize::from(entry.value)];
                prop_assert_eq!(entry.id(), id(entry.value));
                prop_assert!(truth <= entry.count && entry.count - entry.overcount <= truth);
                prop_assert!(entry.overcount <= share);
            }
            for (element, &truth) in (0..).zip(&exact) {
                let is_there = all.iter().any(|entry| entry.value == element);
                prop_assert!(is_there || truth <= share, "{} came {} times", element, truth);
            }
        }

        #[test]
        fn with_room_for_all_counts_are_exact(stream in vec(0u8..40, 0..600)) {
            let mut sketch = SpaceSaving::new(40);
            let mut exact = HashMap::<u8, u64>::new();
            for &element in &stream {
                *exact.entry(element).or_default() += 1;
                sketch.count(id(element), || element);
            }
            let all = sketch.entries();
            prop_assert!(all.iter().all(|entry| entry.overcount == 0));
            prop_assert_eq!(
                all.iter().map(|entry| (entry.value, entry.count)).collect::<HashMap<_, _>>(),
                exact
            );
        }
    }
}
