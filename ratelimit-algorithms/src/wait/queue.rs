//! The queues in which callers wait, one for each key that somebody waits for.
//!
//! Each waiter has a ticket, and the lowest ticket is first. Waiters only ever join and leave, at
//! the head or in the middle; a head that leaves wakes its successor.
//!
//! No wake-up is lost. A waiter looks whether it is first, and leaves its waker, under the same lock
//! under which the head leaves and takes its successor's waker: either the successor sees that it
//! is first, or its waker is there to be taken. Threads share nothing else.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

/// All queues of one limiter.
pub(crate) struct WaitQueues(Mutex<Waiting>);

struct Waiting {
    most: usize,
    count: usize,
    next: u64,
    queues: HashMap<Box<[u8]>, Queue>,
}

/// Tickets, and the wakers of those that were polled.
type Queue = BTreeMap<u64, Option<Waker>>;

/// Waiters that one limiter may have by default: each is a task or a thread that hangs.
pub(crate) const WAITERS_MAX: usize = 10_000;

impl Default for WaitQueues {
    fn default() -> Self {
        let (most, queues) = (WAITERS_MAX, HashMap::new());
        Self(Mutex::new(Waiting { most, count: 0, next: 0, queues }))
    }
}

impl WaitQueues {
    /// Lets at most `most` callers wait.
    pub(crate) fn limit(&self, most: usize) {
        self.lock().most = most;
    }

    /// A ticket at the end of the queue of `key`; `None` if as many wait as may.
    pub(crate) fn join<'a>(&'a self, key: &'a [u8]) -> Option<Ticket<'a>> {
        let mut waiting = self.lock();
        if waiting.most <= waiting.count {
            return None;
        }
        let number = waiting.next;
        waiting.count += 1;
        waiting.next += 1;
        match waiting.queues.get_mut(key) {
            Some(queue) => queue.insert(number, None),
            None => waiting.queues.entry(key.into()).or_default().insert(number, None),
        };
        Some(Ticket { queues: self, key, number })
    }

    /// No caller's code runs under the lock: wakers are cloned, woken and dropped outside.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows no keys.
impl fmt::Debug for WaitQueues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WaitQueues({} waiting)", self.lock().count)
    }
}

/// A place in a queue, which is left when this is dropped.
pub(crate) struct Ticket<'a> {
    queues: &'a WaitQueues,
    key: &'a [u8],
    number: u64,
}

impl Ticket<'_> {
    pub(crate) fn is_first(&self) -> bool {
        self.queues.lock().queues.get(self.key).is_none_or(|queue| self.leads(queue))
    }

    /// Waits until this ticket is the first.
    pub(crate) async fn turn(&self) {
        poll_fn(|context| self.poll(context.waker().clone())).await;
    }

    fn poll(&self, waker: Waker) -> Poll<()> {
        let mut waiting = self.queues.lock();
        let Some(queue) = waiting.queues.get_mut(self.key) else { return Poll::Ready(()) };
        if self.leads(queue) {
            return Poll::Ready(());
        }
        let before = queue.insert(self.number, Some(waker));
        drop(waiting);
        drop(before);
        Poll::Pending
    }

    fn leads(&self, queue: &Queue) -> bool {
        queue.first_key_value().is_some_and(|(&first, _)| first == self.number)
    }

    /// Leaves; returns the waker of the next waiter, if that is first now.
    fn leave(&self) -> Option<Waker> {
        let mut waiting = self.queues.lock();
        waiting.count -= 1;
        let queue = waiting.queues.get_mut(self.key)?;
        let was_first = self.leads(queue);
        let own = queue.remove(&self.number);
        let next =
            queue.first_entry().filter(|_| was_first).and_then(|mut next| next.get_mut().take());
        if queue.is_empty() {
            waiting.queues.remove(self.key);
        }
        drop(waiting);
        drop(own);
        next
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if let Some(next) = self.leave() {
            next.wake();
        }
    }
}
