//! Changed numbers against exact fractions: what a key has at the instant of a change.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{ToPrimitive, Zero};
use proptest::prelude::*;
use ratelimit_core::{CarryOver, Detail, Fraction, LIMIT_MAX, fixed_window::Align};

use crate::{
    key_under_test::{Subject, at, retry_after},
    rule::{Rule, changes, share_of},
    trace::{history, shares, worn},
};

const SECOND: u64 = 1_000_000;
const DAY: u64 = 86_400 * SECOND;
const START: u64 = 1_700_000_000 * SECOND;

fn exact(fraction: Fraction) -> BigRational {
    BigRational::new(fraction.numerator.into(), fraction.denominator.get().into())
}

fn whole(number: u64) -> BigRational {
    BigInt::from(number).into()
}

/// The permits that remain under `to` at `now`, from what the old numbers say about that instant.
/// `None` for an algorithm whose remainder is not a matter of one quantity.
fn expected(subject: &Subject, to: &Rule, rule: CarryOver, now: u64) -> Option<u64> {
    let limit = to.policy().limit();
    let share = match rule {
        CarryOver::Proportional => BigRational::new(limit.into(), subject.limit().into()),
        _ => whole(1),
    };
    let [from_window, to_window] =
        [&subject.policy, &to.policy()].map(|policy| policy.window_at(at(now)));
    let keeps_window = from_window == to_window;
    let left = match subject.look(now) {
        Detail::TokenBucket(seen) => exact(seen.tokens) * share,
        Detail::LeakyBucket(seen) => whole(limit) - exact(seen.level) * share,
        Detail::FixedWindow(seen) => whole(limit) - (whole(seen.used) * share).ceil(),
        // Entries of a log leave a shorter window one by one.
        Detail::SlidingWindowLog(seen) if from_window <= to_window => {
            whole(limit) - (whole(seen.used) * share).ceil()
        }
        Detail::SlidingWindowCounter(seen) if !keeps_window => {
            let spent = whole(seen.current) + whole(seen.previous) * exact(seen.weight);
            whole(limit) - (spent * share).ceil()
        }
        _ => return None,
    };
    let left = left.max(BigRational::zero()).min(whole(limit));
    left.floor().to_integer().to_u64()
}

proptest! {
    /// The time before the change counts at the old numbers, and nothing is rounded twice.
    // FAULTS 206.
    #[test]
    fn a_change_keeps_exactly_what_the_old_numbers_say_of_its_instant(
        (from, to) in changes(),
        proportional in any::<bool>(),
        history in history(),
        rest in 0_u64..=1_000_000,
    ) {
        let rule = if proportional { CarryOver::Proportional } else { CarryOver::AsIs };
        let (mut subject, now) = worn(&from, &history);
        let _ = subject.spend(now, 1);
        let now = now + share_of(from.span(), rest);
        if subject.lifetime(now) == 0 || from == to || to.is_queue() || to.is_capped() {
            return Ok(());
        }
        if let Some(remaining) = expected(&subject, &to, rule, now) {
            let changed = subject.under(to.policy().with_carry_over(rule));
            prop_assert_eq!(changed.peek(now, 1).remaining, remaining);
        }
    }
}

proptest! {
    /// Whatever the cost, and whatever the numbers were. A peek at that instant says the same.
    // FAULTS 210.
    #[test]
    fn a_request_denied_after_a_change_fits_after_its_wait_and_not_a_microsecond_before(
        (from, to) in changes(),
        rule in prop_oneof![Just(CarryOver::AsIs), Just(CarryOver::Proportional)],
        history in history(),
        share in shares(),
        drains in any::<bool>(),
    ) {
        let (subject, now) = worn(&from, &history);
        let mut changed = subject.under(to.policy().with_carry_over(rule));
        let cost = 1 + share_of(changed.limit() - 1, share);
        if drains {
            let _ = changed.drain(now);
        }
        let peeked = changed.peek(now, cost);
        let denied = changed.spend(now, cost);
        prop_assert_eq!(peeked.is_allowed(), denied.is_allowed());
        if denied.is_allowed() {
            return Ok(());
        }
        prop_assert_eq!(peeked, denied);
        let then = now + retry_after(&denied);
        prop_assert!(!changed.peek(then - 1, cost).is_allowed());
        prop_assert!(changed.spend(then, cost).is_allowed());
    }
}

proptest! {
    /// The new limit would never have let as many through; they fade like any.
    #[test]
    fn permits_that_a_counter_carries_over_count_until_they_have_faded_and_no_longer(
        spent in prop_oneof![100_u64..=100_000, 100_u64..=LIMIT_MAX],
        limit in 1_u64..=20,
        window in prop_oneof![2_u64..=1_000, 2_u64..=30 * DAY],
        share in shares(),
    ) {
        let counter = |limit, window| Rule::SlidingWindowCounter { limit, window };
        let mut subject = Subject::new(&counter(spent, 1));
        prop_assert!(subject.spend(START, spent).is_allowed());
        let changed = subject.under(counter(limit, window).policy());
        let cost = 1 + share_of(limit - 1, share);
        let weight = u128::from(limit - cost) * u128::from(window) / u128::from(spent);
        let wait = 2 * window - START % window - u64::try_from(weight).expect("a part of a window");
        prop_assert_eq!(retry_after(&changed.peek(START, cost)), wait);
    }

    /// A share of the limit is no more permits than that, and so no more entries.
    #[test]
    fn a_log_that_keeps_its_share_needs_no_more_entries_than_permits(
        from in (1_u64..=40, 1_u64..=20 * SECOND),
        to in (1_u64..=10, 1_u64..=20 * SECOND),
        history in history(),
        share in shares(),
    ) {
        let log = |(limit, window), entries_max| Rule::SlidingWindowLog { limit, window, entries_max };
        let (subject, now) = worn(&log(from, 1_000_000), &history);
        let cost = 1 + share_of(to.0 - 1, share);
        let changed = |entries_max| {
            let policy = log(to, entries_max).policy();
            subject.under(policy.with_carry_over(CarryOver::Proportional)).peek(now, cost)
        };
        prop_assert_eq!(changed(to.0), changed(1_000_000));
    }
}

// FAULTS 210.
#[test]
fn a_log_that_may_hold_fewer_entries_waits_until_it_does() {
    let log =
        |entries_max| Rule::SlidingWindowLog { limit: 1_000, window: 60 * SECOND, entries_max };
    let mut subject = Subject::new(&log(100));
    for entry in 0..100 {
        assert!(subject.spend(START + 1_000 * entry, 1).is_allowed());
    }
    let mut changed = subject.under(log(10).policy());
    let denied = changed.spend(START + 100_000, 1);
    let then = START + 60 * SECOND + 90 * 1_000;
    assert_eq!(START + 100_000 + retry_after(&denied), then);
    assert!(!changed.peek(then - 1, 1).is_allowed());
    assert!(changed.spend(then, 1).is_allowed());
}

fn bucket(capacity: u64, period: u64) -> Rule {
    Rule::TokenBucket { capacity, refill: capacity, period, initial: capacity }
}

fn leaky(capacity: u64, period: u64) -> Rule {
    Rule::LeakyBucket { capacity, leak: capacity, period, longest_delay: None }
}

// FAULTS 206.
#[test]
fn a_bucket_that_is_raised_has_refilled_at_its_old_rate() {
    let mut subject = Subject::new(&bucket(10, DAY));
    assert!(subject.spend(START, 10).is_allowed());
    let raised = subject.under(bucket(1_000, SECOND).policy());
    assert_eq!(raised.peek(START + DAY / 2, 1).remaining, 5);
}

// FAULTS 206.
#[test]
fn a_bucket_that_is_lowered_has_leaked_at_its_old_rate() {
    let mut subject = Subject::new(&leaky(8, 8 * SECOND));
    assert!(subject.spend(START, 8).is_allowed());
    let lowered = subject.under(leaky(8, 16 * SECOND).policy());
    let decision = lowered.peek(START + 3 * SECOND / 2, 1);
    assert_eq!((decision.remaining, decision.reset_after.as_micros()), (1, 13 * SECOND));
}

/// Numbers so far apart that their product passes what every store counts exactly.
// FAULTS 207.
#[test]
fn proportional_is_exact_however_far_apart_the_numbers_are() {
    let month = 30 * DAY;
    let counter = |limit, window| Rule::SlidingWindowCounter { limit, window };
    let window = |limit| Rule::FixedWindow { limit, window: DAY, align: Align::First };
    for (from, spent, to, remaining) in [
        (leaky(10, DAY), 10, leaky(1_000_000, DAY), 0),
        (leaky(10, month), 10, leaky(100_000, month), 0),
        (bucket(10, DAY), 1, bucket(1_000_000, DAY), 900_000),
        (bucket(10, DAY), 10, bucket(1_000_000, DAY), 0),
        (counter(10, month), 10, counter(1_000_000_000, 31 * DAY), 0),
        (window(10), 9, window(1_000_000_000_000), 100_000_000_000),
    ] {
        let mut subject = Subject::new(&from);
        assert!(subject.spend(START, spent).is_allowed());
        let changed = subject.under(to.policy().with_carry_over(CarryOver::Proportional));
        assert_eq!(changed.peek(START, 1).remaining, remaining, "{from:?} {to:?}");
    }
}

/// A store may have dropped it, so it must not matter that one has not.
#[test]
fn an_expired_record_of_another_algorithm_is_no_record() {
    let window = Rule::FixedWindow { limit: 10, window: SECOND, align: Align::First };
    let mut subject = Subject::new(&window);
    assert!(subject.spend(START, 10).is_allowed());
    let mut changed = subject.under(bucket(5, SECOND).policy());
    assert_eq!(
        changed.spend(START + SECOND, 1),
        Subject::new(&bucket(5, SECOND)).spend(START + SECOND, 1)
    );
}
