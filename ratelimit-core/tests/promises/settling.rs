//! Charging an estimate and settling for less never makes room that was not there.
//!
//! The promise, exactly: had each charge been what it was settled for from the start, everything
//! that was admitted would have been admitted then, too.

use proptest::prelude::*;
use ratelimit_core::{
    Action, CarryOver, Decision, Detail, Outcome, Receipt,
    adaptive::{self},
};

use crate::{
    key_under_test::{Subject, reset_after},
    rule::{self, Rule, share_of},
    trace::{Course, Step, history, shares, spending, worn},
};

/// The fate of a charge: the part of it that is kept, in parts per million of all above one permit,
/// and how many steps later that is known.
type Plan = Option<(u64, usize)>;

/// A charge that was admitted: when, and what it came to in the end.
#[derive(Debug)]
struct Charge {
    at: u64,
    cost: u64,
}

/// A charge that is to be settled.
struct Open {
    due: usize,
    charge: usize,
    keep: u64,
    receipt: Receipt,
}

proptest! {
    // FAULTS 24, 209.
    #[test]
    fn settling_for_less_mints_no_permit(
        rule in rule::any(),
        history in spending(),
        plans in prop::collection::vec(plan(), 32),
    ) {
        mints_nothing(&rule, &history, &plans)?;
    }

    /// One permit of an otherwise full bucket gave nothing back after a microsecond.
    // FAULTS 24.
    #[test]
    fn a_bucket_whose_only_charge_is_settled_is_what_the_smaller_charge_would_have_left(
        rule in prop_oneof![rule::token_bucket(), rule::leaky_bucket()],
        start in 0..=1_u64 << 52,
        shares in [shares(), shares(), shares()],
        is_kept in any::<bool>(),
    ) {
        let (mut subject, mut exact) = (Subject::new(&rule), Subject::new(&rule));
        let cost = 1 + share_of(subject.limit() - 1, shares[0]);
        let spent = subject.spend(start, cost);
        if !spent.is_allowed() || rule.starts_low() {
            return Ok(());
        }
        let keep = if is_kept { 1 + share_of(cost - 1, shares[1]) } else { 0 };
        let then = start + share_of(rule.span(), shares[2]);
        if keep < cost {
            let _ = subject.settle(then, cost - keep, subject.receipt(&spent, cost));
        }
        if 0 < keep {
            let _ = exact.spend(start, keep);
        }
        let [settled, exact] = [&subject, &exact].map(|subject| subject.peek(then, 1));
        prop_assert_eq!(settled.remaining, exact.remaining);
        prop_assert_eq!(reset_after(&settled), reset_after(&exact));
    }

    // FAULTS 24.
    #[test]
    fn settling_for_less_mints_no_permit_where_the_load_cuts_the_burst(
        rule in rule::adaptive(),
        history in spending(),
        plans in prop::collection::vec(plan(), 32),
    ) {
        mints_nothing(&rule, &history, &plans)?;
    }

    // FAULTS 24.
    #[test]
    fn settling_at_once_gives_back_what_was_not_needed(
        rule in rule::any(),
        history in history(),
        share in shares(),
        keep in shares(),
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let cost = 1 + share_of(subject.limit() - 1, share);
        let keep = 1 + share_of(cost - 1, keep);
        let mut exact = subject.clone();
        let spent = subject.spend(now, cost);
        if !spent.is_allowed() || keep == cost {
            return Ok(());
        }
        prop_assert!(exact.spend(now, keep).is_allowed());
        let settled = subject.settle(now, cost - keep, subject.receipt(&spent, cost));
        let exact = exact.peek(now, 1).remaining;
        // Of an adaptive hybrid only whole tokens are known to have been left.
        let most_lost = u64::from(rule.is_adaptive() && settled.remaining < exact);
        prop_assert_eq!(settled.remaining + most_lost, exact);
    }

    // FAULTS 24.
    #[test]
    fn charges_that_are_cancelled_at_once_are_given_back_whole_in_any_order(
        rule in rule::any(),
        start in 0_u64..=1_700_000_000_000_000,
        shares in prop::collection::vec((shares(), any::<u64>()), 1..8),
    ) {
        let mut subject = Subject::new(&rule);
        let fresh = subject.peek(start, 1).remaining;
        let mut charges = Vec::new();
        for (share, order) in shares {
            let cost = 1 + share_of(subject.limit() - 1, share) / 4;
            let spent = subject.spend(start, cost);
            if spent.is_allowed() {
                charges.push((order, cost, subject.receipt(&spent, cost)));
            }
        }
        charges.sort_unstable_by_key(|&(order, ..)| order);
        for (_, cost, receipt) in charges {
            let _ = subject.settle(start, cost, receipt);
        }
        let left = subject.peek(start, 1).remaining;
        // Of an adaptive hybrid the load stays: the requests were admitted. In a queue the places
        // stay that others are behind.
        let stays = rule.is_adaptive() || rule.is_queue();
        prop_assert!(left == fresh || stays, "{left} of {fresh}");
    }

    /// However much is to be given back, and whoever else has spent at that instant.
    #[test]
    fn a_receipt_gives_back_no_more_than_its_charge(
        rule in rule::any(),
        history in history(),
        share in shares(),
        asked in shares(),
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let [cost, asked] = [share, asked].map(|share| 1 + share_of(subject.limit() - 1, share));
        let spent = subject.spend(now, cost);
        if !spent.is_allowed() {
            return Ok(());
        }
        let receipt = subject.receipt(&spent, cost);
        let _ = subject.act(Action::Take, now, subject.limit());
        let before = subject.peek(now, 1).remaining;
        let settled = subject.settle(now, asked, receipt);
        prop_assert!(settled.remaining <= before + cost, "{settled:?} after {before}");
    }

    // FAULTS 24.
    #[test]
    fn a_receipt_gives_nothing_back_once_the_key_would_be_as_good_as_new(
        rule in rule::any(),
        history in history(),
        share in shares(),
        later in 0_u64..=1_000_000,
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let cost = 1 + share_of(subject.limit() - 1, share);
        let spent = subject.spend(now, cost);
        if !spent.is_allowed() {
            return Ok(());
        }
        let then = now + reset_after(&spent) + share_of(rule.span(), later);
        subject.drain(then);
        let before = subject.peek(then, 1);
        let settled = subject.settle(then, cost, subject.receipt(&spent, cost));
        prop_assert_eq!(settled.remaining, before.remaining);
    }

    #[test]
    fn a_charge_takes_what_fits_and_no_more(
        rule in rule::any(),
        history in history(),
        share in shares(),
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let cost = 1 + share_of(subject.limit() - 1, share);
        let (mut exact, before) = (subject.clone(), subject.peek(now, 1));
        let charged = subject.act(Action::Penalize, now, cost);
        prop_assert!(charged.is_allowed());
        // One request may fit that is as large as several that would not: the next finds more load, or
        // a longer queue.
        let (mut fits, mut too_much) = (0, cost + 1);
        while 1 < too_much - fits {
            let middle = fits.midpoint(too_much);
            if exact.peek(now, middle).is_allowed() { fits = middle } else { too_much = middle }
        }
        if let (Detail::Adaptive(adaptive::Detail { used: before, .. }), Detail::Adaptive(adaptive::Detail { used: after, .. })) =
            (subject.detail(&before), subject.detail(&charged))
        {
            prop_assert_eq!(after, before + fits, "the load is of requests, and stays");
        } else {
            if 0 < fits {
                prop_assert!(exact.spend(now, fits).is_allowed());
            }
            prop_assert!(charged.remaining == before.remaining.saturating_sub(fits) || rule.is_queue());
            prop_assert_eq!(subject.detail(&charged), exact.look(now));
        }
    }
}

proptest! {
    /// Whatever is given back: a request that is not given back whole is out at its time, and the next
    /// one no sooner after it than the rate allows.
    // FAULTS 24, 209.
    #[test]
    fn a_queue_that_is_settled_lets_nothing_out_closer_together_than_its_rate(
        rule in rule::leaky_bucket(),
        (start, steps) in spending(),
        plans in prop::collection::vec(plan(), 32),
    ) {
        let Rule::LeakyBucket { leak, period, longest_delay: Some(_), .. } = rule else {
            return Ok(());
        };
        let (mut subject, mut course) = (Subject::new(&rule), Course::new(&rule, start));
        let returned = |subject: &Subject, now| match subject.look(now) {
            Detail::LeakyBucket(seen) => seen.returned,
            _ => unreachable!("the rule is a leaky bucket"),
        };
        let (mut outputs, mut open): (Vec<(u64, u64)>, Vec<Open>) = (Vec::new(), Vec::new());
        for ((number, step), plan) in steps.iter().enumerate().zip(plans) {
            let (now, cost) = (course.go(step.wait), step.cost(subject.limit()));
            for Open { charge, keep: back, receipt, .. } in
                open.extract_if(.., |open| open.due <= number)
            {
                let before = returned(&subject, now);
                let _ = subject.settle(now, back, receipt);
                // A charge that is forgotten has nothing to give back.
                outputs[charge].1 -= returned(&subject, now).saturating_sub(before);
            }
            let decision = subject.spend(now, cost);
            course.saw(decision);
            let Outcome::Allow { delay } = decision.outcome() else { continue };
            if let Some((share, later)) = plan {
                let receipt = subject.receipt(&decision, cost);
                let back = 1 + share_of(cost - 1, share);
                open.push(Open { due: number + later, charge: outputs.len(), keep: back, receipt });
            }
            outputs.push((now + delay.as_micros(), cost));
        }
        outputs.retain(|&(_, kept)| 0 < kept);
        for pair in outputs.windows(2) {
            let [(out, cost), (next, _)] = [pair[0], pair[1]];
            // Instants are whole microseconds: the exact ones lie less than one before.
            let gap = u128::from(cost) * u128::from(period) / u128::from(leak);
            prop_assert!(u128::from(out) + gap <= u128::from(next), "{pair:?} of {outputs:?}");
        }
    }

    /// To other numbers, and to the same ones when they have come back.
    // FAULTS 24, 209.
    #[test]
    fn a_receipt_of_before_a_change_gives_nothing_back(
        (rule, other) in rule::changes(),
        history in spending(),
        share in shares(),
        comes_back in any::<bool>(),
        waits in [0_u64..=1_000_000, 1_u64..=1_000_000],
        proportional in any::<bool>(),
    ) {
        prop_assume!(rule != other && !rule.is_in_flight());
        let carry_over = if proportional { CarryOver::Proportional } else { CarryOver::AsIs };
        let (mut subject, now) = worn(&rule, &history);
        let cost = 1 + share_of(subject.limit() - 1, share);
        let spent = subject.spend(now, cost);
        if !spent.is_allowed() {
            return Ok(());
        }
        let receipt = subject.receipt(&spent, cost);
        let mut now = now + 1 + share_of(other.span(), waits[0]);
        let mut changed = subject.under(other.policy().with_carry_over(carry_over));
        let _ = changed.spend(now, 1);
        if comes_back {
            now += share_of(rule.span(), waits[1]);
            changed = changed.under(rule.policy().with_carry_over(carry_over));
            let _ = changed.spend(now, 1);
        }
        let before = changed.peek(now, 1).remaining;
        let cost = cost.min(changed.limit());
        prop_assert_eq!(changed.settle(now, cost, receipt).remaining, before);
    }
}

#[test]
fn a_place_in_the_middle_of_a_queue_is_not_given_again() {
    let rule = Rule::LeakyBucket {
        capacity: 10,
        leak: 1,
        period: 1_000_000,
        longest_delay: Some(9_000_000),
    };
    let (mut subject, now) = (Subject::new(&rule), 1_700_000_000_000_000);
    let charges = [(); 3].map(|()| subject.spend(now, 1));
    let delay = |decision: &Decision| match decision.outcome() {
        Outcome::Allow { delay } => delay.as_secs_ceil(),
        Outcome::Deny { .. } => panic!("there is room"),
    };
    assert_eq!(charges.each_ref().map(delay), [0, 1, 2]);
    let _ = subject.settle(now, 1, subject.receipt(&charges[1], 1));
    assert_eq!(delay(&subject.peek(now, 1)), 3);
    let _ = subject.settle(now, 1, subject.receipt(&charges[2], 1));
    assert_eq!(delay(&subject.peek(now, 1)), 2, "the last one's is");
    let _ = subject.settle(now, 1, subject.receipt(&charges[1], 1));
    assert_eq!(delay(&subject.peek(now, 1)), 1, "and now that is the last");
}

fn plan() -> impl Strategy<Value = Plan> {
    prop::option::of((prop_oneof![Just(0), 0_u64..=1_000_000], 0_usize..8))
}

/// Plays a history whose charges are settled as planned; then, what it admitted, at the costs that
/// it came to.
fn mints_nothing(
    rule: &Rule,
    (start, steps): &(u64, Vec<Step>),
    plans: &[Plan],
) -> Result<(), TestCaseError> {
    let (mut subject, mut course) = (Subject::new(rule), Course::new(rule, *start));
    let mut exact = Subject::new(rule);
    // A key that starts low begins to fill when it is first asked for, and has more while it is known:
    // both are asked first, and compared as long as none is forgotten.
    let is_comparable = |exact: &Subject, at| !rule.starts_low() || exact.is_known(at);
    if rule.starts_low() {
        let limit = exact.limit();
        prop_assert!(!subject.spend(*start, limit).is_allowed());
        prop_assert!(!exact.spend(*start, limit).is_allowed());
    }
    let (mut charges, mut open): (Vec<Charge>, Vec<Open>) = (Vec::new(), Vec::new());
    for ((number, step), plan) in steps.iter().enumerate().zip(plans) {
        let (at, cost) = (course.go(step.wait), step.cost(subject.limit()));
        for Open { charge, keep, receipt, .. } in open.extract_if(.., |open| open.due <= number) {
            let charge = &mut charges[charge];
            if keep < charge.cost {
                course.saw(subject.settle(at, charge.cost - keep, receipt));
                charge.cost = keep;
            }
        }
        let decision = subject.spend(at, cost);
        course.saw(decision);
        if decision.is_allowed() {
            if let Some((keep, later)) = *plan {
                let (keep, receipt) =
                    (1 + share_of(cost - 1, keep), subject.receipt(&decision, cost));
                open.push(Open { due: number + later, charge: charges.len(), keep, receipt });
            }
            charges.push(Charge { at, cost });
        }
    }
    let left = subject.peek(course.now, 1);
    for charge in &charges {
        if !is_comparable(&exact, charge.at) {
            return Ok(());
        }
        let decision = exact.spend(charge.at, charge.cost);
        prop_assert!(decision.is_allowed(), "{charge:?} of {charges:?}: {decision:?}");
    }
    if !is_comparable(&exact, course.now) {
        return Ok(());
    }
    let exact = exact.peek(course.now, 1);
    let (found, most) = (left.remaining, exact.remaining);
    prop_assert!(found <= most, "{found} are left, but {most} of {charges:?}");
    if let Rule::TokenBucket { .. } | Rule::LeakyBucket { .. } = rule {
        prop_assert!(
            reset_after(&exact) <= reset_after(&left),
            "no part of a permit of {charges:?}"
        );
    }
    Ok(())
}
