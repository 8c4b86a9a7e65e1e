//! A long log of which some parts have been read.

use std::collections::BTreeMap;

use ratelimit_core::{
    Micros, StateError, Timestamp,
    store::{LogSegment, Record},
};

use super::{
    outline::{Address, BITS, Charge, FAN, Outline, Sum},
    segments::{Segments, segment_of},
};
use crate::error::Failure;

/// A record whose log is known in parts.
#[derive(Debug)]
pub(crate) struct PartialLog<'a> {
    segments: Segments<'a>,
    outline: Outline,
    /// The record without its log.
    rest: Record,
    /// The entries before those of the row, oldest first.
    parts: Vec<Part>,
    row: Vec<Charge>,
    /// Those of the outline, and of the nodes that have been read.
    sums: BTreeMap<Address, Sum>,
}

#[derive(Debug)]
struct Part {
    address: Address,
    sum: Sum,
    /// No entry was made before this instant.
    earliest: Timestamp,
    /// `None` unless they have been read.
    charges: Option<Vec<Charge>>,
}

/// What a decision leaves of a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Next {
    /// The record, without its log if that is known in parts.
    pub(crate) record: Record,
    parts: Vec<Fate>,
    row: Vec<Charge>,
}

/// What a decision leaves of a part.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Fate {
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
    /// Opens a record of which `outline` has been read. The first part is always known: some of it
    /// may be gone, and its sum does not say how much.
    pub(crate) fn open(
        segments: Segments<'a>,
        outline: Outline,
        mut rest: Record,
    ) -> Result<Self, Failure> {
        let row = rest.take_log().ok_or(StateError::Corrupt)?.entries().collect();
        let sums: BTreeMap<_, _> = outline.sums().collect();
        let parts = parts(outline.sums(), outline.since);
        let mut log = Self { segments, outline, rest, parts, row, sums };
        while log.parts.first().is_some_and(|part| part.charges.is_none()) {
            log.read(0)?;
        }
        Ok(log)
    }

    /// Moves entries of a record, which its row has kept alone, into segments.
    pub(crate) fn split(
        segments: Segments<'a>,
        mut record: Record,
    ) -> Result<(Record, Option<Outline>), Failure> {
        let Some(log) = record.take_log() else { return Ok((record, None)) };
        let next = Next { row: log.entries().collect(), ..Next::whole(record.clone()) };
        Self::open(segments, Outline::EMPTY, record)?.save(next)
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
                    entries.push((part.newest(is_late(index)), part.sum.cost, part.sum.entries));
                }
            }
        }
        entries.extend(self.row.iter().map(one));
        self.rest.clone().with_log(LogSegment::from_entries(entries)?)
    }

    /// What `record` leaves, where [`suppose`](Self::suppose) has led to it.
    pub(crate) fn next(
        &self,
        mut record: Record,
        is_late: impl Fn(usize) -> bool,
    ) -> Result<Next, StateError> {
        let log = record.take_log().ok_or(StateError::Corrupt)?;
        let mut entries = log.entries().peekable();
        let mut fates = Vec::with_capacity(self.parts.len());
        for (index, part) in self.parts.iter().enumerate() {
            let newest = part.newest(is_late(index));
            let left: Vec<_> =
                std::iter::from_fn(|| entries.next_if(|&(at, _)| at <= newest)).collect();
            let is_kept = match &part.charges {
                Some(charges) => left == *charges,
                None => left == [(newest, part.sum.cost)],
            };
            fates.push(match left {
                _ if is_kept => Fate::Kept,
                left if left.is_empty() => Fate::Gone,
                left => Fate::Changed(left),
            });
        }
        Ok(Next { parts: fates, row: entries.collect(), record })
    }

    /// The parts that have not been read.
    pub(crate) fn hidden(&self) -> impl Iterator<Item = usize> {
        (0..self.parts.len()).filter(|&index| self.parts[index].charges.is_none())
    }

    /// Reads one more part: the entries of a segment, or the sums of a node.
    pub(crate) fn read(&mut self, index: usize) -> Result<(), Failure> {
        let Part { address, sum, earliest, .. } = self.parts[index];
        if address.level == 0 {
            let mut charges = self.segments.charges(address)?;
            verify(Sum::of(&charges) == Some(sum))?;
            charges.retain(|&(at, _)| self.outline.since <= at);
            self.parts[index].charges = Some(charges);
            return Ok(());
        }
        let sums = self.segments.sums(address)?;
        verify(Sum::total(sums.iter().copied()) == Some(sum))?;
        let children: Vec<_> = address.children(sums.len()).zip(sums).collect();
        self.sums.extend(children.iter().copied());
        self.parts.splice(index..=index, parts(children, earliest));
        Ok(())
    }

    /// Reads the parts that `next` changes; returns false if there are none that were not read.
    pub(crate) fn read_changed(&mut self, next: &Next) -> Result<bool, Failure> {
        let is_changed = |index: &usize| matches!(next.parts[*index], Fate::Changed(_));
        let changed: Vec<_> = self.hidden().filter(is_changed).collect();
        // Backwards, since those behind a part move on when it is read.
        for &index in changed.iter().rev() {
            self.read(index)?;
        }
        Ok(!changed.is_empty())
    }

    /// Reads the segment in which an entry of the instant `at` would be.
    pub(crate) fn read_around(&mut self, at: Timestamp) -> Result<(), Failure> {
        loop {
            let is_around = |&index: &usize| {
                let Part { earliest, sum, .. } = &self.parts[index];
                *earliest <= at && at <= sum.newest
            };
            let Some(index) = self.hidden().find(is_around) else { return Ok(()) };
            self.read(index)?;
        }
    }

    /// Writes the segments and nodes that `next` changes; returns the record that the row is to keep,
    /// and the outline, if it still needs one.
    pub(crate) fn save(mut self, next: Next) -> Result<(Record, Option<Outline>), Failure> {
        let Next { record, parts: fates, row } = next;
        self.row = row;
        let is_left = |fate: &Fate| *fate != Fate::Gone;
        if let (Some(first), Some(last)) =
            (fates.iter().position(is_left), fates.iter().rposition(is_left))
        {
            let (start, end) = (self.parts[first].address.start(), self.parts[last].address.end());
            self.outline.since = self.parts[first].first_left(&fates[first]);
            // After a step back the first may be older than others that are gone.
            self.sums.retain(|address, _| start < address.end());
            for (index, fate) in fates.into_iter().enumerate() {
                if let Fate::Changed(charges) = fate {
                    self.replace(index, &charges)?;
                }
            }
            self.truncate(end)?;
            self.move_out()?;
            self.delete_oldest(start)?;
        } else {
            self.outline.since = Timestamp::EPOCH;
            self.sums.clear();
            self.delete_oldest(self.outline.segments)?;
            self.move_out()?;
        }
        self.outline.sums = self.open_sums();
        let record = record.with_log(segment_of(&self.row)?)?;
        let is_needed = self.outline.deleted < self.outline.segments;
        Ok((record, is_needed.then_some(self.outline)))
    }

    /// Puts `charges` in the place of those of a part that was read.
    fn replace(&mut self, index: usize, charges: &[Charge]) -> Result<(), Failure> {
        let Part { address, charges: before, .. } = &mut self.parts[index];
        let is_suffix = before.as_ref().is_some_and(|before| before.ends_with(charges));
        if index == 0 && is_suffix {
            // The others are gone, and the outline says so.
            return Ok(());
        }
        let mut address = *address;
        self.segments.write_charges(address, charges)?;
        let mut sum = Sum::of(charges);
        while let Some(changed) = sum {
            self.sums.insert(address, changed);
            address = address.parent();
            // There is none above the outline.
            sum = self.sums.contains_key(&address).then(|| self.write_node(address)).transpose()?;
        }
        Ok(())
    }

    /// Writes a node, and returns its sum.
    fn write_node(&self, address: Address) -> Result<Sum, Failure> {
        let (level, start) = (address.level - 1, address.number << BITS);
        let children =
            Address { level, number: start }..Address { level, number: start + FAN as u64 };
        let sums: Vec<_> = self.sums.range(children).map(|(_, &sum)| sum).collect();
        self.segments.write_sums(address, &sums)?;
        Ok(Sum::total(sums).ok_or(StateError::Corrupt)?)
    }

    /// Deletes the segments from `end` on.
    fn truncate(&mut self, end: u64) -> Result<(), Failure> {
        if end < self.outline.segments {
            for level in 0..self.outline.levels() {
                let number = end >> (BITS * level);
                self.segments.delete_from(Address { level, number })?;
            }
            self.sums.retain(|address, _| address.end() <= end);
            self.outline.segments = end;
        }
        Ok(())
    }

    /// Moves the oldest entries of a row that has too many into new segments.
    fn move_out(&mut self) -> Result<(), Failure> {
        while ROW_ENTRIES_MAX <= self.row.len() {
            let charges: Vec<_> = self.row.drain(..FAN).collect();
            let mut address = Address { level: 0, number: self.outline.segments };
            self.segments.write_charges(address, &charges)?;
            self.sums.extend(Sum::of(&charges).map(|sum| (address, sum)));
            self.outline.segments += 1;
            while address.end() == address.parent().end() {
                address = address.parent();
                let sum = self.write_node(address)?;
                self.sums.insert(address, sum);
            }
        }
        Ok(())
    }

    /// Deletes some of the segments before `end`, oldest first.
    fn delete_oldest(&mut self, end: u64) -> Result<(), Failure> {
        let segments = end.saturating_sub(self.outline.deleted).min(DELETED_MAX);
        self.segments.delete_oldest(&mut self.outline, segments)
    }

    /// The sums that belong to no node, and are not gone.
    fn open_sums(&self) -> Vec<Vec<Sum>> {
        let open = |level| {
            let end = self.outline.segments >> (BITS * level);
            let start = end & !(FAN as u64 - 1);
            let level =
                self.sums.range(Address { level, number: start }..Address { level, number: end });
            level.map(|(_, &sum)| sum).filter(|sum| self.outline.since <= sum.newest).collect()
        };
        (0..self.outline.levels()).map(open).collect()
    }
}

impl Part {
    /// The instant of its last entry, as it is known or supposed.
    fn newest(&self, is_late: bool) -> Timestamp {
        match self.charges.as_ref().and_then(|charges| charges.last()) {
            Some(&(at, _)) => at,
            None if is_late => self.sum.newest,
            None => self.earliest,
        }
    }

    /// The instant before which nothing is left.
    fn first_left(&self, fate: &Fate) -> Timestamp {
        let charges =
            if let Fate::Changed(left) = fate { Some(left) } else { self.charges.as_ref() };
        charges.and_then(|charges| charges.first()).map_or(self.earliest, |&(at, _)| at)
    }
}

/// Parts of which only the sums are known; the first has no entry before `earliest`.
fn parts(sums: impl IntoIterator<Item = (Address, Sum)>, mut earliest: Timestamp) -> Vec<Part> {
    let mut parts = Vec::new();
    for (address, sum) in sums {
        if earliest <= sum.newest && 0 < sum.entries {
            parts.push(Part { address, sum, earliest, charges: None });
        }
        earliest = earliest.max(sum.newest + MOMENT);
    }
    parts
}

fn verify(is_right: bool) -> Result<(), StateError> {
    if is_right { Ok(()) } else { Err(StateError::Corrupt) }
}

/// No two entries are of the same microsecond.
const MOMENT: Micros = Micros::new(1);

/// With so many entries in a row, the oldest of them move out.
const ROW_ENTRIES_MAX: usize = 3 * FAN;

/// Segments that one decision deletes: more than it adds, and few enough that nobody waits.
const DELETED_MAX: u64 = 64;
