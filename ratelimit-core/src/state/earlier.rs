//! The states that a key has under earlier numbers.
//!
//! A change of numbers carries a state over, and the new numbers may forget it sooner than the old
//! ones would have: a bucket refills faster, a window ends earlier. So the old state is kept beside
//! the new one for as long as it counts. When its numbers come back, the key gets the stricter of
//! the kept state and the state that is carried over. Switching back and forth gains nothing.
//!
//! A step under the present numbers does not touch what is kept.

use alloc::{boxed::Box, vec::Vec};
use core::cmp::Reverse;

use crate::{
    Algorithm, Micros, Timestamp,
    algorithm::{Listed, State, definition::Definition, with_quota},
    number::encoding::Reader,
};

/// States under earlier numbers of the same algorithm.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Earlier {
    /// The instant of the last change.
    since: Timestamp,
    /// The instant from which nothing that was charged before the change counts.
    until: Timestamp,
    kept: Vec<Kept>,
}

/// The state that some numbers have left.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Kept {
    algorithm: Algorithm,
    state: State,
}

/// The most sets of numbers, besides the present one, whose states are kept: those that count
/// longest.
const KEPT_MAX: usize = 4;

impl Earlier {
    /// The rest after a change at `now` to `quota`, whose new state is `state`; `None` if nothing
    /// of what was charged before counts any more.
    pub(crate) fn after_change<A: Listed>(
        before: Option<Box<Self>>,
        (from, left): (&Algorithm, A::State),
        (quota, state): (&A, &mut A::State),
        now: Timestamp,
    ) -> Option<Box<Self>> {
        let mut earlier = before.unwrap_or_else(|| Box::new(Self::none(now)));
        let kept = &mut earlier.kept;
        let own = kept.iter().position(|kept| A::of(&kept.algorithm) == Some(quota));
        if let Some(own) = own.and_then(|index| quota.state_mut(&mut kept[index].state))
            && !quota.lifetime(own, now).is_zero()
        {
            quota.rewind(own, now);
            quota.join(state, own, now);
        }
        let is_over = A::of(from).is_none_or(|from| from.lifetime(&left, now).is_zero());
        let left = || Kept { algorithm: from.clone(), state: quota.wrap(left) };
        match own {
            Some(index) if is_over => drop(kept.swap_remove(index)),
            Some(index) => kept[index] = left(),
            None => kept.extend((!is_over).then(left)),
        }
        let mut longest = quota.lifetime(state, now);
        kept.retain(|kept| {
            let lifetime = kept.lifetime(now);
            longest = longest.max(lifetime);
            !lifetime.is_zero()
        });
        if KEPT_MAX < kept.len() {
            // The one that counts longest has most to give away.
            kept.sort_by_key(|kept| Reverse(kept.lifetime(now)));
            kept.truncate(KEPT_MAX);
        }
        (earlier.since, earlier.until) = (now, (now + longest).min(Timestamp::MAX));
        // Nothing comes after the end of time.
        (now < earlier.until).then_some(earlier)
    }

    const fn none(now: Timestamp) -> Self {
        Self { since: now, until: now, kept: Vec::new() }
    }

    /// Returns true if a step at `now` leaves it as it is: it goes on, and the clock has not stepped
    /// back behind the change.
    pub(crate) fn rests_at(&self, now: Timestamp) -> bool {
        self.since <= now && now < self.until
    }

    /// Returns true if nothing that was charged before the change counts at `now`.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.until <= now
    }

    /// The time until nothing counts.
    pub(crate) fn left(&self, now: Timestamp) -> Micros {
        self.until - now
    }

    /// Returns true if a charge of the instant `at` was made before the last change.
    pub(crate) fn is_before_change(&self, at: Timestamp) -> bool {
        at < self.since
    }

    /// Pulls times later than `now` back to it.
    pub(crate) fn rewind(&mut self, now: Timestamp) {
        if now < self.since {
            self.until = now + (self.until - self.since);
            self.since = now;
            self.kept.iter_mut().for_each(|kept| kept.rewind(now));
        }
    }

    /// The instants of the change and of its end; then of each state its numbers and words.
    pub(crate) fn words(&self) -> Vec<u64> {
        let times = [self.since, self.until].map(Timestamp::as_micros);
        let count = u64::try_from(self.kept.len()).unwrap_or(u64::MAX);
        let kept = self.kept.iter().flat_map(Kept::words);
        times.into_iter().chain([count]).chain(kept).collect()
    }

    /// Reads the [`words`](Self::words) of states of an algorithm's kind.
    pub(crate) fn read(kind: u8, input: &mut Reader<'_>) -> Option<Self> {
        let (since, until) = (input.timestamp()?, input.timestamp()?);
        let count = input.number()?;
        let is_fit = since < until && count <= KEPT_MAX.try_into().unwrap_or(u64::MAX);
        let kept = (0..if is_fit { count } else { return None }).map(|_| Kept::read(kind, input));
        Some(Self { since, until, kept: kept.collect::<Option<_>>()? })
    }
}

impl Kept {
    fn lifetime(&self, now: Timestamp) -> Micros {
        with_quota!(&self.algorithm, quota => {
            quota.state(&self.state).map_or(Micros::ZERO, |state| quota.lifetime(state, now))
        })
    }

    fn rewind(&mut self, now: Timestamp) {
        with_quota!(&self.algorithm, quota => {
            if let Some(state) = quota.state_mut(&mut self.state) {
                quota.rewind_stored(state, now);
            }
        });
    }

    fn words(&self) -> Vec<u64> {
        let mut words = self.algorithm.numbers();
        words.extend(self.state.words(&self.algorithm));
        words
    }

    fn read(kind: u8, input: &mut Reader<'_>) -> Option<Self> {
        let algorithm = Algorithm::read(kind, input)?;
        let state = State::read(&algorithm, input)?;
        Some(Self { algorithm, state })
    }
}
