//! The queues in which callers wait, one for each key that somebody waits for.
//!
//! Each waiter has a ticket, and the lowest ticket is first. Waiters only ever join and leave, at
//! the head or in the middle; a head that leaves wakes its successor.
//!
//! The head sleeps until it may check again. A refund or a reset of its key wakes it earlier, and so does
//! a change of the policies.
//!
//! No wake-up is lost. A waiter looks whether it is first, and leaves its waker, under the same lock
//! under which the head leaves and takes its successor's waker: either the successor sees that it
//! is first, or its waker is there to be taken. In the same way a head looks whether anything has changed
//! since before its last check. Threads share nothing else.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
    task::{Poll, Waker},
};

use ratelimit_backend::Claim;

/// All queues of one limiter and its clones, which keep its name taken.
pub(crate) struct WaitQueues {
    waiting: Mutex<Waiting>,
    _claim: Claim,
}

/// The callers that wait at a limiter whose policies may change.
///
/// [`Policies`](crate::Policies) get them when a limiter is built, and call [`wake`](Self::wake) after
/// each change.
#[derive(Clone)]
pub struct Waiters(pub(crate) Weak<WaitQueues>);

impl Waiters {
    /// Lets the callers that wait check again.
    pub fn wake(&self) {
        if let Some(queues) = self.0.upgrade() {
            queues.wake_all();
        }
    }
}

/// Shows no keys.
impl fmt::Debug for Waiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiters").finish_non_exhaustive()
    }
}

/// The callers to wake when policies change.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<Vec<Waiters>>);

impl Listeners {
    pub(crate) fn add(&self, waiters: Waiters) {
        let mut listeners = self.lock();
        listeners.retain(|listener| 0 < listener.0.strong_count());
        listeners.push(waiters);
    }

    pub(crate) fn wake(&self) {
        let listeners = self.lock().clone();
        listeners.iter().for_each(Waiters::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waiters>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Waiting {
    most: usize,
    count: usize,
    next: u64,
    /// Events that woke somebody, or would have.
    changes: u64,
    queues: HashMap<Box<[u8]>, Queue>,
}

/// Tickets, and the wakers of those that were polled.
type Queue = BTreeMap<u64, Option<Waker>>;

/// Waiters that one limiter may have by default: each is a task or a thread that hangs.
pub(crate) const WAITERS_MAX: usize = 10_000;

impl WaitQueues {
    pub(crate) fn new(claim: Claim) -> Self {
        let (most, queues) = (WAITERS_MAX, HashMap::new());
        let waiting = Waiting { most, count: 0, next: 0, changes: 0, queues };
        Self { waiting: Mutex::new(waiting), _claim: claim }
    }

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

    /// Lets the head of `key`'s queue check again.
    pub(crate) fn wake(&self, key: &[u8]) {
        let mut waiting = self.lock();
        let Some(queue) = waiting.queues.get_mut(key) else { return };
        let head = take_head(queue);
        waiting.changes += 1;
        drop(waiting);
        head.into_iter().for_each(Waker::wake);
    }

    /// Lets the heads of all queues check again.
    fn wake_all(&self) {
        let mut waiting = self.lock();
        let heads: Vec<_> = waiting.queues.values_mut().filter_map(take_head).collect();
        waiting.changes += 1;
        drop(waiting);
        heads.into_iter().for_each(Waker::wake);
    }

    /// No caller's code runs under the lock: wakers are cloned, woken and dropped outside.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_head(queue: &mut Queue) -> Option<Waker> {
    queue.first_entry().and_then(|mut head| head.get_mut().take())
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
        self.wait(|_, queue| self.leads(queue)).await;
    }

    /// The number of changes so far.
    pub(crate) fn changes(&self) -> u64 {
        self.queues.lock().changes
    }

    /// Waits, as the first, until there have been more changes than `seen`.
    pub(crate) async fn change_after(&self, seen: u64) {
        self.wait(|changes, _| changes != seen).await;
    }

    async fn wait(&self, is_over: impl Fn(u64, &Queue) -> bool) {
        poll_fn(|context| self.poll(context.waker().clone(), &is_over)).await;
    }

    fn poll(&self, waker: Waker, is_over: impl Fn(u64, &Queue) -> bool) -> Poll<()> {
        let mut waiting = self.queues.lock();
        let changes = waiting.changes;
        let Some(queue) = waiting.queues.get_mut(self.key) else { return Poll::Ready(()) };
        if is_over(changes, queue) {
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
        let next = if was_first { take_head(queue) } else { None };
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

#[cfg(test)]
mod tests {
    use std::task::Context;

    use ratelimit_backend::Names;
    use ratelimit_core::{Policy, token_bucket};

    use super::*;

    #[test]
    fn a_change_between_a_check_and_the_sleep_after_it_is_not_missed() {
        let quota = token_bucket::Quota::new(1, 1, std::time::Duration::from_secs(1)).unwrap();
        let claim = Names::default().claim(&Policy::new("test", quota).unwrap()).unwrap();
        let queues = WaitQueues::new(claim);
        let (first, other) = (queues.join(b"key").unwrap(), queues.join(b"other").unwrap());
        let seen = first.changes();
        let mut sleep = std::pin::pin!(first.change_after(seen));
        let mut context = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        queues.wake(b"key");
        assert!(sleep.as_mut().poll(&mut context).is_ready());

        let seen = other.changes();
        queues.wake_all();
        queues.wake(b"nobody waits for it");
        let mut sleep = std::pin::pin!(other.change_after(seen));
        assert!(sleep.as_mut().poll(&mut context).is_ready());
    }
}
