//! The one loop of stores that load, decide and write back.
//!
//! [`decide`] turns what a store has loaded into what it is to write, and the decisions. A store
//! that holds a lock or a transaction meanwhile needs no more. Others compare and swap:
//! [`transact`] loads, decides and swaps, and starts over where another caller was faster.

use std::future::Future;

use ratelimit_core::{
    Action, Batch, Micros, StateError, Timestamp,
    store::{Decisions, Record, apply},
};

use crate::{BackendError, Clock, ErrorKind};

/// The entries of one batch, in a store that compares and swaps.
///
/// Between two calls it remembers what it has loaded.
pub trait CompareAndSwap: Send {
    /// Loads the entry of each of [`Batch::slots`], in order; then reads the clock.
    ///
    /// Read after loading, a clock is never behind the one that dated what was loaded, unless it
    /// does step back.
    ///
    /// # Errors
    ///
    /// The store's own, if it gives no answer.
    fn load(
        &mut self,
    ) -> impl Future<Output = Result<(Vec<Entry>, Timestamp), BackendError>> + Send;

    /// Makes all of `changes`, one for each entry, if every entry is still the one that was loaded;
    /// else makes none, and returns false.
    ///
    /// # Errors
    ///
    /// The store's own, if nothing was changed, or it cannot tell. It is not retried.
    fn swap(
        &mut self,
        changes: Vec<Change<Record>>,
    ) -> impl Future<Output = Result<bool, BackendError>> + Send;
}

/// A store's entry for one slot, as it was loaded.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Entry {
    /// There is none.
    Empty,
    /// A record.
    Record(Record),
    /// Anything else; a reset removes it.
    Unreadable,
}

/// A change of one entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Change<T> {
    /// Leave it as it is.
    Keep,
    /// Store it, whether there was one or not.
    Put {
        /// The new value.
        value: T,
        /// The time to live. A store may drop the entry after it, rounding up, and never earlier;
        /// one that keeps entries for longer only grows.
        ttl: Micros,
    },
    /// Remove it.
    Remove,
}

impl<T> Change<T> {
    /// The same change, with so much added to the time for which the store keeps the value.
    #[must_use]
    pub fn kept_for(self, retention: Micros) -> Self {
        match self {
            Self::Put { value, ttl } => Self::Put { value, ttl: ttl + retention },
            other => other,
        }
    }

    /// The same change of a value by reference.
    pub const fn as_ref(&self) -> Change<&T> {
        match self {
            Self::Keep => Change::Keep,
            Self::Put { value, ttl } => Change::Put { value, ttl: *ttl },
            Self::Remove => Change::Remove,
        }
    }

    /// The same change of the value that `convert` returns.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Self::Keep => Change::Keep,
            Self::Put { value, ttl } => Change::Put { value: convert(value), ttl },
            Self::Remove => Change::Remove,
        }
    }
}

impl Entry {
    /// The entry that a store has decoded, if there was one. A reset need not read what it removes.
    ///
    /// # Errors
    ///
    /// If it is no record, unless `action` is a reset.
    pub fn new(
        action: Action,
        decoded: Option<Result<Record, StateError>>,
    ) -> Result<Self, StateError> {
        match decoded {
            None => Ok(Self::Empty),
            Some(Ok(record)) => Ok(Self::Record(record)),
            Some(Err(_)) if action == Action::Reset => Ok(Self::Unreadable),
            Some(Err(error)) => Err(error),
        }
    }

    fn record(&self) -> Option<&Record> {
        match self {
            Self::Record(record) => Some(record),
            Self::Empty | Self::Unreadable => None,
        }
    }

    /// The change from this entry to `next`.
    fn change(&self, next: Option<Record>, now: Timestamp) -> Change<Record> {
        match (self, next) {
            (Self::Empty, None) => Change::Keep,
            (_, None) => Change::Remove,
            (Self::Record(record), Some(next)) if *record == next => Change::Keep,
            (_, Some(next)) => Change::Put { ttl: next.lifetime(now), value: next },
        }
    }
}

/// Applies `action` to `batch`, whose entries were loaded at `now`; returns a change for each entry,
/// in order, and the decisions.
///
/// A `ttl` of zero says that the record is as good as new: a store may remove it instead.
///
/// # Errors
///
/// If a record is of another algorithm than its policy.
pub fn decide(
    batch: Batch<'_>,
    action: Action,
    entries: &[Entry],
    now: Timestamp,
) -> Result<(Vec<Change<Record>>, Decisions), StateError> {
    let mut records = records(entries);
    let decisions = apply(batch, action, &mut records, now)?;
    Ok((changes(action, entries, records, now), decisions))
}

/// Applies `action` to several batches of the same slots, one after the other, as so many calls of
/// [`decide`] would; returns the change of each entry from the first to the last, and the decisions of
/// each batch.
///
/// So a store may load and write once for many callers.
///
/// # Errors
///
/// If a record is of another algorithm than a policy.
pub fn decide_in_turn(
    batches: &[Batch<'_>],
    action: Action,
    entries: &[Entry],
    now: Timestamp,
) -> Result<(Vec<Change<Record>>, Vec<Decisions>), StateError> {
    let mut records = records(entries);
    let decisions = batches.iter().map(|batch| apply(*batch, action, &mut records, now));
    let decisions = decisions.collect::<Result<_, _>>()?;
    Ok((changes(action, entries, records, now), decisions))
}

fn records(entries: &[Entry]) -> Vec<Option<Record>> {
    entries.iter().map(|entry| entry.record().cloned()).collect()
}

fn changes(
    action: Action,
    entries: &[Entry],
    records: Vec<Option<Record>>,
    now: Timestamp,
) -> Vec<Change<Record>> {
    let change = |(entry, next): (&Entry, Option<Record>)| match action {
        Action::Peek => Change::Keep,
        _ => entry.change(next, now),
    };
    entries.iter().zip(records).map(change).collect()
}

/// Decides about a batch whose policies admit nothing, as [`decide`] would, whatever is stored;
/// `None` about any other. A store calls it first, to save loading the records.
pub fn refuse(
    batch: Batch<'_>,
    action: Action,
    clock: &(impl Clock + ?Sized),
) -> Option<Result<Decisions, BackendError>> {
    if !batch.is_refused(action) {
        return None;
    }
    let refuse = |now| {
        let mut records: Vec<_> = batch.slots().map(|_| None).collect();
        Ok(apply(batch, action, &mut records, now)?)
    };
    Some(clock.now().and_then(refuse))
}

/// Applies `action` to `batch` by comparing and swapping `entries`, in a bounded number of attempts.
///
/// # Errors
///
/// The store's own; [`ErrorKind::Overloaded`] if another caller was faster every time, and nothing
/// was charged.
pub async fn transact(
    batch: Batch<'_>,
    action: Action,
    entries: &mut impl CompareAndSwap,
) -> Result<Decisions, BackendError> {
    for _ in 0..ATTEMPTS_MAX {
        let (loaded, now) = entries.load().await?;
        let (changes, decisions) = decide(batch, action, &loaded, now)?;
        if entries.swap(changes).await? {
            return Ok(decisions);
        }
    }
    Err(BackendError::not_applied(ErrorKind::Overloaded).with_source(Contended))
}

/// Each conflict means that another caller has succeeded: so as many callers as this may ask about one key
/// once, at the same time, and all of them succeed.
const ATTEMPTS_MAX: usize = 64;

/// The cause of an `Overloaded` error.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("others were first, {ATTEMPTS_MAX} times in a row")]
struct Contended;
