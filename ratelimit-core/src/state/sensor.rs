//! The load sensor of the adaptive hybrid: how many requests were admitted lately.
//!
//! Time is cut into sub-windows aligned to the epoch, 64 to an adaptive window, and one count is
//! kept for the present one and each of the 63 before: constant memory and work, whatever the
//! load. A count is forgotten as a whole, up to one sub-window before its oldest request is an
//! adaptive window old.

use alloc::vec::Vec;
use core::num::NonZeroU64;

use crate::{Micros, Timestamp, number::encoding::Reader};

/// The words of a sensor.
pub(crate) const SENSOR_WORDS: usize = 1 + KEPT as usize;

/// Sub-windows that an adaptive window is cut into, and counts that are kept.
pub(crate) const KEPT: u8 = 64;

/// The length of a sub-window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SubWindow(NonZeroU64);

impl SubWindow {
    /// The sub-window of an adaptive window of `length` microseconds.
    pub(crate) const fn of(length: NonZeroU64) -> Self {
        match NonZeroU64::new(length.get().div_ceil(KEPT as u64)) {
            Some(length) => Self(length),
            None => Self(length),
        }
    }

    /// Its microseconds.
    pub(crate) const fn micros(self) -> NonZeroU64 {
        self.0
    }

    /// The number of the sub-window that holds `now`, counted from the epoch.
    pub(crate) fn number(self, now: Timestamp) -> u64 {
        now.as_micros() / self.0
    }

    /// The instant at which the sub-window of that number begins.
    pub(crate) const fn start(self, number: u64) -> Timestamp {
        Timestamp::nth(number, self.0)
    }
}

/// Requests admitted, by sub-window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Sensor {
    /// The number of the sub-window that the first count is of.
    newest: u64,
    /// The newest first.
    counts: [u32; KEPT as usize],
    /// The sum of all counts.
    total: u64,
}

impl Sensor {
    /// A sensor that has seen nothing.
    pub(crate) const EMPTY: Self = Self { newest: 0, counts: [0; KEPT as usize], total: 0 };

    /// A sensor of these counts, the newest first.
    fn new(newest: u64, counts: [u32; KEPT as usize]) -> Self {
        Self { newest, counts, total: sum(&counts) }
    }

    /// The number of the newest sub-window; then the counts, the newest first.
    pub(crate) fn words(&self) -> Vec<u64> {
        core::iter::once(self.newest).chain(self.counts.map(u64::from)).collect()
    }

    /// Reads a sensor from its [`words`](Self::words).
    pub(crate) fn read(input: &mut Reader<'_>) -> Option<Self> {
        let newest = input.number()?;
        let mut counts = Self::EMPTY.counts;
        for count in &mut counts {
            *count = u32::try_from(input.number()?).ok()?;
        }
        Some(Self::new(newest, counts))
    }

    /// Requests admitted in the adaptive window that ends in sub-window `number`.
    pub(crate) fn admitted(&self, number: u64) -> u64 {
        self.total.saturating_sub(sum(self.gone_by(number)))
    }

    /// The counts that sub-window `number` finds too old.
    fn gone_by(&self, number: u64) -> &[u32] {
        let passed = usize::try_from(number.saturating_sub(self.newest)).unwrap_or(usize::MAX);
        let kept = self.counts.len().saturating_sub(passed);
        self.counts.split_at(kept).1
    }

    /// The same for sub-window `number` and each of those after it, if nothing more is admitted,
    /// down to none.
    pub(crate) fn falling(&self, number: u64) -> impl Iterator<Item = (u64, u64)> {
        let mut left = self.admitted(number);
        let kept = self.counts.len().saturating_sub(self.gone_by(number).len());
        let leave = self.counts.iter().take(kept).rev().map(move |&count| {
            left = left.saturating_sub(count.into());
            left
        });
        (number..).zip(core::iter::once(left).chain(leave))
    }

    /// Requests admitted in sub-window `number` and later; as many as can be if it has forgotten.
    pub(crate) fn admitted_since(&self, number: u64) -> u64 {
        let Some(later) = self.newest.checked_sub(number) else { return 0 };
        if u64::from(KEPT) <= later {
            return u64::MAX;
        }
        let kept = usize::try_from(later.saturating_add(1)).unwrap_or(usize::MAX);
        self.counts.get(..kept).map_or(0, sum)
    }

    /// Counts one request in sub-window `number`.
    pub(crate) fn record(&mut self, number: u64) {
        if self.newest < number {
            self.total = self.admitted(number);
            let gone = self.gone_by(number).len();
            self.counts.rotate_right(gone);
            self.counts.iter_mut().take(gone).for_each(|count| *count = 0);
            self.newest = number;
        }
        let [newest, ..] = &mut self.counts;
        if *newest < u32::MAX {
            *newest = newest.saturating_add(1);
            self.total = self.total.saturating_add(1);
        }
    }

    /// Adds the counts of sub-windows later than `number` to that one's.
    pub(crate) fn rewind(&mut self, number: u64) {
        if self.newest <= number {
            return;
        }
        let late = usize::try_from(self.newest.saturating_sub(number)).unwrap_or(usize::MAX);
        let late = late.min(self.counts.len());
        let moved = self.counts.iter_mut().take(late).map(core::mem::take);
        let moved = moved.fold(0, u32::saturating_add);
        self.counts.rotate_left(late);
        let [newest, ..] = &mut self.counts;
        *newest = newest.saturating_add(moved);
        *self = Self::new(number, self.counts);
    }

    /// The number of the sub-window that finds the sensor empty, or `None` if it is.
    fn empties(&self) -> Option<u64> {
        let age = self.counts.iter().position(|&count| 0 < count)?;
        let kept = u64::from(KEPT).saturating_sub(u64::try_from(age).unwrap_or(u64::MAX));
        Some(self.newest.saturating_add(kept))
    }

    /// Reads counts of sub-windows `from` as one count in the sub-window `to` of `now`.
    pub(crate) fn adopt(&mut self, from: SubWindow, to: SubWindow, now: Timestamp) {
        if from != to {
            let admitted = u32::try_from(self.admitted(from.number(now))).unwrap_or(u32::MAX);
            let mut counts = Self::EMPTY.counts;
            let [newest, ..] = &mut counts;
            *newest = admitted;
            *self = Self::new(to.number(now), counts);
        }
    }

    /// Counts in the adaptive window that ends in sub-window `number`, and in each part of it that
    /// ends there, as many requests as the one of both sensors that counts more.
    pub(crate) fn join(&mut self, other: &Self, number: u64) {
        let (one, other) = (self.counts_by(number), other.counts_by(number));
        let mut counts = Self::EMPTY.counts;
        let (mut one_sum, mut other_sum, mut before) = (0_u64, 0_u64, 0_u64);
        for (count, (one, other)) in counts.iter_mut().zip(one.into_iter().zip(other)) {
            one_sum = one_sum.saturating_add(one.into());
            other_sum = other_sum.saturating_add(other.into());
            let sum = one_sum.max(other_sum);
            *count = u32::try_from(sum.saturating_sub(before)).unwrap_or(u32::MAX);
            before = sum;
        }
        *self = Self::new(number, counts);
    }

    /// The counts of sub-window `number` and of those before it.
    fn counts_by(&self, number: u64) -> [u32; KEPT as usize] {
        let gone = self.gone_by(number).len();
        let mut counts = Self::EMPTY.counts;
        for (count, kept) in counts.iter_mut().skip(gone).zip(&self.counts) {
            *count = *kept;
        }
        counts
    }

    /// The time from `now` until the sensor is empty.
    pub(crate) fn lifetime(&self, sub_window: SubWindow, now: Timestamp) -> Micros {
        self.empties().map_or(Micros::ZERO, |number| sub_window.start(number) - now)
    }
}

fn sum(counts: &[u32]) -> u64 {
    counts.iter().map(|&count| u64::from(count)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_is_full_stays_as_it_is_and_so_does_the_total() {
        let mut counts = Sensor::EMPTY.counts;
        counts[0] = u32::MAX;
        let mut sensor = Sensor::new(7, counts);
        sensor.record(7);
        assert_eq!(sensor, Sensor::new(7, counts));
    }
}
