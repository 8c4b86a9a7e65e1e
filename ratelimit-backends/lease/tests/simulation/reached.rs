//! Each bound of the theorem is reached: none could be smaller. And what faults cost is what they may cost.

use std::slice;

use ratelimit_core::{Action, LeaseTerms, Micros, Policy};

use crate::{
    bound::{Limit, Use},
    world::{START, World},
};

/// 10 000 a minute, with leases of 600 ms: a hundred permits, a hundredth of the burst.
const MINUTE: Limit = Limit::Bucket { burst: 10_000, limit: 10_000, window: 60_000_000 };
const LENGTH: Micros = Micros::from_millis(600);

fn policy(limit: &Limit) -> Policy {
    Policy::new("limit", limit.algorithm(false)).unwrap()
}

fn excess_max(policy: &Policy, holders: u64) -> i128 {
    LeaseTerms::new(policy, LENGTH).unwrap().excess_max(holders).into()
}

fn excess(world: &World, limit: &Limit) -> i128 {
    let mut uses = world.uses(0);
    uses.sort_by_key(|one| one.at);
    limit.excess(&uses)
}

/// Makes a key hot whose requests have not reached the store for a while, so that nothing was charged for
/// them: the holder takes as much as it may, and nothing else is charged in the last tenth of a second.
async fn hoard(world: &mut World, holder: usize, policy: &Policy) {
    ask_for_more(world, holder, policy).await;
    world.flush().await;
}

/// The same up to the take, which is on its way.
async fn ask_for_more(world: &mut World, holder: usize, policy: &Policy) {
    let policies = slice::from_ref(policy);
    for _ in 0..8 {
        world.request(holder, policies, 1).await;
        world.lose_message(0).await;
    }
    // Nine were asked for, and are worth a take of five.
    world.request(holder, policies, 1).await;
    world.flush().await;
    world.advance(100_000);
    for _ in 0..60 {
        world.request(holder, policies, 7).await;
        world.lose_message(0).await;
    }
    // The last of the five is worth a take of as many as may be held.
    for _ in 0..5 {
        world.request(holder, policies, 1).await;
    }
    assert_eq!(world.senders(), [(holder, Action::Take)]);
}

/// To the last microsecond in which what was just taken may be used.
fn to_the_last_moment(world: &mut World) {
    world.advance(LENGTH.as_micros() - LENGTH.as_micros() / 1_000 - 1);
}

// FAULTS 236.
#[test]
fn a_bucket_is_exceeded_by_what_comes_back_in_the_time_of_a_lease_and_no_more() {
    let policy = policy(&MINUTE);
    World::run(1, LENGTH, async |world| {
        hoard(world, 0, &policy).await;
        to_the_last_moment(world);
        assert_eq!(world.drain(0, &policy).await, 100);
        assert!(world.apply(&policy, Action::Spend, 9_999).is_allowed());
        // The bucket was short of a tenth of a permit.
        let wait = world.apply(&policy, Action::Spend, 1).retry_after();
        world.advance(wait.as_micros());
        assert!(
            wait < Micros::from_millis(1) && world.apply(&policy, Action::Spend, 1).is_allowed()
        );
        assert_eq!(excess(world, &MINUTE), 100);
    });
    assert_eq!(excess_max(&policy, 1), 100);
    assert_eq!(excess_max(&policy, u64::MAX), 100);
}

#[test]
fn a_microsecond_later_no_permit_of_the_lease_is_used() {
    let policy = policy(&MINUTE);
    World::run(1, LENGTH, async |world| {
        hoard(world, 0, &policy).await;
        to_the_last_moment(world);
        world.advance(1);
        assert_eq!(world.drain(0, &policy).await, 0);
    });
}

#[test]
fn holders_that_hold_little_exceed_a_bucket_by_what_they_hold() {
    let policy = policy(&MINUTE);
    World::run(3, LENGTH, async |world| {
        for holder in &mut world.holders {
            holder.leased = holder.leased.clone().with_held_max(20);
        }
        for holder in 0..3 {
            hoard(world, holder, &policy).await;
        }
        world.advance(250_000);
        for holder in 0..3 {
            assert_eq!(world.drain(holder, &policy).await, 20);
        }
        assert!(world.apply(&policy, Action::Spend, 10_000).is_allowed());
        assert_eq!(excess(world, &MINUTE), 60);
    });
}

#[test]
fn a_bucket_with_exact_numbers_is_exceeded_by_nothing_and_admits_all_of_its_limit() {
    let exact = MINUTE.algorithm(false).for_leases(LENGTH).unwrap();
    let policy = Policy::new("limit", exact).unwrap();
    World::run(1, LENGTH, async |world| {
        hoard(world, 0, &policy).await;
        to_the_last_moment(world);
        assert_eq!(world.drain(0, &policy).await, 100);
        assert!(world.apply(&policy, Action::Spend, 9_899).is_allowed());
        let wait = world.apply(&policy, Action::Spend, 1).retry_after();
        world.advance(wait.as_micros());
        assert!(world.apply(&policy, Action::Spend, 1).is_allowed());
        assert_eq!(excess(world, &MINUTE), 0);
    });
}

#[test]
fn permits_of_a_fixed_window_lapse_with_it() {
    let limit = Limit::Fixed { limit: 10_000, window: 60_000_000 };
    let policy = policy(&limit);
    World::run(1, LENGTH, async |world| {
        let next = 60_000_000 - START % 60_000_000;
        world.advance(next - 300_000);
        hoard(world, 0, &policy).await;
        world.advance(100_000);
        world.request(0, slice::from_ref(&policy), 1).await;
        let rest = world.apply(&policy, Action::Take, 10_000).charged();
        world.used(rest);
        // A microsecond before the window ends, by a clock that may be slow.
        world.advance(100_000 - 201);
        world.request(0, slice::from_ref(&policy), 1).await;
        let used_last = world.admissions().last().map(|one| one.at + 1);
        assert_eq!(used_last, Some(world.now + 1));
        world.advance(201);
        assert_eq!(world.drain(0, &policy).await, 0);
        world.flush().await;
        assert!(world.apply(&policy, Action::Spend, 9_000).is_allowed());
        assert!(excess(world, &limit) <= 0);
    });
    assert_eq!(excess_max(&policy, u64::MAX), 0);
}

// FAULTS 236.
#[test]
fn what_was_taken_under_old_numbers_is_not_used_under_new_ones() {
    let policies = [MINUTE, Limit::Bucket { burst: 20_000, limit: 10_000, window: 60_000_000 }];
    let policies = policies.map(|limit| policy(&limit));
    World::run(1, LENGTH, async |world| {
        for policy in policies.each_ref().map(slice::from_ref) {
            for _ in 0..8 {
                world.request(0, policy, 1).await;
                world.lose_message(world.messages() - 1).await;
            }
            world.request(0, policy, 1).await;
            world.serve(world.messages() - 1);
            world.deliver(0).await;
        }
        // Both takes are on their way, and the reply to the old one comes first.
        assert_eq!(world.senders(), [(0, Action::Take), (0, Action::Take)]);
        world.serve(0);
        world.deliver(0).await;
        assert_eq!(world.drain(0, &policies[1]).await, 0);
        assert_eq!(world.stats(0).lapsed, 5);
    });
}

/// Holders that take all there is, for a limit of so many a second and leases of a tenth.
fn greedily(limit: Limit, work: impl Fn(&mut World, &Policy, u64)) -> i128 {
    let (policy, mut found) = (policy(&limit), 0);
    World::run(0, LENGTH, async |world| {
        world.advance(SECOND - START % SECOND);
        work(world, &policy, 100_000);
        found = excess(world, &limit);
    });
    found
}

const SECOND: u64 = 1_000_000;

#[test]
fn a_log_is_exceeded_by_what_was_charged_in_the_time_of_a_lease_before_the_window() {
    let limit = Limit::Log { limit: 40, window: SECOND };
    let found = greedily(limit, |world, policy, length| {
        assert_eq!(world.apply(policy, Action::Take, 40).charged(), 40);
        world.advance(length - 1);
        world.used(40);
        world.advance(SECOND - length + 1);
        assert!(world.apply(policy, Action::Spend, 40).is_allowed());
    });
    let policy = policy(&limit);
    let terms = LeaseTerms::new(&policy, Micros::from_millis(100)).unwrap();
    assert_eq!((found, terms.held_max()), (40, 4));
    assert_eq!([1, 9, 10, 99].map(|holders| terms.excess_max(holders)), [4, 36, 40, 40]);
}

#[test]
fn a_counter_is_exceeded_by_what_its_estimate_lets_through_in_the_time_of_a_lease() {
    let limit = Limit::Counter { limit: 40, window: SECOND };
    let found = greedily(limit, |world, policy, length| {
        world.advance(SECOND - 1);
        assert_eq!(world.apply(policy, Action::Take, 40).charged(), 40);
        world.advance(length - 1);
        world.used(40);
        world.advance(SECOND - length + 1);
        // At the end of the next window, and as much as the last one lets through after that.
        let charged = world.apply(policy, Action::Take, 40).charged();
        world.used(charged);
        world.advance(length - 2);
        let charged = world.apply(policy, Action::Take, 40).charged();
        world.used(charged);
    });
    let terms = LeaseTerms::new(&policy(&limit), Micros::from_millis(100)).unwrap();
    assert_eq!((found, terms.excess_max(u64::MAX)), (4, 4));
}

// FAULTS 236.
#[test]
fn a_holder_that_is_frozen_between_look_and_use_exceeds_the_limit_by_what_it_was_about_to_use_once()
{
    let policy = policy(&MINUTE);
    World::run(1, LENGTH, async |world| {
        hoard(world, 0, &policy).await;
        let about_to_use = world.drain(0, &policy).await;
        let mut uses = world.uses(0);
        // It goes on a minute later, when everything has come back.
        world.advance(60_000_000);
        assert!(world.apply(&policy, Action::Spend, 10_000).is_allowed());
        let late = uses.split_off(uses.len() - 100);
        uses.extend(late.iter().map(|one| Use { at: world.now + START, ..*one }));
        uses.push(Use { at: world.now + START, permits: 10_000 });
        assert_eq!((about_to_use, MINUTE.excess(&uses)), (100, 100));
    });
}

// FAULTS 236.
#[test]
fn a_crash_or_a_lost_reply_costs_what_was_taken_until_it_comes_back() {
    for is_crash in [true, false] {
        let policy = policy(&MINUTE);
        World::run(1, LENGTH, async |world| {
            ask_for_more(world, 0, &policy).await;
            world.serve(0);
            if is_crash {
                world.deliver(0).await;
                world.crash(0).await;
            } else {
                world.lose_reply(0).await;
            }
            assert_eq!(world.drain(0, &policy).await, 0);
            // It was not asked for again.
            assert_eq!(world.senders(), [(0, Action::Spend)]);
            assert_eq!(world.apply(&policy, Action::Peek, 1).remaining, 9_900);
            world.advance(LENGTH.as_micros());
            assert_eq!(world.apply(&policy, Action::Peek, 1).remaining, 10_000);
        });
    }
}

// FAULTS 236.
#[test]
fn what_is_given_back_is_there_at_once_and_what_of_it_gets_lost_is_not_sent_again() {
    for is_lost in [false, true] {
        let policy = policy(&MINUTE);
        World::run(1, LENGTH, async |world| {
            hoard(world, 0, &policy).await;
            world.request(0, slice::from_ref(&policy), 1).await;
            world.close(0).await;
            assert_eq!(world.senders(), [(0, Action::Refund)]);
            world.serve(0);
            assert_eq!(world.apply(&policy, Action::Peek, 1).remaining, 9_999);
            if is_lost {
                world.lose_reply(0).await
            } else {
                world.deliver(0).await
            }
            let stats = world.stats(0);
            let [back, lapsed] = if is_lost { [0, 99] } else { [99, 0] };
            assert_eq!((stats.leased, stats.given_back, stats.lapsed), (105, back, lapsed));
            assert_eq!((world.messages(), world.drain(0, &policy).await), (0, 0));
        });
    }
}

// FAULTS 236.
#[test]
fn a_failover_lets_through_what_was_charged_in_the_time_that_was_lost() {
    let policy = policy(&MINUTE);
    World::run(1, LENGTH, async |world| {
        world.remember();
        hoard(world, 0, &policy).await;
        assert!(world.apply(&policy, Action::Spend, 9_900).is_allowed());
        let lost = world.fail_over();
        assert_eq!((lost, world.drain(0, &policy).await), (10_006, 100));
        assert!(world.apply(&policy, Action::Spend, 10_000).is_allowed());
        // 9 900 twice, as without leases; and the hundred that were held, which the store does not know of.
        let excess = excess(world, &MINUTE);
        assert!((9_900..=i128::from(lost)).contains(&excess), "{excess}");
    });
}
