//! Checks that share a swap: those of one process that find other numbers under their keys.
//!
//! In a rolling deploy, two processes with other numbers on one key change its numbers all the time.
//! Each change is a swap, and one serves many: the checks that find the other process's numbers wait in
//! a queue, a task decides one after the other by the core, and swaps in what the last one leaves. A
//! swap that comes too late is answered with the value that is there, so that the next needs no read.
//! Once the value is under these checks' own numbers again, they go on by script.
//!
//! Like checks that share a command, they share nothing else: each has a deadline and a timer of its
//! own, and one that is dropped before the swap is sent is not charged.

use std::{iter, sync::Arc, time::Duration};

use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::{Action, Batch};
use tokio::{
    sync::{Notify, oneshot},
    task::yield_now,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    coalesce::Coalescer,
    detached_batch::OwnedBatch,
    encoding, read_values,
    request::Request,
    stored_values::{Value, Values},
    swap::{Attempt, Mode, pause, swap},
    swap_queue::{Caller, Outcome, QueueKey},
    wait_queue::Turn,
};

/// Returns true if checks may share a swap.
pub(crate) const fn is_for(action: Action) -> bool {
    matches!(action, Action::Spend | Action::Take)
}

/// Returns true if checks of these keys and numbers share swaps at present. Then one that comes joins
/// them at once: the script would find other numbers, most likely.
pub(crate) fn is_open(request: &Request, batch: Batch<'_>, action: Action) -> bool {
    let swaps = &request.coalescer.swaps;
    swaps.are_any_open() && is_for(action) && swaps.is_open(&queue_key(request, batch, action))
}

fn queue_key(request: &Request, batch: Batch<'_>, action: Action) -> QueueKey {
    QueueKey {
        keys: request.keys.clone(),
        headers: batch.slots().map(|slot| encoding::framed(&slot.header())).collect(),
        takes: action == Action::Take,
    }
}

/// Decides together with others that have found other numbers under the same keys; `None` where the
/// script may decide by now. `seen` is what the script has found, if it was asked and tells.
pub(crate) async fn decide(
    request: &Request,
    batch: Batch<'_>,
    action: Action,
    seen: Option<Values>,
) -> Outcome {
    let key = Arc::new(queue_key(request, batch, action));
    let swaps = &request.coalescer.swaps;
    let place = swaps.place(request.coalescer.callers_max);
    let place = place.ok_or(BackendError::not_applied(ErrorKind::Overloaded))?;
    let (sender, outcome) = oneshot::channel();
    let caller = Caller {
        batch: OwnedBatch::from(batch),
        deadline: request.deadline,
        seen,
        is_claimed: Arc::clone(&place.is_claimed),
        outcome: sender,
    };
    if let Some(came) = swaps.enter(&key, caller) {
        let coalescer = Arc::clone(&request.coalescer);
        tokio::spawn(Queue { coalescer, key, came, is_open: true }.serve());
    }
    let kind = match timeout_at(request.deadline, outcome).await {
        Ok(Ok(outcome)) => return outcome,
        Ok(Err(_)) => ErrorKind::Closed,
        Err(_) => ErrorKind::Timeout,
    };
    let is_left = place.leave();
    Err(if is_left { BackendError::not_applied(kind) } else { BackendError::unknown(kind) })
}

/// A queue that a task serves.
struct Queue {
    coalescer: Arc<Coalescer>,
    key: Arc<QueueKey>,
    came: Arc<Notify>,
    /// True until the task has found that nobody waits.
    is_open: bool,
}

impl Queue {
    /// Serves all that wait, until nobody has for a while.
    async fn serve(mut self) {
        // Whoever shared a command with the first is about to come.
        yield_now().await;
        let (mut group, mut values) = (Vec::new(), None);
        let (mut lost, mut turn, mut lingers) = (0, None, true);
        loop {
            values = self.take_waiting(&mut group, values);
            if group.is_empty() {
                let is_quiet = !lingers || timeout(LINGER, self.came.notified()).await.is_err();
                if is_quiet && self.coalescer.swaps.ends(&self.key) {
                    self.is_open = false;
                    return;
                }
                // Others that were told with it are about to come, too.
                yield_now().await;
                continue;
            }
            let outcome = self.attempt(&mut group, values.take(), lost, &mut turn).await;
            match outcome {
                Ok(Attempt::Decided(decisions, left)) => {
                    let told = iter::zip(group.drain(..), decisions);
                    told.for_each(|(caller, decisions)| caller.tell(Ok(Some(decisions))));
                    (values, lost, turn, lingers) = (left, 0, None, true);
                }
                Ok(Attempt::Lost(Some(found))) if self.are_own(&found) => {
                    group.drain(..).for_each(|caller| caller.tell(Ok(None)));
                    (lost, turn, lingers) = (0, None, false);
                }
                Ok(Attempt::Lost(found)) => {
                    group.iter().for_each(Caller::release);
                    if found.is_none() {
                        pause().await;
                    }
                    (values, lost) = (found, lost + 1);
                }
                Err(error) => {
                    group.drain(..).for_each(|caller| caller.tell(Err(error.clone())));
                    (lost, turn) = (0, None);
                }
            }
            group.retain(|caller| !caller.outcome.is_closed());
        }
    }

    /// Adds those that wait to the group. Returns values that were read after all of the group came:
    /// the newest, of `values`, which were read after those before, and those that the others have
    /// seen; `None` if they have to be read.
    fn take_waiting(&self, group: &mut Vec<Caller>, values: Option<Values>) -> Option<Values> {
        let room = self.coalescer.group_max.saturating_sub(group.len());
        let mut is_known = values.is_some() || group.is_empty();
        let mut newest = values;
        for mut caller in self.coalescer.swaps.take(&self.key, room) {
            let seen = caller.seen.take();
            is_known = is_known && seen.is_some();
            let is_newer = |seen: &Values| newest.as_ref().is_none_or(|known| known.now < seen.now);
            newest = seen.filter(is_newer).or(newest);
            group.push(caller);
        }
        newest.filter(|_| is_known)
    }

    /// Decides those of the group that have not left, and swaps.
    async fn attempt(
        &self,
        group: &mut Vec<Caller>,
        values: Option<Values>,
        lost: usize,
        turn: &mut Option<Turn>,
    ) -> Result<Attempt, BackendError> {
        let deadline = group.iter().map(|caller| caller.deadline).max();
        let deadline = deadline.unwrap_or_else(Instant::now);
        let (coalescer, keys) = (Arc::clone(&self.coalescer), self.key.keys.clone());
        let request = Request { coalescer, keys, deadline };
        let action = if self.key.takes { Action::Take } else { Action::Spend };
        let reserves = LOST_MAX <= lost;
        if reserves && turn.is_none() {
            *turn = Some(request.turn().await?.0);
        }
        let mode = if reserves { Mode::Reserve } else { Mode::Swap };
        let token = mode.token();
        let values = match values.filter(|_| !reserves) {
            Some(values) => Some(values),
            None => read_values::read(&request, action, &token, reserves).await?,
        };
        let Some(values) = values else { return Ok(Attempt::Lost(None)) };
        group.retain(Caller::claim);
        let checks: Vec<_> = group.iter().filter_map(|caller| caller.batch.checks()).collect();
        let batches: Vec<_> = checks.iter().filter_map(|checks| Batch::new(checks)).collect();
        swap(&request, &batches, action, (mode, token), values).await
    }

    /// Returns true if all values are under these checks' own numbers.
    fn are_own(&self, values: &Values) -> bool {
        let is_own = |(found, header): (&Option<Value>, &Vec<u8>)| match found {
            Some(Value::String(flat)) => encoding::is_under(flat, header),
            _ => false,
        };
        iter::zip(&values.found, &self.key.headers).all(is_own)
    }
}

/// Ends the queue if the runtime has shut down, so that its callers fail at once.
impl Drop for Queue {
    fn drop(&mut self) {
        if self.is_open {
            self.coalescer.swaps.abandon(&self.key);
        }
    }
}

/// The time for which a queue stays open without a caller.
const LINGER: Duration = Duration::from_millis(1);

/// The swaps that are lost before the keys are reserved: meanwhile those that win go on.
const LOST_MAX: usize = 8;
