//! The leases of all keys, which clones share: the table, the counters, and the search for keys
//! that are no longer hot.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use ratelimit_backend::BackendError;
use ratelimit_core::{
    Batch, Check, ConfigError, Decision, LeaseTerms, Micros, Policy, Timestamp, store::Decisions,
};

use crate::{
    entry::{Drawn, Entry, Tally},
    length::LeaseLength,
    stats::Counters,
    table::{OwnedCheck, Table},
    takes::Takes,
};

/// The leases of all keys.
#[derive(Debug)]
pub(crate) struct Leases {
    table: Arc<Table>,
    is_open: AtomicBool,
    /// The instant from which on cooled keys are looked for again, in microseconds.
    sweep_at: AtomicU64,
}

/// The decisions of a batch that was admitted here.
pub(crate) struct Admitted {
    pub(crate) decisions: Decisions,
    /// The first instant at which it could not have been.
    pub(crate) until: Timestamp,
    /// Few permits are left of some key, for which it is time to take more.
    pub(crate) is_low: bool,
}

/// Ends the leases of some keys when it is dropped: also if a reply is dropped before its end.
pub(crate) struct EndLeases<'a> {
    leases: &'a Leases,
    checks: &'a [Check<'a>],
}

impl Leases {
    pub(crate) fn new(keys_max: NonZeroUsize, length: LeaseLength) -> Self {
        Self {
            table: Arc::new(Table::new(keys_max, length)),
            is_open: AtomicBool::new(!length.is_none()),
            sweep_at: AtomicU64::new(0),
        }
    }

    pub(crate) fn limit_held(&self, permits: u64) {
        self.table.limit_held(permits);
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.table.counters
    }

    /// Returns true unless there are no leases, or none any more.
    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        // Relaxed here and below: nothing is ordered by these.
        self.is_open.load(Ordering::Relaxed)
    }

    /// Takes no more permits, and admits from none.
    pub(crate) fn close(&self) {
        self.is_open.store(false, Ordering::Relaxed);
    }

    /// Returns an error if there can be no leases under `policy`.
    pub(crate) fn accepts(&self, policy: &Policy) -> Result<(), ConfigError> {
        let length = self.table.length();
        if length.is_none() {
            return Ok(());
        }
        LeaseTerms::new(policy, length.under(policy)).map(|_| ())
    }

    /// Admits a batch whose checks all have permits here. `None` changes nothing.
    #[inline(always)]
    pub(crate) fn draw(&self, checks: &[Check<'_>], now: Timestamp) -> Option<Admitted> {
        if let [check] = checks {
            let Drawn { decision, until, is_low, .. } = self.table.draw(check, now)?;
            return Some(Admitted { decisions: decision.into(), until, is_low });
        }
        self.draw_all(checks, now)
    }

    /// Draws for one check after the other, and puts back what was drawn if one of them has no permits.
    #[inline(never)]
    fn draw_all(&self, checks: &[Check<'_>], now: Timestamp) -> Option<Admitted> {
        let mut drawn = Vec::with_capacity(checks.len());
        for check in checks {
            let Some(one) = self.table.draw(check, now) else {
                for (check, drawn) in checks.iter().zip(&drawn) {
                    let cost = check.cost().get();
                    self.table.update(check, |entry, _| entry.put_back(drawn, cost));
                }
                return None;
            };
            drawn.push(one);
        }
        Some(Admitted {
            decisions: drawn.iter().map(|drawn| drawn.decision).collect(),
            until: drawn.iter().map(|drawn| drawn.until).min()?,
            is_low: drawn.iter().any(|drawn| drawn.is_low),
        })
    }

    /// Counts a batch that the store is to decide. Returns true if each of its keys is hot or has permits: only
    /// then is what the store decides of use.
    pub(crate) fn count(&self, checks: &[Check<'_>], now: Timestamp) -> bool {
        let warm = checks.iter().filter(|check| self.table.count(check, now));
        warm.count() == checks.len()
    }

    /// Passes the store's decisions about a spend, sent at `asked`, to the entries.
    pub(crate) fn learn(
        &self,
        checks: &[Check<'_>],
        decisions: &Decisions,
        asked: Timestamp,
        now: Timestamp,
    ) {
        for (check, decision) in checks.iter().zip(&**decisions) {
            self.table.update(check, |entry, _| {
                if entry.is_under(check) {
                    entry.learn(decision, asked, now);
                }
            });
        }
    }

    /// Begins the takes that are due for the keys of a batch; `None` if there are none.
    pub(crate) fn begin_takes(&self, checks: &[Check<'_>], now: Timestamp) -> Option<Takes> {
        if self.is_open() { Takes::begin(&self.table, checks, now) } else { None }
    }

    /// The unused permits of some keys that have cooled. It looks at the whole table, once in a quarter of
    /// a lease.
    pub(crate) fn cooled(&self, takes: &Takes) -> Vec<OwnedCheck> {
        let Some((now, length)) = takes.time() else { return Vec::new() };
        let due = self.sweep_at.load(Ordering::Relaxed);
        let next = (now + Micros::new(length.as_micros() / 4)).as_micros();
        let claim = || {
            let [success, failure] = [Ordering::Relaxed; 2];
            self.sweep_at.compare_exchange(due, next, success, failure).is_ok()
        };
        if now.as_micros() < due || !claim() {
            return Vec::new();
        }
        let withdraw = |entry: &mut Entry| entry.has_cooled(now).then(|| entry.withdraw(now));
        self.table.collect(COOLED_MAX, |entry| withdraw(entry).into_iter().flatten())
    }

    /// The unused permits of at most `keys_max` keys, whether hot or not.
    pub(crate) fn unused(&self, keys_max: usize, now: Timestamp) -> Vec<OwnedCheck> {
        self.table.collect(keys_max, |entry| entry.withdraw(now))
    }

    /// Counts permits that were sent back: those that the store has taken back, and those that lapse. Returns
    /// the number of the former.
    pub(crate) fn count_given_back(&self, sent: impl IntoIterator<Item = (u64, bool)>) -> u64 {
        let (mut given_back, mut tally) = (0, Tally::default());
        for (permits, is_done) in sent {
            let count = if is_done { &mut given_back } else { &mut tally.lapsed };
            *count += permits;
        }
        self.counters().add(tally);
        self.counters().add_given_back(given_back);
        given_back
    }

    /// Ends the leases of the keys of `checks`: at once, and again when what is returned is dropped.
    pub(crate) fn end<'a>(&'a self, checks: &'a [Check<'a>]) -> EndLeases<'a> {
        let end = EndLeases { leases: self, checks };
        end.end();
        end
    }

    /// Ends the leases of the keys of a batch if one of them is now in debt; returns the same result.
    pub(crate) fn end_in_debt(
        &self,
        batch: Batch<'_>,
        result: Result<Decisions, BackendError>,
    ) -> Result<Decisions, BackendError> {
        let is_in_debt = |decisions: &Decisions| decisions.iter().any(Decision::is_in_debt);
        if result.as_ref().is_ok_and(is_in_debt) {
            drop(self.end(batch.checks()));
        }
        result
    }
}

impl EndLeases<'_> {
    fn end(&self) {
        for check in self.checks {
            self.leases.table.update(check, Entry::end);
        }
    }
}

impl Drop for EndLeases<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Keys whose permits go back beside a take.
const COOLED_MAX: usize = 8;
