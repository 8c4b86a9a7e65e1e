//! Permits in flight against the exact model: a set of holds, each with the instant at which it lapses.

use proptest::{prelude::*, sample::Index};
use ratelimit_core::{CarryOver, Detail, Micros, Outcome, Receipt, in_flight, store::Record};

use crate::{
    key_under_test::{Subject, reset_after, retry_after},
    rule::{self, Rule, share_of},
    trace::shares,
};

const START: u64 = 1_700_000_000_000_000;

/// A request, and the hold that it is about.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Acquire(u64),
    /// Gives back a part of a hold, in parts per million above one permit: whether or not it was given
    /// back before, or has lapsed.
    Release(Index, u64),
    Extend(Index),
    /// Gives back by the receipt of a key of another policy.
    ReleaseForeign(Index),
    /// Gives back without a receipt.
    Refund(u64),
    /// Goes on under the other numbers.
    Change,
    /// Lets the store drop the record, if it may.
    Forget,
}

fn asks() -> impl Strategy<Value = Vec<(i64, Ask)>> {
    let ask = prop_oneof![
        8 => shares().prop_map(Ask::Acquire),
        6 => (any::<Index>(), shares()).prop_map(|(index, part)| Ask::Release(index, part)),
        2 => any::<Index>().prop_map(Ask::Extend),
        1 => any::<Index>().prop_map(Ask::ReleaseForeign),
        1 => shares().prop_map(Ask::Refund),
        1 => Just(Ask::Change),
        2 => Just(Ask::Forget),
    ];
    // Parts per million of the longest hold.
    let wait = prop_oneof![
        4 => Just(0),
        4 => 0_i64..=400_000,
        1 => 0_i64..=1_200_000,
        1 => -1_000_000_i64..=0,
    ];
    prop::collection::vec((wait, ask), 1..60)
}

/// A hold that was made: gone once nothing is left of its cost.
#[derive(Clone, Debug)]
struct Hold {
    at: u64,
    length: u64,
    cost: u64,
    receipt: Receipt,
}

impl Hold {
    fn end(&self) -> u64 {
        self.at + self.length
    }
}

/// All holds that were ever made.
#[derive(Debug, Default)]
struct Model(Vec<Hold>);

impl Model {
    fn live(&self, now: u64) -> impl Iterator<Item = &Hold> {
        self.0.iter().filter(move |hold| now < hold.end())
    }

    fn held(&self, now: u64) -> u64 {
        self.live(now).map(|hold| hold.cost).sum()
    }

    fn rewind(&mut self, now: u64) {
        self.0.iter_mut().for_each(|hold| hold.at = hold.at.min(now));
    }

    /// Microseconds until a request of `cost` fits, if nobody gives anything back.
    fn retry_after(&self, limit: u64, cost: u64, now: u64) -> u64 {
        let mut ends: Vec<_> = self.live(now).map(Hold::end).collect();
        ends.push(now);
        ends.sort_unstable();
        let first = ends.into_iter().find(|&end| self.held(end) + cost <= limit);
        first.expect("all of them lapse") - now
    }

    fn reset_after(&self, now: u64) -> u64 {
        let held = self.live(now).filter(|hold| 0 < hold.cost);
        held.map(|hold| hold.end() - now).max().unwrap_or(0)
    }
}

proptest! {
    /// A hold counts from when it is made until it is given back or lapses, and each counts for itself.
    #[test]
    fn permits_are_held_as_the_model_says_and_never_more_than_the_limit(
        rules in [rule::in_flight(), rule::in_flight()],
        asks in asks(),
        proportional in any::<bool>(),
    ) {
        let rule = if proportional { CarryOver::Proportional } else { CarryOver::AsIs };
        let mut holders = Holders::new(rules, rule);
        for (wait, ask) in asks {
            holders.go(wait, &ask);
            holders.ask(ask)?;
            holders.compare()?;
        }
    }
}

/// Those who hold permits of a key whose numbers change, and of a key of another policy.
struct Holders {
    rules: [Rule; 2],
    carry_over: CarryOver,
    subject: Subject,
    foreign: Subject,
    model: Model,
    now: u64,
    /// A store keeps what is over for as long as its clock may step back.
    earliest: u64,
}

type Checked = Result<(), TestCaseError>;

impl Holders {
    fn new(rules: [Rule; 2], carry_over: CarryOver) -> Self {
        let subject = Subject::of(rules[0].policy().with_carry_over(carry_over));
        let (foreign, model) = (Subject::of(rules[0].named("other")), Model::default());
        Self { rules, carry_over, subject, foreign, model, now: START, earliest: START / 2 }
    }

    fn go(&mut self, wait: i64, ask: &Ask) {
        let length = share_of(self.rules[0].span(), wait.unsigned_abs());
        // What does not ask the store pulls nothing back.
        let is_back = wait < 0 && !matches!(ask, Ask::Change | Ask::Forget);
        let then = if is_back { self.now - length } else { self.now + length };
        self.now = then.max(self.earliest);
        self.model.rewind(self.now);
    }

    fn ask(&mut self, ask: Ask) -> Checked {
        let (now, limit) = (self.now, self.subject.limit());
        match ask {
            Ask::Acquire(share) => self.acquire(1 + share_of(limit - 1, share))?,
            Ask::Release(index, part) => self.release(index, part),
            Ask::Extend(index) => self.extend(index)?,
            Ask::ReleaseForeign(index) => self.release_foreign(index)?,
            Ask::Refund(share) => drop(self.subject.refund(now, 1 + share_of(limit - 1, share))),
            Ask::Change => {
                self.rules.swap(0, 1);
                let policy = self.rules[0].policy().with_carry_over(self.carry_over);
                self.subject = self.subject.under(policy);
            }
            Ask::Forget if self.subject.lifetime(now) == 0 => self.subject.record = None,
            Ask::Forget => {
                let Subject { policy, record, .. } = &mut self.subject;
                let bytes = record.as_ref().map(Record::encode).unwrap_or_default();
                *record = Record::decode(&bytes, policy).ok();
            }
        }
        Ok(())
    }

    fn acquire(&mut self, cost: u64) -> Checked {
        let (now, limit) = (self.now, self.subject.limit());
        let fits = self.model.held(now) + cost <= limit;
        let wait = self.model.retry_after(limit, cost, now);
        let decision = self.subject.spend(now, cost);
        prop_assert_eq!(decision.is_allowed(), fits);
        prop_assert_eq!(retry_after(&decision), wait);
        if fits {
            let (receipt, length) = (self.subject.receipt(&decision, cost), self.rules[0].span());
            self.model.0.push(Hold { at: now, length, cost, receipt });
            prop_assert!(self.model.held(now) <= limit);
        }
        Ok(())
    }

    fn pick(&self, index: Index) -> Option<usize> {
        (!self.model.0.is_empty()).then(|| index.index(self.model.0.len()))
    }

    fn release(&mut self, index: Index, part: u64) {
        let Some(index) = self.pick(index) else { return };
        let hold = &mut self.model.0[index];
        let part = (1 + share_of(hold.cost.max(1) - 1, part)).min(self.subject.limit());
        let _ = self.subject.settle(self.now, part, hold.receipt);
        if self.now < hold.end() {
            hold.cost = hold.cost.saturating_sub(part);
        }
    }

    fn extend(&mut self, index: Index) -> Checked {
        let (now, Some(index)) = (self.now, self.pick(index)) else { return Ok(()) };
        let hold = self.model.0[index].clone();
        let is_held = now < hold.end() && 0 < hold.cost;
        let wait = self.model.retry_after(self.subject.limit(), 1, now);
        let decision = self.subject.extend(now, 1, hold.receipt);
        if !is_held {
            let retry_after = Micros::new(wait);
            prop_assert_eq!(decision.outcome(), Outcome::Deny { retry_after });
            return Ok(());
        }
        prop_assert_eq!(decision.outcome(), Outcome::Allow { delay: Micros::ZERO });
        // A holder may keep the old receipt, too.
        let receipt = if index % 2 == 0 { hold.receipt } else { hold.receipt.extended(&decision) };
        self.model.0[index] = Hold { at: now, length: self.rules[0].span(), receipt, ..hold };
        Ok(())
    }

    fn release_foreign(&mut self, index: Index) -> Checked {
        let now = self.now;
        let spent = self.foreign.spend(now, 1);
        let receipt = self.foreign.receipt(&spent, 1);
        let before = self.foreign.peek(now, 1).remaining;
        let _ = self.subject.settle(now, self.subject.limit(), receipt);
        if let Some(index) = self.pick(index) {
            let _ = self.foreign.settle(now, 1, self.model.0[index].receipt);
        }
        prop_assert_eq!(self.foreign.peek(now, 1).remaining, before);
        Ok(())
    }

    fn compare(&mut self) -> Checked {
        let Self { subject, model, now, .. } = self;
        let seen = subject.peek(*now, 1);
        let Detail::InFlight(in_flight::Detail { held, .. }) = subject.detail(&seen) else {
            panic!("the policy is of permits in flight")
        };
        prop_assert_eq!(held, model.held(*now));
        prop_assert_eq!(seen.remaining, subject.limit().saturating_sub(held));
        prop_assert_eq!(reset_after(&seen), model.reset_after(*now));
        let ends = model.0.iter().map(Hold::end).filter(|end| end <= now);
        self.earliest = ends.fold(self.earliest, u64::max);
        if subject.lifetime(*now) == 0 {
            self.earliest = *now;
        }
        Ok(())
    }
}
