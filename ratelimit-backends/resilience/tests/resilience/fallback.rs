//! The fallback: what is answered when the store fails, and by whom.

use std::num::NonZeroU64;

use ratelimit_backend::{Backend, Effect, ErrorKind};
use ratelimit_core::{
    Action, Algorithm, ConfigError, Decision, Detail, Micros, Outcome, Source, adaptive,
};
use ratelimit_memory::Memory;
use ratelimit_resilience::{Breaker, Fallback, LocalLimits, OnFailure};

use crate::faulty::{
    Answer, Cue, Faulty, KINDS, ask, ask_all, check, clock, hourly, kind, memory, per_second, spend,
};

const DOWN: Cue = Cue::Fail(ErrorKind::Unavailable);

fn fallback(on_failure: OnFailure) -> (Fallback<Faulty, impl ratelimit_backend::Clock>, Faulty) {
    let clock = clock();
    let store = Faulty::new(&clock);
    (Fallback::with_clock(store.clone(), on_failure, clock), store)
}

/// Five an hour where the store has ten.
fn local() -> OnFailure {
    OnFailure::Local(local_limit(memory(&clock(), 100), 5))
}

fn local_limit(store: Memory<impl ratelimit_backend::Clock + 'static>, limit: u64) -> LocalLimits {
    let algorithm = hourly("api", limit).algorithm().clone();
    LocalLimits::new(store).with_limit::<Algorithm>("api", algorithm).expect("good numbers")
}

fn source(answer: &Answer) -> Option<Source> {
    answer.as_ref().ok().map(|decision| decision.source())
}

#[test]
fn an_answer_of_the_store_is_passed_on_whatever_is_chosen() {
    let policy = hourly("api", 1);
    for on_failure in [OnFailure::Deny, OnFailure::Allow, local()] {
        let (fallback, _) = fallback(on_failure);
        let [first, second] = [(); 2].map(|()| spend(&fallback, &policy, "key"));
        assert!(first.is_ok_and(|one| one.is_allowed() && one.source() == Source::Store));
        assert!(second.is_ok_and(|one| !one.is_allowed() && one.source() == Source::Store));
        assert_eq!(fallback.failures(), Default::default());
    }
}

// FAULTS 139.
#[test]
fn by_default_a_failure_is_an_error_and_keeps_what_it_says() {
    let policy = hourly("api", 10);
    let (fallback, store) = fallback(OnFailure::default());
    store.cue([Cue::Fail(ErrorKind::Timeout)]);
    let error = spend(&fallback, &policy, "key").expect_err("it is passed on");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown));
    assert_eq!(fallback.failures().denied, 1);
}

// FAULTS 139.
#[test]
fn who_is_let_through_is_told_so_with_the_numbers_of_a_key_never_seen() {
    let policy = hourly("api", 10);
    let (fallback, store) = fallback(OnFailure::Allow);
    let unseen = ask(&store, check(&policy, "unseen", 1), Action::Peek).expect("memory answers");
    assert!(spend(&fallback, &policy, "key").is_ok());

    store.otherwise(DOWN);
    for action in [Action::Spend, Action::Take, Action::Peek] {
        let decision =
            ask(&fallback, check(&policy, "key", 10), action).expect("it is let through");
        assert_eq!(decision.source(), Source::Open);
        assert_eq!(decision.charged(), if action.spends() { 10 } else { 0 });
        let uncharged = decision.with_outcome(decision.outcome(), 0);
        assert_eq!(uncharged.with_source(Source::Store), unseen);
    }
    assert_eq!((fallback.failures().allowed, store.left(&policy, "key")), (3, 9));
}

#[test]
fn who_would_be_denied_though_never_seen_is_let_through_all_the_same() {
    let quota = ratelimit_core::token_bucket::Quota::new(10, 1, std::time::Duration::from_secs(1));
    let empty = quota.and_then(|quota| quota.with_initial(0)).expect("good numbers");
    let policy = ratelimit_core::Policy::new("empty", empty).expect("a good name");
    let (fallback, store) = fallback(OnFailure::Allow);
    store.otherwise(DOWN);
    let decision = spend(&fallback, &policy, "key").expect("it is let through");
    assert_eq!(decision.outcome(), Outcome::Allow { delay: Micros::ZERO });
    assert_eq!((decision.limit, decision.remaining), (10, 0));
}

#[test]
fn a_local_limit_decides_by_its_own_numbers_and_forgets_nothing_in_between() {
    let policy = hourly("api", 10);
    let (fallback, store) = fallback(local());
    let admitted = |cue, times| {
        store.otherwise(cue);
        let answers = (0..times).map(|_| spend(&fallback, &policy, "key").expect("it is decided"));
        answers.filter(Decision::is_allowed).count()
    };
    assert_eq!(admitted(Cue::Answer, 3), 3);
    assert_eq!(admitted(DOWN, 3), 3);
    assert_eq!(admitted(Cue::Answer, 3), 3, "the store goes on from where it was");
    assert_eq!(admitted(DOWN, 9), 2, "and so does the local limit: five in all");
    let denied = spend(&fallback, &policy, "key").expect("it is decided");
    assert_eq!((denied.source(), denied.limit, denied.remaining), (Source::Local, 5, 0));
    assert_eq!(admitted(Cue::Answer, 9), 4, "nothing was told to the store");
    assert_eq!(fallback.failures().local, 13);
}

/// Three processes: a permit of a request is three of the local limit, and ten are three and a part.
#[test]
fn a_take_of_a_local_share_gets_whole_permits_and_then_nothing() {
    let three = NonZeroU64::MIN.saturating_add(2);
    let limits = || LocalLimits::new(memory(&clock(), 100)).with_processes(three);
    let [policy, other] = [hourly("api", 10), hourly("other", 100)];
    let (fallback, store) = fallback(OnFailure::Local(limits()));
    store.otherwise(DOWN);
    let take = |key, most| ask(&fallback, check(&policy, key, most), Action::Take);
    let taken = [2, 10, 10].map(|most| take("key", most).expect("it is decided"));
    assert_eq!(taken.map(|one| one.charged()), [2, 1, 0]);
    assert_eq!(taken.map(|one| one.source()), [Source::Local; 3]);
    let denied = taken[2];
    let spent = spend(&fallback, &policy, "key").expect("it is decided");
    assert_eq!(denied, spent, "as a spend of one permit");

    let checks = [check(&policy, "org", 5), check(&other, "org", 5)];
    let pairs = [(); 2].map(|()| self::fallback(OnFailure::Local(limits())));
    pairs.iter().for_each(|(_, store)| store.otherwise(DOWN));
    let [(one, _), (another, _)] = &pairs;
    let together = || {
        let taken = ask_all([one, another], &checks, Action::Take).expect("it is decided");
        [0, 1].map(|index| taken[index].charged())
    };
    assert_eq!(together(), [3, 5]);
    assert_eq!(together(), [0, 0], "nothing is left of the first");
    let left = ask(one, check(&other, "org", 1), Action::Peek).expect("it is decided");
    assert_eq!(left.remaining, (100 - 3 * 5) / 3, "five were taken, and none of the denied");
}

#[test]
fn a_policy_without_a_limit_of_its_own_keeps_its_numbers() {
    let (fallback, store) = fallback(local());
    store.otherwise(DOWN);
    let decision = spend(&fallback, &hourly("another", 7), "key").expect("it is decided");
    assert_eq!((decision.source(), decision.limit, decision.remaining), (Source::Local, 7, 6));
}

#[test]
fn limits_that_are_asked_together_are_charged_as_one_here_too() {
    let [api, day] = [hourly("api", 10), hourly("day", 3)];
    let fallbacks = [local(), local()].map(fallback);
    for (_, store) in &fallbacks {
        store.otherwise(DOWN);
    }
    let [(one, _), (other, _)] = &fallbacks;
    let both = [check(&api, "key", 1), check(&day, "org", 1)];
    let spend = || ask_all([one, other], &both, Action::Spend).expect("it is decided");
    for left in [2, 1, 0] {
        let decisions = spend();
        assert_eq!(decisions[1].remaining, left);
        assert!(decisions.iter().all(|one| one.is_allowed() && one.source() == Source::Local));
    }
    let denied = spend();
    assert_eq!(denied.iter().map(Decision::is_allowed).collect::<Vec<_>>(), [true, false]);
    assert_eq!(spend()[0].remaining, 2, "the other one is not charged");
}

#[test]
fn several_are_let_through_together() {
    let [api, day] = [hourly("api", 10), hourly("day", 3)];
    let fallbacks = [(); 2].map(|()| fallback(OnFailure::Allow));
    for (_, store) in &fallbacks {
        store.otherwise(DOWN);
    }
    let checks = [check(&api, "key", 1), check(&day, "org", 1)];
    let answer = ask_all([&fallbacks[0].0, &fallbacks[1].0], &checks, Action::Spend);
    let limits = answer.expect("it is let through").into_iter().map(|one| {
        assert!(one.is_allowed() && one.source() == Source::Open);
        one.limit
    });
    assert_eq!(limits.collect::<Vec<_>>(), [10, 3]);
}

// FAULTS 64.
#[test]
fn a_store_without_room_for_a_new_key_has_failed_and_known_keys_are_still_its_own() {
    let clock = clock();
    let policy = hourly("api", 10);
    let full = Fallback::with_clock(Faulty::bounded(&clock, 1), OnFailure::Allow, clock);
    assert_eq!(source(&spend(&full, &policy, "known")), Some(Source::Store));
    assert_eq!(source(&spend(&full, &policy, "new")), Some(Source::Open));
    let known = spend(&full, &policy, "known").expect("it is known");
    assert_eq!((known.source(), known.remaining), (Source::Store, 8));
}

#[test]
fn state_that_cannot_be_read_and_a_broken_clock_are_passed_on() {
    let policy = hourly("api", 10);
    for error in KINDS {
        let is_mended_not_waited_out =
            matches!(error, ErrorKind::Corrupt | ErrorKind::Incompatible | ErrorKind::Clock);
        for (on_failure, wanted) in [(OnFailure::Allow, Source::Open), (local(), Source::Local)] {
            let (fallback, store) = fallback(on_failure);
            store.otherwise(Cue::Fail(error));
            let answer = spend(&fallback, &policy, "key");
            if is_mended_not_waited_out {
                assert_eq!(kind(&answer), Some(error));
                assert_eq!(fallback.failures(), Default::default());
            } else {
                assert_eq!(source(&answer), Some(wanted), "{error:?}");
            }
        }
    }
}

#[test]
fn what_is_to_be_done_is_an_error_where_it_was_not() {
    let policy = hourly("api", 10);
    let orders =
        [Action::Refund, Action::Reset, Action::Penalize, Action::Block(Micros::from_secs(1))];
    for action in orders {
        for on_failure in [OnFailure::Allow, local()] {
            let (fallback, store) = fallback(on_failure);
            store.otherwise(DOWN);
            let answer = ask(&fallback, check(&policy, "key", 1), action);
            assert_eq!(kind(&answer), Some(ErrorKind::Unavailable), "{action:?}");
        }
    }
}

#[test]
fn what_the_local_limit_cannot_decide_is_the_error_that_it_was() {
    let policy = hourly("api", 10);
    let clock = clock();
    let store = Faulty::new(&clock);
    let local = OnFailure::Local(local_limit(memory(&clock, 1), 5));
    let fallback = Fallback::with_clock(store.clone(), local, clock);
    store.otherwise(DOWN);
    let costly = ask(&fallback, check(&policy, "known", 6), Action::Spend);
    assert_eq!(kind(&costly), Some(ErrorKind::Unavailable), "a cost beyond the local limit");
    assert_eq!(source(&spend(&fallback, &policy, "known")), Some(Source::Local));
    let crowded = spend(&fallback, &policy, "new");
    assert_eq!(kind(&crowded), Some(ErrorKind::Unavailable), "no room for a second key");
    assert_eq!((fallback.failures().denied, fallback.failures().local), (2, 1));
}

#[test]
fn a_shared_sensor_is_no_obstacle() {
    let mut settings = adaptive::Parameters::new(10, std::time::Duration::from_secs(60));
    settings.scope = adaptive::Scope::Shared;
    let quota = adaptive::Quota::new(&settings).expect("good numbers");
    let policy = ratelimit_core::Policy::new("shared", quota).expect("a good name");
    for on_failure in [OnFailure::Allow, local()] {
        let (fallback, store) = fallback(on_failure);
        fallback.accepts(&policy).expect("memory keeps anything");
        store.otherwise(DOWN);
        let decision = spend(&fallback, &policy, "key").expect("it is decided");
        assert!(matches!(decision.detail(&policy), Some(Detail::Adaptive(_))), "{decision:?}");
    }
}

#[test]
fn processes_share_the_limit_of_each_tier() {
    let local = LocalLimits::new(memory(&clock(), 100));
    let (fallback, store) = fallback(OnFailure::Local(local.with_processes(FOUR)));
    store.otherwise(DOWN);
    for (limit, share) in [(10, 2), (100, 25), (3, 1)] {
        let (policy, key) = (hourly("api", limit), limit.to_string());
        for left in (0..share).rev() {
            let decision = spend(&fallback, &policy, &key).expect("it is decided");
            assert!(decision.is_allowed(), "{limit}: {decision:?}");
            assert_eq!((decision.limit, decision.remaining), (share, left), "{limit}");
        }
        let denied = spend(&fallback, &policy, &key).expect("it is decided");
        assert!(!denied.is_allowed() && denied.source() == Source::Local, "{limit}: {denied:?}");
    }
    let beyond = ask(&fallback, check(&hourly("api", 10), "key", 3), Action::Spend);
    assert_eq!(kind(&beyond), Some(ErrorKind::Unavailable), "more than the share ever admits");
}

#[test]
fn a_tier_may_have_a_local_limit_of_its_own() {
    let [free, pro] = [10, 100].map(|limit| hourly("api", limit));
    let local = local_limit(memory(&clock(), 100), 5).with_processes(FOUR);
    let stand_in = hourly("api", 7).algorithm().clone();
    let local =
        local.with_tier_limit::<Algorithm, Algorithm>("api", pro.algorithm().clone(), stand_in);
    let (fallback, store) = fallback(OnFailure::Local(local.expect("good numbers")));
    store.otherwise(DOWN);
    for (policy, limit) in [(&free, 5), (&pro, 7)] {
        let decision = spend(&fallback, policy, &limit.to_string()).expect("it is decided");
        assert_eq!((decision.limit, decision.remaining), (limit, limit - 1));
    }
}

const FOUR: NonZeroU64 = NonZeroU64::new(4).unwrap();

#[test]
fn a_bad_local_limit_is_refused_when_it_is_named() {
    let algorithm = hourly("api", 5).algorithm().clone();
    let refused = LocalLimits::new(Memory::new()).with_limit::<Algorithm>("Not a name", algorithm);
    assert!(matches!(refused, Err(ConfigError::BadName)));
}

/// Up for 200 ms, down for 200 ms, for half a minute, and somebody who always asks again.
// FAULTS 171.
#[test]
fn while_a_server_flaps_no_more_is_admitted_than_both_limits_allow() {
    let clock = clock();
    let store = Faulty::new(&clock);
    let policy = per_second("api", 100);
    let share = per_second("api", 10).algorithm().clone();
    let local = LocalLimits::new(memory(&clock, 100)).with_limit::<Algorithm>("api", share);
    let local = OnFailure::Local(local.expect("good numbers"));
    let breaker = Breaker::with_clock(store.clone(), clock.clone()).with_seed(7);
    let fallback = Fallback::with_clock(breaker.clone(), local, clock.clone());

    let mut admitted = [0_u64; 2];
    for ms in 0..30_000 {
        let is_up = ms / 200 % 2 == 0;
        store.otherwise(if is_up { Cue::Answer } else { Cue::Fail(ErrorKind::Timeout) });
        for _ in 0..2 {
            let decision = spend(&fallback, &policy, "key").expect("somebody decides");
            let who = usize::from(decision.source() == Source::Local);
            admitted[who] += u64::from(decision.is_allowed());
        }
        clock.advance(Micros::from_millis(1));
    }
    let [by_store, by_local] = admitted;
    assert!(by_store <= 100 + 30 * 100, "{by_store} by the store");
    assert!(by_local <= 10 + 30 * 10, "{by_local} by the local limit");
    assert!(1_000 < by_store && 100 < by_local, "both have decided: {admitted:?}");
    assert!(50 < breaker.opened(), "and the circuit has opened {} times", breaker.opened());
}
