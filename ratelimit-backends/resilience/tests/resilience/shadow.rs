//! Shadow mode: nobody is refused, or just those who are to be; and what is said stays true.

use ratelimit_backend::{Backend, SyncBackend};
use ratelimit_core::{
    Action, Batch, Check, ConfigError, Decision, Key, Micros, Outcome, Policy, Source,
};
use ratelimit_memory::Memory;
use ratelimit_resilience::Shadow;

use crate::faulty::{Faulty, ask, ask_all, check, clock, hourly, spend};

fn shadow(percent: u8) -> (Shadow<Faulty>, Faulty) {
    let store = Faulty::new(&clock());
    let shadow = Shadow::new(store.clone());
    shadow.enforce(percent).expect("a percentage");
    (shadow, store)
}

fn key(number: usize) -> String {
    format!("user:{number}")
}

fn enforced(shadow: &Shadow<Faulty>, policy: &Policy) -> Vec<bool> {
    let is_enforced = |number| {
        let key = key(number);
        shadow.enforces(policy.name(), Key::new(&key).expect("a short key"))
    };
    (0..10_000).map(is_enforced).collect()
}

#[test]
fn who_is_denied_goes_on_with_the_numbers_of_the_denial() {
    let policy = hourly("api", 2);
    let (shadow, store) = shadow(0);
    for _ in 0..2 {
        let allowed = spend(&shadow, &policy, "key").expect("it is decided");
        assert!(allowed.is_allowed() && allowed.source() == Source::Store);
        assert!(allowed.is_watched());
    }
    let denied = spend(&store, &policy, "key").expect("it is decided");
    assert!(!denied.is_allowed());
    for _ in 0..3 {
        let found = spend(&shadow, &policy, "key").expect("it is decided");
        let allowed = denied.with_outcome(Outcome::Allow { delay: Micros::ZERO }, 1);
        let wanted = allowed.with_source(Source::Shadow).watched();
        assert_eq!(found, wanted);
    }
    assert_eq!(shadow.let_through(), 3);
}

#[test]
fn a_key_in_debt_is_let_through_until_the_limit_is_enforced() {
    let policy = hourly("api", 2).with_debt_max(10).expect("it may owe");
    let (shadow, _) = shadow(0);
    let over = Check::penalty(&policy, Key::new("key").expect("a short key"), 5);
    let over = over.expect("it may be owed");
    let charged = ask(&shadow, over, Action::Penalize).expect("it is decided");
    assert!(charged.is_in_debt());
    let found = spend(&shadow, &policy, "key").expect("it is decided");
    assert!(found.is_allowed() && found.is_in_debt());
    assert_eq!((found.source(), shadow.let_through()), (Source::Shadow, 1));
    shadow.enforce(100).expect("a percentage");
    let denied = spend(&shadow, &policy, "key").expect("it is decided");
    assert!(!denied.is_allowed() && denied.is_in_debt());
}

#[test]
fn a_take_gets_all_it_asks_for_and_what_there_was_is_charged() {
    let policy = hourly("api", 5);
    let (shadow, store) = shadow(0);
    let take = |most| ask(&shadow, check(&policy, "key", most), Action::Take);
    let taken = [3, 4, 4].map(|most| take(most).expect("it is decided"));
    assert_eq!(taken.map(|one| one.charged()), [3, 4, 4]);
    let sources = [Source::Store, Source::Shadow, Source::Shadow];
    assert_eq!(taken.map(|one| one.source()), sources);
    assert!(taken.iter().all(|one| one.is_allowed() && one.is_watched()));
    assert_eq!((store.left(&policy, "key"), shadow.let_through()), (0, 2));
}

#[test]
fn of_limits_taken_from_together_only_the_enforced_ones_hold() {
    let [new, old] = [hourly("new", 5), hourly("old", 9)];
    let shadows = [(); 2].map(|()| Shadow::new(Faulty::new(&clock())).with_names(["new"]));
    let [one, other] = [&shadows[0], &shadows[1]];
    let take = |most| {
        let checks = [check(&new, "key", most), check(&old, "key", most)];
        let decisions = ask_all([one, other], &checks, Action::Take).expect("it is decided");
        [0, 1].map(|index| decisions[index].charged())
    };
    assert_eq!(take(3), [3, 3]);
    assert_eq!(take(5), [5, 5], "the new one has two left, and is watched");
    assert_eq!(take(4), [4, 1], "the new one has none left");
    assert_eq!(take(1), [0, 0], "the old one has none left");
    assert_eq!(one.let_through(), 2);
}

#[test]
fn a_peek_tells_what_a_check_would_and_is_not_counted() {
    let policy = hourly("api", 1);
    let (shadow, _) = shadow(0);
    assert!(spend(&shadow, &policy, "key").is_ok());
    let peek = ask(&shadow, check(&policy, "key", 1), Action::Peek).expect("it is decided");
    assert_eq!((peek.is_allowed(), peek.source()), (true, Source::Shadow));
    assert_eq!(shadow.let_through(), 0);
}

#[test]
fn a_hundred_percent_is_everybody_and_none_nobody() {
    let policy = hourly("api", 1);
    let [none, all] = [0, 100].map(|percent| enforced(&shadow(percent).0, &policy));
    assert!(none.iter().all(|is| !is) && all.iter().all(|is| *is));
}

#[test]
fn who_is_enforced_stays_so_as_the_share_grows_and_the_share_is_about_right() {
    let policy = hourly("api", 1);
    let (shadow, _) = shadow(0);
    let mut before = enforced(&shadow, &policy);
    for percent in 1..=100 {
        shadow.enforce(percent).expect("a percentage");
        let now = enforced(&shadow, &policy);
        assert!(before.iter().zip(&now).all(|(before, now)| !before || *now), "{percent} %");
        let count = now.iter().filter(|is| **is).count();
        assert!(count.abs_diff(usize::from(percent) * 100) < 250, "{percent} %: {count} of 10 000");
        before = now;
    }
}

/// These change only with a release that says so: all hosts have to agree.
#[test]
fn a_key_is_on_the_same_side_on_every_host_and_in_every_version() {
    let (shadow, _) = shadow(0);
    let first = |name, key: &str| {
        let key = Key::new(key).expect("a short key");
        let is_enforced = |&percent: &u8| {
            shadow.enforce(percent).expect("a percentage");
            shadow.enforces(name, key)
        };
        (0..=100).find(is_enforced)
    };
    let cases = [("api", "user:42"), ("api", "user:43"), ("day", "user:42"), ("api", "")];
    assert_eq!(cases.map(|(name, key)| first(name, key)), [46, 31, 88, 40].map(Some));
}

#[test]
fn limits_of_one_key_may_be_on_different_sides() {
    let [api, day] = [hourly("api", 1), hourly("day", 1)];
    let (shadow, _) = shadow(50);
    assert_ne!(enforced(&shadow, &api), enforced(&shadow, &day));
}

#[test]
fn a_share_beyond_all_is_refused_and_changes_nothing() {
    let (shadow, _) = shadow(100);
    assert!(matches!(shadow.enforce(101), Err(ConfigError::OutOfRange { field: "percent", .. })));
    assert!(enforced(&shadow, &hourly("api", 1))[0]);
}

#[test]
fn a_change_is_seen_by_the_next_check_of_every_clone() {
    let policy = hourly("api", 1);
    let (shadow, _) = shadow(0);
    let clone = shadow.clone();
    assert!(spend(&clone, &policy, "key").is_ok());
    for (percent, allowed) in [(100, false), (0, true), (100, false)] {
        shadow.enforce(percent).expect("a percentage");
        assert_eq!(spend(&clone, &policy, "key").map(|one| one.is_allowed()).ok(), Some(allowed));
    }
}

#[test]
fn policies_of_other_names_are_enforced() {
    let [new, old] = [hourly("new", 1), hourly("old", 1)];
    let shadow = Shadow::new(Faulty::new(&clock())).with_names(["new"]);
    for _ in 0..2 {
        assert!(spend(&shadow, &new, "key").is_ok_and(|one| one.is_allowed()));
    }
    assert!(spend(&shadow, &old, "key").is_ok_and(|one| one.is_allowed() && !one.is_watched()));
    assert!(spend(&shadow, &old, "key").is_ok_and(|one| !one.is_allowed()));
}

/// A new limit of one an hour, only watched, and an old one of three; asked together.
#[test]
fn of_limits_asked_together_the_enforced_ones_are_charged_though_others_deny() {
    let [new, old] = [hourly("new", 1), hourly("old", 3)];
    let shadows = [(); 2].map(|()| Shadow::new(Faulty::new(&clock())).with_names(["new"]));
    let [one, other] = [&shadows[0], &shadows[1]];
    let spend = |key, cost| {
        let checks = [check(&new, key, 1), check(&old, key, cost)];
        let decisions = ask_all([one, other], &checks, Action::Spend).expect("it is decided");
        assert_eq!([0, 1].map(|index| decisions[index].is_watched()), [true, false]);
        let told = |one: &Decision| (one.is_allowed(), one.source(), one.remaining);
        [told(&decisions[0]), told(&decisions[1])]
    };
    use Source::{Shadow as Through, Store};
    assert_eq!(spend("key", 1), [(true, Store, 0), (true, Store, 2)], "both admit");
    assert_eq!(spend("key", 1), [(true, Through, 0), (true, Store, 1)], "the new one denies");
    assert_eq!(one.let_through(), 1);
    let asked = one.get_ref().asked();
    let old_denies = [(true, Through, 0), (false, Store, 1)];
    assert_eq!(spend("key", 2), old_denies, "both deny, and one counts");
    assert_eq!(one.get_ref().asked(), asked + 1, "and nothing is to be asked again");
    assert_eq!(spend("key", 1), [(true, Through, 0), (true, Store, 0)]);
    assert_eq!(spend("key", 1), [(true, Through, 0), (false, Store, 0)]);
    assert_eq!(one.let_through(), 2, "what was refused did not go through");

    assert_eq!(spend("fresh", 3), [(true, Store, 0), (true, Store, 0)]);
    let reset = [check(&new, "fresh", 1)];
    assert!(ask_all([one, other], &reset, Action::Reset).is_ok());
    assert_eq!(
        spend("fresh", 1),
        [(true, Store, 1), (false, Store, 0)],
        "the old one alone denies"
    );
    assert_eq!(one.get_ref().left(&new, "fresh"), 1, "and nothing is charged");
}

#[test]
fn of_watched_limits_asked_together_none_is_charged_if_one_denies() {
    let [tight, wide] = [hourly("tight", 1), hourly("wide", 10)];
    let pairs = [(); 2].map(|()| shadow(0));
    let [(one, store), (other, _)] = &pairs;
    let checks = [check(&tight, "key", 1), check(&wide, "key", 1)];
    for sources in [Source::Store, Source::Shadow, Source::Shadow] {
        let decisions = ask_all([one, other], &checks, Action::Spend).expect("it is decided");
        assert!(decisions.iter().all(|one| one.is_allowed() && one.source() == sources));
    }
    assert_eq!((store.left(&wide, "key"), one.let_through()), (9, 2));
}

#[test]
fn whatever_is_no_question_goes_straight_to_the_store() {
    let policy = hourly("api", 1);
    let (shadow, store) = shadow(0);
    assert!(spend(&shadow, &policy, "key").is_ok());
    let refund = ask(&shadow, check(&policy, "key", 1), Action::Refund).expect("it is done");
    assert_eq!((refund.source(), store.left(&policy, "key")), (Source::Store, 1));
}

#[test]
fn a_batch_of_both_kinds_is_not_charged_before_its_reply_is_polled() {
    let [new, old] = [hourly("new", 1), hourly("old", 3)];
    let shadow = Shadow::new(Memory::new()).with_names(["new"]);
    let checks = [check(&new, "key", 1), check(&old, "key", 1)];
    let batch = Batch::new(&checks).expect("two keys");
    assert!(shadow.apply_if_ready(batch, Action::Spend).is_none());
    let peek = shadow.get_ref().apply_now(Batch::one(&checks[1]), Action::Peek);
    assert_eq!(peek.expect("memory answers")[0].remaining, 3);
}
