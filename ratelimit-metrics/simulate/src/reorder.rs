//! Requests in the order of their times, as far as lines are not too late.
//!
//! A server writes a line when a request ends, so a line may come after one of a later time. A
//! request is held back until one comes that is later by more than the window; equal times stay in
//! the order of their lines.

use std::collections::VecDeque;

use ratelimit_core::{Micros, Timestamp};

/// A request of a known client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Pending {
    pub(crate) at: Timestamp,
    pub(crate) client: u32,
    pub(crate) cost: u64,
}

/// The requests that are held back, the earliest first.
#[derive(Debug)]
pub(crate) struct Reorder {
    window: Micros,
    pending: VecDeque<Pending>,
    released: Timestamp,
    /// Requests that came after a later one was let go.
    pub(crate) late: u64,
}

impl Reorder {
    pub(crate) const fn new(window: Micros) -> Self {
        Self { window, pending: VecDeque::new(), released: Timestamp::EPOCH, late: 0 }
    }

    /// Takes a request in, at its place. Logs are nearly in order, so that is mostly the end.
    pub(crate) fn push(&mut self, request: Pending) {
        match self.pending.back() {
            Some(last) if request.at < last.at => {
                let place = self.pending.partition_point(|other| other.at <= request.at);
                self.pending.insert(place, request);
            }
            _ => self.pending.push_back(request),
        }
    }

    /// Lets go of the earliest request, if nothing earlier is to be expected.
    pub(crate) fn pop(&mut self) -> Option<Pending> {
        let (first, last) = (self.pending.front()?, self.pending.back()?);
        let is_due = self.window < last.at - first.at || HELD_MAX < self.pending.len();
        if is_due { self.pop_any() } else { None }
    }

    /// Lets go of the earliest request.
    pub(crate) fn pop_any(&mut self) -> Option<Pending> {
        let request = self.pending.pop_front()?;
        if request.at < self.released {
            self.late += 1;
        }
        self.released = self.released.max(request.at);
        Some(request)
    }
}

/// Bounds the memory for a log that is busier than that within the window, or out of order as a
/// whole.
const HELD_MAX: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(window: u64, times: &[u64]) -> (Vec<(u64, u64)>, u64) {
        let mut reorder = Reorder::new(Micros::new(window));
        let mut released = Vec::new();
        for (line, at) in (0..).zip(times) {
            let at = Timestamp::from_micros(*at).unwrap();
            reorder.push(Pending { at, client: 0, cost: line });
            released.extend(std::iter::from_fn(|| reorder.pop()));
        }
        released.extend(std::iter::from_fn(|| reorder.pop_any()));
        let released = released.iter().map(|it| (it.at.as_micros(), it.cost)).collect();
        (released, reorder.late)
    }

    #[test]
    fn a_line_that_is_too_late_is_counted_and_keeps_its_time() {
        let (released, late) = order(10, &[0, 20, 5, 15, 40, 3]);
        assert_eq!(released, [(0, 0), (5, 2), (15, 3), (20, 1), (3, 5), (40, 4)]);
        assert_eq!(late, 1);
    }

    // FAULTS 238.
    #[test]
    fn no_more_than_the_bound_is_held_back() {
        let times: Vec<u64> = (0..2 * HELD_MAX as u64).rev().collect();
        let (released, late) = order(u64::MAX, &times);
        assert_eq!((released.len(), late), (times.len(), HELD_MAX as u64 - 1));
    }

    proptest! {
        /// Lines that are late by the window at most come out in the order of their times, those of
        /// one time in the order of the log.
        #[test]
        fn lines_within_the_window_are_put_in_order(
            steps in prop::collection::vec((0..20_u64, 0..=50_u64), 0..200)
        ) {
            let (mut now, mut times) = (50, Vec::new());
            for (step, delay) in steps {
                now += step;
                times.push(now - delay);
            }
            let (released, late) = order(50, &times);
            let mut sorted: Vec<_> = times.iter().copied().zip(0..).collect();
            sorted.sort_unstable();
            prop_assert_eq!((released, late), (sorted, 0));
        }
    }
}
