//! Which entries of a log go where.

use ratelimit_core::{StateError, store::Record};

use crate::{
    error::Failure,
    long_log::partial_log::Excerpt,
    long_log::segments::{ENTRIES, Past, Segments, Stored},
};

/// What is to be stored of a record.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The record, with those entries of its log that its row is to keep.
    pub(crate) record: Record,
    pub(crate) past: Past,
    /// Segments before this one are to be dropped.
    kept: u64,
    /// New segments, and their numbers.
    moved: Vec<(u64, Stored)>,
}

impl Layout {
    /// Lays out a record: a whole one, or as `excerpt` has shown it.
    pub(crate) fn new(
        mut record: Record,
        excerpt: Option<&Excerpt<'_>>,
        is_charged: bool,
    ) -> Result<Self, StateError> {
        let (mut past, mut moved) = (Past::default(), Vec::new());
        let Some(mut log) = record.take_log() else {
            return Ok(Self { record, past, kept: u64::MAX, moved });
        };
        if let Some(excerpt) = excerpt {
            past = excerpt.split_off_past(&mut log, is_charged);
        }
        let kept = if past.entries == 0 { u64::MAX } else { past.numbers().start };
        if KEPT_MAX <= log.len() {
            while ENTRIES < log.len() {
                let entries = log.split_off_oldest(ENTRIES);
                past.cost = past.cost.wrapping_add(entries.cost());
                moved.push((past.numbers().end, Stored { entries, cost: past.cost }));
                past.entries += ENTRIES as u64;
            }
        }
        Ok(Self { record: record.with_log([log])?, past, kept, moved })
    }

    /// Stores the segments, where there was `before`.
    pub(crate) fn save(&self, segments: Segments<'_>, before: Past) -> Result<(), Failure> {
        let stored = before.numbers();
        if stored.start < self.kept.min(stored.end) {
            segments.drop_before(self.kept)?;
        }
        for (number, segment) in &self.moved {
            segments.write(*number, segment)?;
        }
        Ok(())
    }
}

/// With so many entries in a row, all but a segment's worth of them move out.
const KEPT_MAX: usize = 128;
