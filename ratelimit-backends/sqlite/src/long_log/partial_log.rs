//! A long log of which some parts have been read.

use ratelimit_core::{
    Micros, Policy, StateError, Timestamp,
    store::{LogSegment, Record},
};

use super::{
    outline::{Address, Charge, FAN, Outline, Sum},
    segments::Segments,
};
use crate::error::Failure;

/// A record whose log is known in parts.
#[derive(Debug)]
pub(crate) struct PartialLog<'a> {
    pub(super) segments: Segments<'a>,
    pub(super) outline: Outline,
    /// The record without its log.
    rest: Record,
    /// The entries before those of the row, oldest first.
    pub(super) parts: Vec<Part>,
    row: Vec<Charge>,
    /// Those of the nodes that have been read.
    pub(super) sums_read: Vec<(Address, Sum)>,
}

/// Consecutive segments and nodes, or one segment that has been read.
#[derive(Debug)]
pub(super) struct Part {
    /// At least one.
    sums: Vec<(Address, Sum)>,
    total: Sum,
    /// No entry was made before this instant.
    earliest: Timestamp,
    /// `None` unless they have been read.
    pub(super) charges: Option<Vec<Charge>>,
}

/// The record as a decision leaves it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Next {
    /// The record, without its log if that is known in parts.
    pub(crate) record: Record,
    pub(super) parts: Vec<Fate>,
    pub(super) row: Vec<Charge>,
}

/// The part as a decision leaves it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Kept,
    Gone,
    Changed(Vec<Charge>),
}

impl Next {
    /// A record that is kept whole.
    pub(crate) const fn whole(record: Record) -> Self {
        Self { record, parts: Vec::new(), row: Vec::new() }
    }
}

impl<'a> PartialLog<'a> {
    /// Opens a record of which `outline` has been read. The first segment is always known: some of it
    /// may be gone, and its sum does not say how much.
    pub(crate) fn open(
        segments: Segments<'a>,
        outline: Outline,
        mut rest: Record,
    ) -> Result<Self, Failure> {
        let row = rest.take_log().ok_or(StateError::Corrupt)?.entries().collect();
        let parts = Part::new(outline.sums(), outline.since).into_iter().collect();
        let mut log = Self { segments, outline, rest, parts, row, sums_read: Vec::new() };
        while let Some(first) = log.parts.first()
            && first.charges.is_none()
        {
            if 1 < first.sums.len() { log.split_part(0, 1) } else { log.read_part(0)? }
        }
        Ok(log)
    }

    /// The record, with one entry for each part that has not been read: as new as it may be where
    /// `is_late`, as old as it may be elsewhere.
    pub(crate) fn suppose(&self, is_late: impl Fn(usize) -> bool) -> Result<Record, StateError> {
        let mut entries = Vec::with_capacity(self.parts.len() + 2 * FAN + self.row.len());
        let one = |&(at, cost): &Charge| (at, cost, 1);
        for (index, part) in self.parts.iter().enumerate() {
            match &part.charges {
                Some(charges) => entries.extend(charges.iter().map(one)),
                None => {
                    let at = part.newest(is_late(index));
                    entries.push((at, part.total.cost, part.total.entries));
                }
            }
        }
        entries.extend(self.row.iter().map(one));
        self.rest.clone().with_log(LogSegment::from_entries(entries)?)
    }

    /// The change that `record` leaves, where [`suppose`](Self::suppose) has led to it.
    pub(crate) fn next(
        &self,
        mut record: Record,
        is_late: impl Fn(usize) -> bool,
    ) -> Result<Next, StateError> {
        let log = record.take_log().ok_or(StateError::Corrupt)?;
        let entries: Vec<_> = log.entries().collect();
        let mut entries = &entries[..];
        let mut fates = Vec::with_capacity(self.parts.len());
        for (index, part) in self.parts.iter().enumerate() {
            let newest = part.newest(is_late(index));
            let (left, others) = entries.split_at(entries.partition_point(|&(at, _)| at <= newest));
            let is_kept = match &part.charges {
                Some(charges) => left == charges,
                None => left == [(newest, part.total.cost)],
            };
            fates.push(match left {
                _ if is_kept => Fate::Kept,
                [] => Fate::Gone,
                left => Fate::Changed(left.to_vec()),
            });
            entries = others;
        }
        Ok(Next { parts: fates, row: entries.to_vec(), record })
    }

    /// The parts that have not been read.
    pub(crate) fn hidden(&self) -> impl DoubleEndedIterator<Item = usize> {
        (0..self.parts.len()).filter(|&index| self.parts[index].charges.is_none())
    }

    /// Learns more of a part: takes it apart, or reads what it consists of.
    pub(crate) fn reveal(&mut self, index: usize) -> Result<(), Failure> {
        let sums = self.parts[index].sums.len();
        for sum in (1..sums).rev() {
            self.split_part(index, sum);
        }
        if sums == 1 { self.read_part(index) } else { Ok(()) }
    }

    /// Reveals the parts that `next` changes; returns false if it changes none of them.
    pub(crate) fn reveal_changed(&mut self, next: &Next) -> Result<bool, Failure> {
        let is_changed = |index: &usize| matches!(next.parts[*index], Fate::Changed(_));
        let changed: Vec<_> = self.hidden().filter(is_changed).collect();
        // Backwards, since those behind a part move on when it is revealed.
        for &index in changed.iter().rev() {
            self.reveal(index)?;
        }
        Ok(!changed.is_empty())
    }

    /// Reads the segment in which an entry of the instant `at` would be.
    pub(crate) fn reveal_around(&mut self, at: Timestamp) -> Result<(), Failure> {
        loop {
            let is_around = |&index: &usize| {
                let Part { earliest, total, .. } = &self.parts[index];
                *earliest <= at && at <= total.newest
            };
            let Some(index) = self.hidden().find(is_around) else { return Ok(()) };
            self.reveal(index)?;
        }
    }

    /// Reads what has to be known of each entry when the record is read under `policy`.
    pub(crate) fn reveal_for(&mut self, policy: &Policy) -> Result<(), Failure> {
        let apart = self.rest.entries_apart(policy);
        while let Some(index) = self.hidden_behind(apart) {
            self.reveal(index)?;
        }
        Ok(())
    }

    /// The part with the entry that comes before so many of the newest, if it has not been read; if
    /// they are none at all, any part that has not.
    fn hidden_behind(&self, apart: u64) -> Option<usize> {
        if apart == 0 {
            return self.hidden().last();
        }
        let mut newer = self.row.len() as u64;
        for (index, part) in self.parts.iter().enumerate().rev() {
            let entries =
                part.charges.as_ref().map_or(part.total.entries, |some| some.len() as u64);
            newer = newer.saturating_add(entries);
            if apart < newer {
                return Some(index).filter(|_| part.charges.is_none());
            }
        }
        None
    }

    fn split_part(&mut self, index: usize, at: usize) {
        let Part { sums, earliest, .. } = &mut self.parts[index];
        let (earliest, later) = (*earliest, sums.split_off(at));
        let sooner = std::mem::take(sums);
        let middle = sooner.last().map_or(earliest, |(_, sum)| sum.newest + MOMENT);
        let halves = [Part::new(sooner, earliest), Part::new(later, middle)];
        self.parts.splice(index..=index, halves.into_iter().flatten());
    }

    /// Reads the segment or node that a part consists of.
    fn read_part(&mut self, index: usize) -> Result<(), Failure> {
        let Part { sums, total, earliest, .. } = &self.parts[index];
        let (&(address, _), earliest) = (sums.first().ok_or(StateError::Corrupt)?, *earliest);
        if address.level == 0 {
            let mut charges = self.segments.charges(address)?;
            verify(Sum::of(&charges) == Some(*total))?;
            charges.retain(|&(at, _)| self.outline.since <= at);
            self.parts[index].charges = Some(charges);
            return Ok(());
        }
        let sums = self.segments.sums(address)?;
        verify(Sum::total(sums.iter().copied()) == Some(*total))?;
        let first = self.sums_read.len();
        self.sums_read.extend(address.children(sums.len()).zip(sums));
        let children = Part::new(self.sums_read[first..].iter().copied(), earliest);
        self.parts.splice(index..=index, children);
        Ok(())
    }
}

impl Part {
    /// A part of which only the sums are known; `None` if it has no entry from `earliest` on.
    fn new(sums: impl IntoIterator<Item = (Address, Sum)>, earliest: Timestamp) -> Option<Self> {
        let is_left = |(_, sum): &(_, Sum)| earliest <= sum.newest && 0 < sum.entries;
        let sums: Vec<_> = sums.into_iter().filter(is_left).collect();
        let total = Sum::total(sums.iter().map(|&(_, sum)| sum))?;
        Some(Self { sums, total, earliest, charges: None })
    }

    /// The first segment of it.
    pub(super) fn start(&self) -> u64 {
        self.sums.first().map_or(0, |(address, _)| address.start())
    }

    /// The first segment behind it.
    pub(super) fn end(&self) -> u64 {
        self.sums.last().map_or(0, |(address, _)| address.end())
    }

    /// The address of a segment that has been read.
    pub(super) fn address(&self) -> Option<Address> {
        self.sums.first().map(|&(address, _)| address)
    }

    /// The instant of its last entry, as it is known or supposed.
    fn newest(&self, is_late: bool) -> Timestamp {
        match self.charges.as_ref().and_then(|charges| charges.last()) {
            Some(&(at, _)) => at,
            None if is_late => self.total.newest,
            None => self.earliest,
        }
    }

    /// The instant before which nothing is left.
    pub(super) fn first_left(&self, fate: &Fate) -> Timestamp {
        let charges =
            if let Fate::Changed(left) = fate { Some(left) } else { self.charges.as_ref() };
        charges.and_then(|charges| charges.first()).map_or(self.earliest, |&(at, _)| at)
    }
}

fn verify(is_right: bool) -> Result<(), StateError> {
    if is_right { Ok(()) } else { Err(StateError::Corrupt) }
}

/// No two entries are of the same microsecond.
const MOMENT: Micros = Micros::new(1);
