//! The lists: whoever is on one is answered by it, and everybody else as if there were none.

use ratelimit_backend::Backend;
use ratelimit_core::{Action, Decision, Micros, Outcome, Source, WINDOW_MAX};
use ratelimit_resilience::Lists;

use crate::faulty::{Faulty, ask, ask_all, check, clock, hourly, spend};

type Subject = Lists<Faulty, ratelimit_backend::ManualClock>;

fn lists() -> (Subject, Faulty) {
    let clock = clock();
    let store = Faulty::new(&clock);
    (Lists::with_clock(store.clone(), clock), store)
}

/// The verdict on a key, and the list that gives it.
fn told(lists: &Subject, name: &str, key: &str) -> (bool, Source) {
    let decision = spend(lists, &hourly(name, 1), key).expect("it is decided");
    (decision.is_allowed(), decision.source())
}

#[test]
fn who_is_allowed_goes_on_without_end_and_the_store_is_not_asked() {
    let (lists, store) = lists();
    let policy = hourly("api", 10);
    let unseen = ask(&store, check(&policy, "key", 1), Action::Peek).expect("memory answers");
    lists.everywhere().allow("key");
    let asked = store.asked();
    for action in [Action::Spend, Action::Take, Action::Peek, Action::Penalize, Action::Refund] {
        for _ in 0..20 {
            let mut found = ask(&lists, check(&policy, "key", 10), action).expect("it is decided");
            assert_eq!(found.source(), Source::List);
            assert_eq!(found.charged(), if action.spends() { 10 } else { 0 });
            found = found.with_outcome(found.outcome(), 0).with_source(Source::Store);
            assert_eq!(found, unseen, "the numbers are those of a key never seen");
        }
    }
    assert_eq!(store.asked(), asked);
}

#[test]
fn who_is_denied_has_the_longest_wait_and_the_store_is_not_asked() {
    let (lists, store) = lists();
    let policy = hourly("api", 10);
    lists.everywhere().deny("key");
    for action in [Action::Spend, Action::Take, Action::Peek] {
        let found = ask(&lists, check(&policy, "key", 1), action).expect("it is decided");
        assert_eq!(found.outcome(), Outcome::Deny { retry_after: WINDOW_MAX });
        assert_eq!((found.limit, found.remaining, found.reset_after), (10, 0, WINDOW_MAX));
        assert_eq!(found.source(), Source::List);
    }
    assert_eq!(store.asked(), 0);
}

#[test]
fn of_a_batch_that_is_denied_nobody_has_taken_anything() {
    let pairs = [lists(), lists()];
    let [api, day] = [hourly("api", 10), hourly("day", 3)];
    for (lists, store) in &pairs {
        lists.under("api").allow("key");
        assert!(spend(store, &day, "key").is_ok());
    }
    let [(one, store), (other, _)] = &pairs;
    let checks = [check(&api, "key", 10), check(&day, "key", 2)];
    let take = || {
        let all = ask_all([one, other], &checks, Action::Take).expect("it is decided");
        [all[0].charged(), all[1].charged()]
    };
    assert_eq!((take(), store.left(&day, "key")), ([10, 2], 0));
    assert_eq!((take(), store.left(&day, "key")), ([0, 0], 0));
}

#[test]
fn whatever_else_is_done_about_a_listed_key_reaches_the_store() {
    let policy = hourly("api", 10);
    for (is_allowed, actions) in [
        (true, &[Action::Reset, Action::Block(Micros::from_secs(1))][..]),
        (false, &[Action::Reset, Action::Block(Micros::ZERO), Action::Refund, Action::Penalize]),
    ] {
        let (lists, store) = lists();
        let everywhere = lists.everywhere();
        if is_allowed {
            everywhere.allow("key")
        } else {
            everywhere.deny("key")
        }
        for &action in actions {
            let asked = store.asked();
            let done = ask(&lists, check(&policy, "key", 1), action).expect("it is done");
            assert_eq!((done.source(), store.asked()), (Source::Store, asked + 1), "{action:?}");
        }
    }
}

#[test]
fn a_refund_of_what_a_list_let_through_gives_nothing_back() {
    let (lists, store) = lists();
    let policy = hourly("api", 10);
    assert!(ask(&lists, check(&policy, "key", 7), Action::Spend).is_ok());
    lists.everywhere().allow("key");
    assert!(ask(&lists, check(&policy, "key", 7), Action::Refund).is_ok());
    assert_eq!(store.left(&policy, "key"), 3);
}

#[test]
fn the_list_of_a_name_counts_more_than_the_one_for_all() {
    let (lists, _) = lists();
    lists.everywhere().deny("key");
    lists.under("api").allow("key");
    for _ in 0..2 {
        assert_eq!(told(&lists, "api", "key"), (true, Source::List));
        assert_eq!(told(&lists, "day", "key"), (false, Source::List));
    }
    lists.under("api").remove("key");
    assert_eq!(told(&lists, "api", "key"), (false, Source::List));
    lists.everywhere().remove("key");
    assert_eq!(told(&lists, "api", "key"), (true, Source::Store));
    assert_eq!(lists.keys(), 0);
}

#[test]
fn what_was_listed_last_counts_from_the_next_call_of_every_clone() {
    let (lists, _) = lists();
    let clone = lists.clone();
    assert_eq!(told(&clone, "api", "key"), (true, Source::Store));
    lists.everywhere().allow("key");
    assert_eq!(told(&clone, "api", "key"), (true, Source::List));
    lists.everywhere().deny("key");
    assert_eq!(told(&clone, "api", "key"), (false, Source::List));
    lists.everywhere().remove("key");
    assert_eq!(told(&clone, "api", "key"), (false, Source::Store), "it had but one permit");
}

#[test]
fn a_key_is_all_of_its_bytes() {
    let (lists, _) = lists();
    lists.everywhere().deny("key");
    lists.everywhere().deny(b"\xff\x00");
    for other in ["", "ke", "key ", "Key", "key\0", "akey"] {
        assert_eq!(told(&lists, "api", other), (true, Source::Store), "{other:?}");
    }
    lists.under("a").deny("b");
    assert_eq!(told(&lists, "ab", ""), (true, Source::Store));
    lists.everywhere().deny("");
    assert_eq!(told(&lists, "day", ""), (false, Source::List));
    lists.everywhere().deny(&vec![0; (1 << 20) + 1]);
    assert_eq!(lists.keys(), 4, "nobody can ask about one that long");
}

/// `listed` beside two keys of one permit each.
fn together(is_allowed: bool) -> [(Subject, Faulty); 2] {
    let subjects = [(); 2].map(|()| lists());
    for (lists, _) in &subjects {
        let everywhere = lists.everywhere();
        if is_allowed { everywhere.allow("listed") } else { everywhere.deny("listed") }
    }
    subjects
}

#[test]
fn beside_a_key_that_is_allowed_the_others_are_all_or_nothing() {
    let policy = hourly("api", 2);
    let [(one, store), (other, _)] = &together(true);
    let spend = |keys: [&str; 3]| {
        let checks = keys.map(|key| check(&policy, key, 1));
        let decisions = ask_all([one, other], &checks, Action::Spend).expect("it is decided");
        let told = |one: &Decision| (one.is_allowed(), one.source(), one.remaining);
        decisions.iter().map(told).collect::<Vec<_>>()
    };
    let list = (true, Source::List, 2);
    let store_says = |is_allowed, left| (is_allowed, Source::Store, left);
    assert_eq!(spend(["a", "listed", "b"]), [store_says(true, 1), list, store_says(true, 1)]);
    assert_eq!(spend(["listed", "b", "c"]), [list, store_says(true, 0), store_says(true, 1)]);
    assert_eq!(spend(["a", "b", "listed"]), [store_says(true, 1), store_says(false, 0), list]);
    assert_eq!(store.left(&policy, "a"), 1, "a denial charged nothing");
}

#[test]
fn beside_a_key_that_is_denied_the_others_are_only_looked_at() {
    let policy = hourly("api", 2);
    let [(one, store), (other, _)] = &together(false);
    one.everywhere().allow("friend");
    other.everywhere().allow("friend");
    let checks = ["a", "listed", "friend", "b"].map(|key| check(&policy, key, 1));
    for _ in 0..3 {
        let decisions = ask_all([one, other], &checks, Action::Spend).expect("it is decided");
        let allowed: Vec<_> = decisions.iter().map(Decision::is_allowed).collect();
        assert_eq!(allowed, [true, false, true, true]);
    }
    assert_eq!([store.left(&policy, "a"), store.left(&policy, "b")], [2, 2]);

    let asked = store.asked();
    let decisions = ask_all([one, other], &checks[1..3], Action::Spend).expect("it is decided");
    assert_eq!((decisions.len(), store.asked()), (2, asked), "all of them are listed");
}

#[cfg(feature = "tokio")]
#[test]
fn lists_that_have_only_text_tell_so_until_something_else_is_on_them() {
    let (lists, _) = lists();
    let around = ratelimit_resilience::Deadline::new(Box::new(lists.clone()));
    let told = || [around.lists_only_text("api"), around.lists_only_text("jobs")];
    assert_eq!(told(), [false, false]);
    lists.under("api").deny("mallory");
    lists.under("api").allow("mallory");
    assert_eq!(told(), [true, false]);
    lists.everywhere().deny("täter");
    assert_eq!(told(), [true, true]);
    lists.under("api").deny(b"\x01\0\0\0\x07mallory");
    assert_eq!(told(), [false, true]);
    lists.under("api").remove("mallory");
    lists.everywhere().remove("täter");
    lists.everywhere().remove("nobody");
    assert_eq!(told(), [false, false]);
    lists.under("api").remove(b"\x01\0\0\0\x07mallory");
    lists.everywhere().deny("täter");
    assert_eq!(told(), [true, true]);
}

#[test]
fn debug_shows_no_keys() {
    let (lists, _) = lists();
    lists.under("api").deny("canary");
    let shown = format!("{lists:?} {:?}", lists.under("api"));
    assert!(!shown.contains("canary") && shown.contains("keys: 1"), "{shown}");
}
