//! Checks that wait for a swap to share.

use std::{
    collections::{HashMap, hash_map},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use ratelimit_backend::BackendError;
use ratelimit_core::store::Decisions;
use tokio::{sync::oneshot, time::Instant};

use crate::{detached_batch::OwnedBatch, stored_values::Values};

/// The queues of one runtime, each with a task that serves it.
#[derive(Default)]
pub(crate) struct SwapQueues(Mutex<HashMap<Arc<QueueKey>, Vec<Caller>>>);

/// All that checks of one swap have in common: their keys, and the headers of their own numbers.
#[derive(Eq, Hash, PartialEq)]
pub(crate) struct QueueKey {
    pub(crate) keys: Vec<String>,
    pub(crate) headers: Vec<Vec<u8>>,
    pub(crate) takes: bool,
}

/// A check that waits.
pub(crate) struct Caller {
    pub(crate) batch: OwnedBatch,
    pub(crate) deadline: Instant,
    /// The values that its script has found, and so read after it came.
    pub(crate) seen: Option<Values>,
    /// Set by the task while a swap decides the check, and by the caller when it leaves.
    pub(crate) is_claimed: Arc<AtomicBool>,
    pub(crate) outcome: oneshot::Sender<Outcome>,
}

/// The decisions; `None` where the script may decide by now.
pub(crate) type Outcome = Result<Option<Decisions>, BackendError>;

impl SwapQueues {
    /// Queues a check; true if it is the first, whose queue has to be served.
    pub(crate) fn enter(&self, key: &Arc<QueueKey>, caller: Caller) -> bool {
        match self.queues().entry(Arc::clone(key)) {
            hash_map::Entry::Occupied(mut waiting) => {
                waiting.get_mut().push(caller);
                false
            }
            hash_map::Entry::Vacant(place) => {
                place.insert(vec![caller]);
                true
            }
        }
    }

    /// Takes the first of those that wait.
    pub(crate) fn take(&self, key: &QueueKey, count: usize) -> Vec<Caller> {
        let mut queues = self.queues();
        let Some(waiting) = queues.get_mut(key) else { return Vec::new() };
        waiting.drain(..waiting.len().min(count)).collect()
    }

    /// Ends a queue if nobody waits.
    pub(crate) fn ends(&self, key: &QueueKey) -> bool {
        let mut queues = self.queues();
        let is_empty = queues.get(key).is_none_or(Vec::is_empty);
        if is_empty {
            queues.remove(key);
        }
        is_empty
    }

    /// Ends a queue. Those that wait find out.
    pub(crate) fn abandon(&self, key: &QueueKey) {
        let _waiting = self.queues().remove(key);
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Arc<QueueKey>, Vec<Caller>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller's place in a queue, which it leaves when this is dropped.
#[derive(Default)]
pub(crate) struct Place {
    pub(crate) is_claimed: Arc<AtomicBool>,
}

impl Place {
    /// Leaves; false if the check may have been charged.
    pub(crate) fn leave(&self) -> bool {
        !self.is_claimed.swap(true, Ordering::AcqRel)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Caller {
    /// Keeps the caller from leaving; false if it has left.
    pub(crate) fn claim(&self) -> bool {
        !self.is_claimed.swap(true, Ordering::AcqRel)
    }

    /// Lets the caller leave again, since nothing was charged.
    pub(crate) fn release(&self) {
        self.is_claimed.store(false, Ordering::Release);
    }

    pub(crate) fn tell(self, outcome: Outcome) {
        let _ = self.outcome.send(outcome);
    }
}
