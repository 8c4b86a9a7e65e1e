//! A denial changes nothing.

use proptest::prelude::*;
use ratelimit_core::Action;

use crate::{
    key_under_test::{Subject, retry_after},
    rule::{self, one_of_each},
    trace::{Course, history},
};

proptest! {
    // FAULTS 27.
    #[test]
    fn later_answers_are_the_same_with_and_without_denied_requests(
        rule in rule::any(),
        (start, steps) in history(),
    ) {
        let (mut quiet, mut nagged) = (Subject::new(&rule), Subject::new(&rule));
        let mut course = Course::new(&rule, start);
        let mut latest = 0;
        for step in steps {
            let before = course.now;
            let (now, cost) = (course.go(step.wait), step.cost(quiet.limit()));
            // Where the clock steps back even a denial pulls times back, but a peek does not.
            let mut instants = vec![before, before.midpoint(now), now];
            instants.retain(|at| latest <= *at);
            if step.action != Action::Peek {
                latest = now;
                instants.push(now);
            }
            // A key that starts low begins to fill when it is first asked for.
            instants.retain(|at| !rule.starts_low() || quiet.is_known(*at));
            instants.into_iter().for_each(|at| nag(&mut nagged, at));
            let (expected, decision) = match step.action {
                Action::Peek => (quiet.peek(now, cost), nagged.peek(now, cost)),
                action => (quiet.act(action, now, cost), nagged.act(action, now, cost)),
            };
            prop_assert_eq!(decision, expected);
            course.saw(decision);
        }
    }
}

/// Asks for what is denied: one permit, and all of them.
fn nag(subject: &mut Subject, now: u64) {
    for cost in [1, subject.limit()] {
        if !subject.peek(now, cost).is_allowed() {
            let _ = subject.spend(now, cost);
        }
    }
}

// FAULTS 27.
#[test]
fn a_million_denied_requests_do_not_put_off_the_promised_instant() {
    for rule in one_of_each() {
        let mut subject = Subject::new(&rule);
        let start = 1_700_000_000_000_000;
        subject.drain(start);
        let wait = retry_after(&subject.spend(start, 1));
        for elapsed in (0..1_000_000).map(|request: u64| request.min(wait - 1)) {
            let again = retry_after(&subject.spend(start + elapsed, 1));
            assert_eq!(elapsed + again, wait, "{rule:?}, {elapsed} µs after the first denial");
        }
        assert!(subject.spend(start + wait, 1).is_allowed(), "{rule:?}");
    }
}
