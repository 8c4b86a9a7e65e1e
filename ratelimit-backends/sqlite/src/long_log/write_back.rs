//! Writing back what a decision has left of a long log.

use std::collections::BTreeMap;

use ratelimit_core::{StateError, Timestamp, store::Record};

use super::{
    outline::{Address, BITS, Charge, FAN, Outline, Sum},
    partial_log::{Fate, Next, PartialLog},
    segments::{Segments, segment_of},
};
use crate::error::Failure;

/// The segments of a record, while they are changed.
struct Tree<'a> {
    segments: Segments<'a>,
    outline: Outline,
    /// Those of the outline, and of the nodes that are known.
    sums: BTreeMap<Address, Sum>,
}

impl PartialLog<'_> {
    /// Writes the segments and nodes that `next` changes; returns the record that the row is to keep,
    /// and the outline, if it still needs one.
    pub(crate) fn save(self, next: Next) -> Result<(Record, Option<Outline>), Failure> {
        let Self { segments, outline, parts, sums_read, .. } = self;
        let Next { record, parts: fates, mut row } = next;
        let sums = outline.sums().chain(sums_read).collect();
        let mut tree = Tree { segments, outline, sums };
        let is_left = |fate: &Fate| *fate != Fate::Gone;
        if let (Some(first), Some(last)) =
            (fates.iter().position(is_left), fates.iter().rposition(is_left))
        {
            let (start, end) = (parts[first].start(), parts[last].end());
            tree.outline.since = parts[first].first_left(&fates[first]);
            // After a step back the first may be older than others that are gone.
            tree.sums.retain(|address, _| start < address.end());
            for (index, (part, fate)) in parts.iter().zip(&fates).enumerate() {
                if let (Fate::Changed(left), Some(before)) = (fate, &part.charges) {
                    // If only the oldest are gone, the outline says so.
                    if 0 < index || !before.ends_with(left) {
                        tree.replace(part.address().ok_or(StateError::Corrupt)?, left)?;
                    }
                }
            }
            tree.truncate(end)?;
            tree.move_out(&mut row)?;
            tree.delete_oldest(start)?;
        } else {
            tree.outline.since = Timestamp::EPOCH;
            tree.sums.clear();
            tree.delete_oldest(tree.outline.segments)?;
            tree.move_out(&mut row)?;
        }
        Ok((record.with_log(segment_of(&row)?)?, tree.into_outline()))
    }
}

/// Moves entries of a record, which its row has kept alone, into segments.
pub(crate) fn split(
    segments: Segments<'_>,
    mut record: Record,
) -> Result<(Record, Option<Outline>), Failure> {
    let Some(log) = record.take_log() else { return Ok((record, None)) };
    let mut row = log.entries().collect();
    let mut tree = Tree { segments, outline: Outline::EMPTY, sums: BTreeMap::new() };
    tree.move_out(&mut row)?;
    Ok((record.with_log(segment_of(&row)?)?, tree.into_outline()))
}

impl Tree<'_> {
    /// Puts `charges` in place of those of a segment.
    fn replace(&mut self, mut address: Address, charges: &[Charge]) -> Result<(), Failure> {
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
        let sums = self.sums_of(level, start..start + FAN as u64);
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
    fn move_out(&mut self, row: &mut Vec<Charge>) -> Result<(), Failure> {
        while ROW_ENTRIES_MAX <= row.len() {
            let charges: Vec<_> = row.drain(..FAN).collect();
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

    /// The outline; `None` if nothing is left of the segments.
    fn into_outline(mut self) -> Option<Outline> {
        let open = |level| {
            let end = self.outline.segments >> (BITS * level);
            let mut sums = self.sums_of(level, end & !(FAN as u64 - 1)..end);
            sums.retain(|sum| self.outline.since <= sum.newest);
            sums
        };
        self.outline.sums = (0..self.outline.levels()).map(open).collect();
        (self.outline.deleted < self.outline.segments).then_some(self.outline)
    }

    fn sums_of(&self, level: u32, numbers: std::ops::Range<u64>) -> Vec<Sum> {
        let [start, end] = [numbers.start, numbers.end].map(|number| Address { level, number });
        self.sums.range(start..end).map(|(_, &sum)| sum).collect()
    }
}

/// With so many entries in a row, the oldest of them move out.
const ROW_ENTRIES_MAX: usize = 2 * FAN;

/// Segments that one decision deletes: more than it adds, and few enough that nobody waits.
const DELETED_MAX: u64 = 64;
