//! In flight: at most `limit` permits are held at once.
//!
//! A charge is a hold. It counts until it is given back by its receipt, and for `held_at_most` at
//! the longest, so that a holder that crashes is released in the end. Each hold has a number that
//! no other hold of the key has had, and a release names it: one that comes late, twice or from
//! elsewhere gives back nothing of others.
//!
//! A hold lapses by the numbers that it was made under, whatever numbers come later. So a change of
//! numbers leaves the state as it is, and nothing has to be kept beside it.

use alloc::{collections::VecDeque, vec, vec::Vec};
use core::{num::NonZeroU64, time::Duration};

use crate::{
    CarryOver, ConfigError, Cost, Micros, Outcome, Receipt, Timestamp, WINDOW_MAX,
    algorithm::definition::{Definition, Size},
    decision::Standing,
    number::{self, encoding::Reader},
    state::key_state::KeyState,
    time::EXACT_MAX,
};

/// The largest limit: ten thousand permits, which take 320 kB a key if each is held alone.
pub const HELD_MAX: u64 = 10_000;

/// A number of permits held at once, and the longest time for which each is held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    limit: NonZeroU64,
    held_at_most: NonZeroU64,
}

/// The numbers that a limit of permits in flight decided by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Detail {
    /// Permits that are held.
    pub held: u64,
}

impl Quota {
    /// At most `limit` permits held at once, each for `held_at_most` at the longest.
    ///
    /// # Errors
    ///
    /// If either is zero, `limit` is beyond [`HELD_MAX`], or `held_at_most` beyond [`WINDOW_MAX`].
    pub fn new(limit: u64, held_at_most: Duration) -> Result<Self, ConfigError> {
        Ok(Self {
            limit: number::at_most(HELD_MAX, "limit", limit)?,
            held_at_most: number::window("held_at_most", held_at_most)?,
        })
    }

    const fn length(&self) -> Micros {
        Micros::new(self.held_at_most.get())
    }

    /// The place of the hold that a receipt is of, if it still counts: in O(log n), or in O(n) where
    /// the hold was extended, pulled back, or made under other numbers.
    fn find(&self, holds: &Holds, now: Timestamp, receipt: Receipt) -> Option<usize> {
        let (end, number) = (receipt.at + self.length(), receipt.count);
        let found = holds.holds.binary_search_by_key(&(end, number), Hold::order);
        let index = found.ok().or_else(|| holds.position(number))?;
        holds.holds.get(index).is_some_and(|hold| now < hold.end()).then_some(index)
    }
}

impl Definition for Quota {
    type State = Holds;
    type Detail = Detail;

    const NAME: &'static str = "in flight";
    const KIND: u8 = 10;
    const HOLDS_PERMITS: bool = true;

    /// Nothing has to come back within any window; if nobody releases, the limit is there again
    /// after the longest hold.
    fn size(&self) -> Size {
        Size { window: None, ..Size::per_window(self.limit, self.held_at_most) }
    }

    fn numbers(&self) -> Vec<u64> {
        vec![self.limit.get(), self.held_at_most.get()]
    }

    fn read(input: &mut Reader<'_>) -> Option<Self> {
        let [limit, held_at_most] = input.numbers()?;
        Self::new(limit, Duration::from_micros(held_at_most)).ok()
    }

    fn terms(&self, _: Timestamp) -> Vec<(&'static str, u64)> {
        vec![("limit", self.limit.get()), ("held_at_most", self.held_at_most.get())]
    }

    fn read_state(&self, input: &mut Reader<'_>) -> Option<Holds> {
        Holds::read(input)
    }

    fn fresh(&self, _: Timestamp) -> Holds {
        Holds::default()
    }

    fn rewind(&self, holds: &mut Holds, now: Timestamp) {
        if now < holds.newest {
            holds.rewind(now);
        }
    }

    fn outcome(&self, holds: &Holds, now: Timestamp, cost: Cost) -> Outcome {
        let lapsed = holds.lapsed(now);
        let held = holds.held.saturating_sub(lapsed.cost);
        let excess = held.saturating_add(cost.get()).saturating_sub(self.limit.get());
        if 0 < excess {
            return Outcome::Deny { retry_after: holds.frees(excess, lapsed.count) - now };
        }
        Outcome::ALLOW
    }

    fn charge(&self, holds: &mut Holds, now: Timestamp, cost: Cost) {
        holds.drop_lapsed(now);
        holds.last = holds.last.max(now.as_micros()).saturating_add(1).min(EXACT_MAX);
        holds.add(Hold { at: now, length: self.length(), number: holds.last, cost: cost.get() });
    }

    /// Nothing: a hold is given back by its receipt.
    fn refund(&self, _: &mut Holds, _: Timestamp, _: Cost) {}

    fn settle(&self, holds: &mut Holds, now: Timestamp, cost: Cost, receipt: Receipt) {
        if let Some(index) = self.find(holds, now, receipt) {
            holds.release(index, cost);
        }
    }

    fn holds(&self, holds: &Holds, now: Timestamp, receipt: Option<Receipt>) -> bool {
        receipt.is_some_and(|receipt| self.find(holds, now, receipt).is_some())
    }

    fn extend(&self, holds: &mut Holds, now: Timestamp, receipt: Receipt) {
        let index = self.find(holds, now, receipt);
        if let Some(hold) = index.and_then(|index| holds.take(index)) {
            holds.add(Hold { at: now, length: self.length(), ..hold });
        }
    }

    fn standing(&self, holds: &Holds, now: Timestamp) -> Standing {
        let held = holds.held.saturating_sub(holds.lapsed(now).cost);
        Standing {
            limit: self.limit.get(),
            remaining: self.limit.get().saturating_sub(held),
            reset_after: holds.holds.back().map_or(Micros::ZERO, |hold| hold.end() - now),
            seen: [holds.made_at(now), held],
        }
    }

    /// The numbers up to the last one are not given again, whether or not the state is known then.
    fn lifetime(&self, holds: &Holds, now: Timestamp) -> Micros {
        let numbered = Micros::new(holds.last.saturating_sub(now.as_micros()));
        self.standing(holds, now).reset_after.max(numbered)
    }

    fn carry(&self, _: &Self, _: &mut Holds, _: CarryOver, _: Timestamp) {}

    fn join(&self, _: &mut Holds, _: &Holds, _: Timestamp) {}

    fn detail(&self, [_, held]: [u64; 2], _: Timestamp) -> Detail {
        Detail { held }
    }

    fn receipt(&self, [number, _]: [u64; 2]) -> [u64; 2] {
        [0, number]
    }
}

/// The holds of a key.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Holds {
    /// In the order in which they lapse.
    holds: VecDeque<Hold>,
    /// The sum of their costs.
    held: u64,
    /// The number of the hold that was made last, whatever became of it. Later than the instants of
    /// all holds that were made: so it does not matter whether a store has dropped the state, once
    /// that instant has passed.
    last: u64,
    /// The instant at which a hold was last made or extended.
    newest: Timestamp,
}

/// Permits that are held together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Hold {
    at: Timestamp,
    /// The time from then until it lapses.
    length: Micros,
    number: u64,
    cost: u64,
}

/// Holds at the front that have lapsed.
struct Lapsed {
    count: usize,
    cost: u64,
}

/// No hold has this number.
const NO_HOLD: u64 = 0;

impl Hold {
    /// The instant at which it lapses.
    fn end(&self) -> Timestamp {
        self.at + self.length
    }

    fn order(&self) -> (Timestamp, u64) {
        (self.end(), self.number)
    }

    const fn words(&self) -> [u64; 4] {
        [self.at.as_micros(), self.length.as_micros(), self.number, self.cost]
    }

    fn read(input: &mut Reader<'_>) -> Option<Self> {
        let (at, [length, number, cost]) = (input.timestamp()?, input.numbers()?);
        let length = Micros::new(length);
        let is_fit = !length.is_zero() && length <= WINDOW_MAX && NO_HOLD < number && 0 < cost;
        is_fit.then_some(Self { at, length, number, cost })
    }
}

impl Holds {
    /// The holds that have lapsed, in time that grows with their number. The next charge drops them.
    fn lapsed(&self, now: Timestamp) -> Lapsed {
        let lapsed = self.holds.iter().take_while(|hold| hold.end() <= now);
        lapsed.fold(Lapsed { count: 0, cost: 0 }, |Lapsed { count, cost }, hold| Lapsed {
            count: count.saturating_add(1),
            cost: cost.saturating_add(hold.cost),
        })
    }

    /// The instant at which enough holds have lapsed, besides the first so many, to free `cost`.
    fn frees(&self, cost: u64, skipped: usize) -> Timestamp {
        let mut left = cost;
        let is_enough = |hold: &&Hold| {
            left = left.saturating_sub(hold.cost);
            left == 0
        };
        self.holds.iter().skip(skipped).find(is_enough).map_or(self.newest, Hold::end)
    }

    /// The number of the hold that was made last, if that was at `now`.
    fn made_at(&self, now: Timestamp) -> u64 {
        let is_made = self.newest == now && now.as_micros() < self.last;
        if is_made { self.last } else { NO_HOLD }
    }

    /// The place of the hold of this number.
    fn position(&self, number: u64) -> Option<usize> {
        self.holds.iter().position(|hold| hold.number == number)
    }

    fn add(&mut self, hold: Hold) {
        self.newest = hold.at;
        self.held = self.held.saturating_add(hold.cost);
        if self.holds.back().is_some_and(|last| hold.order() < last.order()) {
            let place = self.holds.partition_point(|other| other.order() < hold.order());
            self.holds.insert(place, hold);
        } else {
            self.holds.push_back(hold);
        }
    }

    /// Removes a hold.
    fn take(&mut self, index: usize) -> Option<Hold> {
        let hold = self.holds.remove(index)?;
        self.held = self.held.saturating_sub(hold.cost);
        self.shrink();
        Some(hold)
    }

    /// Gives up to `cost` of a hold back, which ends if nothing is left of it.
    fn release(&mut self, index: usize, cost: Cost) {
        match self.holds.get_mut(index) {
            Some(hold) if cost.get() < hold.cost => {
                hold.cost = hold.cost.saturating_sub(cost.get());
                self.held = self.held.saturating_sub(cost.get());
            }
            _ => drop(self.take(index)),
        }
    }

    fn drop_lapsed(&mut self, now: Timestamp) {
        while let Some(first) = self.holds.front()
            && first.end() <= now
        {
            self.held = self.held.saturating_sub(first.cost);
            self.holds.pop_front();
        }
        self.shrink();
    }

    /// Gives memory back where most of it is free.
    fn shrink(&mut self) {
        if self.holds.len() < self.holds.capacity().div_euclid(SLACK) {
            self.holds.shrink_to(self.holds.len().saturating_mul(2));
        }
    }

    /// Pulls the holds that were made later than `now` back to it: they last as long as they did.
    fn rewind(&mut self, now: Timestamp) {
        self.newest = now;
        self.holds.iter_mut().for_each(|hold| hold.at = hold.at.min(now));
        self.holds.make_contiguous().sort_unstable_by_key(Hold::order);
    }

    /// Reads the [`words`](KeyState::words).
    fn read(input: &mut Reader<'_>) -> Option<Self> {
        let ([last], newest) = (input.numbers()?, input.timestamp()?);
        let [held, count] = input.numbers()?;
        if HELD_MAX < held || held < count || EXACT_MAX < last {
            return None;
        }
        let holds: VecDeque<_> = (0..count).map(|_| Hold::read(input)).collect::<Option<_>>()?;
        let is_known = |hold: &Hold| hold.at <= newest && hold.number <= last;
        let sum = holds.iter().try_fold(0_u64, |sum, hold| sum.checked_add(hold.cost));
        let is_fit = sum == Some(held)
            && holds.iter().all(is_known)
            && holds.iter().is_sorted_by_key(|hold| hold.order());
        is_fit.then_some(Self { holds, held, last, newest })
    }
}

impl KeyState for Holds {
    /// The last number, the newest instant, the permits held, the number of holds; of each, in the
    /// order in which they lapse: its instant, its length, its number, its cost.
    fn words(&self) -> Vec<u64> {
        let count = u64::try_from(self.holds.len()).unwrap_or(u64::MAX);
        let mut words = vec![self.last, self.newest.as_micros(), self.held, count];
        words.extend(self.holds.iter().flat_map(Hold::words));
        words
    }
}

/// Memory is given back when holds fill less than one part in this many of it.
const SLACK: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_when_most_holds_have_gone_and_not_before() {
        let at = |micros| Timestamp::EPOCH + Micros::new(micros);
        let mut holds = Holds::default();
        for number in 1..=1_000 {
            holds.add(Hold { at: at(0), length: Micros::new(number), number, cost: 1 });
        }
        let whole = holds.holds.capacity();
        holds.drop_lapsed(at(500));
        assert_eq!((holds.holds.len(), holds.holds.capacity()), (500, whole));
        holds.drop_lapsed(at(990));
        assert!(holds.holds.capacity() < whole / 8, "{}", holds.holds.capacity());
    }
}
