//! Records in few bytes, stepped where they lie: the common case, without its detours.
//!
//! Most states are an instant and two numbers. A store that keeps many of them in memory, and
//! is asked often, takes them out of their [`Record`]s, and steps them with
//! [`SmallRecord::spend`]: what [`apply`](crate::apply) does for one check of a known key under the
//! policy it was written under, and nothing else. Everything else is for [`apply`](crate::apply).
//!
//! Of several that are asked as one, each is first [asked](SmallRecord::ask), and then
//! [settled](SmallRecord::settle) with what became of all of them.

use crate::{
    Algorithm, Check, Cost, Decision, Micros, Outcome, Policy, Record, Timestamp,
    arithmetic::Arithmetic, bucket::Bucket, decision::Standing, fixed_window, meter::State,
    sliding_window_counter,
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
    words: Words,
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

    /// Spends as [`apply`](crate::apply) does, if the record was written under this very policy.
    ///
    /// `None` says that nothing has changed, and that it is for [`apply`](crate::apply) to decide.
    #[inline(always)]
    pub fn spend<'a>(&mut self, check: &Check<'a>, now: Timestamp) -> Option<Spent<'a>> {
        let policy = check.policy();
        if !self.under.is(policy) {
            return None;
        }
        let (mut words, cost) = (self.words, check.cost());
        let outcome = with_quota!(
            policy.algorithm(),
            quota => {
                let outcome = ask(quota, &mut words, cost, now);
                if let Outcome::Allow { .. } = outcome {
                    charge(quota, &mut words, cost, now);
                }
                outcome
            },
            _ => return None
        );
        self.words = words;
        Some(Spent { policy, words, outcome, now })
    }

    /// Spends on a key of which nothing is known, as [`apply`](crate::apply) does; and what is to be
    /// stored, if anything is.
    ///
    /// `None` says that the state of such a policy is not small.
    #[must_use]
    #[inline]
    pub fn begin<'a>(check: &Check<'a>, now: Timestamp) -> Option<(Spent<'a>, Option<Self>)> {
        let (policy, cost) = (check.policy(), check.cost());
        let (words, outcome, lifetime) = with_quota!(
            policy.algorithm(),
            quota => {
                let mut words = quota.fresh(now).into();
                let outcome = ask(quota, &mut words, cost, now);
                if let Outcome::Allow { .. } = outcome {
                    charge(quota, &mut words, cost, now);
                }
                (words, outcome, quota.lifetime(&words.into(), now))
            },
            _ => return None
        );
        let record = (!lifetime.is_zero()).then(|| Self { under: policy.clone(), words });
        Some((Spent { policy, words, outcome, now }, record))
    }

    /// Decides, and changes nothing. Of several that are asked as one, all are then to be
    /// [settled](Self::settle).
    #[inline]
    #[must_use]
    pub fn ask<'a>(&self, check: &Check<'a>, now: Timestamp) -> Option<Spent<'a>> {
        let policy = check.policy();
        if !self.under.is(policy) {
            return None;
        }
        let (mut words, cost) = (self.words, check.cost());
        let outcome = with_quota!(
            policy.algorithm(),
            quota => ask(quota, &mut words, cost, now),
            _ => return None
        );
        Some(Spent { policy, words, outcome, now })
    }

    /// Stores what was asked a moment ago: charged if `admitted`.
    #[inline]
    pub fn settle<'a>(
        &mut self,
        check: &Check<'a>,
        mut asked: Spent<'a>,
        admitted: bool,
    ) -> Spent<'a> {
        if admitted {
            let (words, cost, now) = (&mut asked.words, check.cost(), asked.now);
            with_quota!(asked.policy.algorithm(), quota => charge(quota, words, cost, now), _ => {});
        }
        self.words = asked.words;
        asked
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
            quota => quota.standing(&self.words.into(), self.now),
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

#[inline(always)]
fn ask<A>(quota: &A, words: &mut Words, cost: Cost, now: Timestamp) -> Outcome
where
    A: Arithmetic<State: From<Words> + Into<Words>>,
{
    let mut state = A::State::from(*words);
    quota.rewind(&mut state, now);
    quota.renew(&mut state, now);
    let outcome = quota.outcome(&state, now, cost);
    *words = state.into();
    outcome
}

#[inline(always)]
fn charge<A>(quota: &A, words: &mut Words, cost: Cost, now: Timestamp)
where
    A: Arithmetic<State: From<Words> + Into<Words>>,
{
    let mut state = A::State::from(*words);
    quota.charge(&mut state, now, cost);
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
