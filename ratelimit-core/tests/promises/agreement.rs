//! Every decision agrees with the model's, whatever happened to the key before.

use proptest::prelude::*;
use ratelimit_core::Action;

use crate::{
    key_under_test::Subject,
    model::{Answer, Reference},
    rule::{self, Rule},
    trace::{Course, Step, history},
};

macro_rules! agrees {
    ($($name:ident: $rules:expr;)*) => {
        proptest! {
            $(#[test]
            fn $name(rule in $rules, history in history()) {
                agrees_with_the_model(&rule, &history)?;
            })*
        }
    };
}

// FAULTS 7, 38, 41.
agrees! {
    fixed_window_agrees_with_the_model: rule::fixed_window();
    a_limit_of_nothing_or_of_everything_agrees_with_the_model: rule::unbounded();
    sliding_window_log_agrees_with_the_model: rule::sliding_window_log();
    sliding_window_counter_agrees_with_the_model: rule::sliding_window_counter();
    token_bucket_agrees_with_the_model: rule::token_bucket();
    leaky_bucket_agrees_with_the_model: rule::leaky_bucket();
    adaptive_hybrid_agrees_with_the_model: rule::adaptive();
    in_flight_agrees_with_the_model: rule::in_flight();
}

pub(crate) fn agrees_with_the_model(
    rule: &Rule,
    (start, steps): &(u64, Vec<Step>),
) -> Result<(), TestCaseError> {
    let (mut subject, mut reference) = (Subject::new(rule), Reference::new(rule));
    let mut course = Course::new(rule, *start);
    for (index, step) in steps.iter().enumerate() {
        let (now, cost) = (course.go(step.wait), step.cost(subject.limit()));
        let (decision, expected) = match step.action {
            Action::Peek => (subject.peek(now, cost), reference.peek(now, cost)),
            Action::Refund => (subject.refund(now, cost), reference.refund(now, cost)),
            Action::Reset => (subject.reset(now), reference.reset(now)),
            Action::Take => {
                let (answer, taken) = reference.take(now, cost);
                let decision = subject.act(Action::Take, now, cost);
                prop_assert_eq!(decision.charged(), taken, "step {}: {:?} at {}", index, step, now);
                (decision, answer)
            }
            _ => (subject.spend(now, cost), reference.spend(now, cost)),
        };
        let answer = Answer::from(decision);
        prop_assert_eq!(answer, expected, "step {}: {:?} of {} at {}", index, step, cost, now);
        course.saw(decision);
    }
    Ok(())
}
