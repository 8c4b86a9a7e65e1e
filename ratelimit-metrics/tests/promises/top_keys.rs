//! Lists of the keys that come most often.

use ratelimit_core::Source;
use ratelimit_metrics::{Observed, Ranking, Statistics, TopKeys};

use crate::support::{decision, memory, policy, shared, size, tell, three};

// FAULTS 192.
#[test]
fn a_million_keys_make_no_more_series_and_no_more_entries() {
    let statistics = Statistics::new();
    let (offenders, busiest) =
        (TopKeys::new(Ranking::Denials, size(100)), TopKeys::new(Ranking::Requests, size(100)));
    let recorder = (&statistics, &offenders, &busiest);
    let api = policy("api");
    let (allow, deny) = (decision(&api, true, Source::Store), decision(&api, false, Source::Store));
    tell(&statistics, &api, "first", Ok(&allow));
    let series = statistics.snapshot().to_prometheus().lines().count();
    for n in 0..1_000_000 {
        let answer = if n % 2 == 0 { &allow } else { &deny };
        let key = if n % 20 == 1 { "mallory".to_owned() } else { format!("user:{n}") };
        tell(recorder.0, &api, &key, Ok(answer));
        tell(recorder.1, &api, &key, Ok(answer));
        tell(recorder.2, &api, &key, Ok(answer));
    }
    assert_eq!(statistics.snapshot().to_prometheus().lines().count(), series);
    assert_eq!(statistics.snapshot().calls.total(), 1_000_001);
    for (top, counted) in [(&offenders, 500_000), (&busiest, 1_000_000)] {
        assert_eq!((top.counted(), top.top(usize::MAX).len()), (counted, 100));
        let first = &top.top(1)[0];
        assert_eq!(first.digest, top.digest("api", "mallory"));
        assert!(50_000 <= first.count && first.count - first.overcount <= 50_000);
        assert!(first.overcount <= counted / 100 && first.denied <= 50_000);
    }
}

#[test]
fn offenders_are_those_that_are_denied_and_not_those_that_are_many() {
    let (theirs, offenders) = shared(TopKeys::new(Ranking::Denials, size(10)));
    let limiter = three(Observed::new(memory(), theirs), "api");
    for (key, checks) in [("calm", 3), ("eager", 5), ("greedy", 9)] {
        for _ in 0..checks {
            let _ = limiter.check(key).now().unwrap();
        }
    }
    let top = offenders.top(10);
    let found: Vec<_> = top.iter().map(|key| (key.digest, key.count, key.denied)).collect();
    let digest = |key| offenders.digest("api", key);
    assert_eq!(found, [(digest("greedy"), 6, 6), (digest("eager"), 2, 2)]);
}

#[test]
fn the_same_key_under_two_limiters_is_two() {
    let busiest = TopKeys::new(Ranking::Requests, size(10));
    for name in ["a", "b"] {
        let policy = policy(name);
        tell(&busiest, &policy, "user", Ok(&decision(&policy, true, Source::Store)));
    }
    assert_eq!(busiest.top(10).len(), 2);
}

// FAULTS 194.
#[test]
fn a_digest_says_nothing_to_who_has_not_the_pepper() {
    let one = TopKeys::new(Ranking::Denials, size(1)).with_pepper("sixteen or more random bytes");
    let same = TopKeys::new(Ranking::Requests, size(1)).with_pepper("sixteen or more random bytes");
    let other = TopKeys::new(Ranking::Denials, size(1)).with_pepper("sixteen or more other bytes");
    let random = TopKeys::new(Ranking::Denials, size(1));
    let digest = |top: &TopKeys| top.digest("api", "192.0.2.1");
    assert_eq!(digest(&one), digest(&same));
    assert_ne!(digest(&one), digest(&other));
    assert_ne!(digest(&one), digest(&random));
    assert_eq!(digest(&one).to_string().len(), 32);
}

// FAULTS 192, 193.
#[test]
fn keys_are_kept_in_clear_only_where_that_is_asked_for_and_only_in_part() {
    let hashed = TopKeys::new(Ranking::Requests, size(10));
    let clear = TopKeys::new(Ranking::Requests, size(10)).with_keys_in_clear();
    let api = policy("api");
    let allow = decision(&api, true, Source::Store);
    let long = "x".repeat(5000);
    for top in [&hashed, &clear] {
        tell(top, &api, &long, Ok(&allow));
        tell(top, &api, &(long.clone() + "y"), Ok(&allow));
    }
    assert!(hashed.top(10).iter().all(|key| key.key.is_none()));
    let kept = clear.top(10);
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|key| key.key.as_deref() == Some("x".repeat(256).as_bytes())));
    // Neither as text nor as a list of bytes. A digest may have any digits, but no commas.
    let debug = format!("{kept:?}");
    assert!(!debug.contains("xx") && !debug.contains("120, 120"), "its Debug shows no key");
}
