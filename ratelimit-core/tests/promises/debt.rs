//! A key that owes permits is denied until they are paid back, and not a microsecond longer.

use proptest::prelude::*;
use ratelimit_core::{
    Action, CarryOver, Check, ConfigError, CostError, Decision, Key, LIMIT_MAX, Policy, Timestamp,
    UNLIMITED, WINDOW_MAX, fixed_window::Align, store::Record,
};

use crate::{
    key_under_test::{Subject, reset_after, retry_after},
    rule::{self, Rule, one_of_each, share_of},
    trace::{Step, history, shares, worn},
};

const NOW: u64 = 1_700_000_000_000_000;

/// All rules whose keys may owe.
pub(crate) fn owing() -> impl Strategy<Value = Rule> {
    let owes = |rule: &Rule| rule.policy().with_debt_max(1).is_ok();
    rule::any().prop_filter("hybrids and permits in flight cannot owe", owes)
}

/// Debts, in permits, and as a share of the most that there may be.
pub(crate) fn debts() -> impl Strategy<Value = (u64, u64)> {
    (prop_oneof![1_u64..=20, 1_u64..=5_000, Just(LIMIT_MAX)], shares())
}

/// A key with a past, which may owe permits.
fn debtor(rule: &Rule, history: &(u64, Vec<Step>), debt: (u64, u64)) -> (Subject, u64) {
    let (subject, now) = worn(rule, history);
    let debt_max = debt.0.min(most(&subject.policy));
    let policy = subject.policy.clone().with_debt_max(debt_max).expect("it may owe as much");
    (subject.under(policy), now)
}

/// The most that keys of a policy may owe.
pub(crate) fn most(policy: &Policy) -> u64 {
    match policy.clone().with_debt_max(u64::MAX) {
        Err(ConfigError::NoDebt { .. }) => 0,
        Err(ConfigError::LimitTooLarge { field: "debt_max", max }) => max,
        other => panic!("{other:?}"),
    }
}

/// The largest cost that is admitted.
fn room(subject: &Subject, now: u64) -> u64 {
    subject.clone().act(Action::Take, now, subject.limit()).charged()
}

proptest! {
    #[test]
    fn what_fits_is_charged_and_the_rest_is_owed_up_to_the_most(
        rule in owing(),
        history in history(),
        debt in debts(),
    ) {
        let (mut subject, now) = debtor(&rule, &history, debt);
        let (room, debt_max) = (room(&subject, now), subject.policy.debt_max());
        let cost = 1 + share_of(subject.limit() + debt_max - 1, debt.1);
        let charged = subject.penalize(now, cost);
        prop_assert_eq!(charged.charged(), cost.min(room + debt_max));
        prop_assert!(charged.is_allowed(), "it does not decide");
        prop_assert_eq!(charged.is_in_debt(), room < cost);
        prop_assert!(!charged.is_in_debt() || charged.remaining == 0);

        // A queue may have no room any more, though the charge was smaller than that.
        let owed = charged.charged().saturating_sub(room);
        let left = self::room(&subject, now) + debt_max - owed;
        prop_assert_eq!(subject.penalize(now, subject.limit() + debt_max).charged(), left);
        prop_assert_eq!(subject.penalize(now, 1).charged(), 0, "it owes the most");
    }

    #[test]
    fn a_debtor_is_denied_until_it_has_paid_back_and_not_a_microsecond_longer(
        rule in owing(),
        history in history(),
        debt in debts(),
        share in shares(),
        within in 0_u64..=1_000_000,
    ) {
        let (mut subject, now) = debtor(&rule, &history, debt);
        let _ = subject.penalize(now, subject.limit() + subject.policy.debt_max());
        for cost in [1, 1 + share_of(subject.limit() - 1, share)] {
            let denied = subject.spend(now, cost);
            prop_assert!(!denied.is_allowed() && denied.is_in_debt() && denied.remaining == 0);
            let wait = retry_after(&denied);
            let then = now + share_of(wait, within);
            if then < now + wait {
                let later = subject.clone().spend(then, cost);
                prop_assert_eq!(now + wait, then + retry_after(&later), "{} of {}", then - now, wait);
            }
            prop_assert_eq!(retry_after(&subject.clone().spend(now + wait - 1, cost)), 1);
            let due = subject.clone().spend(now + wait, cost);
            prop_assert!(due.is_allowed() && !due.is_in_debt(), "{:?}", due);
        }
        let reset = reset_after(&subject.peek(now, 1));
        prop_assert!(subject.clone().spend(now + reset, subject.limit()).is_allowed() || rule.starts_low());
    }

    #[test]
    fn a_debt_survives_as_bytes_and_a_denial_leaves_it_as_it_is(
        rule in owing(),
        history in history(),
        debt in debts(),
        block in prop::option::of(1_u64..=10_000_000),
    ) {
        let (mut subject, now) = debtor(&rule, &history, debt);
        if let Some(length) = block {
            let _ = subject.block(now, length);
        }
        let _ = subject.penalize(now, subject.limit() + subject.policy.debt_max());
        let bytes = |subject: &Subject| subject.record.as_ref().expect("it is kept").encode();
        let record = Record::decode(&bytes(&subject), &subject.policy).expect("a record");
        prop_assert_eq!(record.encode(), bytes(&subject));
        let words = Record::from_words(&record.header(), &record.words(), &subject.policy);
        prop_assert_eq!(words.as_ref(), Ok(&record));
        let read = Subject { record: Some(record), ..subject.clone() };
        prop_assert_eq!(read.peek(now, 1), subject.peek(now, 1));

        let before = bytes(&subject);
        prop_assert!(!subject.spend(now, 1).is_allowed());
        prop_assert_eq!(bytes(&subject), before);
    }

    /// Not all that the numbers of a policy know is stored.
    #[test]
    fn a_debt_is_the_same_from_memory_and_from_bytes_under_any_numbers(
        (from, to) in rule::changes(),
        is_same in any::<bool>(),
        history in history(),
        debt in debts(),
        wait in 0_u64..=1 << 43,
        is_proportional in any::<bool>(),
    ) {
        if from.policy().with_debt_max(1).is_err() {
            return Ok(());
        }
        let (mut subject, now) = debtor(&from, &history, debt);
        let _ = subject.penalize(now, subject.limit() + subject.policy.debt_max());
        let rule = if is_proportional { CarryOver::Proportional } else { CarryOver::AsIs };
        let policy = if is_same { from } else { to }.policy().with_carry_over(rule);
        let bytes = subject.record.as_ref().expect("it is kept").encode();
        let read = Record::decode(&bytes, &policy).expect("a record");
        let [mut kept, mut read] =
            [subject.record.clone(), Some(read)].map(|record| Subject { policy: policy.clone(), record, sensor: None });
        for now in [now.saturating_sub(wait), now, now + wait] {
            prop_assert_eq!(read.spend(now, 1), kept.spend(now, 1));
        }
        let bytes = |subject: &Subject| subject.record.as_ref().map(Record::encode);
        prop_assert_eq!(bytes(&read), bytes(&kept));
    }

    #[test]
    fn a_debtor_that_is_dropped_after_its_lifetime_is_not_missed(
        rule in owing(),
        history in history(),
        debt in debts(),
        share in shares(),
    ) {
        let (mut subject, now) = debtor(&rule, &history, debt);
        let _ = subject.penalize(now, subject.limit() + subject.policy.debt_max());
        let then = now + subject.lifetime(now);
        prop_assert!(now < then);
        let fresh = Subject::of(subject.policy.clone());
        let cost = 1 + share_of(subject.limit() - 1, share);
        let (kept, dropped) = (subject.peek(then, cost), fresh.peek(then, cost));
        prop_assert_eq!((kept.outcome(), kept.remaining), (dropped.outcome(), dropped.remaining));
    }

    #[test]
    fn a_clock_that_steps_back_ends_no_debt_and_makes_it_no_longer_than_a_window_longer(
        rule in owing(),
        history in history(),
        debt in debts(),
        back in 0_u64..=1 << 40,
    ) {
        let (mut subject, now) = debtor(&rule, &history, debt);
        let _ = subject.penalize(now, subject.limit() + subject.policy.debt_max());
        let wait = retry_after(&subject.peek(now, 1));
        let earlier = now.saturating_sub(back);
        let denied = subject.spend(earlier, 1);
        prop_assert!(!denied.is_allowed() && denied.is_in_debt());
        prop_assert!(retry_after(&denied) <= wait + 2 * rule.span(), "{} after {}", retry_after(&denied), wait);
        let then = earlier + retry_after(&denied);
        prop_assert!(!subject.clone().spend(then - 1, 1).is_allowed());
        prop_assert!(subject.spend(then, 1).is_allowed());
    }

    /// Charged too much and given back at once is as if it had been charged right.
    #[test]
    fn a_refund_pays_back_first(
        rule in owing(),
        history in history(),
        debt in debts(),
        parts in shares(),
        give in shares(),
    ) {
        let (mut subject, now) = debtor(&rule, &history, debt);
        let room = room(&subject, now);
        if room < 2 || rule.is_queue() || rule.is_capped() {
            return Ok(());
        }
        let cost = 2 + share_of(room - 2, parts);
        let given = 1 + share_of(cost - 2, give);
        let mut right = subject.clone();
        let receipt = subject.receipt(&subject.clone().spend(now, cost), cost);
        let _ = subject.spend(now, cost);
        let overdraft = room - cost + subject.policy.debt_max();
        let _ = subject.penalize(now, overdraft.max(1));
        let settled = subject.settle(now, given, receipt);

        let _ = right.spend(now, cost - given);
        let _ = right.penalize(now, overdraft.max(1));
        let wanted = right.peek(now, 1);
        prop_assert_eq!(settled.charged(), 0);
        prop_assert_eq!(settled.remaining, wanted.remaining);
        prop_assert_eq!(settled.is_in_debt(), wanted.is_in_debt());
        prop_assert_eq!(retry_after(&subject.peek(now, 1)), retry_after(&wanted));
    }

    #[test]
    fn a_bucket_owes_as_one_whose_level_may_fall_below_zero(
        capacity in 1_u64..=50,
        rate in 1_u64..=50,
        period in 1_u64..=10_000_000,
        is_leaky in any::<bool>(),
        debt_max in 1_u64..=300,
        steps in prop::collection::vec((0_u64..=30_000_000, 1_u64..=400, 0_u8..4), 1..40),
    ) {
        let rule = if is_leaky {
            Rule::LeakyBucket { capacity, leak: rate, period, longest_delay: None }
        } else {
            Rule::TokenBucket { capacity, refill: rate, period, initial: capacity }
        };
        let policy = rule.policy().with_debt_max(debt_max).expect("little may be owed");
        let mut subject = Subject::of(policy);
        // In parts of a permit, as many as microseconds in the period.
        let (full, most) = (i128::from(capacity * period), i128::from(debt_max * period));
        let (mut level, mut now) = (full, NOW);
        for (wait, cost, kind) in steps {
            now += wait;
            level = full.min(level + i128::from(wait) * i128::from(rate));
            if kind == 0 {
                let cost = cost.min(capacity + debt_max);
                let least = if level < i128::from(period) { level } else { level % i128::from(period) };
                let most_owed = (most + least.min(0).max(-most)).div_euclid(i128::from(period));
                let fits = level.max(0).div_euclid(i128::from(period));
                let charged = i128::from(cost).min(fits + most_owed);
                let decision = subject.penalize(now, cost);
                prop_assert_eq!(i128::from(decision.charged()), charged, "level {} at {}", level, now);
                level -= charged * i128::from(period);
            } else {
                let cost = cost.min(capacity);
                let missing = i128::from(cost * period) - level;
                let decision = subject.spend(now, cost);
                prop_assert_eq!(decision.is_allowed(), missing <= 0, "level {} at {}", level, now);
                let wait = missing.max(0).div_euclid(i128::from(rate))
                    + i128::from(missing.max(0).rem_euclid(i128::from(rate)) != 0);
                prop_assert_eq!(i128::from(retry_after(&decision)), wait);
                if decision.is_allowed() {
                    level -= i128::from(cost * period);
                }
            }
        }
    }

    #[test]
    fn a_fixed_window_owes_limit_after_limit(
        limit in 1_u64..=20,
        window in 1_u64..=10_000_000,
        debt_max in 1_u64..=300,
        steps in prop::collection::vec((0_u64..=30_000_000, 1_u64..=400, 0_u8..4), 1..40),
    ) {
        let rule = Rule::FixedWindow { limit, window, align: Align::Epoch };
        let policy = rule.policy().with_debt_max(debt_max).expect("little may be owed");
        let (mut subject, mut now) = (Subject::of(policy), NOW);
        let (mut number, mut used, mut owed) = (now / window, 0, 0);
        for (wait, cost, kind) in steps {
            now += wait;
            while number < now / window {
                number = if owed == 0 { now / window } else { number + 1 };
                used = limit.min(owed);
                owed -= used;
            }
            if kind == 0 {
                let cost = cost.min(limit + debt_max);
                let charged = cost.min(limit - used + debt_max - owed);
                prop_assert_eq!(subject.penalize(now, cost).charged(), charged);
                let fits = charged.min(limit - used);
                (used, owed) = (used + fits, owed + charged - fits);
            } else {
                let cost = cost.min(limit);
                let windows = if used + cost <= limit { 0 } else {
                    // The last window that pays back may have room for it.
                    let last = owed % limit;
                    owed / limit + u64::from(last != 0 || owed == 0) + u64::from(last + cost > limit && last != 0)
                        + u64::from(last == 0 && owed != 0)
                };
                let decision = subject.spend(now, cost);
                let wait = if windows == 0 { 0 } else { (now / window + windows) * window - now };
                prop_assert_eq!(retry_after(&decision), wait, "{} used, {} owed at {}", used, owed, now);
                if decision.is_allowed() {
                    used += cost;
                }
            }
        }
    }
}

#[test]
fn a_debt_is_carried_over_as_permits_or_as_a_share() {
    let rules = [10, 20].map(|limit| Rule::TokenBucket {
        capacity: limit,
        refill: limit,
        period: 1_000_000,
        initial: limit,
    });
    for (carry_over, seconds) in
        [(CarryOver::AsIs, 5), (CarryOver::Proportional, 10), (CarryOver::Reset, 0)]
    {
        let policy = |rule: &Rule| rule.policy().with_debt_max(100).expect("it may owe");
        let mut subject = Subject::of(policy(&rules[0]));
        let _ = subject.penalize(NOW, 10 + 100);
        assert_eq!(retry_after(&subject.peek(NOW, 1)), 10_100_000);
        // What was paid back before the change stays so.
        let mut changed = subject.under(policy(&rules[1]).with_carry_over(carry_over));
        let wait = retry_after(&changed.spend(NOW, 20));
        assert_eq!(wait, if seconds == 0 { 0 } else { seconds * 1_000_000 + 1_000_000 });
        let half = subject.under(policy(&rules[1]).with_carry_over(carry_over));
        let wait = retry_after(&half.clone().spend(NOW + 5_000_000, 20));
        assert_eq!(wait, if seconds == 0 { 0 } else { seconds * 500_000 + 1_000_000 });
    }
}

/// Months of 30, 31, 28 and 31 days.
#[test]
fn windows_of_a_calendar_pay_back_a_limit_each() {
    const DAY: u64 = 86_400_000_000;
    let lengths = [30 * DAY, 31 * DAY, 28 * DAY, 31 * DAY];
    let policy = |limit, lengths: [u64; 4]| {
        let policy = Rule::Calendar { limit, lengths }.policy();
        policy.with_debt_max(100).expect("it may owe")
    };
    let mut subject = Subject::of(policy(10, lengths));
    let charged = subject.penalize(5 * DAY, 10 + 25);
    assert_eq!((charged.charged(), charged.is_in_debt()), (35, true));
    let wait = |subject: &Subject, now| retry_after(&subject.peek(now, 1));
    assert_eq!(wait(&subject, 5 * DAY), (30 + 31 + 28 - 5) * DAY);
    assert_eq!(wait(&subject, 89 * DAY - 1), 1);
    let due = subject.clone().spend(89 * DAY, 1);
    assert_eq!((due.is_allowed(), due.is_in_debt(), due.remaining), (true, false, 4));

    // The same calendar with another limit: the second window has paid ten back by then.
    let half = subject.under(policy(5, lengths));
    let denied = half.peek(35 * DAY, 1);
    assert!(denied.is_in_debt());
    assert_eq!(retry_after(&denied), (30 + 31 + 28 + 31 + 30 - 35) * DAY);
    // Nobody else knows when the windows begin that would pay it back.
    for other in [Rule::Calendar { limit: 10, lengths: [20 * DAY; 4] }, one_of_each()[0]] {
        let mut other = subject.under(other.policy().with_debt_max(100).expect("it may owe"));
        let denied = other.spend(5 * DAY, 1);
        assert!(!denied.is_allowed() && !denied.is_in_debt(), "{denied:?}");
    }
}

#[test]
fn without_a_debt_what_does_not_fit_is_forgiven() {
    for rule in one_of_each() {
        let mut subject = Subject::new(&rule);
        let fresh = room(&subject, NOW);
        let charged = subject.act(Action::Penalize, NOW, subject.limit());
        assert_eq!((charged.charged(), charged.is_in_debt()), (fresh, false), "{rule:?}");
    }
}

#[test]
fn hybrids_and_permits_in_flight_owe_nothing_and_no_limit_more_than_it_pays_back() {
    for rule in one_of_each() {
        let policy = rule.policy();
        let algorithm = policy.algorithm().name();
        if rule.is_adaptive() || policy.algorithm().holds_permits() {
            let refused = policy.clone().with_debt_max(1);
            assert_eq!(refused, Err(ConfigError::NoDebt { algorithm }));
            assert_eq!(policy.with_debt_max(0).map(|policy| policy.debt_max()), Ok(0));
            continue;
        }
        let max = most(&policy);
        let mut subject = Subject::of(policy.clone().with_debt_max(max).expect("the most"));
        let _ = subject.penalize(NOW, subject.limit() + max);
        let wait = retry_after(&subject.peek(NOW, 1));
        assert!(wait <= WINDOW_MAX.as_micros() + 2 * rule.span(), "{rule:?}: {wait}");
        assert!(Timestamp::from_micros(NOW + wait).is_some());
    }
    for limit in [0, UNLIMITED] {
        let policy = Rule::Calendar { limit, lengths: [1 << 40; 4] }.policy();
        let mut subject = Subject::of(policy.with_debt_max(LIMIT_MAX).expect("never owed"));
        let charged: Decision = subject.penalize(NOW, 1_000);
        assert_eq!(charged.charged(), if limit == 0 { 0 } else { 1_000 });
        assert!(!charged.is_in_debt());
    }
}

#[test]
fn a_debt_is_no_share_of_a_limit_of_everything() {
    let under = |limit| {
        let policy = Rule::Calendar { limit, lengths: [1 << 40; 4] }.policy();
        let policy = policy.with_debt_max(5).expect("it may owe");
        policy.with_carry_over(CarryOver::Proportional)
    };
    let mut subject = Subject::of(under(10));
    assert_eq!(subject.penalize(NOW, 15).charged(), 15);
    let mut unlimited = subject.under(under(UNLIMITED));
    assert!(unlimited.spend(NOW, 1).is_allowed());
    assert_eq!(unlimited.under(under(30)).peek(NOW, 1).remaining, 30 - 16);
}

#[test]
fn a_penalty_may_be_as_large_as_what_may_be_owed_beside_the_limit() {
    let rule = one_of_each()[0];
    let policy = rule.policy().with_debt_max(5).expect("it may owe");
    let key = Key::new("key").expect("a short key");
    for (cost, wanted) in [
        (0, Err(CostError::Zero)),
        (1, Ok(1)),
        (10, Ok(10)),
        (15, Ok(15)),
        (16, Err(CostError::ExceedsLimit { cost: 16, max: 15 })),
    ] {
        let check = Check::penalty(&policy, key, cost);
        assert_eq!(check.map(|check| check.penalty_cost()), wanted);
    }
    assert!(Check::new(&policy, key, 11).is_err(), "no request spends what it could never get");
    let large = Check::penalty(&policy, key, 15).expect("it fits");
    assert_eq!(large.cost().get(), 10, "other actions see a cost that the limit admits");
}
