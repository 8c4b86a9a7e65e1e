//! Windows of a calendar by the server's own clock, which leaves the window that a script was given.

use std::collections::{BTreeMap, BTreeSet};

use ratelimit_algorithms::{Clock, Detail, Limiter, Micros, Policy, Timestamp, WallClock};
use ratelimit_core::{Calendar, fixed_window};
use ratelimit_servers::Server;

use crate::store::connect;

const LIMIT: u64 = 3;

/// Windows of 20 and 30 milliseconds by turns, from a minute ago on, for half an hour.
fn boundaries() -> BTreeSet<Timestamp> {
    let mut next = WallClock::new().now().expect("it is after 1970") - Micros::from_secs(60);
    let lengths = [20_000, 30_000].into_iter().cycle().take(72_000).map(Micros::new);
    let mut begin = |length| {
        let start = next;
        next = next + length;
        start
    };
    lengths.map(&mut begin).collect()
}

#[tokio::test]
async fn windows_are_those_of_the_servers_time_and_pay_back_what_is_owed() {
    let Some(server) = Server::start(&[]) else { return };
    let boundaries = boundaries();
    let calendar = Calendar::new("short", boundaries.iter().copied()).expect("they ascend");
    let quota = fixed_window::Quota::by_calendar(LIMIT, calendar).expect("a limit");
    let policy = Policy::new("calendar", quota).expect("a name");
    let policy = policy.with_debt_max(100).expect("as much may be owed");
    let limiter = Limiter::with_policies(connect(&server).await, policy.clone()).unwrap();

    let mut admitted = BTreeMap::new();
    while admitted.len() < 20 {
        let decision = limiter.check("key").await.unwrap();
        let Some(Detail::FixedWindow(window)) = decision.detail(&policy) else {
            panic!("a fixed window: {decision:?}")
        };
        let (start, end) = (window.window_start, window.window_end);
        assert!(boundaries.contains(&start) && boundaries.contains(&end), "{window:?}");
        assert!(start <= decision.at && decision.at < end, "{window:?} at {:?}", decision.at);
        if decision.is_allowed() {
            *admitted.entry(start).or_insert(0) += 1;
        } else {
            assert_eq!(decision.retry_after(), end - decision.at);
        }
        assert!(admitted.values().all(|admitted| *admitted <= LIMIT), "{admitted:?}");
    }

    let charged = limiter.penalize("key").cost(LIMIT + 50).await.unwrap();
    assert_eq!(charged.remaining, 0);
    loop {
        let decision = limiter.check("key").await.unwrap();
        if decision.is_allowed() {
            assert!(!decision.is_in_debt());
            break;
        }
        assert!(boundaries.contains(&(decision.at + decision.retry_after())), "{decision:?}");
    }
}
