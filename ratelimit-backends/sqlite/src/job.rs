//! A job: a batch that waits for its turn in a transaction, and the answer to its caller.

use std::{
    mem::take,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Instant,
};

use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::{Action, Batch, Check, Decision, Key, Policy, Receipt, store::Decisions};

use crate::{error::Failure, rows::Rows};

pub(crate) type Answer = Result<Decisions, BackendError>;

/// A batch that waits for its turn. It owns what it is made of, since its caller may leave before.
pub(crate) struct Job {
    checks: Vec<OwnedCheck>,
    pub(crate) action: Action,
    pub(crate) deadline: Instant,
    turn: Arc<Turn>,
    /// `None` if nobody waits.
    reply: Option<oneshot::Sender<Undelivered>>,
    give_back: Option<GiveBack>,
}

/// An answer on its way to its caller. Permits in flight that it grants are given back if it is dropped
/// on the way, since nobody holds them.
pub(crate) struct Undelivered {
    answer: Option<Answer>,
    checks: Vec<OwnedCheck>,
    give_back: Option<GiveBack>,
}

/// Queues a refund of these checks.
type GiveBack = Box<dyn FnOnce(Vec<OwnedCheck>) + Send>;

/// Tells whether a job's turn has come, or its caller has given up first.
#[derive(Debug)]
pub(crate) struct Turn(AtomicU8);

/// A check that owns its policy and key.
pub(crate) struct OwnedCheck {
    policy: Policy,
    key: Box<[u8]>,
    cost: u64,
    receipt: Option<Receipt>,
}

impl Job {
    /// A job, and the end that its caller waits at.
    pub(crate) fn new(
        batch: Batch<'_>,
        action: Action,
        deadline: Instant,
    ) -> (Self, oneshot::Receiver<Undelivered>) {
        let (reply, answer) = oneshot::channel();
        (Self { reply: Some(reply), ..Self::unawaited(batch, action, deadline) }, answer)
    }

    /// A job that is applied though nobody waits for it.
    pub(crate) fn unawaited(batch: Batch<'_>, action: Action, deadline: Instant) -> Self {
        let checks = batch.checks().iter().map(OwnedCheck::new).collect();
        let turn = Arc::default();
        Self { checks, action, deadline, turn, reply: None, give_back: None }
    }

    /// A job that gives back what was held by `checks`.
    pub(crate) fn refund(checks: Vec<OwnedCheck>, deadline: Instant) -> Self {
        let (action, turn) = (Action::Refund, Arc::default());
        Self { checks, action, deadline, turn, reply: None, give_back: None }
    }

    /// The same job, whose permits in flight `give_back` gives back if its caller leaves before the
    /// answer has come.
    pub(crate) fn or_give_back(
        self,
        give_back: impl FnOnce(Vec<OwnedCheck>) + Send + 'static,
    ) -> Self {
        Self { give_back: Some(Box::new(give_back)), ..self }
    }

    pub(crate) fn turn(&self) -> Arc<Turn> {
        Arc::clone(&self.turn)
    }

    /// Applies the batch to `rows`, unless the caller has left: then nobody is to be charged.
    pub(crate) fn apply(&self, rows: &mut Rows<'_>) -> Result<Option<Decisions>, Failure> {
        let has_left = self.reply.as_ref().is_some_and(oneshot::Sender::is_closed);
        if has_left || !self.turn.begin() {
            return Ok(None);
        }
        let checks: Option<Vec<_>> = self.checks.iter().map(OwnedCheck::borrow).collect();
        // Validated when it was queued.
        let batch = checks.as_deref().and_then(Batch::new);
        let batch = batch.ok_or(BackendError::not_applied(ErrorKind::Protocol))?;
        rows.apply(batch, self.action).map(Some)
    }

    /// Answers the caller, unless it has left.
    pub(crate) fn answer(self, answer: Answer) {
        let Self { checks, reply, give_back, .. } = self;
        if let Some(reply) = reply {
            let _ = reply.send(Undelivered { answer: Some(answer), checks, give_back });
        }
    }
}

impl Undelivered {
    /// Delivers the answer.
    pub(crate) fn deliver(mut self) -> Answer {
        self.answer.take().unwrap_or(Err(BackendError::unknown(ErrorKind::Protocol)))
    }
}

impl Drop for Undelivered {
    fn drop(&mut self) {
        if let (Some(Ok(decisions)), Some(give_back)) = (self.answer.take(), self.give_back.take())
            && decisions.iter().all(Decision::is_allowed)
        {
            let checks = take(&mut self.checks).into_iter().zip(&*decisions);
            let held: Vec<_> =
                checks.filter_map(|(check, decision)| check.held(decision)).collect();
            if !held.is_empty() {
                give_back(held);
            }
        }
    }
}

impl Default for Turn {
    fn default() -> Self {
        Self(AtomicU8::new(WAITING))
    }
}

// Each is one atomic step, and nothing else is read by it: the answer goes through a channel.
impl Turn {
    /// Begins the turn, or goes on with it; returns false if the caller has given up.
    fn begin(&self) -> bool {
        let begun = self.0.compare_exchange(WAITING, BEGUN, Ordering::Relaxed, Ordering::Relaxed);
        begun.is_ok() || begun == Err(BEGUN)
    }

    /// Gives up waiting; returns false if the turn has begun.
    pub(crate) fn give_up(&self) -> bool {
        self.0.compare_exchange(WAITING, GIVEN_UP, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl OwnedCheck {
    fn new(check: &Check<'_>) -> Self {
        Self {
            policy: check.policy().clone(),
            key: check.key().as_bytes().into(),
            cost: check.penalty_cost(),
            receipt: check.receipt(),
        }
    }

    /// The permits in flight that `decision` has charged, to be given back.
    fn held(self, decision: &Decision) -> Option<Self> {
        let cost = decision.charged();
        let receipt = Some(Receipt::of(decision, &self.policy, cost));
        let is_held = self.policy.algorithm().holds_permits() && 0 < cost;
        is_held.then_some(Self { cost, receipt, ..self })
    }

    fn borrow(&self) -> Option<Check<'_>> {
        let check = Check::penalty(&self.policy, Key::new(&self.key).ok()?, self.cost).ok()?;
        Some(check.with_receipt(self.receipt))
    }
}
