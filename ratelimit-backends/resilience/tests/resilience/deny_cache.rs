//! The cache of denials: exact for as long as it answers, and never longer than it may.

use std::{num::NonZeroUsize, time::Duration};

use fastrand::Rng;
use ratelimit_backend::{Backend, Clock, ErrorKind, ManualClock};
use ratelimit_conformance::one_of_each;
use ratelimit_core::{
    Action, Batch, Decision, Micros, Outcome, Policy, Receipt, Source, in_flight, token_bucket,
};
use ratelimit_resilience::DenyCache;

use crate::faulty::{Broken, Cue, Faulty, ask, ask_all, ask_awaiting, check, clock, hourly, spend};

struct Rig {
    cache: DenyCache<Faulty, ManualClock>,
    store: Faulty,
    clock: ManualClock,
}

impl Rig {
    fn new() -> Self {
        Self::bounded(1_000)
    }

    fn bounded(denials_max: usize) -> Self {
        let clock = clock();
        let store = Faulty::new(&clock);
        let denials_max = NonZeroUsize::new(denials_max).expect("room for something");
        let cache = DenyCache::with_clock(store.clone(), clock.clone(), denials_max);
        Self { cache, store, clock }
    }

    /// A rig whose cache knows that `key` is denied, in the one slot that all keys share.
    fn denied(policy: &Policy, key: &str) -> Self {
        let rig = Self::bounded(1);
        while rig.ask(policy, key, 1, Action::Spend).is_allowed() {}
        assert!(rig.knows(policy, key, 1));
        rig
    }

    fn ask(&self, policy: &Policy, key: &str, cost: u64, action: Action) -> Decision {
        ask(&self.cache, check(policy, key, cost), action).expect("the store answers")
    }

    /// Returns true if the store is left alone, and the cache denies.
    fn knows(&self, policy: &Policy, key: &str, cost: u64) -> bool {
        let asked = self.store.asked();
        let decision = self.ask(policy, key, cost, Action::Peek);
        let knows = self.store.asked() == asked;
        assert_eq!(knows, decision.source() == Source::Cache);
        assert!(!knows || !decision.is_allowed());
        knows
    }
}

#[test]
fn a_denial_is_told_again_until_it_no_longer_holds_and_to_the_microsecond() {
    for policy in one_of_each(10).into_iter().filter(|it| !it.algorithm().holds_permits()) {
        for cost in 1..=policy.limit() {
            let rig = Rig::new();
            while rig.ask(&policy, "key", 1, Action::Spend).is_allowed() {}
            let denial = rig.ask(&policy, "key", cost, Action::Spend);
            let wait = denial.retry_after();
            let asked = rig.store.asked();
            for passed in [0, 1, wait.as_micros() / 2, wait.as_micros() - 1] {
                rig.clock.set(denial.at + Micros::new(passed));
                let again = rig.ask(&policy, "key", cost, Action::Spend);
                let mut wanted = denial;
                let retry_after = wait - Micros::new(passed);
                wanted = wanted.with_outcome(Outcome::Deny { retry_after }, 0);
                wanted.reset_after = denial.reset_after - Micros::new(passed);
                wanted.at = denial.at + Micros::new(passed);
                // A cache that has answered remembers what it was told first.
                wanted = wanted.with_source(again.source());
                assert_eq!(again, wanted, "{policy}, cost {cost}, {passed} µs later");
            }
            assert!(rig.store.asked() <= asked + 1, "{policy}, cost {cost}: asked but once");
            rig.clock.set(denial.at + wait);
            let due = rig.ask(&policy, "key", cost, Action::Spend);
            assert!(due.is_allowed() && due.source() == Source::Store, "{policy}, cost {cost}");
        }
    }
}

#[test]
fn a_take_is_denied_as_a_spend_of_one_permit_is_and_the_other_way_round() {
    let rig = Rig::new();
    let policy = hourly("api", 3);
    let taken = rig.ask(&policy, "key", 3, Action::Take);
    assert_eq!((taken.charged(), taken.source()), (3, Source::Store));
    for (first, second) in [(Action::Take, Action::Spend), (Action::Spend, Action::Take)] {
        let cost = |action| if action == Action::Take { 2 } else { 1 };
        let denied = rig.ask(&policy, "key", cost(first), first);
        let again = rig.ask(&policy, "key", cost(second), second);
        assert_eq!(again, denied.with_source(Source::Cache));
        rig.clock.advance(denied.retry_after());
        assert_eq!(rig.ask(&policy, "key", 3, Action::Take).charged(), 3, "it is over");
    }
}

#[test]
fn with_the_cache_the_same_is_admitted_as_without() {
    for policy in one_of_each(10) {
        let rig = Rig::new();
        let bare = Faulty::new(&rig.clock);
        let mut random = Rng::with_seed(7);
        for _ in 0..5_000 {
            let key = if random.bool() { "a" } else { "b" };
            let cost = if random.u8(..3) == 0 { random.u64(1..=policy.limit()) } else { 1 };
            let action = match random.u8(..100) {
                0..70 => Action::Spend,
                70..80 => Action::Take,
                80..92 => Action::Peek,
                92..95 => Action::Refund,
                95..97 => Action::Penalize,
                97..98 => Action::Block(Micros::new(1 << random.u32(..24))),
                _ => Action::Reset,
            };
            let found = rig.ask(&policy, key, cost, action);
            let wanted = ask(&bare, check(&policy, key, cost), action).expect("memory answers");
            assert_eq!(found.is_allowed(), wanted.is_allowed(), "{policy}: {action:?} {cost}");
            // Others' spending since makes the wait longer, never shorter.
            assert!(found.retry_after() <= wanted.retry_after(), "{policy}: {found:?} {wanted:?}");
            assert!(found.source() == Source::Cache || found == wanted, "{policy}");
            let length = if random.u8(..8) == 0 {
                found.retry_after().as_micros()
            } else {
                1 << random.u32(..23)
            };
            rig.clock.advance(Micros::new(length));
        }
        let (hits, is_cached) = (rig.cache.hits(), !policy.algorithm().holds_permits());
        assert_eq!(100 < hits, is_cached, "{policy}: {hits} from the cache");
    }
}

/// Another process may have given one back.
#[test]
fn a_denial_of_permits_in_flight_is_not_repeated() {
    let quota = in_flight::Quota::new(1, Duration::from_secs(1)).expect("good numbers");
    let policy = Policy::new("calls", quota).expect("a good name");
    let rig = Rig::new();
    let held = rig.ask(&policy, "key", 1, Action::Spend);
    assert!(!rig.ask(&policy, "key", 1, Action::Spend).is_allowed());
    let receipt = Some(Receipt::of(&held, &policy, 1));
    let release = check(&policy, "key", 1).with_receipt(receipt);
    assert!(ask(&rig.store, release, Action::Refund).expect("the store answers").is_allowed());
    assert!(rig.ask(&policy, "key", 1, Action::Spend).is_allowed());
    assert_eq!(rig.cache.hits(), 0);
}

/// A peek leaves a key unknown: its bucket has not begun to fill.
// FAULTS 210.
#[test]
fn the_denial_of_a_peek_is_not_repeated_to_a_spend() {
    let quota = token_bucket::Quota::new(1, 1, Duration::from_secs(1));
    let quota = quota.and_then(|quota| quota.with_initial(0)).expect("good numbers");
    let policy = Policy::new("api", quota).expect("a good name");
    let rig = Rig::new();
    assert!(!rig.ask(&policy, "key", 1, Action::Peek).is_allowed());
    rig.clock.advance(Micros::from_millis(500));
    let denial = rig.ask(&policy, "key", 1, Action::Spend);
    assert_eq!((denial.source(), denial.retry_after()), (Source::Store, Micros::from_secs(1)));
    rig.clock.advance(denial.retry_after());
    assert!(rig.ask(&policy, "key", 1, Action::Spend).is_allowed(), "as was promised");
}

#[test]
fn other_keys_costs_and_numbers_are_asked() {
    let policy = hourly("api", 2);
    let rig = Rig::denied(&policy, "key");
    assert!(!rig.knows(&policy, "another", 1));
    assert!(!rig.knows(&policy, "key", 2), "a larger cost has longer to wait");
    assert!(!rig.knows(&hourly("other", 2), "key", 1));

    let rig = Rig::denied(&policy, "key");
    assert!(rig.knows(&hourly("api", 2), "key", 1), "equal numbers are the same");
    assert!(rig.ask(&hourly("api", 3), "key", 1, Action::Spend).is_allowed(), "a raised limit");

    let rig = Rig::new();
    assert!(rig.ask(&policy, "key", 1, Action::Spend).is_allowed());
    assert!(!rig.ask(&policy, "key", 2, Action::Spend).is_allowed());
    assert!(rig.ask(&policy, "key", 1, Action::Spend).is_allowed(), "a smaller cost fits");
}

#[test]
fn whatever_else_is_done_about_a_key_ends_its_denial() {
    let policy = hourly("api", 2);
    let orders =
        [Action::Refund, Action::Reset, Action::Penalize, Action::Block(Micros::from_secs(1))];
    for action in orders {
        let rig = Rig::denied(&policy, "key");
        let _ = rig.ask(&policy, "another", 1, action);
        assert!(rig.knows(&policy, "key", 1), "{action:?} of another key");
        let _ = rig.ask(&policy, "key", 1, action);
        assert!(!rig.knows(&policy, "key", 1), "{action:?}");
    }
    let rig = Rig::denied(&policy, "key");
    rig.store.cue([Cue::Fail(ErrorKind::Timeout)]);
    assert!(ask(&rig.cache, check(&policy, "key", 1), Action::Reset).is_err());
    assert!(!rig.knows(&policy, "key", 1), "it may have been done");
}

#[tokio::test(start_paused = true)]
async fn a_denial_that_comes_after_the_reset_it_did_not_see_is_not_remembered() {
    let policy = hourly("api", 1);
    let rig = Rig::new();
    assert!(rig.ask(&policy, "key", 1, Action::Spend).is_allowed());
    let check = check(&policy, "key", 1);
    let [early, late] = [0, 10].map(Duration::from_millis);
    rig.store.cue([Cue::Late(early, 2 * late), Cue::Late(late, early)]);
    let spend = ask_awaiting(&rig.cache, check, Action::Spend);
    let reset = ask_awaiting(&rig.cache, check, Action::Reset);
    let (spend, reset) = tokio::join!(spend, reset);
    assert!(spend.is_ok_and(|decision| !decision.is_allowed()), "decided before the reset");
    assert!(reset.is_ok());
    assert!(rig.ask(&policy, "key", 1, Action::Spend).is_allowed());
}

#[tokio::test]
async fn a_reset_that_nobody_waits_for_ends_the_denial_too() {
    let policy = hourly("api", 1);
    let rig = Rig::denied(&policy, "key");
    let check = check(&policy, "key", 1);
    rig.store.cue([Cue::Hold]);
    drop(rig.cache.apply(Batch::one(&check), Action::Reset));
    assert!(!rig.knows(&policy, "key", 1));
}

#[test]
fn limits_that_are_asked_together_are_asked_of_the_store() {
    let [full, free] = [hourly("full", 1), hourly("free", 10)];
    let rigs = [Rig::denied(&full, "key"), Rig::denied(&full, "key")];
    let checks = [check(&full, "key", 1), check(&free, "key", 1)];
    let asked = rigs[0].store.asked();
    let answer = ask_all([&rigs[0].cache, &rigs[1].cache], &checks, Action::Spend);
    let decisions = answer.expect("the store answers");
    assert_eq!(decisions.iter().map(Decision::is_allowed).collect::<Vec<_>>(), [false, true]);
    assert!(decisions.iter().all(|one| one.source() == Source::Store));
    assert_eq!(rigs[0].store.asked(), asked + 1);
}

#[test]
fn it_keeps_so_many_denials_and_no_more_the_last_ones_first() {
    let policy = hourly("api", 1);
    let rig = Rig::bounded(16);
    let keys: Vec<_> = (0..1_000).map(|key| key.to_string()).collect();
    for key in &keys {
        assert!(rig.ask(&policy, key, 1, Action::Spend).is_allowed());
        assert!(!rig.ask(&policy, key, 1, Action::Spend).is_allowed());
        assert!(rig.knows(&policy, key, 1), "the last one is known");
    }
    // A key that is asked for, and not known, takes another's place.
    let known = keys.iter().rev().filter(|key| rig.knows(&policy, key, 1)).count();
    assert!(known <= 16, "{known} of 1 000 are known");
}

#[test]
fn errors_and_clocks_that_step_back_are_not_remembered() {
    let policy = hourly("api", 1);
    let rig = Rig::denied(&policy, "key");
    let now = rig.clock.now().expect("it is set");
    rig.clock.set(now - Micros::new(1));
    assert!(!rig.knows(&policy, "key", 1));

    let rig = Rig::new();
    rig.store.cue([Cue::Fail(ErrorKind::Unavailable)]);
    assert!(spend(&rig.cache, &policy, "key").is_err());
    assert!(spend(&rig.cache, &policy, "key").is_ok_and(|decision| decision.is_allowed()));
}

#[test]
fn without_a_clock_everything_is_asked() {
    let policy = hourly("api", 1);
    let store = Faulty::new(&clock());
    let cache = DenyCache::with_clock(store.clone(), Broken, NonZeroUsize::MIN);
    for asked in 1..=5 {
        assert!(spend(&cache, &policy, "key").is_ok());
        assert_eq!(store.asked(), asked);
    }
}

#[test]
fn debug_shows_no_keys() {
    let policy = hourly("api", 1);
    let rig = Rig::denied(&policy, "canary");
    assert!(!format!("{:?}", rig.cache).contains("canary"));
}
