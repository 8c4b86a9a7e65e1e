//! The state of one key at one holder: a pure state machine, with the time as an argument.
//!
//! An entry counts the demand for its key. While that is high, it takes permits ahead of need, in *lots*:
//! one lot is what one take has brought, and is used until its time is over. There are two at most, an older
//! one that is used up, and a newer one that was taken before that.
//!
//! Nothing here calls a store. The caller reports before it sends a take ([`Entry::begin_take`])
//! and when it has ended ([`Entry::end_take`]); a take without a reported end is forgotten once its
//! permits could not be used any more.

use ratelimit_core::{
    Check, Decision, LeaseTerms, Micros, Outcome, Policy, Receipt, Source, Timestamp,
};

use crate::demand::{Demand, scale_ceil};

/// The state of one key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    policy: Policy,
    terms: LeaseTerms,
    demand: Demand,
    /// The older one first.
    lots: [Option<Lot>; 2],
    /// Permits that remain in the store, as far as it has told.
    remaining: u64,
    /// More are taken once no more permits than this are held.
    mark: u64,
    /// The next take is no larger: some permits of a lot have lapsed.
    size_max: u64,
    /// The time that a call of the store takes, smoothed.
    round_trip: Micros,
    take: Option<Take>,
    /// No take before: the last one has failed.
    paused_until: Timestamp,
    last_spend: Timestamp,
}

/// The permits of one take.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Lot {
    number: u64,
    left: u64,
    /// The instant before the take was sent.
    asked: Timestamp,
    /// The first instant at which they may not be used.
    until: Timestamp,
    /// The store's decision.
    taken: Decision,
}

/// A take that is under way.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Take {
    number: u64,
    pub(crate) permits: u64,
    pub(crate) asked: Timestamp,
    /// The length of the lease.
    pub(crate) length: Micros,
}

/// A request that was admitted from a lot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drawn {
    pub(crate) decision: Decision,
    /// The first instant at which the permits may not be used.
    pub(crate) until: Timestamp,
    /// Few permits are left: it is time to take more.
    pub(crate) is_low: bool,
    lot: u64,
}

/// Permits of a lot that will not be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unused {
    pub(crate) permits: u64,
    pub(crate) receipt: Receipt,
}

/// The ends of the permits of takes, for the counters.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    /// Permits that takes have brought.
    pub(crate) leased: u64,
    /// Permits that nobody can use any more.
    pub(crate) lapsed: u64,
}

impl Entry {
    /// The entry of a key that is asked for the first time.
    pub(crate) fn new(policy: Policy, terms: LeaseTerms, now: Timestamp) -> Self {
        Self {
            policy,
            terms,
            demand: Demand::new(now),
            lots: [None, None],
            remaining: 0,
            mark: 0,
            size_max: u64::MAX,
            round_trip: Micros::ZERO,
            take: None,
            paused_until: Timestamp::EPOCH,
            last_spend: now,
        }
    }

    pub(crate) const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns true if the policy of `check` is the entry's, whose numbers have not changed.
    #[inline(always)]
    pub(crate) fn is_under(&self, check: &Check<'_>) -> bool {
        self.policy == *check.policy()
    }

    /// Counts a request that the store is to decide.
    pub(crate) fn count(&mut self, cost: u64, now: Timestamp) {
        self.demand.add(cost, now, self.terms.length());
        self.last_spend = now;
    }

    /// Counts a request, and admits it from a lot that has its cost. `None` changes nothing: no lot has.
    #[inline(always)]
    pub(crate) fn draw(&mut self, cost: u64, now: Timestamp) -> Option<Drawn> {
        let (held, remaining) = (self.held(now), self.remaining);
        let lot = self.lots.iter_mut().flatten().find(|lot| lot.has(cost, now))?;
        lot.left -= cost;
        let (number, left, until) = (lot.number, held - cost, lot.until);
        let mut decision = lot.taken.with_outcome(ALLOW, cost).with_source(Source::Lease);
        decision.remaining = remaining.saturating_add(left);
        decision.reset_after = decision.reset_after - (now - lot.asked);
        self.count(cost, now);
        let is_low = left <= self.mark && self.take_size(now).is_some();
        Some(Drawn { decision, lot: number, until, is_low })
    }

    /// Returns true if a request of `cost` could be admitted here, now or after a take.
    pub(crate) fn can_serve(&self, cost: u64, now: Timestamp) -> bool {
        self.lots.iter().flatten().any(|lot| lot.has(cost, now))
            || self.take_size(now).is_some_and(|permits| cost <= permits)
    }

    /// Puts back what was drawn, as if there had been no request; unless its lot has gone.
    pub(crate) fn put_back(&mut self, drawn: &Drawn, cost: u64) {
        self.demand.take_back(cost);
        let lot = self.lots.iter_mut().flatten().find(|lot| lot.number == drawn.lot);
        if let Some(lot) = lot {
            lot.left = lot.left.saturating_add(cost);
        }
    }

    /// Notes what the store has decided about a spend that was sent at `asked`.
    pub(crate) fn learn(&mut self, decision: &Decision, asked: Timestamp, now: Timestamp) {
        if decision.source() == Source::Store {
            self.remaining = decision.remaining;
            self.paused_until = Timestamp::EPOCH;
            self.note_round_trip(now - asked);
        }
    }

    /// Begins a take, if it is time for one and the key is hot; it is to be sent from `now` on. No two takes
    /// have the same `number`.
    pub(crate) fn begin_take(
        &mut self,
        number: u64,
        now: Timestamp,
        tally: &mut Tally,
    ) -> Option<Take> {
        self.drop_lots(tally, |lot| !lot.is_usable(now));
        if self.mark < self.held(now) {
            return None;
        }
        let permits = self.take_size(now)?;
        let take = Take { number, permits, asked: now, length: self.terms.length() };
        self.take = Some(take);
        Some(take)
    }

    /// Ends a take with the store's decision.
    pub(crate) fn end_take(
        &mut self,
        take: Take,
        decision: &Decision,
        now: Timestamp,
        tally: &mut Tally,
    ) {
        // Other sources charge nothing in the store, which may have failed.
        if decision.source() != Source::Store {
            return self.fail_take(take, now);
        }
        let charged = decision.charged();
        tally.leased += charged;
        if !self.close_take(take) {
            tally.lapsed += charged;
            return;
        }
        self.remaining = decision.remaining;
        self.note_round_trip(now - take.asked);
        let until = take.asked + self.terms.usable_for(decision);
        let (number, asked) = (take.number, take.asked);
        let lot = Lot { number, left: charged, asked, until, taken: *decision };
        self.drop_lots(tally, |lot| !lot.is_usable(now));
        match self.lots.iter_mut().find(|place| place.is_none()) {
            Some(place) if lot.has(1, now) => *place = Some(lot),
            _ => tally.lapsed += charged,
        }
        // The older one first.
        if self.lots[0].is_none() {
            self.lots.swap(0, 1);
        }
        let during = scale_ceil(self.demand(now), self.round_trip, self.terms.length());
        self.mark = during.min(charged / 2);
    }

    /// Ends a take that has failed. What it may have charged is never used, and it is not sent again: the
    /// next one comes after the length of a lease, or once the store has decided about a spend.
    pub(crate) fn fail_take(&mut self, take: Take, now: Timestamp) {
        if self.close_take(take) {
            self.paused_until = now + self.terms.length();
        }
    }

    /// Ends a take whose reply nobody awaits any more.
    pub(crate) fn cancel_take(&mut self, take: Take) {
        self.close_take(take);
    }

    /// Returns false if the take has been ended by something else.
    fn close_take(&mut self, take: Take) -> bool {
        self.take.take_if(|pending| pending.number == take.number).is_some()
    }

    /// Ends all leases of the key: what is held, and what is under way, is never used.
    pub(crate) fn end(&mut self, tally: &mut Tally) {
        self.drop_lots(tally, |_| true);
        self.take = None;
        self.remaining = 0;
    }

    /// Returns true if permits are held, or a take of them is under way.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        self.is_taking(now) || 0 < self.held(now)
    }

    /// Returns true if the key is hot, or has permits, or is about to: what the store decides is worth a note.
    pub(crate) fn is_warm(&self, now: Timestamp) -> bool {
        HOT <= self.demand(now) || self.is_live(now)
    }

    /// The first instant at which no permits may be used; the epoch if there are none.
    pub(crate) fn has_permits_until(&self) -> Timestamp {
        let lots = self.lots.iter().flatten().filter(|lot| 0 < lot.left);
        lots.map(|lot| lot.until).max().unwrap_or(Timestamp::EPOCH)
    }

    /// The permits asked for in the last length of a lease.
    pub(crate) fn demand(&self, now: Timestamp) -> u64 {
        self.demand.over(now, self.terms.length())
    }

    /// Returns true if the key was not asked for as long as hot keys never are.
    pub(crate) fn has_cooled(&self, now: Timestamp) -> bool {
        let idle_max = self.terms.length().as_micros() / HOT;
        Micros::new(idle_max) < now - self.last_spend
    }

    /// Takes out all lots, and returns what is left of them.
    pub(crate) fn withdraw(&mut self, now: Timestamp) -> impl Iterator<Item = Unused> + use<> {
        let policy = self.policy.clone();
        let lots = self
            .lots
            .each_mut()
            .map(|place| place.take_if(|lot| 0 < lot.left && lot.is_usable(now)));
        lots.into_iter().flatten().map(move |lot| Unused {
            permits: lot.left,
            receipt: Receipt::of(&lot.taken, &policy, lot.left),
        })
    }

    /// Permits that may be used now.
    #[inline(always)]
    fn held(&self, now: Timestamp) -> u64 {
        let usable = self.lots.iter().flatten().filter(|lot| lot.is_usable(now));
        usable.map(|lot| lot.left).sum()
    }

    /// The permits to take now; `None` if the key is not hot, or a take is not due or not worth it.
    #[inline(never)]
    fn take_size(&self, now: Timestamp) -> Option<u64> {
        let length = self.terms.length();
        let half_of_rest = self.remaining / 2;
        if half_of_rest < PERMITS_MIN || self.is_taking(now) || now < self.paused_until {
            return None;
        }
        let is_in_use = |place: &Option<Lot>| place.as_ref().is_some_and(|lot| lot.has(1, now));
        if self.lots.iter().all(is_in_use) {
            return None;
        }
        let demand = self.demand(now);
        let half = Micros::new(length.as_micros() / 2);
        // A lease that is over before the reply has come, or soon after, is of no use.
        if demand < HOT || half < self.round_trip {
            return None;
        }
        let wanted = scale_ceil(demand, self.round_trip + half, length);
        let room = self.terms.held_max().saturating_sub(self.held(now));
        let permits = wanted.min(self.size_max).min(half_of_rest).min(room);
        (PERMITS_MIN <= permits).then_some(permits)
    }

    fn is_taking(&self, now: Timestamp) -> bool {
        self.take.is_some_and(|take| now - take.asked < self.terms.length())
    }

    /// The first time is taken as it is, later ones count for a quarter.
    fn note_round_trip(&mut self, time: Micros) {
        let (old, new) = (self.round_trip.as_micros(), time.as_micros());
        let smoothed = if old == 0 { new } else { old - old / 4 + new / 4 };
        self.round_trip = Micros::new(smoothed);
    }

    fn drop_lots(&mut self, tally: &mut Tally, is_dropped: impl Fn(&Lot) -> bool) {
        for place in &mut self.lots {
            if let Some(lot) = place.take_if(|lot| lot.left == 0 || is_dropped(lot)) {
                tally.lapsed += lot.left;
                let used = lot.taken.charged().saturating_sub(lot.left);
                let is_used_up = lot.left == 0;
                self.size_max =
                    if is_used_up { u64::MAX } else { used.saturating_mul(2).max(PERMITS_MIN) };
            }
        }
    }
}

/// Hashes the state, which is all by which the entries of a model differ: they have one policy.
#[cfg(test)]
impl std::hash::Hash for Entry {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let Self { policy: _, terms: _, demand, lots, remaining, mark, size_max, .. } = self;
        (demand, remaining, mark, size_max, self.round_trip, self.take).hash(state);
        (self.paused_until, self.last_spend).hash(state);
        for lot in lots {
            let lot = lot.as_ref().map(|lot| {
                let Lot { number, left, asked, until, taken } = lot;
                (number, left, asked, until, taken.at, taken.charged(), taken.remaining)
            });
            lot.hash(state);
        }
    }
}

impl Lot {
    /// Time that has stepped back behind the take is no time to go by.
    #[inline(always)]
    fn is_usable(&self, now: Timestamp) -> bool {
        self.asked <= now && now < self.until
    }

    #[inline(always)]
    fn has(&self, cost: u64, now: Timestamp) -> bool {
        cost <= self.left && self.is_usable(now)
    }
}

const ALLOW: Outcome = Outcome::Allow { delay: Micros::ZERO };

/// The demand, in permits per length of a lease, from which on a key is leased.
const HOT: u64 = 4;

/// Fewer permits are not worth a call.
const PERMITS_MIN: u64 = 2;

#[cfg(test)]
mod tests {
    use ratelimit_core::{Action, Batch, Key, store::apply, token_bucket};

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000).unwrap();

    /// A hot key's entry, and the store's decision about as many permits by an action.
    fn hot() -> (Entry, impl Fn(Action, u64) -> Decision) {
        let minute = core::time::Duration::from_secs(60);
        let quota = token_bucket::Quota::new(10_000, 10_000, minute).unwrap();
        let policy = Policy::new("api", quota).unwrap();
        let terms = LeaseTerms::new(&policy, Micros::from_millis(600)).unwrap();
        let mut entry = Entry::new(policy.clone(), terms, NOW);
        let decide = move |action, cost| {
            let check = Check::new(&policy, Key::new("key").unwrap(), cost).unwrap();
            apply(Batch::one(&check), action, &mut [None], NOW).unwrap()[0]
        };
        (0..20).for_each(|_| entry.count(1, NOW));
        entry.learn(&decide(Action::Spend, 1), NOW, NOW);
        (entry, decide)
    }

    // FAULTS 236.
    #[test]
    fn a_take_that_has_failed_is_followed_by_none_until_the_store_has_decided() {
        let ((mut entry, decide), mut tally) = (hot(), Tally::default());
        let take = entry.begin_take(1, NOW, &mut tally).unwrap();
        entry.fail_take(take, NOW);
        assert_eq!(entry.begin_take(2, NOW, &mut tally), None);
        entry.learn(&decide(Action::Spend, 1), NOW, NOW);
        assert!(entry.begin_take(3, NOW, &mut tally).is_some());
    }

    // FAULTS 236.
    #[test]
    fn a_time_before_a_take_is_none_to_use_it_at() {
        let ((mut entry, decide), mut tally) = (hot(), Tally::default());
        let take = entry.begin_take(1, NOW, &mut tally).unwrap();
        entry.end_take(take, &decide(Action::Take, take.permits), NOW, &mut tally);
        assert!(entry.draw(1, NOW - Micros::new(1)).is_none());
        assert!(entry.draw(1, NOW).is_some());
    }

    #[test]
    fn what_is_put_back_is_held_again() {
        let ((mut entry, decide), mut tally) = (hot(), Tally::default());
        let take = entry.begin_take(1, NOW, &mut tally).unwrap();
        entry.end_take(take, &decide(Action::Take, take.permits), NOW, &mut tally);
        let held = entry.held(NOW);
        let drawn = entry.draw(2, NOW).unwrap();
        assert_eq!(entry.held(NOW), held - 2);
        entry.put_back(&drawn, 2);
        assert_eq!(entry.held(NOW), held);
        assert!(entry.can_serve(2, NOW) && !entry.can_serve(10_000, NOW));
    }

    #[test]
    fn what_is_drawn_later_tells_the_time_that_is_left() {
        let ((mut entry, decide), mut tally) = (hot(), Tally::default());
        let take = entry.begin_take(1, NOW, &mut tally).unwrap();
        entry.end_take(take, &decide(Action::Take, take.permits), NOW, &mut tally);
        let later = Micros::new(1_000);
        let [first, second] = [NOW, NOW + later].map(|now| entry.draw(1, now).unwrap().decision);
        assert_eq!(first.reset_after - second.reset_after, later);
    }
}
