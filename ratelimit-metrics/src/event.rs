//! The events that a recorder gets: one check each, and how it ended.

use std::time::Duration;

use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::{Action, Batch, Check, Decision, Key, Policy, store::Decisions};

/// One check that was decided, or that failed.
///
/// A call that checks several limits at once is as many events, one after the other, of which the
/// first has the [`index`](Self::index) 0. A call whose future is dropped is no event.
///
/// The `Debug` of an event shows the length of the key, and nothing else of it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The policy that the key was checked against; its name is the limiter's.
    pub policy: &'a Policy,
    /// The key that was checked. Often a secret: for counting, not for showing.
    pub key: Key<'a>,
    /// The permits that were requested.
    pub cost: u64,
    /// The action that was applied.
    pub action: Action,
    /// The decision, or why there is none.
    pub result: Result<&'a Decision, &'a BackendError>,
    /// The end of this check.
    pub verdict: Verdict,
    /// The end of the call that this check is part of; never [`Verdict::Withhold`].
    pub call: Verdict,
    /// The position of this check in the call.
    pub index: usize,
    /// The duration of the call. `None` where it was not measured, see
    /// [`Observed::with_latency_every`](crate::Observed::with_latency_every).
    pub latency: Option<Duration>,
}

/// The end of a check.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// The request was admitted, and charged.
    Allow,
    /// This limit denied the request.
    Deny,
    /// This limit would have admitted the request, but another one of the same call denied it.
    Withhold,
    /// The call was no request (but a peek, a refund, a reset, a penalty or a block), and succeeded.
    Done,
    /// There was no decision.
    Error,
}

impl<'a> Event<'a> {
    /// Makes the event of a call with one check, for tests of a recorder.
    #[must_use]
    pub fn new(
        check: &Check<'a>,
        action: Action,
        result: Result<&'a Decision, &'a BackendError>,
    ) -> Self {
        let is_admitted = result.is_ok_and(Decision::is_allowed);
        let verdict = verdict(action, result, is_admitted);
        let (policy, key, cost) = (check.policy(), check.key(), check.penalty_cost());
        let (call, index, latency) = (verdict, 0, None);
        Self { policy, key, cost, action, result, verdict, call, index, latency }
    }

    /// Permits that the request has got: its cost, or of a take what there was; none unless it was
    /// admitted.
    #[must_use]
    pub fn charged(&self) -> u64 {
        match (self.verdict, self.action, self.result) {
            (Verdict::Allow, Action::Take, Ok(decision)) => decision.charged(),
            (Verdict::Allow, ..) => self.cost,
            _ => 0,
        }
    }

    /// Sets the duration of the call.
    #[must_use]
    pub const fn with_latency(self, latency: Duration) -> Self {
        Self { latency: Some(latency), ..self }
    }
}

/// Hands the events of a call to `each`, in order.
pub(crate) fn for_each<'a>(
    batch: Batch<'a>,
    action: Action,
    result: &Result<Decisions, BackendError>,
    latency: Option<Duration>,
    mut each: impl FnMut(&Event<'_>),
) {
    // A store that gives too few decisions is broken; limiters report it with this very error.
    let missing = BackendError::unknown(ErrorKind::Protocol);
    let result = match result {
        Ok(decisions) if decisions.len() < batch.checks().len() => Err(&missing),
        result => result.as_ref(),
    };
    let is_admitted = result.is_ok_and(|all| all.iter().all(Decision::is_allowed));
    let mut call = None;
    for (index, check) in batch.checks().iter().enumerate() {
        let result = result.map(|decisions| &decisions[index]);
        let verdict = verdict(action, result, is_admitted);
        let call = *call.get_or_insert(match verdict {
            Verdict::Withhold => Verdict::Deny,
            verdict => verdict,
        });
        each(&Event { verdict, call, index, latency, ..Event::new(check, action, result) });
    }
}

fn verdict(action: Action, result: Result<&Decision, &BackendError>, is_admitted: bool) -> Verdict {
    match result {
        Err(_) => Verdict::Error,
        Ok(_) if !action.spends() => Verdict::Done,
        Ok(_) if is_admitted => Verdict::Allow,
        Ok(decision) if decision.is_allowed() => Verdict::Withhold,
        Ok(_) => Verdict::Deny,
    }
}

/// An event that outlives its call.
pub(crate) struct OwnedEvent {
    policy: Policy,
    key: Box<[u8]>,
    cost: u64,
    action: Action,
    result: Result<Decision, BackendError>,
    verdict: Verdict,
    call: Verdict,
    index: usize,
    latency: Option<Duration>,
}

impl OwnedEvent {
    /// Hands the event to `then`, as it was but for the end of a long key.
    pub(crate) fn with<T>(&self, then: impl FnOnce(&Event<'_>) -> T) -> T {
        let Self { policy, key, cost, action, result, verdict, call, index, latency } = self;
        let key = Key::new(key).expect("1024 bytes are fewer than the most");
        then(&Event {
            policy,
            key,
            cost: *cost,
            action: *action,
            result: result.as_ref(),
            verdict: *verdict,
            call: *call,
            index: *index,
            latency: *latency,
        })
    }
}

impl From<&Event<'_>> for OwnedEvent {
    fn from(event: &Event<'_>) -> Self {
        let Event { policy, key, cost, action, result, verdict, call, index, latency } = *event;
        let key = key.as_bytes();
        let key = key[..key.len().min(KEY_BYTES_MAX)].into();
        let result = result.copied().map_err(Clone::clone);
        Self { policy: policy.clone(), key, cost, action, result, verdict, call, index, latency }
    }
}

/// Longer than any sensible key. A client that sends a megabyte must not fill the memory.
const KEY_BYTES_MAX: usize = 1024;
