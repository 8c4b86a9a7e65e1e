//! What is asked of records, and how much of them has to be known for it.

use ratelimit_core::{
    Action, Batch, Decision, StateError, Timestamp,
    store::{Decisions, Record, Slot, apply},
};

use crate::{
    error::Failure,
    long_log::partial_log::Excerpt,
    long_log::layout::Layout,
    rows::Row,
    long_log::segments::{Past, Segments},
};

/// A batch at a time.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) batch: Batch<'a>,
    pub(crate) action: Action,
    pub(crate) now: Timestamp,
}

/// What is known of a record.
pub(crate) enum Known<'a> {
    /// There is none, or it is to be forgotten, whatever it is.
    Nothing,
    Whole(Record),
    Excerpt(Excerpt<'a>),
}

/// What becomes of a record.
pub(crate) enum Fate {
    Unchanged,
    Forgotten,
    Stored { layout: Layout, expires: Timestamp },
}

/// A part of the log of a row.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Place {
    row: usize,
    part: usize,
}

impl Question<'_> {
    /// Reads a record; of a long log, where possible, what is needed most often.
    pub(crate) fn read<'a>(
        &self,
        slot: Slot<'_>,
        segments: Segments<'a>,
        past: Option<&[u8]>,
        state: &[u8],
    ) -> Result<(Past, Known<'a>), Failure> {
        let record = Record::decode(state, slot.policy);
        if self.action == Action::Reset {
            // What is about to be forgotten may be anything.
            return Ok((Past::default(), record.map_or(Known::Nothing, Known::Whole)));
        }
        let (record, past) = (record?, Past::decode(past)?);
        if past == Past::default() {
            return Ok((past, Known::Whole(record)));
        }
        // Other actions may change any entry; so does a policy whose numbers have changed.
        let adds_only = matches!(self.action, Action::Spend | Action::Peek);
        if adds_only
            && record.header() == slot.header()
            && let Some(excerpt) = Excerpt::open(segments, past, record.clone(), self.now)?
        {
            return Ok((past, Known::Excerpt(excerpt)));
        }
        Ok((past, Known::Whole(segments.whole(record, past)?)))
    }

    /// Reads on until the answer is certain; gives what becomes of each record, and the decisions.
    pub(crate) fn ask(&self, rows: &mut [Row<'_>]) -> Result<(Vec<Fate>, Decisions), Failure> {
        let (mut records, mut decisions) = self.suppose(rows, |_| false)?;
        while let Some(Place { row, part }) = self.doubt(rows, &decisions)? {
            rows[row].known.reveal(part)?;
            (records, decisions) = self.suppose(rows, |_| false)?;
        }
        if self.action == Action::Peek {
            return Ok((Vec::new(), decisions));
        }
        let is_charged = decisions.iter().all(Decision::is_allowed);
        let mut fates = Vec::with_capacity(rows.len());
        for (row, record) in rows.iter().zip(records) {
            fates.push(self.fate(&row.known, record, is_charged)?);
        }
        Ok((fates, decisions))
    }

    fn fate(
        &self,
        known: &Known<'_>,
        record: Option<Record>,
        is_charged: bool,
    ) -> Result<Fate, StateError> {
        let Some(record) = record else { return Ok(Fate::Forgotten) };
        let (is_unchanged, excerpt) = match known {
            Known::Nothing => (false, None),
            Known::Whole(before) => (*before == record, None),
            Known::Excerpt(excerpt) => (excerpt.record(|_| false)? == record, Some(excerpt)),
        };
        if is_unchanged {
            return Ok(Fate::Unchanged);
        }
        let expires = self.now + record.lifetime(self.now);
        Ok(Fate::Stored { layout: Layout::new(record, excerpt, is_charged)?, expires })
    }

    /// What comes of it if all hidden entries are as early as may be, but for those of some places,
    /// which are as late.
    fn suppose(
        &self,
        rows: &[Row<'_>],
        is_late: impl Fn(Place) -> bool,
    ) -> Result<(Vec<Option<Record>>, Decisions), Failure> {
        let record = |(row, Row { known, .. }): (usize, &Row<'_>)| {
            known.record(|part| is_late(Place { row, part }))
        };
        let mut records = rows.iter().enumerate().map(record).collect::<Result<Vec<_>, _>>()?;
        let decisions = apply(self.batch, self.action, &mut records, self.now)?;
        Ok((records, decisions))
    }

    /// Where more has to be known before the decisions are certain.
    ///
    /// What is allowed is so however early entries are. When something denied will fit depends on
    /// one entry, and never comes sooner for later entries: so, if all together make a difference,
    /// one part alone does.
    fn doubt(&self, rows: &[Row<'_>], decisions: &Decisions) -> Result<Option<Place>, Failure> {
        if decisions.iter().all(Decision::is_allowed) {
            return Ok(None);
        }
        // Mostly it is the one that is waited for.
        for (row, decision) in decisions.iter().enumerate() {
            let Known::Excerpt(excerpt) = &rows[row].known else { continue };
            if let Some(part) = excerpt.awaited(self.now + decision.retry_after()) {
                return Ok(Some(Place { row, part }));
            }
        }
        if self.suppose(rows, |_| true)?.1 == *decisions {
            return Ok(None);
        }
        for (row, Row { known, .. }) in rows.iter().enumerate() {
            let Known::Excerpt(excerpt) = known else { continue };
            for (part, _) in excerpt.hidden() {
                let place = Place { row, part };
                if self.suppose(rows, |other| other == place)?.1 != *decisions {
                    return Ok(Some(place));
                }
            }
        }
        Ok(None)
    }
}

impl Known<'_> {
    fn record(&self, is_late: impl Fn(usize) -> bool) -> Result<Option<Record>, StateError> {
        match self {
            Self::Nothing => Ok(None),
            Self::Whole(record) => Ok(Some(record.clone())),
            Self::Excerpt(excerpt) => excerpt.record(is_late).map(Some),
        }
    }

    fn reveal(&mut self, part: usize) -> Result<(), Failure> {
        match self {
            Self::Excerpt(excerpt) => excerpt.reveal(part),
            _ => Ok(()),
        }
    }
}
