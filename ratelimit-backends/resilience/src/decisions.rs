//! Decisions that are made, changed or put together on this side of the store.

use ratelimit_backend::BackendError;
use ratelimit_core::{
    Action, Batch, Check, Decision, Micros, Outcome, Source, Timestamp,
    store::{Decisions, apply},
};

/// What all answers are made of.
pub(crate) type Answer = Result<Decisions, BackendError>;

/// Admitted at once.
pub(crate) const ALLOW: Outcome = Outcome::Allow { delay: Micros::ZERO };

/// A decision by nobody's record: the numbers are those of a key never seen.
pub(crate) fn unseen(
    check: &Check<'_>,
    at: Timestamp,
    outcome: Outcome,
    source: Source,
) -> Result<Decision, BackendError> {
    let batch = Batch::one(check);
    let mut records: Vec<_> = batch.slots().map(|_| None).collect();
    let decisions = apply(batch, Action::Peek, &mut records, at)?;
    let mut decision = decisions.first().copied().ok_or(BROKEN)?;
    decision.outcome = outcome;
    decision = decision.with_source(source);
    Ok(decision)
}

/// Each decision, changed.
pub(crate) fn map(decisions: &Decisions, change: impl Fn(&mut Decision)) -> Decisions {
    let changed = |mut decision| {
        change(&mut decision);
        decision
    };
    match **decisions {
        [decision] => changed(decision).into(),
        _ => decisions.iter().copied().map(changed).collect(),
    }
}

/// Puts those decisions that the store has made, in order, where there are none yet.
pub(crate) fn fill(places: Vec<Option<Decision>>, rest: &[Decision]) -> Decisions {
    let mut rest = rest.iter().copied();
    places.into_iter().filter_map(|known| known.or_else(|| rest.next())).collect()
}

/// Some checks of a batch as a batch, in which there is no state twice either.
pub(crate) fn part<'a>(checks: &'a [Check<'a>]) -> Result<Batch<'a>, BackendError> {
    Batch::new(checks).ok_or(BROKEN)
}

/// What does not happen unless a store, or this crate, breaks a promise.
const BROKEN: BackendError = BackendError::unknown(ratelimit_backend::ErrorKind::Protocol);
