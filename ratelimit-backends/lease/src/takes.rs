//! Takes that are under way: what the keys of a batch take ahead, in one call.

use std::sync::Arc;

use ratelimit_backend::BackendError;
use ratelimit_core::{Check, Micros, Timestamp, store::Decisions};

use crate::{
    entry::Take,
    table::{OwnedCheck, Table},
};

/// The takes of the keys of a batch.
///
/// Dropped before the store has replied, they end without permits, whatever the store has charged: so no key
/// waits for a reply that nobody awaits.
pub(crate) struct Takes {
    table: Arc<Table>,
    takes: Vec<(OwnedCheck, Take)>,
}

impl Takes {
    /// Begins takes for the keys of a batch for which it is time, to be sent from `now` on; `None` if there
    /// are none.
    ///
    /// A batch is admitted here only if all its keys have permits, so no key takes any for it unless all the
    /// others have some or can take some.
    pub(crate) fn begin(table: &Arc<Table>, checks: &[Check<'_>], now: Timestamp) -> Option<Self> {
        if !checks.iter().all(|check| table.can_serve(check, now)) {
            return None;
        }
        let mut begun = Self { table: Arc::clone(table), takes: Vec::new() };
        for check in checks {
            if let Some(take) = table.begin_take(check, now) {
                begun.add(check, take);
            }
        }
        (!begun.takes.is_empty()).then_some(begun)
    }

    /// The checks to send.
    pub(crate) fn checks(&self) -> Vec<Check<'_>> {
        self.takes.iter().filter_map(|(check, _)| check.check()).collect()
    }

    /// The instant from which on they are sent, and the length of the first one's lease; `None` if there
    /// are none.
    pub(crate) fn time(&self) -> Option<(Timestamp, Micros)> {
        self.takes.first().map(|(_, take)| (take.asked, take.length))
    }

    /// Ends the takes with what the store has replied, at `now`.
    pub(crate) fn end(mut self, result: &Result<Decisions, BackendError>, now: Timestamp) {
        for (index, (check, take)) in self.takes.drain(..).enumerate() {
            let decision = result.as_ref().ok().and_then(|decisions| decisions.get(index));
            let Some(check) = check.check() else { continue };
            self.table.update(&check, |entry, tally| match decision {
                Some(decision) => entry.end_take(take, decision, now, tally),
                None => entry.fail_take(take, now),
            });
        }
    }

    fn add(&mut self, check: &Check<'_>, take: Take) {
        let (policy, key) = (check.policy().clone(), check.key().as_bytes().into());
        let check = OwnedCheck { policy, key, cost: take.permits, receipt: None };
        self.takes.push((check, take));
    }
}

impl Drop for Takes {
    fn drop(&mut self) {
        for (check, take) in self.takes.drain(..) {
            if let Some(check) = check.check() {
                self.table.update(&check, |entry, _| entry.cancel_take(take));
            }
        }
    }
}
