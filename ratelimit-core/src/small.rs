//! Records in few bytes, stepped where they lie: the common case, without its detours.
//!
//! Most states are an instant and two numbers. A store that keeps many of them in memory, and
//! is asked often, takes them out of their [`Record`]s, and steps them with
//! [`SmallRecord::spend`]: what [`apply`](crate::store::apply) does for one check of a known key under the
//! policy it was written under, and nothing else. Everything else is for [`apply`](crate::store::apply).
//!
//! Several that are asked as one are spent on in turn; where one denies, what the others have
//! charged is [taken back](SmallRecord::take_back).

use crate::{
    Algorithm, Check, Cost, Decision, Micros, Outcome, Policy, Timestamp,
    algorithm::definition::{Arithmetic, Counted},
    algorithm::fixed_window,
    algorithm::sliding_window_counter,
    decision::Standing,
    meter::State,
    state::level::Bucket,
    store::Record,
};

/// A record of a bucket, a window or a counter, in 32 bytes.
#[derive(Clone, Debug)]
pub struct SmallRecord {
    under: Policy,
    words: Words,
}

/// What a state comes to.
#[derive(Clone, Copy, Debug)]
struct Words {
    at: Timestamp,
    counts: [u64; 2],
}

/// A decision before it is told: what a request has left behind.
#[derive(Clone, Copy, Debug)]
#[must_use = "it is yet to be told"]
pub struct Spent<'a> {
    policy: &'a Policy,
    /// What `now` finds once it has been asked.
    found: Words,
    /// What was stored before it was asked.
    before: Words,
    outcome: Outcome,
    now: Timestamp,
}

/// Does `$work` with the quota of an algorithm whose states are small; else `$other`.
macro_rules! with_quota {
    ($algorithm:expr, $quota:ident => $work:expr, _ => $other:expr) => {
        match $algorithm {
            Algorithm::TokenBucket($quota) => $work,
            Algorithm::FixedWindow($quota) => $work,
            Algorithm::LeakyBucket($quota) => $work,
            Algorithm::SlidingWindowCounter($quota) => $work,
            Algorithm::SlidingWindowLog(_) | Algorithm::Adaptive(_) => $other,
        }
    };
}

impl SmallRecord {
    /// The policy that it was written under.
    #[must_use]
    #[inline]
    pub const fn policy(&self) -> &Policy {
        &self.under
    }

    /// The time from `now` until it may be dropped.
    #[must_use]
    pub fn lifetime(&self, now: Timestamp) -> Micros {
        with_quota!(
            self.under.algorithm(),
            quota => quota.lifetime(&self.words.into(), now),
            _ => Micros::ZERO
        )
    }

    /// Spends as [`apply`](crate::store::apply) does, if the record was written under this very policy.
    ///
    /// `None` says that nothing has changed, and that it is for [`apply`](crate::store::apply) to decide.
    #[inline(always)]
    pub fn spend<'a>(&mut self, check: &Check<'a>, now: Timestamp) -> Option<Spent<'a>> {
        let policy = check.policy();
        if !self.under.is(policy) {
            return None;
        }
        let (before, cost) = (self.words, check.cost());
        let mut words = before;
        let (outcome, found) = with_quota!(
            policy.algorithm(),
            quota => spend(quota, &mut words, cost, now),
            _ => return None
        );
        self.words = words;
        Some(Spent { policy, found, before, outcome, now })
    }

    /// Spends on a key of which nothing is known, as [`apply`](crate::store::apply) does; and what is to be
    /// stored, if anything is.
    ///
    /// `None` says that the state of such a policy is not small.
    #[must_use]
    #[inline]
    pub fn begin<'a>(check: &Check<'a>, now: Timestamp) -> Option<(Spent<'a>, Option<Self>)> {
        let (policy, cost) = (check.policy(), check.cost());
        let (words, before, (outcome, found), lifetime) = with_quota!(
            policy.algorithm(),
            quota => {
                let before = quota.fresh(now).into();
                let mut words = before;
                let spent = spend(quota, &mut words, cost, now);
                (words, before, spent, quota.lifetime(&words.into(), now))
            },
            _ => return None
        );
        let record = (!lifetime.is_zero()).then(|| Self { under: policy.clone(), words });
        Some((Spent { policy, found, before, outcome, now }, record))
    }

    /// Becomes what it would be if it had denied a moment ago: another of those that are asked as
    /// one has.
    pub fn take_back(&mut self, spent: &mut Spent<'_>) {
        let (mut words, now) = (spent.before, spent.now);
        spent.found = with_quota!(
            spent.policy.algorithm(),
            quota => {
                renew(quota, &mut words, now);
                quota.at(words.into(), now).into()
            },
            _ => words
        );
        self.words = words;
    }

    /// Becomes what it was before it was asked a moment ago.
    pub const fn undo(&mut self, spent: &Spent<'_>) {
        self.words = spent.before;
    }
}

impl Spent<'_> {
    /// Whether the request was admitted.
    #[must_use]
    #[inline]
    pub const fn is_allowed(&self) -> bool {
        matches!(self.outcome, Outcome::Allow { .. })
    }

    /// The whole answer.
    #[inline(always)]
    pub fn decision(&self) -> Decision {
        let standing = with_quota!(
            self.policy.algorithm(),
            quota => quota.standing_at(self.found.into(), self.now),
            _ => Standing::NONE
        );
        standing.with(self.outcome, self.now)
    }
}

/// Takes the record apart, if it is small.
///
/// # Errors
///
/// The record itself, if it is not.
impl TryFrom<Record> for SmallRecord {
    type Error = Record;

    fn try_from(record: Record) -> Result<Self, Record> {
        let words = match (record.under.algorithm(), &record.state) {
            (Algorithm::TokenBucket(_), &State::TokenBucket(level))
            | (Algorithm::LeakyBucket(_), &State::LeakyBucket(level)) => level.into(),
            (Algorithm::FixedWindow(_), &State::FixedWindow(state)) => state.into(),
            (Algorithm::SlidingWindowCounter(_), &State::SlidingWindowCounter(state)) => {
                state.into()
            }
            _ => return Err(record),
        };
        Ok(Self { under: record.under, words })
    }
}

impl From<SmallRecord> for Record {
    fn from(SmallRecord { under, words }: SmallRecord) -> Self {
        let state = match under.algorithm() {
            Algorithm::LeakyBucket(_) => State::LeakyBucket(words.into()),
            Algorithm::FixedWindow(_) => State::FixedWindow(words.into()),
            Algorithm::SlidingWindowCounter(_) => State::SlidingWindowCounter(words.into()),
            _ => State::TokenBucket(words.into()),
        };
        Self { under, state }
    }
}

/// Charges if it admits; and says what `now` finds then.
#[inline(always)]
fn spend<A>(quota: &A, words: &mut Words, cost: Cost, now: Timestamp) -> (Outcome, Words)
where
    A: Counted<State: From<Words> + Into<Words>>,
{
    renew(quota, words, now);
    let mut found = quota.at(A::State::from(*words), now);
    let outcome = quota.outcome(&found, now, cost);
    if let Outcome::Allow { .. } = outcome {
        quota.charge(&mut found, now, cost);
        *words = found.into();
    }
    (outcome, found.into())
}

/// Counts in what has come back meanwhile.
#[inline(always)]
fn renew<A>(quota: &A, words: &mut Words, now: Timestamp)
where
    A: Counted<State: From<Words> + Into<Words>>,
{
    let mut state = A::State::from(*words);
    quota.rewind(&mut state, now);
    quota.renew(&mut state, now);
    *words = state.into();
}

impl From<Bucket> for Words {
    #[inline(always)]
    fn from(Bucket { units, at, returned }: Bucket) -> Self {
        Self { at, counts: [units, returned] }
    }
}

impl From<Words> for Bucket {
    #[inline(always)]
    fn from(Words { at, counts: [units, returned] }: Words) -> Self {
        Self { units, at, returned }
    }
}

impl From<fixed_window::State> for Words {
    #[inline(always)]
    fn from(fixed_window::State { start, used }: fixed_window::State) -> Self {
        Self { at: start, counts: [used, 0] }
    }
}

impl From<Words> for fixed_window::State {
    #[inline(always)]
    fn from(Words { at: start, counts: [used, _] }: Words) -> Self {
        Self { start, used }
    }
}

impl From<sliding_window_counter::State> for Words {
    #[inline(always)]
    fn from(state: sliding_window_counter::State) -> Self {
        Self { at: state.start, counts: [state.previous, state.current] }
    }
}

impl From<Words> for sliding_window_counter::State {
    #[inline(always)]
    fn from(Words { at: start, counts: [previous, current] }: Words) -> Self {
        Self { start, previous, current }
    }
}
