//! Checks that wait for a swap to share.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use ratelimit_backend::BackendError;
use ratelimit_core::store::Decisions;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use crate::{detached_batch::OwnedBatch, stored_values::Values};

/// The queues of one runtime, each with a task that serves it.
#[derive(Default)]
pub(crate) struct SwapQueues {
    queues: Mutex<HashMap<Arc<QueueKey>, Waiting>>,
    /// The number of queues, for those that look without the lock.
    open: AtomicUsize,
    /// All callers without an outcome.
    callers: AtomicUsize,
}

/// The checks that wait in a queue.
struct Waiting {
    callers: Vec<Caller>,
    /// Notified when one comes.
    came: Arc<Notify>,
}

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
    /// The values that its script has found, and so read after it came; if it has asked one.
    pub(crate) seen: Option<Values>,
    /// Set by the task while a swap decides the check, and by the caller when it leaves.
    pub(crate) is_claimed: Arc<AtomicBool>,
    pub(crate) outcome: oneshot::Sender<Outcome>,
}

/// The decisions; `None` where the script may decide by now.
pub(crate) type Outcome = Result<Option<Decisions>, BackendError>;

impl SwapQueues {
    /// Returns true if there is any queue.
    pub(crate) fn are_any_open(&self) -> bool {
        // A queue that is seen too late or too early costs a round trip.
        self.open.load(Ordering::Relaxed) != 0
    }

    /// Returns true if there is such a queue.
    pub(crate) fn is_open(&self, key: &QueueKey) -> bool {
        self.queues().contains_key(key)
    }

    /// A place for one more caller; `None` if there are `most` already.
    pub(crate) fn place(&self, most: usize) -> Option<Place<'_>> {
        let place = Place { is_claimed: Arc::default(), callers: &self.callers };
        (self.callers.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }

    /// Queues a check. The first of a queue has it served, and gets what is notified of further ones.
    pub(crate) fn enter(&self, key: &Arc<QueueKey>, caller: Caller) -> Option<Arc<Notify>> {
        let mut queues = self.queues();
        if let Some(waiting) = queues.get_mut(key) {
            waiting.callers.push(caller);
            waiting.came.notify_one();
            return None;
        }
        let came = Arc::<Notify>::default();
        let waiting = Waiting { callers: vec![caller], came: Arc::clone(&came) };
        queues.insert(Arc::clone(key), waiting);
        self.open.store(queues.len(), Ordering::Relaxed);
        Some(came)
    }

    /// Takes the first of those that wait, and drops those that have left.
    pub(crate) fn take(&self, key: &QueueKey, count: usize) -> Vec<Caller> {
        let mut queues = self.queues();
        let Some(Waiting { callers, .. }) = queues.get_mut(key) else { return Vec::new() };
        callers.retain(|caller| !caller.outcome.is_closed());
        callers.drain(..callers.len().min(count)).collect()
    }

    /// Ends a queue if nobody waits.
    pub(crate) fn ends(&self, key: &QueueKey) -> bool {
        let mut queues = self.queues();
        let is_empty = queues.get(key).is_none_or(|waiting| waiting.callers.is_empty());
        if is_empty {
            queues.remove(key);
            self.open.store(queues.len(), Ordering::Relaxed);
        }
        is_empty
    }

    /// Ends a queue. Those that wait find out.
    pub(crate) fn abandon(&self, key: &QueueKey) {
        let mut queues = self.queues();
        let waiting = queues.remove(key);
        self.open.store(queues.len(), Ordering::Relaxed);
        drop(queues);
        drop(waiting);
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Arc<QueueKey>, Waiting>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller's place in a queue, which it leaves when this is dropped.
pub(crate) struct Place<'a> {
    pub(crate) is_claimed: Arc<AtomicBool>,
    callers: &'a AtomicUsize,
}

impl Place<'_> {
    /// Leaves; false if the check may have been charged.
    pub(crate) fn leave(&self) -> bool {
        !self.is_claimed.swap(true, Ordering::AcqRel)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave();
        self.callers.fetch_sub(1, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::SwapQueues;

    // FAULTS 140.
    #[test]
    fn no_more_callers_wait_for_a_shared_swap_than_may() {
        let queues = SwapQueues::default();
        for _ in 0..2 {
            let places = [queues.place(2), queues.place(2)];
            assert!(places.iter().all(Option::is_some));
            assert!(queues.place(2).is_none());
            assert!(queues.place(2).is_none(), "a refusal takes no place");
        }
    }
}
