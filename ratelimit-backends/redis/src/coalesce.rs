//! Checks that share a command.
//!
//! A check that comes alone is sent at once. One that comes while two commands of the same numbers and
//! action are in flight waits until one of them has completed, but for a millisecond at most, and
//! goes with all that have come meanwhile, in their order, whatever they cost. The script decides each of them by
//! itself, as if it had come alone. So a busy server spends its time on decisions, not on commands.
//!
//! Checks that share a command share nothing else: each has a deadline and a timer of its own, and
//! one that is dropped before its command is sent is not charged.

use std::{
    collections::{HashMap, VecDeque},
    iter, slice,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ratelimit_backend::{BackendError, ErrorKind};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    connection::client::{Bytes, Reply},
    dispatch::{Code, Command, Servers},
    error::protocol_error,
    script::{Script, ScriptClock},
    swap_queue::SwapQueues,
    wait_queue::WaitQueues,
};

/// Sends the checks of one runtime, together or alone.
pub(crate) struct Coalescer {
    pub(crate) servers: Servers,
    pub(crate) clock: ScriptClock,
    /// The most checks that share a command.
    pub(crate) group_max: usize,
    /// The most callers without an outcome.
    pub(crate) callers_max: usize,
    queues: Mutex<Queues>,
    pub(crate) turns: WaitQueues,
    pub(crate) swaps: SwapQueues,
}

/// All that checks of one command have in common: everything but their keys and terms.
#[derive(Debug, Eq, Hash, PartialEq)]
pub(crate) struct BatchKey {
    pub(crate) script: &'static Script,
    /// The scripts' word for a spend or a take.
    pub(crate) word: &'static str,
    pub(crate) header: Bytes,
}

/// The same, and the slot in a cluster.
type QueueKey = (BatchKey, Option<u16>);

pub(crate) type Outcome = Result<Reply, BackendError>;

#[derive(Default)]
struct Queues {
    /// Those with a command in flight.
    by_key: HashMap<Arc<QueueKey>, Queue>,
    /// All callers without an outcome.
    callers: usize,
    last_id: u64,
}

#[derive(Default)]
struct Queue {
    in_flight: usize,
    waiting: VecDeque<Caller>,
    /// True while a task is to send those that wait. It may be notified of a completed command.
    is_scheduled: bool,
    completed: Option<oneshot::Sender<()>>,
}

struct Caller {
    id: u64,
    key: String,
    terms: Bytes,
    deadline: Instant,
    outcome: oneshot::Sender<Outcome>,
}

/// The way a check goes, decided when it comes.
enum Entry {
    Alone(Arc<QueueKey>, Bytes),
    /// Alone, too, but others may wait for it to complete.
    First(InFlight, Bytes),
    Waiting(Waiting),
}

impl Coalescer {
    pub(crate) fn new(
        servers: Servers,
        clock: ScriptClock,
        group_max: usize,
        callers_max: usize,
    ) -> Self {
        Self {
            servers,
            clock,
            group_max,
            callers_max,
            queues: Mutex::default(),
            turns: WaitQueues::default(),
            swaps: SwapQueues::default(),
        }
    }

    /// Spends on one key, or takes, together with others that share all but the key and the terms.
    ///
    /// All but the wait is done before the future, which would take room for it.
    pub(crate) fn spend(
        self: &Arc<Self>,
        batch: BatchKey,
        (alone, terms): (&[String; 1], Bytes),
        deadline: Instant,
    ) -> impl Future<Output = Outcome> {
        let [key] = alone;
        let batch = Arc::new((batch, self.servers.slot(key)));
        let entry = if self.group_max <= 1 {
            Ok(Entry::Alone(batch, terms))
        } else {
            self.enter(&batch, (key, terms), deadline)
        };
        async move {
            match entry? {
                Entry::Alone(batch, terms) => self.send(&batch.0, alone, [terms], deadline).await,
                Entry::First(flight, terms) => {
                    self.send(&flight.batch.0, alone, [terms], deadline).await
                }
                Entry::Waiting(waiting) => waiting.outcome_by(deadline).await,
            }
        }
    }

    /// Sends checks of some keys, and of the terms that each has or all have.
    async fn send(
        &self,
        batch: &BatchKey,
        keys: &[String],
        terms: impl IntoIterator<Item = Bytes>,
        deadline: Instant,
    ) -> Outcome {
        let BatchKey { script, word, header } = batch;
        let word = Bytes::from_static(word.as_bytes());
        let arguments = [self.clock.argument()?, word, header.clone()];
        let arguments = arguments.into_iter().chain(terms).collect();
        self.servers
            .run(Command { code: Code::Script(script), keys, arguments, charges: true }, deadline)
            .await
    }

    fn enter(
        self: &Arc<Self>,
        batch: &Arc<QueueKey>,
        (key, terms): (&str, Bytes),
        deadline: Instant,
    ) -> Result<Entry, BackendError> {
        let mut queues = self.queues();
        let Queues { by_key, callers, last_id } = &mut *queues;
        let queue = by_key.entry(Arc::clone(batch)).or_default();
        if queue.in_flight < IN_FLIGHT_MAX && queue.waiting.is_empty() {
            queue.in_flight += 1;
            *callers += 1;
            return Ok(Entry::First(self.in_flight(batch, Stage::Sent { callers: 1 }), terms));
        }
        if self.callers_max <= *callers {
            return Err(BackendError::not_applied(ErrorKind::Overloaded));
        }
        *callers += 1;
        *last_id += 1;
        let id = *last_id;
        let (sender, outcome) = oneshot::channel();
        let key = key.to_owned();
        queue.waiting.push_back(Caller { id, key, terms, deadline, outcome: sender });
        let completed = queue.schedule();
        drop(queues);
        self.spawn(batch, completed);
        let (coalescer, batch) = (Arc::clone(self), Arc::clone(batch));
        Ok(Entry::Waiting(Waiting { coalescer, batch, id, outcome, is_queued: true }))
    }

    /// Spawns the task that sends those that wait. Not under the lock: if the runtime has shut
    /// down, the task ends at once.
    fn spawn(self: &Arc<Self>, batch: &Arc<QueueKey>, completed: Option<oneshot::Receiver<()>>) {
        if let Some(completed) = completed {
            tokio::spawn(self.in_flight(batch, Stage::Scheduled).send_waiting(completed));
        }
    }

    fn in_flight(self: &Arc<Self>, batch: &Arc<QueueKey>, stage: Stage) -> InFlight {
        InFlight { coalescer: Arc::clone(self), batch: Arc::clone(batch), stage }
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Schedules a task for those that wait; `None` if nobody does, or there is one already. The
    /// receiver hears of the next completed command.
    fn schedule(&mut self) -> Option<oneshot::Receiver<()>> {
        if self.is_scheduled || self.waiting.is_empty() {
            return None;
        }
        let (sender, completed) = oneshot::channel();
        (self.is_scheduled, self.completed) = (true, Some(sender));
        Some(completed)
    }
}

/// A check that waits for a command to share. It leaves the queue when it is dropped.
struct Waiting {
    coalescer: Arc<Coalescer>,
    batch: Arc<QueueKey>,
    id: u64,
    outcome: oneshot::Receiver<Outcome>,
    is_queued: bool,
}

impl Waiting {
    async fn outcome_by(mut self, deadline: Instant) -> Outcome {
        match timeout_at(deadline, &mut self.outcome).await {
            Ok(outcome) => {
                self.is_queued = false;
                outcome.unwrap_or(Err(BackendError::unknown(ErrorKind::Closed)))
            }
            Err(_) if self.leave() => Err(BackendError::not_applied(ErrorKind::Timeout)),
            Err(_) => Err(BackendError::unknown(ErrorKind::Timeout)),
        }
    }

    /// Leaves the queue; false if the check was sent before.
    fn leave(&mut self) -> bool {
        self.is_queued = false;
        let mut queues = self.coalescer.queues();
        let Queues { by_key, callers, .. } = &mut *queues;
        let Some(Queue { waiting, .. }) = by_key.get_mut(&self.batch) else { return false };
        let Some(place) = waiting.iter().position(|caller| caller.id == self.id) else {
            return false;
        };
        *callers -= 1;
        waiting.remove(place).is_some()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.is_queued {
            self.leave();
        }
    }
}

/// A command that is in flight, or will be.
struct InFlight {
    coalescer: Arc<Coalescer>,
    batch: Arc<QueueKey>,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    Scheduled,
    Sent { callers: usize },
}

impl InFlight {
    /// Sends those that wait, once a command has completed.
    async fn send_waiting(mut self, completed: oneshot::Receiver<()>) {
        let _ = timeout(WAIT_MAX, completed).await;
        let mut group = self.take_waiting();
        let now = Instant::now();
        let late = group.extract_if(.., |caller| caller.deadline <= now);
        late.for_each(|caller| caller.tell(Err(BackendError::not_applied(ErrorKind::Timeout))));
        let Some(deadline) = group.iter().map(|caller| caller.deadline).max() else { return };

        let keys: Vec<_> = group.iter().map(|caller| caller.key.clone()).collect();
        let mut terms: Vec<_> = group.iter().map(|caller| caller.terms.clone()).collect();
        if terms.iter().all(|terms| *terms == group[0].terms) {
            terms.truncate(1);
        }
        let outcome = self.coalescer.send(&self.batch.0, &keys, terms, deadline).await;
        self.share_out(group, outcome);
    }

    /// Takes as many as may share a command.
    fn take_waiting(&mut self) -> Vec<Caller> {
        let mut queues = self.coalescer.queues();
        let Some(queue) = queues.by_key.get_mut(&self.batch) else { return Vec::new() };
        let callers = queue.waiting.len().min(self.coalescer.group_max);
        let group = queue.waiting.drain(..callers).collect();
        queue.in_flight += 1;
        self.stage = Stage::Sent { callers };
        queue.is_scheduled = false;
        let completed = queue.schedule();
        drop(queues);
        self.coalescer.spawn(&self.batch, completed);
        group
    }

    /// Tells each caller its part of a reply, or the failure of all.
    fn share_out(&self, group: Vec<Caller>, outcome: Outcome) {
        let tell_all = |group: Vec<Caller>, outcome: Outcome| {
            group.into_iter().for_each(|caller| caller.tell(outcome.clone()));
        };
        match outcome {
            Ok(Reply::Array(replies)) if replies.len() == group.len() => {
                iter::zip(group, replies).for_each(|(caller, reply)| caller.tell(Ok(reply)));
            }
            Ok(reply) if group.len() == 1 => tell_all(group, Ok(reply)),
            Ok(_) => tell_all(group, Err(protocol_error(true))),
            // Nothing was charged. A denial needs no room, and may have come behind a charge.
            Err(error) if error.kind() == ErrorKind::Full => {
                group.into_iter().for_each(|caller| self.send_alone(caller));
            }
            Err(error) => tell_all(group, Err(error)),
        }
    }

    fn send_alone(&self, caller: Caller) {
        let (coalescer, batch) = (Arc::clone(&self.coalescer), Arc::clone(&self.batch));
        tokio::spawn(async move {
            if !caller.outcome.is_closed() {
                let key = slice::from_ref(&caller.key);
                let terms = [caller.terms.clone()];
                let outcome = coalescer.send(&batch.0, key, terms, caller.deadline).await;
                caller.tell(outcome);
            }
        });
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut queues = self.coalescer.queues();
        let Queues { by_key, callers, .. } = &mut *queues;
        let Some(queue) = by_key.get_mut(&self.batch) else { return };
        match self.stage {
            // The runtime has shut down before the task was run.
            Stage::Scheduled => {
                *callers -= queue.waiting.len();
                queue.is_scheduled = false;
                let closed = || Err(BackendError::not_applied(ErrorKind::Closed));
                queue.waiting.drain(..).for_each(|caller| caller.tell(closed()));
            }
            Stage::Sent { callers: sent } => {
                *callers -= sent;
                queue.in_flight -= 1;
                queue.completed.take().map(|completed| completed.send(()));
            }
        }
        if queue.in_flight == 0 && !queue.is_scheduled {
            by_key.remove(&self.batch);
        }
    }
}

impl Caller {
    /// Hands the outcome over, unless the caller has left.
    fn tell(self, outcome: Outcome) {
        let _ = self.outcome.send(outcome);
    }
}

/// While the server works on one command, the next one is there already.
const IN_FLIGHT_MAX: usize = 2;

/// The longest wait for a command to complete: on a slow network a few commands more cost less than
/// another round trip.
const WAIT_MAX: Duration = Duration::from_millis(1);
