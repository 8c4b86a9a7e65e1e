//! Decisions about records of which some have long logs.

use ratelimit_backend::{
    Change,
    transact::{Entry, decide},
};
use ratelimit_core::{
    Action, Batch, StateError, Timestamp,
    store::{Decisions, Record},
};

use super::partial_log::{Next, PartialLog};
use crate::error::Failure;

/// The records of a batch, and the long logs among them.
pub(crate) struct Records<'a> {
    pub(crate) entries: Vec<Entry>,
    /// One for each entry; `None` where the record is known as a whole.
    pub(crate) logs: Vec<Option<PartialLog<'a>>>,
}

/// A part of the log of one of the records.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
struct Place {
    record: usize,
    part: usize,
}

/// A batch, what to do, and when.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) batch: Batch<'a>,
    pub(crate) action: Action,
    pub(crate) now: Timestamp,
}

type Outcome = (Vec<Change<Next>>, Decisions);

impl Records<'_> {
    /// Decides, and reads what the decisions depend on.
    pub(crate) fn decide(&mut self, step: Step<'_>) -> Result<Outcome, Failure> {
        for (check, log) in step.batch.checks().iter().zip(&mut self.logs) {
            let Some(log) = log else { continue };
            if let Some(receipt) = check.receipt() {
                log.reveal_around(receipt.at())?;
            }
            log.reveal_for(check.policy())?;
        }
        loop {
            let early = self.suppose(step, |_| false)?;
            if self.reveal_changed(&early)? {
                continue;
            }
            match self.decisive(step, &early)? {
                Some(Place { record, part }) => {
                    self.logs[record].as_mut().map_or(Ok(()), |log| log.reveal(part))?;
                }
                None => return Ok(early),
            }
        }
    }

    /// The outcome if all entries that were not read are as old as they may be, but for those of
    /// some places, which are as new.
    fn suppose(&self, step: Step<'_>, is_late: impl Fn(Place) -> bool) -> Result<Outcome, Failure> {
        let supposed =
            |(record, (entry, log)): (usize, (&Entry, &Option<PartialLog<'_>>))| match log {
                None => Ok(entry.clone()),
                Some(log) => log.suppose(|part| is_late(Place { record, part })).map(Entry::Record),
            };
        let entries = self.entries.iter().zip(&self.logs).enumerate().map(supposed);
        let entries = entries.collect::<Result<Vec<_>, StateError>>()?;
        let (changes, decisions) = decide(step.batch, step.action, &entries, step.now)?;
        let next =
            |(record, change)| self.next(record, change, |part| is_late(Place { record, part }));
        let changes = changes.into_iter().enumerate().map(next);
        Ok((changes.collect::<Result<_, _>>()?, decisions))
    }

    fn next(
        &self,
        record: usize,
        change: Change<Record>,
        is_late: impl Fn(usize) -> bool,
    ) -> Result<Change<Next>, StateError> {
        Ok(match (change, &self.logs[record]) {
            (Change::Put { value, ttl }, Some(log)) => {
                Change::Put { value: log.next(value, is_late)?, ttl }
            }
            (change, _) => change.map(Next::whole),
        })
    }

    fn reveal_changed(&mut self, (changes, _): &Outcome) -> Result<bool, Failure> {
        let mut is_new = false;
        for (change, log) in changes.iter().zip(&mut self.logs) {
            if let (Change::Put { value, .. }, Some(log)) = (change, log) {
                is_new |= log.reveal_changed(value)?;
            }
        }
        Ok(is_new)
    }

    /// A place on which the outcome depends: it differs from `early` if the entries there, and in
    /// all places before it, are as new as they may be, and does not without those there.
    fn decisive(&self, step: Step<'_>, early: &Outcome) -> Result<Option<Place>, Failure> {
        let parts = |(record, log): (usize, &Option<PartialLog<'_>>)| {
            let parts = log.iter().flat_map(PartialLog::hidden);
            parts.map(move |part| Place { record, part }).collect::<Vec<_>>()
        };
        let places: Vec<_> = self.logs.iter().enumerate().flat_map(parts).collect();
        let is_same = |late: usize| -> Result<bool, Failure> {
            let is_late = |place: Place| places[..late].binary_search(&place).is_ok();
            Ok(self.suppose(step, is_late)? == *early)
        };
        if places.is_empty() || is_same(places.len())? {
            return Ok(None);
        }
        let (mut same, mut other) = (0, places.len());
        while same + 1 < other {
            let middle = same.midpoint(other);
            if is_same(middle)? { same = middle } else { other = middle }
        }
        Ok(places.get(same).copied())
    }
}
