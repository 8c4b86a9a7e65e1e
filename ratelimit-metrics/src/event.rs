//! What a recorder is told: one check, and how it ended.

use std::time::Duration;

use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::{Action, Batch, Check, Decision, Key, Policy, store::Decisions};

/// One check that was answered, or that failed.
///
/// A call that asks about several limits at once is as many events, one after the other, of which
/// the first has the [`index`](Self::index) 0. A call whose future is dropped is none.
///
/// Its `Debug` shows how long the key is, and nothing else of it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Event<'a> {
    /// What the key was checked against; its name is the limiter's.
    pub policy: &'a Policy,
    /// Who was checked. Often a secret: for counting, not for showing.
    pub key: Key<'a>,
    /// What was asked for.
    pub cost: u64,
    /// What was asked.
    pub action: Action,
    /// The decision, or why there is none.
    pub answer: Result<&'a Decision, &'a BackendError>,
    /// How this check ended.
    pub verdict: Verdict,
    /// How the call ended that it is part of; never [`Verdict::Withhold`].
    pub call: Verdict,
    /// Its place in the call.
    pub index: usize,
    /// How long the call took. `None` where that was not measured, see
    /// [`Observed`](crate::Observed::with_latency_every).
    pub latency: Option<Duration>,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// The request was admitted, and charged.
    Allow,
    /// This limit denied it.
    Deny,
    /// This limit would have admitted it, but another one of the same call denied.
    Withhold,
    /// It was no request (but a peek, a refund, a reset, a penalty, a block), and was answered.
    Done,
    /// There was no decision.
    Error,
}

impl<'a> Event<'a> {
    /// The event of a check that was asked alone, for tests of one's own recorder.
    #[must_use]
    pub fn new(
        check: &Check<'a>,
        action: Action,
        answer: Result<&'a Decision, &'a BackendError>,
    ) -> Self {
        let is_admitted = answer.is_ok_and(Decision::is_allowed);
        let verdict = verdict(action, answer, is_admitted);
        let (policy, key, cost) = (check.policy(), check.key(), check.cost().get());
        let (call, index, latency) = (verdict, 0, None);
        Self { policy, key, cost, action, answer, verdict, call, index, latency }
    }

    /// The same event, of a call that took so long.
    #[must_use]
    pub const fn with_latency(self, latency: Duration) -> Self {
        Self { latency: Some(latency), ..self }
    }
}

/// Hands the events of a call to `each`, in order.
pub(crate) fn for_each<'a>(
    batch: Batch<'a>,
    action: Action,
    answer: &Result<Decisions, BackendError>,
    latency: Option<Duration>,
    mut each: impl FnMut(&Event<'_>),
) {
    // A store that gives too few decisions is broken; limiters say so with this very error.
    let missing = BackendError::unknown(ErrorKind::Protocol);
    let answer = match answer {
        Ok(decisions) if decisions.len() < batch.checks().len() => Err(&missing),
        answer => answer.as_ref(),
    };
    let is_admitted = answer.is_ok_and(|all| all.iter().all(Decision::is_allowed));
    let mut call = None;
    for (index, check) in batch.checks().iter().enumerate() {
        let answer = answer.map(|decisions| &decisions[index]);
        let verdict = verdict(action, answer, is_admitted);
        let call = *call.get_or_insert(match verdict {
            Verdict::Withhold => Verdict::Deny,
            verdict => verdict,
        });
        each(&Event { verdict, call, index, latency, ..Event::new(check, action, answer) });
    }
}

fn verdict(action: Action, answer: Result<&Decision, &BackendError>, is_admitted: bool) -> Verdict {
    match answer {
        Err(_) => Verdict::Error,
        Ok(_) if action != Action::Spend => Verdict::Done,
        Ok(_) if is_admitted => Verdict::Allow,
        Ok(decision) if decision.is_allowed() => Verdict::Withhold,
        Ok(_) => Verdict::Deny,
    }
}
