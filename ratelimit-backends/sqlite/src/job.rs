//! What a caller leaves in the queue: its question, and where to send the answer.

use std::time::Instant;

use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::{Action, Batch, Check, Key, Policy, Receipt, store::Decisions};

use crate::{error::Failure, rows::Rows};

pub(crate) type Answer = Result<Decisions, BackendError>;

/// A batch that belongs to itself, since its caller may leave before it is applied.
pub(crate) struct Job {
    checks: Vec<OwnedCheck>,
    action: Action,
    due: Instant,
    reply: oneshot::Sender<Answer>,
}

struct OwnedCheck {
    policy: Policy,
    key: Box<[u8]>,
    cost: u64,
    receipt: Option<Receipt>,
}

impl Job {
    /// A job, and what its caller waits on.
    pub(crate) fn new(
        batch: Batch<'_>,
        action: Action,
        due: Instant,
    ) -> (Self, oneshot::Receiver<Answer>) {
        let own = |check: &Check<'_>| OwnedCheck {
            policy: check.policy().clone(),
            key: check.key().as_bytes().into(),
            cost: check.cost().get(),
            receipt: check.receipt(),
        };
        let (reply, answer) = oneshot::channel();
        (Self { checks: batch.checks().iter().map(own).collect(), action, due, reply }, answer)
    }

    pub(crate) const fn action(&self) -> Action {
        self.action
    }

    /// When it has waited long enough for a lock.
    pub(crate) const fn due(&self) -> Instant {
        self.due
    }

    /// Applies the batch to `rows`, unless the caller has left: it is not to be charged.
    pub(crate) fn apply(&self, rows: &mut Rows<'_>) -> Result<Option<Decisions>, Failure> {
        if self.reply.is_closed() {
            return Ok(None);
        }
        let checks: Option<Vec<_>> = self.checks.iter().map(OwnedCheck::borrow).collect();
        // What was a batch once is one again.
        let batch = checks.as_deref().and_then(Batch::new);
        let batch = batch.ok_or(BackendError::not_applied(ErrorKind::Protocol))?;
        rows.apply(batch, self.action).map(Some)
    }

    /// Tells the caller, unless it has left.
    pub(crate) fn answer(self, answer: Answer) {
        let _ = self.reply.send(answer);
    }
}

impl OwnedCheck {
    fn borrow(&self) -> Option<Check<'_>> {
        let check = Check::new(&self.policy, Key::new(&self.key).ok()?, self.cost).ok()?;
        Some(check.with_receipt(self.receipt))
    }
}
