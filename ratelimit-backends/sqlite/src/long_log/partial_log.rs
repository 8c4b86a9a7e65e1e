//! As much of a long log as a decision depends on.
//!
//! Most depend on what counts in all, on the oldest entry that counts, and on the newest. The segment
//! of the oldest is looked for and read, and all between it and the record's row is one part that is
//! hidden: of that is known how many entries it has, what they cost, and between which two others
//! they were made. Where that is not enough, parts of it are read.

use std::ops::Range;

use ratelimit_core::{
    Micros, StateError, Timestamp,
    store::{LogSegment, Record},
};

use crate::{
    error::Failure,
    long_log::segments::{ENTRIES, Past, Segments, Stored},
};

/// A record whose log is known in parts.
#[derive(Debug)]
pub(crate) struct Excerpt<'a> {
    segments: Segments<'a>,
    past: Past,
    /// The record without its log.
    rest: Record,
    /// What counts of the log, oldest first; and last the entries of the record's row.
    parts: Vec<Part>,
    /// How many entries before these are gone once there is a charge.
    expired: u64,
}

#[derive(Debug)]
enum Part {
    Shown(LogSegment),
    Hidden(Hidden),
}

/// Segments that were not read.
#[derive(Debug)]
pub(crate) struct Hidden {
    numbers: Range<u64>,
    /// What all entries before them cost, and all up to their last.
    costs: Range<u64>,
    /// No entry was made before.
    earliest: Timestamp,
    /// No entry was made after.
    latest: Timestamp,
}

impl<'a> Excerpt<'a> {
    /// What is known of a record at first; `None` if its row does not have all entries from `now`
    /// on, since the clock has stepped back.
    pub(crate) fn open(
        segments: Segments<'a>,
        past: Past,
        mut rest: Record,
        now: Timestamp,
    ) -> Result<Option<Self>, Failure> {
        let newest = rest.take_log().ok_or(StateError::Corrupt)?;
        let since = newest.oldest().ok_or(StateError::Corrupt)?;
        if now < since {
            return Ok(None);
        }
        let mut excerpt = Self { segments, past, rest, parts: Vec::new(), expired: past.entries };
        if let Some((number, Stored { mut entries, cost })) = excerpt.first_that_counts(now)? {
            let is_first = number == past.numbers().start;
            let gone = if is_first { past.gone_of_first() } else { 0 };
            let gone = gone.max(excerpt.rest.expired(&entries, now));
            let _ = entries.split_off_oldest(gone);
            excerpt.expired = number * ENTRIES as u64 + gone as u64;
            let others = Hidden {
                numbers: number + 1..past.numbers().end,
                costs: cost..past.cost,
                earliest: after(&entries)?,
                latest: since - MOMENT,
            };
            excerpt.parts.push(Part::Shown(entries));
            if !others.numbers.is_empty() {
                excerpt.parts.push(Part::Hidden(others));
            }
        }
        excerpt.parts.push(Part::Shown(newest));
        Ok(Some(excerpt))
    }

    /// The first segment of which something counts: most often it is near, so steps double until one
    /// is found.
    fn first_that_counts(&self, now: Timestamp) -> Result<Option<(u64, Stored)>, Failure> {
        let Range { mut start, mut end } = self.past.numbers();
        let (mut step, mut found) = (1, None);
        while start < end {
            let number = match found {
                None => start.saturating_add(step).min(end) - 1,
                Some(_) => start.midpoint(end),
            };
            let segment = self.segments.read(number)?;
            if self.rest.expired(&segment.entries, now) == ENTRIES {
                (start, step) = (number + 1, 2 * step);
            } else {
                (end, found) = (number, Some((number, segment)));
            }
        }
        Ok(found)
    }

    /// The record. In it one entry stands for each hidden part, made as early as may be, or as late.
    pub(crate) fn record(&self, is_late: impl Fn(usize) -> bool) -> Result<Record, StateError> {
        let mut segments = Vec::with_capacity(self.parts.len());
        let mut hidden = 0;
        for (index, part) in self.parts.iter().enumerate() {
            segments.push(match part {
                Part::Shown(segment) => segment.clone(),
                Part::Hidden(part) => {
                    hidden += part.entries() - 1;
                    part.merged(is_late(index))?
                }
            });
        }
        let hidden = usize::try_from(hidden).map_err(|_| StateError::Corrupt)?;
        Ok(self.rest.clone().with_log(segments)?.hiding(hidden))
    }

    /// The parts that are hidden, and their places.
    pub(crate) fn hidden(&self) -> impl Iterator<Item = (usize, &Hidden)> {
        self.parts.iter().enumerate().filter_map(|(index, part)| match part {
            Part::Hidden(hidden) => Some((index, hidden)),
            Part::Shown(_) => None,
        })
    }

    /// The hidden part that a request has to wait for which fits from `fit` on, if it is one.
    pub(crate) fn awaited(&self, fit: Timestamp) -> Option<usize> {
        let is_awaited = |&(_, part): &(usize, &Hidden)| {
            part.merged(false).is_ok_and(|entry| {
                let is_gone = |now| self.rest.expired(&entry, now) == 1;
                is_gone(fit) && !is_gone(fit - MOMENT)
            })
        };
        self.hidden().find(is_awaited).map(|(index, _)| index)
    }

    /// Divides a hidden part in two; or shows it, if it is one segment.
    pub(crate) fn reveal(&mut self, part: usize) -> Result<(), Failure> {
        let Some(Part::Hidden(hidden)) = self.parts.get(part) else { return Ok(()) };
        let Hidden { numbers, costs, earliest, latest } = hidden;
        let middle = numbers.start.midpoint(numbers.end - 1);
        let Stored { entries, cost } = self.segments.read(middle)?;
        if numbers.end == numbers.start + 1 {
            self.parts[part] = Part::Shown(entries);
            return Ok(());
        }
        let sooner = Hidden {
            numbers: numbers.start..middle + 1,
            costs: costs.start..cost,
            earliest: *earliest,
            latest: entries.newest().ok_or(StateError::Corrupt)?,
        };
        let later = Hidden {
            numbers: middle + 1..numbers.end,
            costs: cost..costs.end,
            earliest: after(&entries)?,
            latest: *latest,
        };
        self.parts.splice(part..=part, [sooner, later].map(Part::Hidden));
        Ok(())
    }

    /// Leaves of a log that [`record`](Self::record) has shown what the row is to keep, and tells of
    /// what is before that. A charge drops what has expired.
    pub(crate) fn split_off_past(&self, log: &mut LogSegment, is_charged: bool) -> Past {
        let entries = |part: &Part| match part {
            Part::Shown(segment) => segment.len(),
            Part::Hidden(_) => 1,
        };
        let past = self.parts.split_last().map_or(&[][..], |(_, past)| past);
        let _ = log.split_off_oldest(past.iter().map(entries).sum());
        let gone = if is_charged { self.expired } else { self.past.gone };
        if gone < self.past.entries { Past { gone, ..self.past } } else { Past::default() }
    }
}

impl Hidden {
    fn entries(&self) -> u64 {
        (self.numbers.end - self.numbers.start).saturating_mul(ENTRIES as u64)
    }

    fn merged(&self, is_late: bool) -> Result<LogSegment, StateError> {
        let at = if is_late { self.latest } else { self.earliest };
        LogSegment::merged(at, self.costs.end.wrapping_sub(self.costs.start))
    }
}

/// The first moment after the last entry.
fn after(segment: &LogSegment) -> Result<Timestamp, StateError> {
    segment.newest().map(|newest| newest + MOMENT).ok_or(StateError::Corrupt)
}

/// No two entries are of the same microsecond.
const MOMENT: Micros = Micros::new(1);
