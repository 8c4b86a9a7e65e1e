//! An exhaustive model: three holders, one bucket, and every order of events.
//!
//! Holders are the entries that production code keeps; the store is the core. A step is a burst of
//! requests that uses what a holder holds, one take served, one reply delivered, a tick of time, or a spend of all that the store has by somebody without
//! leases; and once in a run, a message or a reply is lost, or a holder crashes.
//!
//! Holders are alike, so of runs that differ only in who is who, one is tried. At full length, holders have more bursts
//! to come.

use std::{
    collections::HashSet,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    time::Duration,
};

use ratelimit_core::{
    Action, Batch, Check, Decision, Key, LeaseTerms, Micros, Policy, Timestamp,
    store::{Record, apply},
    token_bucket,
};

use crate::entry::{Entry, Take, Tally};

/// A bucket of six permits, one of which comes back in a tick; leases of four ticks, and of two permits.
const BURST: u64 = 6;
const HELD_MAX: u64 = 2;
const TICKS_MAX: usize = 4;
const TICK: u64 = 1_000;
const LENGTH: Micros = Micros::new(4 * TICK);
const HOLDERS: usize = 3;

/// A state of the model.
#[derive(Clone, Debug)]
struct Model {
    now: Timestamp,
    record: [Option<Record>; 1],
    holders: [Holder; HOLDERS],
    /// The permits admitted in the interval that has most, less what came back in it: in microseconds, at
    /// [`TICK`] for a permit.
    used: u64,
    ticks: usize,
    faults: usize,
    replies: Replies,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Replies {
    TakeTime,
    /// A reply arrives as soon as its take is served.
    AtOnce,
}

#[derive(Clone, Debug)]
struct Holder {
    entry: Entry,
    /// Bursts of requests that may come.
    bursts: usize,
    takes: u64,
    /// On the way to the store.
    message: Option<Take>,
    /// On the way back.
    reply: Option<(Take, Decision)>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Tick,
    Exhaust,
    Burst(usize),
    Serve(usize),
    Deliver(usize),
    Lose(usize),
    Crash(usize),
}

#[test]
fn no_run_of_three_holders_admits_more_than_the_bound() {
    explore([1, 1, 1], Replies::TakeTime);
    if std::env::var_os("RATELIMIT_FULL").is_some() {
        explore([2, 1, 1], Replies::TakeTime);
        explore([2, 2, 2], Replies::AtOnce);
    }
}

/// Tries all runs of holders that have so many bursts to come.
fn explore(bursts: [usize; HOLDERS], replies: Replies) {
    let policy = policy();
    let terms = LeaseTerms::new(&policy, LENGTH).expect("a bucket can be leased");
    let terms = terms.with_held_max(HELD_MAX);
    let bound = (BURST + terms.excess_max(HOLDERS as u64)) * TICK;
    let (mut seen, seeds) = (HashSet::new(), [RandomState::new(), RandomState::new()]);
    let (mut open, mut most) = (vec![Model::asking(&policy, terms, bursts, replies)], 0);
    while let Some(model) = open.pop() {
        for step in model.steps() {
            let mut next = model.clone();
            next.step(step, &policy, terms);
            assert!(next.used <= bound, "{} above {bound}: {step:?} of {model:#?}", next.used);
            most = most.max(next.used);
            if seen.insert(next.digest(&seeds)) {
                open.push(next);
            }
        }
    }
    println!("bursts {bursts:?}, replies {replies:?}: {} states, {most} of {bound}", seen.len());
    // The last tick but one of a lease is the last in which it is used.
    assert_eq!((bound, most), (10 * TICK, 9 * TICK));
}

fn policy() -> Policy {
    let tick = Duration::from_micros(TICK);
    let quota = token_bucket::Quota::new(BURST, 1, tick).expect("a bucket");
    Policy::new("limit", quota).expect("a name")
}

impl Model {
    /// Holders whose keys are hot, and whose first takes are on their way; and a full bucket.
    fn asking(
        policy: &Policy,
        terms: LeaseTerms,
        bursts: [usize; HOLDERS],
        replies: Replies,
    ) -> Self {
        let now = Timestamp::EPOCH + Micros::from_secs(1_000);
        let mut model = Self {
            now,
            record: [None],
            holders: [(); HOLDERS].map(|()| Holder::new(policy, terms, now)),
            used: 0,
            ticks: 0,
            faults: 0,
            replies,
        };
        let peek = model.apply(Action::Peek, policy, 1);
        for (holder, bursts) in model.holders.iter_mut().zip(bursts) {
            holder.entry.count(8, now);
            holder.entry.learn(&peek, now, now);
            holder.bursts = 1;
            assert_eq!(holder.burst(now), 0);
            holder.bursts = bursts;
        }
        model
    }

    /// The steps that are possible.
    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::Exhaust];
        steps.extend((self.ticks < TICKS_MAX).then_some(Step::Tick));
        let holders = self.holders.iter().enumerate();
        for (index, holder) in holders.filter(|(_, holder)| 0 < holder.bursts) {
            let (is_sent, is_back) = (holder.message.is_some(), holder.reply.is_some());
            steps.extend((0 < holder.bursts).then_some(Step::Burst(index)));
            steps.extend(is_sent.then_some(Step::Serve(index)));
            steps.extend(is_back.then_some(Step::Deliver(index)));
            if self.faults == 0 {
                steps.push(Step::Crash(index));
                steps.extend((is_sent || is_back).then_some(Step::Lose(index)));
            }
        }
        steps
    }

    /// Equal for equal states, whatever the order of the holders.
    fn digest(&self, seeds: &[RandomState; 2]) -> [u64; 2] {
        let Self { now, record, holders, used, faults, .. } = self;
        let digest = |holder: &Holder| seeds.each_ref().map(|seed| seed.hash_one(holder));
        let mut holders = holders.each_ref().map(digest);
        holders.sort_unstable();
        let record = record[0].as_ref().map(|record| record.encode());
        seeds.each_ref().map(|seed| seed.hash_one((now, &record, &holders, used, faults)))
    }

    fn step(&mut self, step: Step, policy: &Policy, terms: LeaseTerms) {
        let now = self.now;
        let is_fault = matches!(step, Step::Lose(_) | Step::Crash(_));
        self.faults += usize::from(is_fault);
        match step {
            Step::Exhaust => {
                let remaining = self.apply(Action::Take, policy, BURST).charged();
                self.used += remaining * TICK;
            }
            Step::Tick => {
                self.ticks += 1;
                self.now = now + Micros::new(TICK);
                self.used = self.used.saturating_sub(TICK);
            }
            Step::Burst(index) => {
                self.used += self.holders[index].burst(now) * TICK;
            }
            Step::Serve(index) => self.serve(index, policy),
            Step::Deliver(index) => self.holders[index].deliver(now),
            Step::Lose(index) => self.holders[index].lose(now),
            Step::Crash(index) => self.holders[index] = Holder::new(policy, terms, now),
        }
    }

    fn serve(&mut self, index: usize, policy: &Policy) {
        if let Some(take) = self.holders[index].message.take() {
            let decision = self.apply(Action::Take, policy, take.permits);
            self.holders[index].reply = Some((take, decision));
            if self.replies == Replies::AtOnce {
                self.holders[index].deliver(self.now);
            }
        }
    }

    fn apply(&mut self, action: Action, policy: &Policy, cost: u64) -> Decision {
        let check = Check::new(policy, Key::new("key").expect("short"), cost).expect("it fits");
        apply(Batch::one(&check), action, &mut self.record, self.now).expect("one algorithm")[0]
    }
}

/// A holder without requests to come can only charge what nobody uses, which leaves less to others: it takes no more
/// steps, and all of its states are one.
impl Hash for Holder {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { entry, bursts, takes, message, reply } = self;
        if *bursts == 0 {
            return bursts.hash(state);
        }
        let reply = reply
            .map(|(take, decision)| (take, decision.charged(), decision.remaining, decision.at));
        (entry, bursts, takes, message, reply).hash(state);
    }
}

impl Holder {
    fn new(policy: &Policy, terms: LeaseTerms, now: Timestamp) -> Self {
        let entry = Entry::new(policy.clone(), terms, now);
        Self { entry, bursts: 0, takes: 0, message: None, reply: None }
    }

    /// Uses what is held, and begins a take. Returns the permits used.
    fn burst(&mut self, now: Timestamp) -> u64 {
        self.bursts -= 1;
        let used = (0..).take_while(|_| self.entry.draw(1, now).is_some()).count();
        self.takes += 1;
        if let Some(take) = self.entry.begin_take(self.takes, now, &mut Tally::default()) {
            self.message = Some(take);
            self.reply = None;
        }
        used as u64
    }

    fn deliver(&mut self, now: Timestamp) {
        if let Some((take, decision)) = self.reply.take() {
            self.entry.end_take(take, &decision, now, &mut Tally::default());
        }
    }

    fn lose(&mut self, now: Timestamp) {
        let lost = self.message.take().or_else(|| self.reply.take().map(|(take, _)| take));
        if let Some(take) = lost {
            self.entry.fail_take(take, now);
        }
    }
}
