//! Counts over time, in as many intervals as a chart can show, whatever the length of the log.

use std::collections::VecDeque;

use ratelimit_core::Timestamp;

/// Requests, and denials of each candidate, by intervals of equal length. When there are too many
/// intervals, they grow to the next round length.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// The place of the length in [`LENGTHS_S`].
    length: usize,
    /// The number of the first interval, counted from the epoch.
    first: u64,
    /// A row each: requests, then the denials of each candidate.
    rows: VecDeque<Box<[u64]>>,
    columns: usize,
    /// The interval of the last request, as numbers of microseconds, and its row.
    current: (u64, u64, usize),
}

impl Timeline {
    pub(crate) fn new(candidates: usize) -> Self {
        let (first, current) = (0, (0, 0, 0));
        Self { length: 0, first, rows: VecDeque::new(), columns: 1 + candidates, current }
    }

    /// Counts a request, and returns the row of its interval.
    #[inline]
    pub(crate) fn count(&mut self, at: Timestamp) -> &mut [u64] {
        let (begin, end, _) = self.current;
        if !(begin..end).contains(&at.as_micros()) {
            self.current = self.find(at.as_micros());
        }
        let row = &mut self.rows[self.current.2];
        row[0] += 1;
        row
    }

    /// The length of an interval in seconds.
    pub(crate) const fn seconds(&self) -> u64 {
        LENGTHS_S[self.length]
    }

    /// The begin of the first interval in seconds since the epoch.
    pub(crate) const fn begin_seconds(&self) -> u64 {
        self.first * self.seconds()
    }

    /// The counts of a column: 0 for the requests, then a candidate each.
    pub(crate) fn column(&self, column: usize) -> Vec<u64> {
        self.rows.iter().map(|row| row[column]).collect()
    }

    /// Makes room for an instant, and returns its interval.
    fn find(&mut self, at: u64) -> (u64, u64, usize) {
        loop {
            let length = self.seconds() * 1_000_000;
            let number = at / length;
            if self.rows.is_empty() {
                self.first = number;
            }
            let first = self.first.min(number);
            let end = (self.first + self.rows.len() as u64).max(number + 1);
            if end - first <= INTERVALS_MAX || self.length + 1 == LENGTHS_S.len() {
                for _ in first..self.first {
                    self.rows.push_front(vec![0; self.columns].into());
                }
                self.first = first;
                for _ in first + self.rows.len() as u64..end {
                    self.rows.push_back(vec![0; self.columns].into());
                }
                let row = usize::try_from(number - first).unwrap_or_default();
                return (number * length, (number + 1) * length, row);
            }
            self.widen();
        }
    }

    /// Merges intervals into those of the next length.
    fn widen(&mut self) {
        let factor = LENGTHS_S[self.length + 1] / LENGTHS_S[self.length];
        self.length += 1;
        let mut rows: VecDeque<Box<[u64]>> = VecDeque::new();
        let first = self.first / factor;
        for (number, row) in (self.first..).zip(self.rows.drain(..)) {
            if first + rows.len() as u64 <= number / factor {
                rows.push_back(row);
            } else if let Some(sums) = rows.back_mut() {
                sums.iter_mut().zip(&row).for_each(|(sum, count)| *sum += count);
            }
        }
        (self.first, self.rows) = (first, rows);
    }
}

/// As many as a chart shows on a phone.
const INTERVALS_MAX: u64 = 240;

/// Lengths in seconds that people read at a glance, each a multiple of the one before; the last is
/// long enough for all times that there are.
const LENGTHS_S: [u64; 15] = [
    1, 5, 15, 30, 60, 300, 900, 1_800, 3_600, 10_800, 21_600, 86_400, 604_800, 6_048_000,
    60_480_000,
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the times, each request is counted in the interval that it lies in.
        #[test]
        fn every_request_is_in_its_interval(
            times in prop::collection::vec(0..1_u64 << 53, 0..50),
            spread in 0..53_u32,
        ) {
            let mut timeline = Timeline::new(1);
            let times: Vec<_> = times.iter().map(|at| at >> spread).collect();
            for at in &times {
                let row = timeline.count(Timestamp::from_micros(*at).unwrap());
                row[1] += at % 2;
            }
            let length = timeline.seconds() * 1_000_000;
            let counts = |is_counted: &dyn Fn(u64) -> bool| {
                let mut counts = vec![0; timeline.rows.len()];
                for at in times.iter().filter(|at| is_counted(**at)) {
                    counts[usize::try_from(at / length - timeline.first).unwrap()] += 1;
                }
                counts
            };
            prop_assert_eq!(timeline.column(0), counts(&|_| true));
            prop_assert_eq!(timeline.column(1), counts(&|at| at % 2 == 1));
            prop_assert!(timeline.rows.len() as u64 <= INTERVALS_MAX);
        }
    }

    #[test]
    fn each_length_is_a_multiple_of_the_one_before() {
        assert!(LENGTHS_S.windows(2).all(|pair| pair[1].is_multiple_of(pair[0])));
        assert!((1 << 53) / 1_000_000 / LENGTHS_S[LENGTHS_S.len() - 1] < INTERVALS_MAX);
    }
}
