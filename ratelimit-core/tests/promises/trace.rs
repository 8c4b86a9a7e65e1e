//! Random histories of a key: how the time goes on, and what is asked.
//!
//! Times are drawn in shares of the policy's window and, as that is where mistakes are, relative
//! to what the last decision promised. Costs are drawn in shares of the limit.

use proptest::prelude::*;
use ratelimit_core::{Action, Decision, LIMIT_MAX, Timestamp, WINDOW_MAX};

use crate::{
    key_under_test::{Subject, reset_after, retry_after},
    rule::{Rule, share_of},
};

/// One question, some time after the one before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) wait: Wait,
    pub(crate) action: Action,
    /// The cost, in parts per million of the limit above one permit.
    pub(crate) share: u64,
}

/// The passing of time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    Micros(u64),
    /// Parts per million of a window.
    Share(u64),
    /// To the last decision's `retry_after`, or a microsecond before.
    Retry {
        early: u64,
    },
    /// To the last decision's `reset_after`, or a microsecond before.
    Reset {
        early: u64,
    },
    /// To a microsecond before, at or after the next multiple of the window.
    Edge {
        late: u64,
    },
    /// Back by parts per million of a window.
    Back(u64),
}

impl Step {
    pub(crate) fn cost(&self, limit: u64) -> u64 {
        1 + share_of(limit.clamp(1, LIMIT_MAX) - 1, self.share)
    }
}

/// A start, and steps of every kind.
pub(crate) fn history() -> impl Strategy<Value = (u64, Vec<Step>)> {
    steps(prop_oneof![12 => forward(), 2 => back()], action())
}

/// A start, and spending steps that go forward only.
pub(crate) fn spending() -> impl Strategy<Value = (u64, Vec<Step>)> {
    steps(forward(), prop_oneof![5 => Just(Action::Spend), 1 => Just(Action::Take)])
}

fn steps(
    wait: impl Strategy<Value = Wait>,
    action: impl Strategy<Value = Action>,
) -> impl Strategy<Value = (u64, Vec<Step>)> {
    let start = prop_oneof![Just(0), 0..=1_000_000_u64, Just(1_700_000_000_000_000), 0..=LATEST];
    let step = (wait, action, shares());
    let step = step.prop_map(|(wait, action, share)| Step { wait, action, share });
    (start, prop::collection::vec(step, 1..32))
}

fn forward() -> impl Strategy<Value = Wait> {
    prop_oneof![
        4 => Just(Wait::Micros(0)),
        2 => (0_u64..=5).prop_map(Wait::Micros),
        4 => (0_u64..=1_000_000).prop_map(Wait::Share),
        1 => (0_u64..=3_000_000).prop_map(Wait::Share),
        3 => (0_u64..=1).prop_map(|early| Wait::Retry { early }),
        1 => (0_u64..=1).prop_map(|early| Wait::Reset { early }),
        1 => (0_u64..=2).prop_map(|late| Wait::Edge { late }),
    ]
}

fn back() -> impl Strategy<Value = Wait> {
    prop_oneof![3 => 0_u64..=1_000_000, 1 => 0_u64..=5_000_000].prop_map(Wait::Back)
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => Just(Action::Spend),
        2 => Just(Action::Take),
        2 => Just(Action::Peek),
        3 => Just(Action::Refund),
        1 => Just(Action::Reset),
    ]
}

/// Costs: one permit, a part of the limit, the whole of it.
pub(crate) fn shares() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(0), 4 => 0_u64..=1_000_000, 2 => 0_u64..=300_000, 1 => Just(1_000_000)]
}

/// The time of a history, and what is known when it goes on.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    pub(crate) now: u64,
    span: u64,
    last: Option<Decision>,
}

impl Course {
    pub(crate) fn new(rule: &Rule, start: u64) -> Self {
        Self { now: start, span: rule.span(), last: None }
    }

    /// Goes on by `wait`; returns the new time.
    pub(crate) fn go(&mut self, wait: Wait) -> u64 {
        let promised = |of: fn(&Decision) -> u64| self.last.as_ref().map_or(0, of);
        let forward = match wait {
            Wait::Micros(micros) => micros,
            Wait::Share(parts) => share_of(self.span, parts),
            Wait::Retry { early } => promised(retry_after).saturating_sub(early),
            Wait::Reset { early } => promised(reset_after).saturating_sub(early),
            Wait::Edge { late } => (self.span - self.now % self.span) + late - 1,
            Wait::Back(_) => 0,
        };
        let back = if let Wait::Back(parts) = wait { share_of(self.span, parts) } else { 0 };
        self.now = self.now.saturating_add(forward).saturating_sub(back).min(LATEST);
        self.now
    }

    pub(crate) const fn saw(&mut self, decision: Decision) {
        self.last = Some(decision);
    }
}

/// Plays a history; `watch` sees every spending's time, cost and decision. The cost of a take that is
/// admitted is what it has got.
pub(crate) fn play(
    subject: &mut Subject,
    rule: &Rule,
    (start, steps): &(u64, Vec<Step>),
    mut watch: impl FnMut(u64, u64, &Decision),
) -> u64 {
    let mut course = Course::new(rule, *start);
    for step in steps {
        let (now, cost) = (course.go(step.wait), step.cost(subject.limit()));
        match step.action {
            Action::Peek => course.saw(subject.peek(now, cost)),
            action => {
                let decision = subject.act(action, now, cost);
                if action.spends() {
                    let cost = if decision.is_allowed() { decision.charged() } else { cost };
                    watch(now, cost, &decision);
                }
                course.saw(decision);
            }
        }
    }
    course.now
}

/// A key with a past, and the time it has come to.
pub(crate) fn worn(rule: &Rule, history: &(u64, Vec<Step>)) -> (Subject, u64) {
    let mut subject = Subject::new(rule);
    let now = play(&mut subject, rule, history, |_, _, _| {});
    (subject, now)
}

/// A key with a log of charges, given as shares of the longest gap and of the highest cost; and
/// when the last of them was.
pub(crate) fn logged(rule: &Rule, gap: u64, cost: u64, charges: &[(u64, u64)]) -> (Subject, u64) {
    let (mut subject, mut now) = (Subject::new(rule), 1_700_000_000_000_000);
    for charge in charges {
        now += 1 + share_of(gap, charge.0);
        let _ = subject.spend(now, 1 + share_of(cost, charge.1));
    }
    (subject, now)
}

/// Histories end so early that every wait still ends within representable time.
const LATEST: u64 = Timestamp::MAX.as_micros() - 3 * WINDOW_MAX.as_micros();
